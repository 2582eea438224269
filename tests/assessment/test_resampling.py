"""Resamples of parts of large samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.metrics.samples import random_predictions
from trainer.assessment import resampling
from trainer.assessment.bootstrap import bootstrap, paired_bootstrap
from trainer.assessment.resampling import (
    Resampling,
    bounded_resamples,
    draw_parts,
    rows_per_resample,
    sort_rows,
)
from trainer.metrics.labels import class_indices


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "LARGEST", 1_000)
    monkeypatch.setattr(resampling, "PART_ROWS", 400)
    monkeypatch.setattr(resampling, "_SMALLEST", 20)


@pytest.mark.usefixtures("_small_parts")
def test_weights_of_parts_are_those_of_all_rows() -> None:
    sample = sort_rows(random_predictions("multiclass", 4_000, 0))
    classes = class_indices(sample.y)
    totals = np.bincount(classes)
    parts = list(draw_parts(sample, Resampling(105)))
    assert len(parts) == resampling.PARTS
    chunks = [np.concatenate(list(part.weights)) for part in parts]
    assert sum(len(chunk) for chunk in chunks) == 105
    for part, weights in zip(parts, chunks, strict=True):
        assert part.index is not None
        assert len(np.unique(part.index)) == len(part.index) == pytest.approx(400, abs=2)
        chosen = classes[part.index]
        for k, total in enumerate(totals):
            assert weights[:, chosen == k].sum(axis=1) == pytest.approx(total)
            assert part.base[0, chosen == k].sum() == pytest.approx(total)
        assert (weights >= 0).all()
        # The variance of the counts of n draws from b rows is n / b.
        assert weights.var() == pytest.approx(10, rel=0.2)
    assert not np.array_equal(parts[0].index, parts[1].index)


@pytest.mark.usefixtures("_small_parts")
def test_rare_classes_are_in_each_part() -> None:
    y = np.zeros(5_000)
    y[:12] = 1
    sample = random_predictions("binary", 5_000, 0)
    sample = sort_rows(replace(sample, y=y[:, None].astype(sample.y.dtype)))
    for part in draw_parts(sample, Resampling(20)):
        assert sample.y[part.index].sum() == 12


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_from_parts_are_those_from_all_rows(
    task: str, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = random_predictions(task, 6_000, 1, weight=np.linspace(0.5, 1.5, 6_000))
    if grouped:
        sample = replace(sample, group=np.arange(6_000) // 5)
    monkeypatch.setattr(resampling, "PART_ROWS", 1_000)
    worse = replace(sample, p=np.roll(sample.p, 40, axis=0))
    settings = Resampling(400)
    parts = bootstrap(sample, resampling=settings)
    difference = paired_bootstrap(sample, worse, resampling=settings)
    monkeypatch.setattr(resampling, "LARGEST", 10_000)
    whole = bootstrap(sample, resampling=settings)
    for name, expected in whole.items():
        found, width = parts[name], expected.high - expected.low
        assert found.value == expected.value
        assert found.low == pytest.approx(expected.low, abs=0.2 * width), name
        assert found.high == pytest.approx(expected.high, abs=0.2 * width), name
    for name, of_whole in paired_bootstrap(sample, worse, resampling=settings).items():
        width = of_whole.high - of_whole.low
        assert difference[name].value == of_whole.value
        assert difference[name].low == pytest.approx(of_whole.low, abs=0.2 * width), name


@pytest.mark.usefixtures("_small_parts")
def test_draws_do_not_depend_on_the_order_of_rows() -> None:
    sample = random_predictions("binary", 2_000, 1)
    mixed = sample.take(np.random.default_rng(0).permutation(2_000))
    assert bootstrap(mixed, resampling=Resampling(30)) == bootstrap(
        sample, resampling=Resampling(30)
    )


def test_number_of_resamples() -> None:
    assert rows_per_resample(200_000) == 200_000
    assert rows_per_resample(12_000_000) == 100_000
    assert bounded_resamples(1_000, 100_000, 40_000_000) == 400
    assert bounded_resamples(1_000, 10, 40_000_000) == 1_000
    assert bounded_resamples(1_000, 200_000, 1_000_000) == 100
