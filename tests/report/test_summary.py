"""The summary sentence of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trainer.report.summary import boosting_advice, describe_difference, summary_sentence
from trainer.runs.findings import Findings, MetricDifference, MetricValue, SplitFindings


def findings(
    name: str, value: float, prior: tuple[float, bool], linear: tuple[float, bool]
) -> Findings:
    def difference_to(other: tuple[float, bool]) -> dict[str, MetricDifference]:
        return {name: MetricDifference(value - other[0], -1, 1, other[1])}

    split = SplitFindings(
        rows=1_234,
        metrics={name: MetricValue(value, value - 0.1, value + 0.1)},
        prior={name: prior[0]},
        linear={name: linear[0]},
        vs_prior=difference_to(prior),
        vs_linear=difference_to(linear),
    )
    return Findings(
        "binary", ("no", "yes"), 0.95, "", {"test": split}, compared_metrics=(name, "f1")
    )


@pytest.mark.parametrize(
    ("given", "ending"),
    [
        (
            ("auc", 0.8, (0.5, True), (0.79, False)),
            "ROC AUC is 0.8000 [0.7000, 0.9000] (95% interval), better than a constant prediction "
            "(0.5000) and not significantly different from a linear model (0.7900).",
        ),
        (
            ("rmse", 0.8, (1.5, True), (0.7, True)),
            "RMSE is 0.8000 [0.7000, 0.9000] (95% interval), better than a constant prediction "
            "(1.500) and worse than a linear model (0.7000).",
        ),
    ],
)
def test_differences_have_the_right_sign(given: Any, ending: str) -> None:
    assert summary_sentence(findings(*given)) == f"On 1,234 test rows, {ending}"


@pytest.mark.parametrize(
    ("boosting", "phrase", "advice"),
    [
        ((0.75, True), "worse than gradient boosting (0.7500).", True),
        ((0.75, False), "not significantly different from gradient boosting (0.7500).", False),
        ((0.85, True), "better than gradient boosting (0.8500).", False),
    ],
)
def test_better_boosting_is_told_with_what_to_try(
    boosting: tuple[float, bool], phrase: str, advice: bool
) -> None:
    value, is_significant = boosting
    result = findings("rmse", 0.8, (1.5, True), (0.9, True))
    difference = MetricDifference(0.8 - value, -1, 1, is_significant)
    split = replace(
        result.splits["test"], boosting={"rmse": value}, vs_boosting={"rmse": difference}
    )
    result = replace(result, splits={"test": split})
    assert summary_sentence(result).endswith(
        "better than a constant prediction (1.500), better than a linear model (0.9000) and "
        + phrase
    )
    for is_ensemble, what in (
        (
            False,
            "an ensemble (fit.folds=5), a hyperparameter search (trainer sweep), or gradient boosting "
            "itself",
        ),
        (True, "a hyperparameter search (trainer sweep), or gradient boosting itself"),
    ):
        expected = f"Try {what}." if advice else ""
        assert boosting_advice(result, is_ensemble=is_ensemble) == expected


@pytest.mark.parametrize(
    ("metric", "ending"),
    [
        (MetricValue(None, None, None), "ROC AUC is undefined."),
        (MetricValue(0.8, None, None), "ROC AUC is 0.8000."),
    ],
)
def test_values_without_an_interval_are_stated_without_it(metric: MetricValue, ending: str) -> None:
    split = SplitFindings(rows=24, metrics={"auc": metric})
    result = findings("auc", 0.8, (0.5, True), (0.79, False))
    assert summary_sentence(replace(result, splits={"test": split})) == f"On 24 test rows, {ending}"


def test_training_rows_are_named_if_there_are_no_test_rows() -> None:
    result = findings("auc", 0.8, (0.5, True), (0.79, False))
    train = SplitFindings(rows=10, metrics=result.splits["test"].metrics)
    result = replace(result, splits={"train": train})
    assert summary_sentence(result) == (
        "On 10 training rows, ROC AUC is 0.8000 [0.7000, 0.9000] (95% interval)."
    )


@pytest.mark.parametrize(
    ("name", "value", "is_significant", "expected"),
    [
        ("auc", 0.1, True, "better"),
        ("auc", -0.1, True, "worse"),
        ("rmse", -0.1, True, "better"),
        ("f1", 0.1, False, "not significant"),
        ("unheard_of", 0.1, True, ""),
    ],
)
def test_describe_difference(name: str, value: float, is_significant: bool, expected: str) -> None:
    assert (
        describe_difference(MetricDifference(value, None, None, is_significant), name) == expected
    )
