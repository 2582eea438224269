"""Every loss, head and target scale of a regression: refused with advice that works, or trained."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import polars as pl
import pytest

from tests.marks import slow_except
from trainer.config.conflicts import task_conflicts
from trainer.config.data import TargetScale
from trainer.config.model import HeadKind
from trainer.config.objectives import LOSS_HEADS, POSITIVE_HEADS
from trainer.config.resolve import resolved_head
from trainer.config.schema import Config
from trainer.data.dataset import Dataset
from trainer.data.prepare import prepare
from trainer.errors import DataError, Problem
from trainer.models.losses import build_loss
from trainer.models.network import build_network
from trainer.workflows.task import make_task

DRAW = np.random.default_rng(4)
ROWS = 60
X = DRAW.normal(size=ROWS)
TARGETS = {
    "shares": 1 / (1 + np.exp(-X - DRAW.normal(size=ROWS))),
    "prices": np.exp(8 + 2 * X),
    "prices with zeros": np.where(DRAW.random(ROWS) < 0.3, 0.0, np.exp(8 + 2 * X)).round(2),
    "incomes below 0": 20_000 * X + 3_000,
    "counts with many zeros": DRAW.poisson(0.2 * np.exp(X)).astype(float),
    "counts in the thousands": DRAW.poisson(3_000 * np.exp(X / 2)).astype(float),
}


def settings(loss: str, head: str, scale: str, path: Path | None = None) -> dict[str, Any]:
    data = {"source": str(path), "target": "y", "task": "regression", "target_scale": scale}
    layers = [{"dense": {"units": 4, "activation": "tanh"}}]
    return {"data": data, "model": {"head": head, "layers": layers}, "loss": {"name": loss}}


def refusals(given: dict[str, Any]) -> list[Any]:
    config = Config.model_validate(given)
    head = resolved_head(config, "regression")
    return task_conflicts(config, "regression", head, (), True)


def with_fix(given: dict[str, Any], way: str) -> dict[str, Any]:
    """The settings after `data.target_scale: auto and model.head: linear`."""
    changed = {key: dict(section) for key, section in given.items()}
    for part in way.split(" and "):
        key, value = part.split(": ")
        if key == "loss":
            changed["loss"] = {"name": value}
        else:
            section, name = key.split(".")
            changed[section][name] = value
    return changed


GRID = list(product(LOSS_HEADS, ("auto", *get_args(HeadKind)), get_args(TargetScale)))


def ways_out(fix: str) -> list[str]:
    """`set A: 1 and B: 2, or C: 3, or correct the rows` → the settings of each way."""
    ways = fix.removeprefix("set ").removeprefix("train with ").split(", or ")
    return [way.split(", which")[0] for way in ways if ": " in way]


@pytest.mark.parametrize("loss", LOSS_HEADS)
def test_each_way_out_of_a_refusal_works(loss: str) -> None:
    for _, head, scale in (one for one in GRID if one[0] == loss):
        given = settings(loss, head, scale)
        for problem in refusals(given):
            for way in ways_out(problem.fix):
                changed = with_fix(given, way)
                left = refusals(changed)
                assert problem not in left, (given, problem, way)
                # Another setting can be invalid, too; its own message fixes it.
                while left:
                    changed = with_fix(changed, ways_out(left[0].fix)[0])
                    assert left[0] not in refusals(changed), (given, way, left)
                    left = refusals(changed)


def prepared_or_problem(given: dict[str, Any]) -> Dataset | Problem:
    try:
        return prepare(Config.model_validate(given))
    except DataError as error:
        return error.problems[0]


@pytest.mark.parametrize("target", slow_except(("counts with many zeros",), TARGETS))
def test_what_is_not_refused_trains_and_predicts_in_the_unit(tmp_path: Path, target: str) -> None:
    y = TARGETS[target]
    path = tmp_path / "table.csv"
    pl.DataFrame({"x": X, "y": y}).write_csv(path)
    for loss, head, scale in GRID:
        given = settings(loss, head, scale, path)
        # The value that auto resolves to is in the grid, too.
        if (head == "auto") != (scale == "auto") or refusals(given):
            continue
        dataset = prepared_or_problem(given)
        if isinstance(dataset, Problem):
            # A logarithm of 0, a share above 1, a negative count, a percentage of 0.
            assert "table.csv:" in dataset.where, (given, dataset)
            for way in ways_out(dataset.fix):
                assert isinstance(prepared_or_problem(with_fix(given, way)), Dataset), (
                    given,
                    way,
                )
            continue
        outputs, losses, task = two_steps(Config.model_validate(given), dataset)
        assert np.isfinite(losses).all(), (given, losses)
        predictions = task.decode_outputs(outputs)
        assert np.isfinite(predictions).all(), given
        if task.head in POSITIVE_HEADS or scale == "log":
            assert (predictions > 0).all(), given
        if "binary" not in loss:
            spread = np.abs(y - y.mean()).max()
            assert np.abs(predictions - y.mean()).max() < 30 * spread + 1, given


def two_steps(config: Config, dataset: Any) -> tuple[Any, list[float], Any]:
    """The outputs for the training rows after two steps of Adam, and the losses."""
    task = make_task(config, dataset.preprocessing.target)
    samples = dataset.samples("train")
    network = build_network(
        config, dataset.preprocessing.width, (), task.head, task.outputs,
        task.prior(), allow_custom=False, base=Path(),
    )  # fmt: skip
    loss = build_loss(config.loss, task.loss)
    optimizer = keras.optimizers.Adam()
    losses = []
    import tensorflow as tf

    for _ in range(2):
        with tf.GradientTape() as tape:
            value = loss(samples.y, network(samples.x))
        gradients = tape.gradient(value, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        losses.append(float(value))
    return np.asarray(network(samples.x)), losses, task
