"""Every row outside the test split has one prediction per repeat, and one row in the table."""

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


def member(rows, predictions, fold, repeat):
    values = np.array(predictions, dtype=np.float32).reshape(len(rows), -1)
    return FoldPredictions(np.array(rows, dtype=np.int64), values, fold, repeat)


def test_predictions_match_their_rows():
    members = [
        member([5, 1], [0.5, 0.25], 1, 1),
        member([3], [0.75], 2, 1),
        member([1, 5], [0.75, 0.5], 1, 2),
        member([3], [0.25], 2, 2),
    ]
    frame = out_of_fold(members, TARGETS, ["p"])
    assert frame.to_dict(as_series=False) == {
        "row": [1, 3, 5],
        "y": ["t1", "t3", "t5"],
        "fold": [1, 2, 1],
        "p": [0.5, 0.5, 0.5],
        "p_std": [pytest.approx(0.125**0.5), pytest.approx(0.125**0.5), 0.0],
    }


def test_std_is_null_for_one_repeat():
    frame = out_of_fold([member([1, 2], [0.5, 0.5], 1, 1)], TARGETS, ["p"])
    assert frame["p_std"].to_list() == [None, None]


@settings(deadline=None)
@given(
    rows=st.lists(st.integers(0, 99), min_size=4, max_size=60, unique=True),
    folds=st.integers(2, 4),
    repeats=st.integers(2, 4),
    outputs=st.integers(1, 3),
    offset=st.sampled_from([0.0, 1e6]),
)
def test_mean_and_std_equal_numpy(rows, folds, repeats, outputs, offset):
    rng = np.random.default_rng(0)
    predictions = offset + rng.normal(size=(repeats, len(rows), outputs))
    rows = np.array(rows)
    members = [
        FoldPredictions(rows[fold::folds], predictions[repeat, fold::folds], fold + 1, repeat + 1)
        for repeat in range(repeats)
        for fold in range(folds)
    ]
    names = [f"out{number}" for number in range(outputs)]
    frame = out_of_fold(members, pl.DataFrame({"y": range(100)}), names)
    order = np.argsort(rows)
    assert frame["row"].to_list() == frame["y"].to_list() == sorted(rows.tolist())
    assert frame["fold"].to_list() == (np.arange(len(rows)) % folds + 1)[order].tolist()
    mean = predictions.mean(axis=0)[order]
    std = predictions.std(axis=0, ddof=1)[order]
    np.testing.assert_allclose(frame.select(names).to_numpy(), mean, rtol=1e-12)
    written = frame.select(f"{name}_std" for name in names).to_numpy()
    np.testing.assert_allclose(written, std, rtol=1e-6)


def test_duplicate_row_in_a_repeat_raises():
    members = [member([1, 2], [0.5, 0.5], 1, 1), member([2], [0.5], 2, 1)]
    with pytest.raises(ValueError, match="twice in one repeat"):
        out_of_fold(members, TARGETS, ["p"])


def test_target_names_are_made_unique():
    targets = pl.DataFrame({"row": ["a", "b"], "fold": ["c", "d"], "p": ["e", "f"]})
    frame = out_of_fold([member([1], [0.5], 3, 1)], targets, ["p"])
    assert frame.row(0, named=True) == {
        "row": 1,
        "row_of_input": "b",
        "fold_of_input": "d",
        "p_of_input": "f",
        "fold": 3,
        "p": 0.5,
        "p_std": None,
    }


def test_members_of_a_config_cover_every_row_outside_test(tmp_path):
    path = tmp_path / "table.csv"
    pl.DataFrame({"x": range(90), "y": ["a", "b", "b"] * 30}).write_csv(path)
    data = {"source": str(path), "target": "y"}
    config = Config.model_validate({"data": data, "fit": {"folds": 4, "repeats": 2}})
    members = []
    for spec in member_configs(config):
        dataset = prepare(spec.config)
        rows = dataset.samples("validation").rows
        members.append(FoldPredictions(rows, rows[:, None] * 1.0, spec.fold, spec.repeat))
    frame = out_of_fold(members, dataset.table.frame.select("y"), ["p"])
    tested = dataset.samples("test").rows
    assert frame["row"].to_list() == [row for row in range(90) if row not in set(tested)]
    assert frame["p"].to_list() == frame["row"].to_list()
    assert frame["y"].to_list() == ["abb"[row % 3] for row in frame["row"]]
