"""Examples of changed training images, to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.image_sheets import sheet_jpeg
from trainer.data.samples import Samples
from trainer.engine.batches import Augment
from trainer.engine.rows import row_keys
from trainer.inputs import IMAGE

_IMAGES, _EPOCHS = 6, 7


def augmented_sheet(augment: Augment, samples: Samples, batch: int) -> bytes:
    """Return a JPEG file with `augmented_examples`, each image in a row."""
    return sheet_jpeg(augmented_examples(augment, samples, batch))


def augmented_examples(augment: Augment, samples: Samples, batch: int) -> NDArray[Any]:
    """Return a few training images as they are and as they are in the first epochs.

    Args:
        augment: Changes a batch; images that are mixed are mixed with others of the same batch.
        samples: The training rows, with targets encoded for the head.
        batch: Rows of a batch, for which the program is compiled already.

    Returns:
        uint8 (images, 1 + epochs, height, width, channels).
    """
    rows = np.linspace(0, len(samples) - 1, min(batch, len(samples))).astype(np.int32)
    shown = np.unique(np.linspace(0, len(rows) - 1, _IMAGES).astype(np.int32))
    images = samples.with_whole_images().inputs[IMAGE][rows]
    weights = () if samples.weight is None else (tf.constant(samples.weight[rows]),)
    arguments = (tf.constant(images), tf.constant(samples.y[rows]), *weights)
    changed = [
        np.asarray(augment(arguments, row_keys(rows, epoch))[0])[shown]
        for epoch in range(1, _EPOCHS + 1)
    ]
    return np.stack([samples.inputs[IMAGE][rows[shown]], *changed], axis=1)
