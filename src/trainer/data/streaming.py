"""Prepare a dataset larger than memory: the same splits and fit, with encoded rows on disk.

    files ─ key columns ─► splits ─ a pass over the training rows ─► preprocessing
          ─ a pass over all rows ─► x and y of each split, in unnamed files (`scratch_arrays`)

The target, the weight and a few bytes per row stay in memory. Training and validation rows are encoded
in one pass, test rows in a separate pass when they are needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from trainer.config.schema import Config
from trainer.data.arrays import Assignment
from trainer.data.features import split_column, target_columns
from trainer.data.fitting import ColumnFit
from trainer.data.prepare import SplitTable, split_and_fit, validated_features
from trainer.data.preprocessing import warning_texts
from trainer.data.samples import Samples
from trainer.data.scratch_arrays import ScratchArray, check_free_space
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.data.stream_fitting import fit_stream
from trainer.data.streams import Stream, batch_rows, open_stream


@dataclass(frozen=True)
class StreamedDataset(SplitTable):
    """A dataset on disk; its `table` only has the target, weight and split columns.

    Attributes:
        stream: All columns of all rows.
    """

    stream: Stream
    _encoded: dict[SplitName, Samples] = field(init=False, default_factory=dict, repr=False)

    def samples(self, split: SplitName) -> Samples | None:
        """Return the encoded rows of a split, memory-mapped from a file; None if it has no rows.

        Raises:
            StorageError: If there is not enough disk space.
            DataError: If the files have changed.
        """
        if not self.rows(split):
            return None
        if split not in self._encoded:
            together: tuple[SplitName, ...] = ("train", "validation")
            wanted = together if split in together else (split,)
            self._encoded.update(self._encode([name for name in wanted if self.rows(name)]))
        return self._encoded[split]

    def release_samples(self) -> None:
        """Do nothing: encoded rows are on disk."""

    def _encode(self, splits: Sequence[SplitName]) -> dict[SplitName, Samples]:
        target = self.preprocessing.target
        height = sum(self.rows(split) for split in splits)
        check_free_space(4 * (self.preprocessing.width + target.width) * height)
        parts = {split: _SplitWriter(self, split) for split in splits}
        names = [column.name for column in self.preprocessing.columns]
        step = batch_rows(self.preprocessing.width)
        for start, frame in self.stream.batches(names):
            for first in range(0, frame.height, step):
                batch = frame.slice(first, step)
                codes = self.assignment[start + first : start + first + batch.height]
                for split, part in parts.items():
                    rows = np.flatnonzero(codes == SPLIT_NAMES.index(split))
                    if len(rows):
                        encoded = self.preprocessing.transform(batch, rows)
                        y, _ = self.targets(rows + start + first)
                        part.x.append(encoded.x)
                        part.y.append(y)
                        part.unseen[part.done : part.done + len(rows)] = encoded.unseen
                        part.done += len(rows)
                        part.encoding_warnings.update(encoded.encoding_warnings)
        return {split: part.samples(self) for split, part in parts.items()}


class _SplitWriter:
    """Writes the encoded rows of a split."""

    def __init__(self, table: StreamedDataset, split: SplitName) -> None:
        rows = table.rows(split)
        self.split = split
        self.x = ScratchArray(rows, table.preprocessing.width)
        self.y = ScratchArray(rows, table.preprocessing.target.width)
        self.unseen = np.zeros(rows, dtype=np.bool_)
        self.encoding_warnings: Counter[tuple[str, str]] = Counter()
        self.done = 0

    def samples(self, table: StreamedDataset) -> Samples:
        rows = np.flatnonzero(table.assignment == SPLIT_NAMES.index(self.split))
        return Samples(
            x=self.x.mapped(),
            y=self.y.mapped(),
            weight=None if table.weight is None else table.weight[rows],
            rows=rows,
            unseen=self.unseen,
            warnings=warning_texts(self.encoding_warnings),
            values=table.target_values(rows),
        )


def prepare_streaming(config: Config) -> StreamedDataset:
    """Prepare a dataset without loading it into memory.

    The result is that of `prepare`, except for rounding and, beyond a million values, sampled quantiles
    (`trainer.data.sketches`).

    Args:
        config: Its `data.source` paths are absolute, or relative to the working directory;
            `config.streaming_conflicts` finds nothing in it.

    Raises:
        DataError: If there are problems with files, columns, values or splits; lists all of them.
        StorageError: If there is not enough disk space for the encoded rows.
    """
    data = config.data
    stream = open_stream(data)
    names = validated_features(stream.empty_table, data)
    keys = dict.fromkeys([*target_columns(data), data.weight, split_column(data)])
    table = stream.read_columns([name for name in keys if name is not None])

    def fit(assignment: Assignment) -> ColumnFit:
        return fit_stream(stream, table, names, assignment, data)

    split_table = split_and_fit(config, table, names, fit)
    width = split_table.preprocessing.width + split_table.preprocessing.target.width
    check_free_space(4 * width * table.frame.height)
    return StreamedDataset(**vars(split_table), stream=stream)
