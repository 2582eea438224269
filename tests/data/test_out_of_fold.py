"""Every row that is not tested is answered once a repeat, and stands once in the table."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config.members import member_configs
from trainer.config.schema import Config
from trainer.data.out_of_fold import FoldPredictions, out_of_fold
from trainer.data.prepare import prepare

TARGETS = pl.DataFrame({"y": [f"t{row}" for row in range(12)]})


def member(rows, answers, fold, repeat):
    values = np.array(answers, dtype=np.float32).reshape(len(rows), -1)
    return FoldPredictions(np.array(rows, dtype=np.int64), values, fold, repeat)


def test_answers_stand_beside_their_rows():
    members = [
        member([5, 1], [0.5, 0.25], 1, 1),
        member([3], [0.75], 2, 1),
        member([1, 5], [0.75, 0.5], 1, 2),
        member([3], [0.25], 2, 2),
    ]
    found = out_of_fold(members, TARGETS, ["p"])
    assert found.to_dict(as_series=False) == {
        "row": [1, 3, 5],
        "y": ["t1", "t3", "t5"],
        "fold": [1, 2, 1],
        "p": [0.5, 0.5, 0.5],
        "p_spread": [pytest.approx(0.125**0.5), pytest.approx(0.125**0.5), 0.0],
    }


def test_one_repeat_has_no_spread():
    found = out_of_fold([member([1, 2], [0.5, 0.5], 1, 1)], TARGETS, ["p"])
    assert found["p_spread"].to_list() == [None, None]


@settings(deadline=None)
@given(
    rows=st.lists(st.integers(0, 99), min_size=4, max_size=60, unique=True),
    folds=st.integers(2, 4),
    repeats=st.integers(2, 4),
    outputs=st.integers(1, 3),
    offset=st.sampled_from([0.0, 1e6]),
)
def test_mean_and_spread_are_those_of_numpy(rows, folds, repeats, outputs, offset):
    draw = np.random.default_rng(0)
    given_answers = offset + draw.normal(size=(repeats, len(rows), outputs))
    rows = np.array(rows)
    members = [
        FoldPredictions(rows[fold::folds], given_answers[repeat, fold::folds], fold + 1, repeat + 1)
        for repeat in range(repeats)
        for fold in range(folds)
    ]
    names = [f"out{number}" for number in range(outputs)]
    found = out_of_fold(members, pl.DataFrame({"y": range(100)}), names)
    order = np.argsort(rows)
    assert found["row"].to_list() == found["y"].to_list() == sorted(rows.tolist())
    assert found["fold"].to_list() == (np.arange(len(rows)) % folds + 1)[order].tolist()
    mean = given_answers.mean(axis=0)[order]
    spread = given_answers.std(axis=0, ddof=1)[order]
    np.testing.assert_allclose(found.select(names).to_numpy(), mean, rtol=1e-12)
    spreads = found.select(f"{name}_spread" for name in names).to_numpy()
    np.testing.assert_allclose(spreads, spread, rtol=1e-6)


def test_a_row_that_is_validated_twice_in_a_repeat_is_a_bug():
    members = [member([1, 2], [0.5, 0.5], 1, 1), member([2], [0.5], 2, 1)]
    with pytest.raises(ValueError, match="twice in one repeat"):
        out_of_fold(members, TARGETS, ["p"])


def test_a_target_may_have_any_name():
    targets = pl.DataFrame({"row": ["a", "b"], "fold": ["c", "d"], "p": ["e", "f"]})
    found = out_of_fold([member([1], [0.5], 3, 1)], targets, ["p"])
    assert found.row(0, named=True) == {
        "row": 1,
        "row_of_input": "b",
        "fold_of_input": "d",
        "p_of_input": "f",
        "fold": 3,
        "p": 0.5,
        "p_spread": None,
    }


def test_the_members_of_a_config_answer_every_row_that_is_not_tested(tmp_path):
    path = tmp_path / "table.csv"
    pl.DataFrame({"x": range(90), "y": ["a", "b", "b"] * 30}).write_csv(path)
    data = {"source": str(path), "target": "y"}
    config = Config.model_validate({"data": data, "fit": {"folds": 4, "repeats": 2}})
    members = []
    for each in member_configs(config):
        dataset = prepare(each.config)
        rows = dataset.samples("validation").rows
        members.append(FoldPredictions(rows, rows[:, None] * 1.0, each.fold, each.repeat))
    found = out_of_fold(members, dataset.table.frame.select("y"), ["p"])
    tested = dataset.samples("test").rows
    assert found["row"].to_list() == [row for row in range(90) if row not in set(tested)]
    assert found["p"].to_list() == found["row"].to_list()
    assert found["y"].to_list() == ["abb"[row % 3] for row in found["row"]]
