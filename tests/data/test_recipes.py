"""The network that `init` proposes follows from the size of the table, the task and the effort."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainer.data.recipes import choose_recipe
from trainer.data.table_inspection import ColumnFinding, TableFindings, TimeOrder

NUMBERS = TableFindings(
    files=(), rows=5_000, target=("y",), task="regression", reason="", classes={}, number_formats={},
    order=None, duplicates=0, columns=(ColumnFinding("x", "numeric", 0, 9, None, None),), warnings=(),
)  # fmt: skip
CLASSES = replace(NUMBERS, task="multiclass", classes={"a": 2_000, "b": 2_000, "c": 1_000})


def recipe(findings=NUMBERS, effort="balanced", **changes):
    return choose_recipe(replace(findings, **changes), effort)


@pytest.mark.parametrize(
    ("rows", "effort", "folds", "repeats"),
    [
        (49, "balanced", None, 1),
        (50, "balanced", 5, 1),
        (100_000, "balanced", 5, 1),
        (100_001, "balanced", None, 1),
        (1_000, "quick", 5, 1),
        (1_001, "quick", None, 1),
        (5_000, "best", 5, 4),
        (50_000, "best", 5, 2),
        (200_000, "best", None, 1),
    ],
)
def test_number_of_networks(rows, effort, folds, repeats):
    chosen = recipe(rows=rows, effort=effort)
    assert (chosen.folds, chosen.repeats) == (folds, repeats)
    assert chosen.test == (0.0 if folds else 0.2)


def test_quick_has_no_comparison_with_boosting_that_takes_longer_than_the_network():
    digits = {"classes": dict.fromkeys("0123456789", 500), "rows": 5_000}
    wide = replace(CLASSES, columns=CLASSES.columns * 400)
    assert recipe(CLASSES, effort="quick", **digits).boosting
    assert not recipe(wide, effort="quick", **digits).boosting
    assert recipe(wide, effort="balanced", **digits).boosting


def test_quick_has_no_comparison_with_a_linear_model_that_takes_long():
    wide = {"columns": CLASSES.columns * 400}
    ten = {**wide, "classes": dict.fromkeys("0123456789", 500)}
    assert recipe(CLASSES, effort="quick").linear
    assert not recipe(CLASSES, effort="quick", **ten).linear
    assert recipe(CLASSES, effort="balanced", **ten).linear
    # Ridge regression is fast, and two classes have one output.
    assert recipe(effort="quick", **wide).linear
    binary = {"task": "binary", "classes": {"a": 2_500, "b": 2_500}}
    assert recipe(CLASSES, effort="quick", **wide, **binary).linear


@pytest.mark.parametrize(("rarest", "folds"), [(5, 5), (4, 4), (3, 3), (2, None)])
def test_every_fold_has_rows_of_each_class(rarest, folds):
    assert recipe(CLASSES, classes={"a": 2_000, "b": rarest}).folds == folds


def test_rows_in_the_order_of_time_have_a_test_split():
    chosen = recipe(order=TimeOrder("x", is_sorted=True))
    assert (chosen.folds, chosen.test, chosen.validation) == (None, 0.2, 0.2)
    assert recipe(order=TimeOrder("x", is_sorted=False)).folds == 5


@pytest.mark.parametrize(("rows", "test"), [(19, 0.0), (20, 0.2)])
def test_few_rows_are_trained_without_validation(rows, test):
    chosen = recipe(rows=rows)
    assert (chosen.test, chosen.validation, chosen.patience) == (test, 0.0, None)


def test_smoothing_is_for_several_classes_with_validation_rows():
    assert recipe(CLASSES).label_smoothing == 0.05
    assert recipe(CLASSES, rows=40).label_smoothing == 0.0
    assert recipe(CLASSES, task="binary").label_smoothing == 0.0
    assert recipe().label_smoothing == 0.0


def test_quantiles_beside_the_mean_are_for_numbers_with_validation_rows():
    assert recipe().quantiles == (0.05, 0.25, 0.5, 0.75, 0.95)
    assert recipe(rows=40).quantiles == ()
    assert recipe(CLASSES).quantiles == ()
    assert recipe(CLASSES, task="binary").quantiles == ()


@pytest.mark.parametrize(
    ("changes", "bins"),
    [
        ({}, 16),
        ({"rows": 9_999}, 16),
        ({"rows": 10_000}, 64),
        ({"columns": NUMBERS.columns * 200}, 16),
        ({"rows": 10_000, "columns": NUMBERS.columns * 20}, 25),
        ({"rows": 10_000, "columns": NUMBERS.columns * 100}, 16),
        ({"rows": 90_000, "columns": NUMBERS.columns * 100}, 32),
        ({"are_redundant": True}, None),
        ({"columns": NUMBERS.columns * 201}, None),
        ({"columns": ()}, None),
    ],
)
def test_bins(changes, bins):
    chosen = recipe(**changes)
    assert chosen.piecewise_bins == bins
    assert bool(chosen.without_bins) == (bins is None and changes != {"columns": ()})


@pytest.mark.parametrize(("rows", "components"), [(9, None), (150, 15), (5_000, 20)])
def test_columns_that_are_combinations_of_few_start_with_principal_components(rows, components):
    spectra = {"columns": NUMBERS.columns * 100, "are_redundant": True, "rows": rows}
    chosen = recipe(**spectra)
    assert chosen.components == components
    if components is not None:
        assert (chosen.hidden, chosen.dropout) == ((128, 128), 0.0)
    texts = (*NUMBERS.columns * 100, ColumnFinding("t", "text", 0, 9, None, None))
    assert recipe(**{**spectra, "columns": texts}).components is None


def test_larger_tables_have_larger_batches_and_less_patience():
    chosen = [recipe(rows=rows) for rows in (100, 1_000, 5_000, 20_000, 50_000, 500_000)]
    sizes = [item.batch_size for item in chosen]
    assert sizes == sorted(set(sizes))
    patience = [item.patience for item in chosen]
    assert patience == sorted(set(patience), reverse=True)


def test_quick_training_of_a_single_network_is_short():
    assert (recipe(effort="quick").epochs, recipe(effort="quick").patience) == (40, 5)
    few = recipe(rows=600, effort="quick")
    assert (few.folds, few.epochs, few.patience) == (5, 200, 15)


def test_learning_rate_of_larger_tables_with_classes_decays_over_few_epochs():
    for effort in ("quick", "balanced", "best"):
        chosen = recipe(CLASSES, rows=20_000, effort=effort)
        assert (chosen.decayed_rate, chosen.epochs, chosen.patience) == (3e-3, 12, 8)
        assert recipe(rows=20_000, effort=effort).decayed_rate is None
    for rows in (9_000, 500_000):
        assert recipe(CLASSES, rows=rows).decayed_rate is None


def test_networks_are_as_large_for_every_effort_but_quick():
    wide = {"columns": NUMBERS.columns * 100}
    assert recipe(effort="best").hidden == recipe().hidden == (128, 128)
    assert recipe(effort="best", **wide).hidden == recipe(**wide).hidden == (256, 256, 256)
    assert recipe(effort="quick", **wide).hidden == (64, 64)


def test_texts_alone_have_a_network_without_hidden_layers():
    text = ColumnFinding("review", "text", 0, 4_000, None, None)
    excluded = ColumnFinding("id", "categorical", 0, 4_000, "identifier", None)
    chosen = recipe(CLASSES, columns=(text, excluded))
    assert (chosen.hidden, chosen.input_dropout, chosen.learned_scale) == ((), 0.3, False)
    assert (chosen.epochs, chosen.patience, chosen.folds) == (60, 3, 5)
    mixed = recipe(CLASSES, columns=(text, *CLASSES.columns))
    assert (mixed.hidden, mixed.input_dropout, mixed.learned_scale) == ((128, 128), 0.0, True)
