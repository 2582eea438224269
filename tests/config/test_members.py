from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.conflicts import find_conflicts
from trainer.config.dump import dump_config
from trainer.config.members import Member, member_configs, member_count, member_seed
from trainer.config.nodes import Source, to_python
from trainer.config.schema import Config
from trainer.config.yaml_reader import parse_yaml

SEEDS = st.integers(0, 2**63 - 1)


def config(split: Mapping[str, Any] = {}, **sections: Any) -> Config:
    return Config.model_validate(
        {"data": {"source": "x", "target": "y", "split": split}, **sections}
    )


def positions(cfg: Config) -> list[tuple[int, int, int | None]]:
    return [(member.number, member.repeat, member.fold) for member in member_configs(cfg)]


def test_members_are_ordered_by_repeat_and_fold() -> None:
    assert positions(config(fit={"repeats": 2, "folds": 3})) == [
        (1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 2, 1), (5, 2, 2), (6, 2, 3),
    ]  # fmt: skip
    assert positions(config(fit={"folds": 2})) == [(1, 1, 1), (2, 1, 2)]
    assert positions(config(fit={"repeats": 3})) == [(1, 1, None), (2, 2, None), (3, 3, None)]


def test_single_member_has_the_unchanged_config() -> None:
    cfg = config({"fold": "2/5"}, seed=4)
    assert member_configs(cfg) == (Member(1, 1, None, cfg),)


@given(
    seed=SEEDS,
    split=st.none() | SEEDS,
    repeats=st.integers(1, 5),
    folds=st.none() | st.integers(2, 6),
)
def test_members_differ_only_in_seed_and_fold(
    seed: int, split: int | None, repeats: int, folds: int | None
) -> None:
    cfg = config({"seed": split}, seed=seed, fit={"repeats": repeats, "folds": folds})
    members = member_configs(cfg)
    assert len(members) == member_count(cfg) == repeats * (folds or 1)
    assert member_configs(cfg) == members
    if len(members) == 1:
        return
    for member in members:
        single = member.config
        assert (single.fit.repeats, single.fit.folds) == (1, None)
        assert single.seed == member_seed(seed, member.repeat)
        assert single.data.split.seed == (seed if split is None else split)
        assert single.data.split.fold == (None if folds is None else f"{member.fold}/{folds}")
        assert find_conflicts(single) == []
        assert [again.config for again in member_configs(single)] == [single]
        back = single.model_copy(
            update={"seed": seed, "data": cfg.data, "fit": cfg.fit},
        )
        assert back == cfg
    assert len({member.config.seed for member in members}) == repeats


def test_repeats_of_one_fold() -> None:
    members = member_configs(config({"fold": "2/5"}, fit={"repeats": 2}))
    assert [member.config.data.split.fold for member in members] == ["2/5", "2/5"]


def test_member_seeds_are_fixed() -> None:
    assert [member_seed(7, repeat) for repeat in (1, 2, 3)] == [7, *KNOWN]


@given(seed=SEEDS, repeat=st.integers(2, 1000))
def test_member_seeds_have_31_bits(seed: int, repeat: int) -> None:
    assert 0 <= member_seed(seed, repeat) < 2**31


@pytest.mark.parametrize("number", [1, 4])
def test_member_config_round_trip(number: int) -> None:
    member = member_configs(config(seed=3, fit={"repeats": 2, "folds": 2}))[number - 1]
    root = parse_yaml(dump_config(member.config), Source("c.yaml", Path())).root
    assert root is not None
    assert Config.model_validate(to_python(root)) == member.config
    assert find_conflicts(member.config) == []


KNOWN = [1482461306, 502951417]
