from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainer.config.nodes import join_key, parse_key

STEPS = st.lists(st.text(min_size=0, max_size=6), min_size=1, max_size=4)


@given(STEPS)
def test_join_key_round_trip(steps: list[str]) -> None:
    assert parse_key(join_key(tuple(steps))) == tuple(steps)


def test_join_key() -> None:
    assert join_key(("model", "layers", 0, "dense")) == "model.layers.0.dense"
    assert (
        join_key(("data", "columns", "a b", 'c"d', "größe")) == r'data.columns."a b"."c\"d".größe'
    )
    assert join_key(()) == ""


def test_malformed_keys() -> None:
    for text in ("", ".", "a.", ".a", "a..b", 'a."b', "a.'b'c"):
        assert parse_key(text) is None
