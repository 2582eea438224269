"""Write the images that the report of a run shows. No TensorFlow."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np

from trainer.assessment.image_examples import choose_image_examples
from trainer.data.dataset import Dataset
from trainer.data.splits import SplitName
from trainer.data.thumbnails import thumbnails
from trainer.errors import InputError
from trainer.metrics.predictions import Predictions
from trainer.runs.directory import RunDirectory
from trainer.runs.images import ImagesFile, ShownImage, write_images

_MAX_BYTES = 1_200_000
"""With text, plots and heat maps, and most images twice, the page stays below 5 MB."""
_EXPLAINED = 6


def write_image_examples(
    run: RunDirectory,
    dataset: Dataset,
    predictions: Mapping[SplitName, Predictions],
    threshold: float,
) -> None:
    """Write small images of mistakes and of correct predictions, if the data have images.

    Args:
        run: The run directory.
        dataset: The table of the run.
        predictions: The predictions by split; those of the test rows are shown, if there are any.
        threshold: The threshold of the positive class, or of labels.

    Raises:
        StorageError: The run directory cannot be written.
    """
    column = dataset.preprocessing.image
    if column is None or not predictions:
        return
    splits: tuple[SplitName, ...] = ("test", "validation", "train")
    split = next(name for name in splits if name in predictions)
    shown = predictions[split]
    examples = choose_image_examples(shown, threshold)
    rows = shown.rows[np.array(examples.positions, np.int64)]
    try:
        images = dataset.images()
    except InputError:
        # Files were changed or deleted after training; the rest of the report does not need them.
        return
    assert images is not None, "the dataset has a column of images"
    files = thumbnails(list(images[rows]), _MAX_BYTES)
    paths = dataset.table.frame[column.name].gather(rows).to_list()
    explained = [*examples.mistakes[:_EXPLAINED], *examples.correct[:_EXPLAINED]]
    write_images(
        run,
        ImagesFile(
            split,
            tuple(
                ShownImage(int(row), path, base64.b64encode(file).decode())
                for row, path, file in zip(rows, paths, files, strict=True)
            ),
            tuple(int(shown.rows[position]) for position in explained),
        ),
    )
