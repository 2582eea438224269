"""Nonfinite losses: single runs and packs raise the same error, and its fix works."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.marks import slow_except
from tests.workflows.conftest import run_fit, run_members
from trainer.config.load import load_config
from trainer.errors import DivergedError, Problem, TrainingError
from trainer.runs.directory import RunDirectory
from trainer.runs.log import read_log

CONFIG = """\
data:
  source: table.csv
  target: y
  features: {include: [a, b]}
  split: {by: random}
model: {layers: [{dense: {units: 8, activation: relu}}]}
fit: {epochs: 3, batch_size: 16}
evaluate: {report: false, importance: false}
"""

DIVERGING = {
    "learning rate": ["optimizer={name: sgd, learning_rate: 1e12}"],
    "learning rate of adam": ["optimizer={name: adam, learning_rate: 1e25}"],
    "features": [
        "data.numeric.scale=none",
        "data.features.include=[far]",
        "optimizer={name: sgd, learning_rate: 0.01}",
    ],
    "features of one column": [
        "data.features.include=[far]",
        "data.columns.far={scale: none}",
        "optimizer={name: sgd, learning_rate: 0.01}",
    ],
    "target": ["data.target=large", "data.target_scale=none", "optimizer=sgd"],
    "features, target and learning rate": [
        "data.target=large",
        "data.target_scale=none",
        "data.numeric.scale=none",
        "data.features.include=[far]",
        "optimizer={name: sgd, learning_rate: 100}",
    ],
    "target whose square overflows": ["data.target=huge", "data.target_scale=none"],
    "exponential head": [
        "loss=poisson",
        "data.target=counts",
        "optimizer={name: sgd, learning_rate: 1}",
        "model.layers=[]",
    ],
    "exponential head at the default rate": [
        "loss=poisson",
        "data.target=counts",
        "optimizer=sgd",
        "model.layers=[]",
    ],
    "exponential head on a squared error": [
        "model.head=exponential",
        "data.target=counts",
        "optimizer={name: sgd, learning_rate: 0.02}",
        "model.layers=[]",
    ],
    "already clipped": ["optimizer={name: sgd, learning_rate: 1e12, clip_value: 10}"],
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 150))
    y = a - b + rng.normal(size=150) / 5
    counts = rng.poisson(np.exp(5 + a)).astype(float)
    columns = {"a": a, "b": b, "far": 1e5 * a + 1e6, "y": y, "counts": counts}
    pl.DataFrame({**columns, "large": 1e9 * y + 1e10, "huge": 1e25 * y}).write_csv(
        tmp_path / "table.csv"
    )
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def alternatives(fix: str) -> list[list[str]]:
    """Split `set A: 1 and B: 2, or C: 3` into the overrides `[[A=1, B=2], [C=3]]`."""
    return [
        [part.replace(": ", "=") for part in alternative.split(" and ")]
        for alternative in fix.removeprefix("set ").split(", or ")
    ]


def divergence_problem(config: Path, overrides: list[str]) -> Problem:
    with pytest.raises(DivergedError) as raised:
        run_fit(config, config.parent / "runs", *overrides)
    (problem,) = raised.value.problems
    return problem


@pytest.mark.parametrize("case", slow_except(("target", "exponential head"), DIVERGING))
def test_suggested_fix_prevents_divergence(table: Path, case: str) -> None:
    problem = divergence_problem(table, DIVERGING[case])
    for number, overrides in enumerate(alternatives(problem.fix)):
        done = run_fit(table, table.parent / f"runs{number}", *DIVERGING[case], *overrides)
        losses = [row["loss"] for row in read_log(done.run / "metrics.jsonl")]
        assert len(losses) == 3, (case, overrides)
        assert all(map(math.isfinite, losses)), (case, overrides)


@pytest.mark.slow
def test_pack_reports_nonfinite_weights_like_a_single_run(table: Path) -> None:
    overrides = ["optimizer={name: sgd, learning_rate: 1e12}", "data.split.test=0"]
    with pytest.raises(TrainingError):
        run_members(table, table.parent / "several", *overrides, "fit.repeats=2")
    members = sorted((table.parent / "several").glob("config/*/members/*"))
    assert len(members) == 2
    for member in members:
        (problem,) = RunDirectory(member).read_manifest().problems
        seed = load_config(member / "config.yaml").config.seed
        single = divergence_problem(table, [*overrides, f"seed={seed}", "data.split.seed=0"])
        assert "the first weights that are not finite: network/dense/kernel" in problem.found
        assert (problem.where, problem.found, problem.fix) == (
            single.where,
            single.found,
            single.fix,
        )
