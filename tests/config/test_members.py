from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.conflicts import conflict_problems
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


def places(subject: Config) -> list[tuple[int, int, int | None]]:
    return [(each.number, each.repeat, each.fold) for each in member_configs(subject)]


def test_repeat_after_repeat_fold_after_fold() -> None:
    assert places(config(fit={"repeats": 2, "folds": 3})) == [
        (1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 2, 1), (5, 2, 2), (6, 2, 3),
    ]  # fmt: skip
    assert places(config(fit={"folds": 2})) == [(1, 1, 1), (2, 1, 2)]
    assert places(config(fit={"repeats": 3})) == [(1, 1, None), (2, 2, None), (3, 3, None)]


def test_a_config_that_asks_for_one_network_is_its_own() -> None:
    subject = config({"fold": "2/5"}, seed=4)
    assert member_configs(subject) == (Member(1, 1, None, subject),)


@given(
    seed=SEEDS,
    split=st.none() | SEEDS,
    repeats=st.integers(1, 5),
    folds=st.none() | st.integers(2, 6),
)
def test_members_differ_in_seed_and_fold_alone(
    seed: int, split: int | None, repeats: int, folds: int | None
) -> None:
    subject = config({"seed": split}, seed=seed, fit={"repeats": repeats, "folds": folds})
    members = member_configs(subject)
    assert len(members) == member_count(subject) == repeats * (folds or 1)
    assert member_configs(subject) == members
    if len(members) == 1:
        return
    for each in members:
        single = each.config
        assert (single.fit.repeats, single.fit.folds) == (1, None)
        assert single.seed == member_seed(seed, each.repeat)
        assert single.data.split.seed == (seed if split is None else split)
        assert single.data.split.fold == (None if folds is None else f"{each.fold}/{folds}")
        assert conflict_problems(single) == []
        assert [again.config for again in member_configs(single)] == [single]
        back = single.model_copy(
            update={"seed": seed, "data": subject.data, "fit": subject.fit},
        )
        assert back == subject
    assert len({each.config.seed for each in members}) == repeats


def test_one_fold_of_many_repeats() -> None:
    members = member_configs(config({"fold": "2/5"}, fit={"repeats": 2}))
    assert [each.config.data.split.fold for each in members] == ["2/5", "2/5"]


def test_seeds_are_a_known_function() -> None:
    assert [member_seed(7, repeat) for repeat in (1, 2, 3)] == [7, *KNOWN]


@given(seed=SEEDS, repeat=st.integers(2, 1000))
def test_seeds_of_repeats_fit_every_generator(seed: int, repeat: int) -> None:
    assert 0 <= member_seed(seed, repeat) < 2**31


@pytest.mark.parametrize("number", [1, 4])
def test_a_written_member_is_read_back(number: int) -> None:
    member = member_configs(config(seed=3, fit={"repeats": 2, "folds": 2}))[number - 1]
    root = parse_yaml(dump_config(member.config), Source("c.yaml", Path())).root
    assert root is not None
    assert Config.model_validate(to_python(root)) == member.config
    assert conflict_problems(member.config) == []


KNOWN = [1482461306, 502951417]
