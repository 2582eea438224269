"""Where a network looked: class activation and occlusion maps of images, written to `explanation/`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.arrays import Float32Array
from trainer.data.dataset import Dataset
from trainer.data.opening import gather_rows
from trainer.data.preprocessing import Preprocessing
from trainer.data.splits import SplitName
from trainer.data.thumbnails import heat_map_file
from trainer.explain.explained_outputs import explained_outputs
from trainer.explain.occlusion import occlusion_maps
from trainer.explain.perturbations import PredictFn
from trainer.inputs import IMAGE, Inputs
from trainer.metrics.arrays import FloatArray, Int64Array
from trainer.prediction.predictor import Predictor, open_predictor
from trainer.report.text import number
from trainer.runs.archives import write_arrays
from trainer.runs.directory import RunDirectory
from trainer.runs.heat_maps import HeatMap, HeatMapsFile, write_heat_maps
from trainer.runs.images import read_images
from trainer.tasks.task import Task
from trainer.workflows.explanations.explained_rows import ExplainedRows, draw_rows

ActivationFn = Callable[[Sequence[Inputs], Int64Array, Int64Array], Float32Array | None]
"""Inputs in each encoding, units and signs → maps; see `class_activation_maps`."""

_DRAWN = 12


@dataclass(frozen=True, slots=True, eq=False)
class ImageRows:
    """Rows whose images are explained.

    Attributes:
        source: Their split or file.
        numbers: Their row numbers.
        paths: The files of their images.
        encodings: Their inputs in each encoding.
        actual: Their targets as text; None if there are none.
    """

    source: str
    numbers: Sequence[int]
    paths: Sequence[str]
    encodings: Sequence[Inputs]
    actual: Sequence[str] | None


def image_rows(
    source: str,
    numbers: Sequence[int],
    frame: pl.DataFrame,
    encoders: Sequence[Preprocessing],
    actual: Sequence[str] | None = None,
) -> ImageRows:
    """Encode rows of a table with a column of images.

    Args:
        source: Their split or file.
        numbers: Their row numbers.
        frame: The feature columns.
        encoders: The encoders.
        actual: Their targets as text.
    """
    image = encoders[0].image
    assert image is not None, "the table has a column of images"
    paths = frame[image.name].cast(pl.String).fill_null("").to_list()
    encodings = [encoder.transform(frame).inputs for encoder in encoders]
    return ImageRows(source, numbers, paths, encodings, actual)


def dataset_rows(
    dataset: Dataset, split: str, rows: Sequence[int], encoders: Sequence[Preprocessing], task: Task
) -> ImageRows:
    """Encode rows of a run, in the given order."""
    ordered = np.unique(np.array(rows, np.int64))
    names = [column.name for column in dataset.preprocessing.columns]
    frame = gather_rows(dataset.source, names, ordered)[np.searchsorted(ordered, rows)]
    actual = target_texts(task, dataset, np.array(rows, np.int64))
    return image_rows(split, rows, frame, encoders, actual)


def target_texts(task: Task, dataset: Dataset, rows: Int64Array) -> list[str]:
    """Return the targets of rows as text: a class, labels, or the first number."""
    rules, target = task.kind.rules, task.target
    if rules.has_numbers:
        values = dataset.target_values(rows)
        assert values is not None, "numbers have values"
        return [number(float(value)) for value in values[:, 0]]
    y, _ = dataset.targets(rows)
    if rules.is_exclusive:
        return list(task.json_values(y))
    return [
        ", ".join(name for name, value in zip(target.names, row, strict=True) if value > 0.5)
        or "none"
        for row in y
    ]


def explain_images(
    run: RunDirectory, task: Task, rows: ImageRows, predict: PredictFn, activate: ActivationFn
) -> tuple[HeatMapsFile, tuple[str, ...]]:
    """Write the heat maps of rows.

    Args:
        run: The run directory.
        task: The task, with the decisions of the run.
        rows: The rows.
        predict: The predict function.
        activate: Computes class activation maps.

    Returns:
        What was written, and the names of the files.

    Raises:
        StorageError: A file cannot be written.
    """
    predictions: FloatArray = predict(rows.encodings)
    outputs = explained_outputs(task, predictions)
    occlusion = occlusion_maps(predict, rows.encodings, outputs.scores)
    activation = activate(rows.encodings, outputs.units, outputs.signs)
    layers: list[NDArray[Any]] = [occlusion]
    if activation is not None:
        layers.insert(0, activation)
    images = np.asarray(rows.encodings[0][IMAGE][:])
    pictures = [
        heat_map_file(pixels, [layer[index] for layer in layers])
        for index, pixels in enumerate(images)
    ]
    actual: Sequence[str | None] = rows.actual or [None] * len(images)
    record = HeatMapsFile(
        rows.source,
        activation is not None,
        tuple(
            HeatMap(int(row), path, name, float(score), truth)
            for row, path, name, score, truth in zip(
                rows.numbers, rows.paths, outputs.names, outputs.scores(predictions), actual,
                strict=True,
            )
        ),
    )  # fmt: skip
    arrays: dict[str, Any] = {
        "rows": np.array(rows.numbers, np.int64),
        "occlusion": occlusion.astype(np.float32),
    }
    if activation is not None:
        arrays["class_activation"] = activation
    content = BytesIO()
    write_arrays(content, arrays)
    return record, write_heat_maps(run, record, pictures, content.getvalue())


def explain_shown_images(
    run: RunDirectory, dataset: Dataset, task: Task, predict: PredictFn, activate: ActivationFn
) -> None:
    """Write heat maps of some of the images that the report of a run shows; see `explain_images`."""
    images = read_images(run)
    if images is not None and images.explained:
        encoders = [dataset.preprocessing]
        rows = dataset_rows(dataset, images.split, images.explained, encoders, task)
        explain_images(run, task, rows, predict, activate)


def explain_shown_images_of_members(
    run: RunDirectory,
    dataset: Dataset,
    *,
    device: Literal["auto", "cpu", "gpu"],
    allow_custom: bool,
) -> None:
    """Write heat maps for the ensemble of finished members; see `explain_shown_images`.

    Args:
        run: The run directory.
        dataset: The table of one of the members.
        device: The device to use.
        allow_custom: Whether custom layers are allowed.
    """
    images = read_images(run)
    if images is None or not images.explained:
        return
    predictor = open_predictor(run.path, device=device, allow_custom=allow_custom)
    task, encoders = predictor.task, predictor.encoders
    rows = dataset_rows(dataset, images.split, images.explained, encoders, task)
    activate = predictor.class_activation_maps
    explain_images(run, task, rows, predictor.predict_mean, activate)


def images_to_explain(
    predictor: Predictor,
    table: Dataset,
    rows: ExplainedRows | None,
    split: SplitName | None,
) -> ImageRows:
    """Return the given rows, else some of the split, else those that the report shows with heat maps.

    Raises:
        RunError: The split has no rows.
    """
    run, task, encoders = predictor.run, predictor.task, predictor.encoders
    if rows is None:
        images = read_images(run) if split is None else None
        if images is not None and images.explained:
            return dataset_rows(table, images.split, images.explained, encoders, task)
        splits: tuple[SplitName, ...] = ("test", "validation", "train")
        first: SplitName = next(name for name in splits if table.rows(name))
        drawn = split or first
        sample = draw_rows(predictor.members[0], table, drawn, _DRAWN)
        rows = ExplainedRows(drawn, sample.rows.tolist(), sample.frame, are_of_run=True)
    actual = None
    if rows.are_of_run:
        actual = target_texts(task, table, np.array(rows.numbers))
    return image_rows(rows.source, rows.numbers, rows.frame, encoders, actual)
