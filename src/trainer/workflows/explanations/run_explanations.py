"""Explanations that a run writes after training: importance, surface, heat maps, changed images.

Importing this module does not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.splits import SplitName
from trainer.engine.base_features import input_columns
from trainer.explain.dependence import surface_json
from trainer.explain.importance import (
    PermutationSettings,
    compute_importance,
    should_compute_importance,
)
from trainer.explain.perturbations import EncodedRows, PredictFn
from trainer.inputs import Inputs
from trainer.metrics.arrays import FloatArray
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.explanations import AUGMENTED
from trainer.runs.files import json_bytes
from trainer.tasks.task import Task
from trainer.workflows.explanations.heat_maps import explain_shown_images
from trainer.workflows.plan import RunPlan

if TYPE_CHECKING:
    import keras

    from trainer.engine.batches import Evaluator
    from trainer.workflows.building import TrainingSetup
    from trainer.workflows.recording import Recording

_SHOWN_POINTS = 1_000
"""Number of rows drawn on a surface, evenly spaced."""


def explain_columns(plan: RunPlan, built: TrainingSetup, record: Recording) -> None:
    """Write permutation importance, and with two numeric features the surface of the predictions, if
    the config enables them.
    """
    settings, dataset = plan.config.evaluate, plan.dataset
    split: SplitName = "validation" if dataset.rows("validation") else "train"
    samples = plan.samples(split)
    if samples is None or (settings.importance == "auto" and not settings.report):
        return
    preprocessing, evaluator = dataset.preprocessing, built.executor.evaluator
    y = plan.task.target_values(plan.task.encode_targets(samples))
    predict = _prediction_function(evaluator, plan.task)
    validation_rows = dataset.rows("validation")
    # An image is the only column, or takes as long as its values.
    image = preprocessing.image
    inputs = sum(prod(spec.shape) for spec in plan.network.trained.inputs)
    columns = len(preprocessing.columns) if image is None else inputs
    is_alone = image is not None and len(preprocessing.columns) == 1
    setting = False if is_alone and settings.importance == "auto" else settings.importance
    if should_compute_importance(setting, validation_rows, columns, inputs):
        record_json = compute_importance(
            plan.task.name,
            EncodedRows(samples.inputs, input_columns(preprocessing, plan.network)),
            y,
            samples.weight,
            predict,
            split,
            PermutationSettings(seed=plan.config.seed, confidence_level=settings.confidence_level),
        )
        record.run.write_explanation("importance.json", json_bytes(record_json))
    names = [column.name for column in preprocessing.columns]
    if set(names) <= set(dataset.table.frame.columns):
        indices = np.unique(np.linspace(0, len(samples.rows) - 1, _SHOWN_POINTS).astype(np.int64))
        surface = surface_json(
            [preprocessing],
            dataset.table.frame.select(names)[samples.rows[indices]],
            plan.task.json_values(y[indices]),
            predict,
            plan.task.prediction_names,
            split,
        )
        if surface is not None:
            record.run.write_explanation("surface.json", json_bytes(surface))


def explain_images(plan: RunPlan, built: TrainingSetup, run: RunDirectory) -> None:
    """Write heat maps of some of the images that the report shows, and changed training images."""
    decisions = read_decisions(run)
    if plan.dataset.preprocessing.image is None or decisions is None:
        return
    from trainer.engine.augmented_examples import augmented_sheet
    from trainer.engine.class_activation import class_activation_maps

    task = plan.task.with_decisions(decisions)
    network, evaluator = _network_of_images(plan, built)
    predict = _prediction_function(evaluator, task)
    activate = partial(class_activation_maps, network)
    explain_shown_images(run, plan.dataset, task, predict, lambda x, *to: activate(x[0], *to))
    if (augment := built.executor.augment) is not None:
        sheet = augmented_sheet(augment, built.training.train, plan.config.fit.batch_size)
        run.write_explanation(AUGMENTED, sheet)


def _network_of_images(plan: RunPlan, built: TrainingSetup) -> tuple[keras.Model, Evaluator]:
    """Return a network of images with the best weights, and its evaluator."""
    if plan.network.trained is plan.network:
        return built.network, built.executor.evaluator
    from trainer.engine.batches import Evaluator
    from trainer.engine.supervised import SupervisedLearner
    from trainer.models.losses import build_loss
    from trainer.models.network import trained_weights

    for variable, value in zip(
        trained_weights(built.saved), built.training.best_weights, strict=True
    ):
        variable.assign(value)
    return built.saved, Evaluator(SupervisedLearner(built.saved, build_loss(plan.task.loss)))


def _prediction_function(evaluator: Evaluator, task: Task) -> PredictFn:
    """Return a function that predicts rows of one encoding with a network in memory."""

    def predict(encoded: Sequence[Inputs]) -> FloatArray:
        return task.point_predictions(task.decode_outputs(evaluator.predict(encoded[0])))

    return predict
