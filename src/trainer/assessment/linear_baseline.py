"""The linear baseline of a run: fitted on the network's training rows, with the same sample
weights.

It uses the same columns, each with a linear effect: numbers are imputed and standardized, without the
quantile transform and smooth clipping that bound them for a network. Values that `data.clean.outliers`
clips are clipped here too, because that setting corrects the data for any model. Texts have the TF-IDF
weights of their terms, which makes it the usual linear model for texts, also of a network on tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from trainer.assessment.baselines import LinearModel, fit_linear, sampled_rows
from trainer.assessment.fold_baselines import COMPARED_SPLITS, Baseline, FoldData, fit_baseline
from trainer.assessment.sparse_terms import SparseTerms
from trainer.assessment.term_weights import largest_term_weights
from trainer.config.data import Data
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import Float32Array
from trainer.data.dataset import Dataset
from trainer.data.preprocessing import Column, Preprocessing
from trainer.data.scratch_arrays import select_rows
from trainer.data.splits import TRAIN, SplitName
from trainer.data.text_fitting import TextAccumulator
from trainer.inputs import CATEGORIES, FEATURES, IMAGE, TERMS, InputArray, Inputs, count_rows
from trainer.metrics.arrays import FloatArray
from trainer.metrics.predictions import Predictions
from trainer.tasks.task import Task

_LEVELS = 256
"""The linear model ignores embedded columns with more levels."""
_PART_ROWS = 65_536
_IMAGE_VALUES = 300
"""Maximum number of values of an image for the linear model."""
_IMAGES = 256


def fit_linear_baseline(config: Config, task: Task, folds: Sequence[FoldData]) -> Baseline:
    """Fit a linear model for each fold.

    Args:
        config: The config of the run.
        task: The task with the decisions of the run.
        folds: The table with its splits, for each fold.
    """
    fitted: list[tuple[Preprocessing, LinearModel]] = []

    def predict(fold: FoldData) -> dict[SplitName, Predictions]:
        start = fitted[-1][1] if fitted else None
        table, model = _fit(config, fold.task, fold.dataset, start)
        fitted.append((table.preprocessing, model))
        predictions = _predict(fold.task, table, model, COMPARED_SPLITS)
        fold.dataset.release_samples()
        return predictions

    baseline = fit_baseline(config, folds, predict)
    return replace(baseline, terms=largest_term_weights(task, fitted))


def linear_predictions(
    config: Config, task: Task, dataset: Dataset, splits: Sequence[SplitName]
) -> dict[SplitName, Predictions]:
    """Return the predictions of a linear model fitted on the training rows.

    Args:
        config: The config of the run; its class weights apply to the linear model too.
        task: The task.
        dataset: The table, split and encoded for the network.
        splits: The splits to predict; splits without rows are omitted.
    """
    table, model = _fit(config, task, dataset)
    return _predict(task, table, model, splits)


def _fit(
    config: Config, task: Task, dataset: Dataset, start: LinearModel | None = None
) -> tuple[Dataset, LinearModel]:
    """Return the table as it is encoded for the linear model, and the model; see `fit_linear`."""
    encoder = _with_terms(config.data, dataset).with_linear_scaling()
    table = dataset if encoder == dataset.preprocessing else dataset.with_preprocessing(encoder)
    samples = table.samples("train")
    assert samples is not None, "a run has training rows"
    train = task.apply_class_weights(task.encode_targets(samples), config.fit.class_weight)
    target = task.target
    # Fit transformed targets too: prices that span orders of magnitude are not a linear
    # function of the features.
    y = samples.y if target.transforms else task.target_values(train)
    weight, inputs = train.weight, train.inputs
    sample = None if IMAGE in inputs else sampled_rows(len(train))
    if sample is not None:
        # Before anything is computed for all rows, which may not fit into memory.
        inputs = {name: select_rows(values[:], sample) for name, values in inputs.items()}
        y, weight = select_rows(y, sample), None if weight is None else weight[sample]
    x = _one_hot(inputs, encoder.embeddings)
    weights = None if weight is None else weight.astype(np.float64)
    return table, fit_linear(target.task, x, y, weights, _terms(inputs, encoder), start)


def _with_terms(data: Data, dataset: Dataset) -> Preprocessing:
    """Return the preprocessing with the terms of a column of tokens in place of the tokens."""
    preprocessing = dataset.preprocessing
    tokens = preprocessing.tokens
    if tokens is None:
        return preprocessing
    accumulator = TextAccumulator(data.text)
    for start, frame in dataset.source.batches([tokens.name]):
        is_train = dataset.assignment[start : start + frame.height] == TRAIN
        accumulator.add(frame[tokens.name].filter(pl.Series(is_train)))
    text = accumulator.fitted(tokens.name)
    columns: list[Column] = []
    for column in preprocessing.columns:
        if column is not tokens:
            columns.append(column)
        elif text is not None:
            columns.append(text)
    return preprocessing.model_copy(update={"columns": tuple(columns)})


def _predict(
    task: Task, table: Dataset, model: LinearModel, splits: Sequence[SplitName]
) -> dict[SplitName, Predictions]:
    """Return the predictions for some splits."""
    target, encoder = task.target, table.preprocessing
    embeddings = encoder.embeddings
    predictions_of_split: dict[SplitName, Predictions] = {}
    for split in splits:
        samples = table.samples(split)
        if samples is None:
            continue
        inputs = samples.inputs
        parts: list[FloatArray] = []
        for start in range(0, count_rows(inputs), _PART_ROWS):
            rows = slice(start, start + _PART_ROWS)
            x, terms = _one_hot(inputs, embeddings, rows), _terms(inputs, encoder, rows)
            parts.append(model.predict(x, terms))
            samples.release_pages()
        predictions: FloatArray = np.concatenate(parts)
        if target.transforms:
            predictions = target.inverse_transform(predictions)
        # The same precision as the network's probabilities: it bounds the log loss near 0 and 1.
        if TASK_RULES[target.task].has_classes:
            predictions = predictions.astype(np.float32)
        predictions_of_split[split] = task.make_predictions(
            task.encode_targets(samples), predictions
        )
    return predictions_of_split


def _one_hot(
    inputs: Inputs, embeddings: Sequence[tuple[int, int]], rows: slice = slice(None)
) -> Float32Array:
    """Return the features of rows, one-hot columns for the categories, and small images."""
    if set(inputs) == {FEATURES}:
        return inputs[FEATURES][rows]
    parts = [np.empty((len(range(*rows.indices(count_rows(inputs)))), 0), np.float32)]
    if FEATURES in inputs:
        parts.append(inputs[FEATURES][rows])
    if IMAGE in inputs:
        parts.append(_small_images(inputs[IMAGE], rows))
    ids = inputs[CATEGORIES][rows] if embeddings else np.empty((0, 0), np.int32)
    for number, (levels, _) in enumerate(embeddings):
        if levels <= _LEVELS:
            parts.append(np.eye(levels, dtype=np.float32)[ids[:, number]])
    return np.concatenate(parts, axis=1)


def _terms(inputs: Inputs, encoder: Preprocessing, rows: slice = slice(None)) -> SparseTerms | None:
    """Return the terms of the texts of rows; None without texts."""
    vectors = encoder.term_vectors
    return None if vectors is None else SparseTerms.from_pairs(inputs[TERMS][rows], vectors[0])


def _small_images(images: InputArray, rows: slice) -> Float32Array:
    """Return the values of images, averaged over a few hundred parts, float32 (n, parts)."""
    start, stop, _ = rows.indices(len(images))
    height, width, channels = images.shape[1:]
    limit = int((_IMAGE_VALUES / channels) ** 0.5)
    tops, lefts = (
        np.linspace(0, side, min(side, limit), endpoint=False).astype(np.int64)
        for side in (height, width)
    )
    areas = np.outer(np.diff(tops, append=height), np.diff(lefts, append=width))[..., None]
    small = np.empty((stop - start, areas.size * channels), np.float32)
    for first in range(start, stop, _IMAGES):
        values = images[first : min(first + _IMAGES, stop)].astype(np.float32)
        sums = np.add.reduceat(np.add.reduceat(values, tops, axis=1), lefts, axis=2)
        means = sums / (255 * areas)
        small[first - start : first - start + len(sums)] = means.reshape(len(sums), -1)
    return small
