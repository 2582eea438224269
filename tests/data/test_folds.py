"""Folds: every row outside the test split is in one validation fold, for every split rule."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

from trainer.config.data import Csv
from trainer.config.schema import Config
from trainer.data.assignment import assign_splits
from trainer.data.prepare import prepare
from trainer.data.recorded_splits import split_frame
from trainer.data.splits import DROPPED, TEST, TRAIN, VALIDATION
from trainer.data.tables import SourceFile, Table
from trainer.errors import DataError

SEEDS = st.integers(0, 2**63 - 1)


def frame(rows):
    order = np.random.default_rng(rows).permutation(rows)
    return pl.DataFrame(
        {
            "x": range(rows),
            "label": ["abbcbb"[row % 6] for row in order.tolist()],
            "amount": order / 7,
            "group": [f"g{row % 31}" for row in order.tolist()],
            "when": order * 3,
        }
    )


def assigned(table, seed, target="label", named=None, has_target=None, **split):
    file = SourceFile("table.csv", 1, table.height, "")
    config = Config.model_validate(
        {"data": {"source": "table.csv", "target": target, "split": split}}
    )
    has_target = np.ones(table.height, dtype=np.bool_) if has_target is None else has_target
    return assign_splits(
        Table(table, (file,), named, Csv(), ("csv",)), config.data, seed, has_target
    )


def all_folds(table, seed, folds, **split):
    return [
        assigned(table, seed, fold=f"{number}/{folds}", **split) for number in range(1, folds + 1)
    ]


RULES = {
    "random": {"by": "random"},
    "stratified": {"by": "stratified"},
    "group": {"by": "group", "column": "group"},
    "hash": {"by": "hash", "column": "x"},
    "hash of rows": {"by": "hash"},
    "numbers": {"target": "amount"},
}
TIME = {"by": "time", "column": "when"}


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(150, 260),
    folds=st.integers(2, 7),
    test=st.sampled_from([0.0, 0.2, 0.35]),
    seed=SEEDS,
)
def test_each_row_is_validated_once(rule, rows, folds, test, seed):
    table, rest = frame(rows), np.arange(rows) % 10 != 4
    split = {"test": test, "has_target": rest, **RULES[rule]}
    try:
        plain = assigned(table, seed, **split)
    except DataError:
        reject()  # too few groups for a validation row
    assignments = all_folds(table, seed, folds, **split)
    validation_counts = np.sum([assignment == VALIDATION for assignment in assignments], axis=0)
    for assignment in assignments:
        assert np.array_equal(assignment == TEST, plain == TEST)
        assert np.array_equal(assignment == DROPPED, ~rest)
    assert np.array_equal(validation_counts == 1, rest & (plain != TEST))
    assert validation_counts.max() == 1
    repeated = all_folds(table, seed, folds, **split)
    assert np.array_equal(assignments, repeated)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(60, 200), folds=st.integers(2, 5), seed=SEEDS)
def test_fold_sizes_equal_scikit_learn(rows, folds, seed):
    table = frame(rows)
    labels = table["label"].to_numpy()
    for rule, splitter in (("random", KFold(folds)), ("stratified", StratifiedKFold(folds))):
        assignments = all_folds(table, seed, folds, **RULES[rule], test=0.2)
        rest = assignments[0] != TEST
        expected = [len(part) for _, part in splitter.split(labels[rest], labels[rest])]
        assert [int(np.sum(assignment == VALIDATION)) for assignment in assignments] == expected
    for label in "abc":
        counts = [np.sum(assignment[labels == label] == VALIDATION) for assignment in assignments]
        assert max(counts) - min(counts) <= 1


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(150, 260), folds=st.integers(2, 7), seed=SEEDS)
def test_group_folds_have_equal_group_counts(rows, folds, seed):
    table = frame(rows)
    groups = table["group"].to_numpy()
    assignments = all_folds(table, seed, folds, **RULES["group"], test=0)
    expected = GroupKFold(folds, shuffle=True, random_state=0).split(groups, None, groups)
    counts = [len(set(groups[part])) for _, part in expected]
    assert sorted(
        len(set(groups[assignment == VALIDATION])) for assignment in assignments
    ) == sorted(counts)
    for assignment in assignments:
        assert not set(groups[assignment == TRAIN]) & set(groups[assignment == VALIDATION])


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(20, 200), folds=st.integers(2, 7), test=st.sampled_from([0, 0.2, 0.35]))
def test_time_folds_equal_scikit_learn(rows, folds, test):
    table = frame(rows)
    assignments = all_folds(table, 0, folds, **TIME, test=test)
    plain = assigned(table, 0, **TIME, test=test)
    order = np.argsort(table["when"].to_numpy())
    rest = order[plain[order] != TEST]
    assert all(np.array_equal(assignment == TEST, plain == TEST) for assignment in assignments)
    for assignment, (train, part) in zip(
        assignments, TimeSeriesSplit(folds).split(rest), strict=True
    ):
        assert set(np.flatnonzero(assignment == TRAIN)) == set(rest[train])
        assert set(np.flatnonzero(assignment == VALIDATION)) == set(rest[part])
        assert set(np.flatnonzero(assignment == DROPPED)) == set(rest[part.max() + 1 :])


def test_rows_with_the_same_time_are_in_one_fold():
    table = pl.DataFrame({"when": [1, 2, 3, 4, 4, 5, 6, 7], "y": [0.5] * 8})
    assignments = all_folds(table, 0, 3, target="y", test=0, **TIME)
    assert [assignment.tolist() for assignment in assignments] == [
        [0, 0, 1, -1, -1, -1, -1, -1],
        [0, 0, 0, 1, 1, 1, -1, -1],
        [0, 0, 0, 0, 0, 0, 1, 1],
    ]


def test_folds_depend_only_on_seed_and_row_numbers():
    table = frame(120)
    assignment = assigned(table, 5, fold="2/5", **RULES["random"])
    assert np.array_equal(assignment, assigned(table.with_columns(x=-pl.col("x")), 5, fold="2/5",
                                        **RULES["random"]))  # fmt: skip
    assert not np.array_equal(assignment, assigned(table, 6, fold="2/5", **RULES["random"]))


def test_hash_folds_are_stable_when_rows_are_added():
    table = frame(400)
    for rule in ("hash", "hash of rows"):
        whole = assigned(table, 3, fold="2/4", **RULES[rule])
        assert np.array_equal(assigned(table[:150], 3, fold="2/4", **RULES[rule]), whole[:150])
        shares = [
            np.mean(assignment == VALIDATION)
            for assignment in all_folds(frame(4000), 3, 4, **RULES[rule])
        ]
        assert shares == pytest.approx([0.2] * 4, abs=0.03)


def test_named_training_files_are_split_into_folds():
    named = np.array([TEST if row % 4 == 0 else TRAIN for row in range(100)], dtype=np.int8)
    assignments = all_folds(frame(100), 0, 5, named=named)
    assert all(np.array_equal(assignment == TEST, named == TEST) for assignment in assignments)
    assert np.array_equal(
        np.sum([assignment == VALIDATION for assignment in assignments], axis=0), named == TRAIN
    )


def test_large_test_share():
    assignments = all_folds(frame(200), 0, 2, test=0.9, **RULES["stratified"])
    assert [np.bincount(assignment).tolist() for assignment in assignments] == [[10, 10, 180]] * 2


@pytest.mark.parametrize(
    ("table", "split", "message"),
    [
        (
            frame(6),
            {"by": "random", "test": 0.5},
            "at least 5 rows outside the test split.*found 3",
        ),
        (
            frame(30),
            {"by": "stratified"},
            "at least 5 rows of every class outside the test split for 5 folds, "
            "found 4 of 'a', 4 of 'c'; use fewer folds, merge such classes, or set",
        ),
        (
            pl.DataFrame({"label": ["a", "b"] * 50, "group": ["p", "q", "r", "s"] * 25}),
            {"by": "group", "column": "group", "test": 0},
            "at least 5 groups outside the test split for 5 folds, found 4",
        ),
        (
            pl.DataFrame({"label": ["a", "b"] * 50, "x": [7] * 100}),
            {"by": "hash", "column": "x", "test": 0},
            "too few values: use fewer folds",
        ),
        (frame(6), {**TIME, "test": 0.2}, "at least 6 rows outside the test split.*found 5"),
        (
            pl.DataFrame({"label": ["a", "b"] * 50, "when": [7] * 100}),
            {**TIME, "test": 0},
            "train rows.*too many rows have the same time: use fewer folds",
        ),
    ],
)
def test_too_few_for_the_folds(table, split, message):
    with pytest.raises(DataError, match=r"(?s)data\.split: .*" + message):
        assigned(table, 0, fold="2/5", **split)


def test_split_seed(prepare_frame):
    table = {"x": range(100), "y": np.linspace(0, 1, 100)}
    dataset = prepare_frame(table, seed=1)
    assert np.array_equal(
        prepare_frame(table, seed=2, split={"seed": 1}).assignment, dataset.assignment
    )
    assert not np.array_equal(prepare_frame(table, seed=2).assignment, dataset.assignment)


def test_rows_later_than_the_fold_are_dropped_with_a_warning(tmp_path):
    table = frame(60).with_columns(
        pl.when(pl.col("x") == 7).then(None).otherwise(pl.col("label")).alias("label")
    )
    table.write_csv(tmp_path / "table.csv")
    split = {**TIME, "test": 0.2, "fold": "1/3"}
    data = {"source": str(tmp_path / "table.csv"), "target": "label", "split": split}
    dataset = prepare(Config.model_validate({"data": data}))
    later = int(np.sum(dataset.reasons == 5))
    assert dataset.dropped == {"no target": 1, "later than the fold": later}
    assert later > 20
    parts = split_frame(dataset).group_by("split", "reason").len()
    assert dict(parts.filter(pl.col("reason").is_not_null())["reason", "len"].iter_rows()) == {
        "no target": 1,
        "later than the fold": later,
    }


def test_split_categories_without_folds(prepare_frame):
    dataset = prepare_frame({"x": range(40), "y": ["a", "b"] * 20})
    words = split_frame(dataset)["reason"].dtype.categories.to_list()
    assert words == ["no target", "duplicate", "missing value", "outlier"]


@pytest.mark.parametrize("rule", [{"by": "random"}, {"by": "time", "column": "x"}], ids=str)
def test_folds_have_the_same_positive_class(tmp_path, rule):
    """Of two classes that are about as frequent, either is the rarer one in some training rows."""
    labels = ["cat", "dog"] * 12
    rarer = set()
    for seed in range(4):
        generator = np.random.default_rng(seed)
        classes = [*generator.permutation(labels), "cat"]
        table = pl.DataFrame({"x": range(25), "z": range(25), "y": classes})
        table.write_csv(tmp_path / "t.csv")
        positive = set()
        for number in (1, 2, 3):
            split = {**rule, "fold": f"{number}/3", "test": 0.2}
            data = {"source": str(tmp_path / "t.csv"), "target": "y", "split": split}
            dataset = prepare(Config.model_validate({"data": data, "seed": seed}))
            counts = dataset.classes("train")
            rarer.add(min(counts, key=lambda name: counts[name]))
            positive.add(dataset.preprocessing.target.classes[1])
        assert len(positive) == 1
    assert rarer == {"cat", "dog"}
