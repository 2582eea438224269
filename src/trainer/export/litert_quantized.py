"""The format litert with quantized weights: four times smaller, and integers instead of floats.

A quantized network cannot give the predictions of the run to five digits. It is compared with them by
labels or by the root mean square of the differences, which bound how much a metric can change.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trainer.errors import Problem, RunError
from trainer.export.bundle import Bundle
from trainer.export.check_rows import calibration_rows
from trainer.export.litert_export import UNSEEN, LitertFormat
from trainer.export.schema import Schema


class DynamicLitertFormat(LitertFormat):
    """Weights are int8; activations are quantized while the network computes, or float32."""

    title: ClassVar[str] = (
        "the networks for LiteRT (TensorFlow Lite) with int8 weights, from encoded rows to predictions"
    )
    quantize: ClassVar[str] = "dynamic"

    def write(self, bundle: Bundle, schema: Schema, path: Path) -> None:
        """Write the file."""
        import tensorflow as tf

        converter = self._converter(bundle, schema)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        path.write_bytes(_convert(converter, bundle, "weights that LiteRT can quantize"))


class Int8LitertFormat(LitertFormat):
    """Weights and activations are int8; inputs and outputs are float32.

    The ranges of the activations are those of training rows.
    """

    title: ClassVar[str] = (
        "the networks for LiteRT (TensorFlow Lite) in int8, from encoded rows to predictions"
    )
    quantize: ClassVar[str] = "int8"

    def write(self, bundle: Bundle, schema: Schema, path: Path) -> None:
        """Write the file.

        Raises:
            InputError: The training rows are missing or have changed, or LiteRT cannot compute a layer
                in int8.
        """
        import tensorflow as tf

        frame, images = calibration_rows(bundle)
        inputs = self.encode(bundle, schema, frame, images)
        del inputs[UNSEEN]
        converter = self._converter(bundle, schema)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: _rows(inputs)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        path.write_bytes(_convert(converter, bundle, "layers that LiteRT can compute in int8"))


def _rows(inputs: dict[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield each row as the inputs of a network."""
    for row in range(len(next(iter(inputs.values())))):
        yield {name: np.ascontiguousarray(array[row : row + 1]) for name, array in inputs.items()}


def _convert(converter: Any, bundle: Bundle, expected: str) -> bytes:
    """Return the content of the file.

    Raises:
        RunError: The converter fails.
    """
    try:
        with warnings.catch_warnings():
            # The converter itself uses a class of TensorFlow that has moved to another package.
            warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")
            content: bytes = converter.convert()
    except Exception as error:
        found = next(iter(str(error).strip().splitlines()), type(error).__name__)
        fix = "use --quantize dynamic, or no --quantize"
        raise RunError(Problem(str(bundle.run.path), expected, found, fix)) from error
    return content
