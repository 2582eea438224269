"""Each loss, head and target scale of a regression is refused with a valid fix, or trains."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import polars as pl
import pytest

from trainer.config.conflicts import task_conflicts
from trainer.config.data import TargetScale
from trainer.config.losses import LOSSES
from trainer.config.model import POSITIVE_HEADS, HeadKind
from trainer.config.resolve import resolved_head
from trainer.config.schema import Config
from trainer.data.dataset import Dataset
from trainer.data.prepare import prepare
from trainer.errors import DataError, Problem
from trainer.models.losses import build_loss
from trainer.models.network import build_network
from trainer.tasks.task import make_task

RNG = np.random.default_rng(4)
ROWS = 60
X = RNG.normal(size=ROWS)
TARGETS = {
    "shares": 1 / (1 + np.exp(-X - RNG.normal(size=ROWS))),
    "prices": np.exp(8 + 2 * X),
    "prices with zeros": np.where(RNG.random(ROWS) < 0.3, 0.0, np.exp(8 + 2 * X)).round(2),
    "incomes below 0": 20_000 * X + 3_000,
    "counts with many zeros": RNG.poisson(0.2 * np.exp(X)).astype(float),
    "counts in the thousands": RNG.poisson(3_000 * np.exp(X / 2)).astype(float),
}


def settings(loss: str, head: str, scale: str, path: Path | None = None) -> dict[str, Any]:
    data = {"source": str(path), "target": "y", "task": "regression", "target_scale": scale}
    layers = [{"dense": {"units": 4, "activation": "tanh"}}]
    return {"data": data, "model": {"head": head, "layers": layers}, "loss": {"name": loss}}


def conflicts(config_dict: dict[str, Any]) -> list[Any]:
    config = Config.model_validate(config_dict)
    head = resolved_head(config, "regression")
    return task_conflicts(config, "regression", head, (), True)


def with_fix(config_dict: dict[str, Any], alternative: str) -> dict[str, Any]:
    """Return the settings changed by a fix such as `data.target_scale: auto and model.head: linear`."""
    changed = {key: dict(section) for key, section in config_dict.items()}
    for part in alternative.split(" and "):
        key, value = part.split(": ")
        if key == "loss":
            changed["loss"] = {"name": value}
        else:
            section, name = key.split(".")
            changed[section][name] = value
    return changed


GRID = list(product(LOSSES, ("auto", *get_args(HeadKind)), get_args(TargetScale)))


def alternatives(fix: str) -> list[str]:
    """Split `set A: 1 and B: 2, or C: 3, or correct the rows` into `A: 1 and B: 2` and `C: 3`."""
    parts = fix.removeprefix("set ").removeprefix("train with ").split(", or ")
    return [part.split(", which")[0] for part in parts if ": " in part]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_suggested_fix_works(loss: str) -> None:
    for head, scale in (rest for name, *rest in GRID if name == loss):
        config_dict = settings(loss, head, scale)
        for problem in conflicts(config_dict):
            for fix in alternatives(problem.fix):
                changed = with_fix(config_dict, fix)
                remaining = conflicts(changed)
                assert problem not in remaining, (config_dict, problem, fix)
                # Another setting can be invalid, too; its message has another fix.
                while remaining:
                    changed = with_fix(changed, alternatives(remaining[0].fix)[0])
                    assert remaining[0] not in conflicts(changed), (config_dict, fix, remaining)
                    remaining = conflicts(changed)


def accepted(path: Path) -> list[tuple[str, str, str]]:
    """Return the loss, head and scale of each combination without conflicts."""
    return [
        (loss, head, scale)
        for loss, head, scale in GRID
        # The grid also contains the values that auto resolves to.
        if (head == "auto") == (scale == "auto")
        and not conflicts(settings(loss, head, scale, path))
    ]


def prepared_or_problem(config_dict: dict[str, Any]) -> Dataset | Problem:
    try:
        return prepare(Config.model_validate(config_dict))
    except DataError as error:
        return error.problems[0]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_accepted_settings_train_and_predict_in_the_unit_of_the_target(
    tmp_path: Path, target: str
) -> None:
    y = TARGETS[target]
    path = tmp_path / "table.csv"
    pl.DataFrame({"x": X, "y": y}).write_csv(path)
    # Each combination with two of the six targets.
    offset = [*TARGETS].index(target)
    for loss, head, scale in accepted(path)[offset % 3 :: 3]:
        config_dict = settings(loss, head, scale, path)
        dataset = prepared_or_problem(config_dict)
        if isinstance(dataset, Problem):
            # The logarithm of 0, a share above 1, a negative count, a percentage of 0.
            assert "table.csv:" in dataset.where, (config_dict, dataset)
            for fix in alternatives(dataset.fix):
                fixed = prepared_or_problem(with_fix(config_dict, fix))
                assert isinstance(fixed, Dataset), (config_dict, fix)
            continue
        outputs, losses, task = two_steps(Config.model_validate(config_dict), dataset)
        assert np.isfinite(losses).all(), (config_dict, losses)
        predictions = task.decode_outputs(outputs)
        assert np.isfinite(predictions).all(), config_dict
        if task.head in POSITIVE_HEADS or scale == "log":
            assert (predictions > 0).all(), config_dict
        if "binary" not in loss:
            largest = np.abs(y - y.mean()).max()
            assert np.abs(predictions - y.mean()).max() < 30 * largest + 1, config_dict


def two_steps(config: Config, dataset: Any) -> tuple[Any, list[float], Any]:
    """Train two steps of Adam; return the outputs for the training rows, the losses and the task."""
    task = make_task(config, dataset.preprocessing.target)
    samples = dataset.samples("train")
    network = build_network(
        config, task.network_shape(dataset.preprocessing), task.prior(), allow_custom=False, base=Path(),
    )  # fmt: skip
    loss = build_loss(task.loss)
    optimizer = keras.optimizers.Adam()
    losses = []
    import tensorflow as tf

    for _ in range(2):
        with tf.GradientTape() as tape:
            value = loss(samples.y, network(samples.inputs["features"]))
        gradients = tape.gradient(value, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        losses.append(float(value))
    return np.asarray(network(samples.inputs["features"])), losses, task
