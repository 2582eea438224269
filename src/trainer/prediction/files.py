"""Predictions for the rows of a file: one output row per input row, in the same order.

A file larger than memory is read, predicted and written in parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path

import polars as pl

from trainer.config.locations import locate_problems
from trainer.data.new_data import PredictionBatch, prediction_batches
from trainer.data.preprocessing import warning_texts
from trainer.data.sources import is_large
from trainer.data.table_writer import csv_bytes, write_table
from trainer.engine import devices
from trainer.engine.selection import exceeds_memory
from trainer.prediction.predictor import Predictor
from trainer.prediction.trained_runs import data_settings_for


@dataclass(frozen=True)
class LazyPredictions:
    """Predictions that are computed while they are consumed.

    Attributes:
        run: The run directory.
        checkpoint: The name of the checkpoint.
        parts: Frames with `row`, the columns passed through, the predictions and `unseen`, one row per
            input row. They can be consumed once.
    """

    run: Path
    checkpoint: str
    parts: Iterator[pl.DataFrame]
    _encoding_warnings: Counter[tuple[str, str]] = field(repr=False)
    _reading: tuple[str, ...] = ()

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Return all parts as one frame."""
        return pl.concat(self.parts)

    def csv(self) -> Iterator[str]:
        """Yield all parts as CSV, some lines at a time, without the final line ending."""
        for number, frame in enumerate(self.parts):
            yield csv_bytes(frame, header=number == 0).decode().removesuffix("\n")

    def write(self, out: Path) -> tuple[int, list[str]]:
        """Write all parts as CSV or Parquet by file extension; completely or not at all.

        Returns:
            The number of rows, and the columns.
        """
        return write_table(self.parts, out)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return warnings about the rows consumed so far."""
        return (*self._reading, *warning_texts(self._encoding_warnings))


def predict_file(
    predictor: Predictor,
    source: Path,
    *,
    keep: tuple[str, ...],
    read_options: Sequence[str] = (),
) -> LazyPredictions:
    """Predict the rows of a file with a trained network.

    For a run with repeats or folds, predictions are means over its members, with standard deviations.

    Args:
        predictor: The run or checkpoint.
        source: The file; it needs the feature columns, not the target.
        keep: Columns of the file to pass through; "*" for all. A column with the name of a result
            column is renamed to `<name>_of_input`.
        read_options: Settings for reading the file, as typed, that differ from those of the run.

    Raises:
        RunError: The run is damaged.
        ConfigError: A setting is invalid.
        DataError: The file lacks columns or cannot be read; for later parts, when they are consumed.
    """
    opened = predictor.members[0]
    data = data_settings_for(opened, source, read_options, "trainer predict")

    def encoded_parts() -> Iterator[tuple[PredictionBatch, ...]]:
        with locate_problems(opened.loaded):
            parts = [
                prediction_batches(data, encoder, keep, streamed=exceeds_memory(data))
                for encoder in predictor.encoders
            ]
            yield from zip(*parts, strict=True)

    rows = encoded_parts()
    with devices.tensorflow_import(in_background=is_large(data)):
        first = next(rows)
    predictor.load_networks()
    encoding_warnings: Counter[tuple[str, str]] = Counter()

    def predicted_parts() -> Iterator[pl.DataFrame]:
        for part in chain([first], rows):
            encoding_warnings.update(part[0].encoded.encoding_warnings)
            yield predictor.predict_encoded_rows(part)

    return LazyPredictions(
        predictor.run.path,
        opened.checkpoint,
        predicted_parts(),
        encoding_warnings,
        first[0].warnings,
    )
