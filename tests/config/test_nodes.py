from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainer.config.nodes import dotted, parse_key

STEPS = st.lists(st.text(min_size=0, max_size=6), min_size=1, max_size=4)


@given(STEPS)
def test_a_shown_key_can_be_typed(steps: list[str]) -> None:
    assert parse_key(dotted(tuple(steps))) == tuple(steps)


def test_dotted() -> None:
    assert dotted(("model", "layers", 0, "dense")) == "model.layers.0.dense"
    assert dotted(("data", "columns", "a b", 'c"d', "größe")) == r'data.columns."a b"."c\"d".größe'
    assert dotted(()) == ""


def test_malformed_keys() -> None:
    for text in ("", ".", "a.", ".a", "a..b", 'a."b', "a.'b'c"):
        assert parse_key(text) is None
