"""A table larger than memory: the same splits, the same fit, and samples on disk.

    files ─ key columns ─► splits ─ a pass over the training rows ─► preprocessing
          ─ a pass over all rows ─► x and y of each split, in files without a name (`scratch`)

In memory stay the target, the weight and a few bytes a row. Training and validation rows are encoded
in one pass, test rows in their own when they are asked for.

Owns: the order of it all. Does not own: any of the steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from trainer.config.schema import Config
from trainer.data.arrays import Assignment
from trainer.data.features import split_column, target_columns
from trainer.data.fitting import ColumnFit
from trainer.data.prepare import SplitTable, split_and_fit, validated_features
from trainer.data.preprocessing import Preprocessing, warning_texts
from trainer.data.samples import Samples
from trainer.data.scratch_arrays import ScratchArray, check_free_space
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.data.stream_fitting import fit_stream
from trainer.data.streams import Stream, batch_rows, open_stream


@dataclass(frozen=True)
class StreamedDataset(SplitTable):
    """A table on disk; its `table` has the target and weight columns only.

    Attributes:
        stream: All columns of all rows.
    """

    stream: Stream
    _encoded: dict[SplitName, Samples] = field(default_factory=dict, repr=False)

    def samples(self, split: SplitName) -> Samples | None:
        """The rows of a split as numbers, mapped into memory from a file; None when it has none.

        Raises:
            StorageError: There is no room for them.
            DataError: The files are no longer what they were.
        """
        if not self.rows(split):
            return None
        if split not in self._encoded:
            together: tuple[SplitName, ...] = ("train", "validation")
            wanted = together if split in together else (split,)
            self._encoded.update(self._encode([name for name in wanted if self.rows(name)]))
        return self._encoded[split]

    def with_preprocessing(self, preprocessing: Preprocessing) -> Self:
        """The same rows and splits, encoded otherwise."""
        return replace(self, preprocessing=preprocessing, _encoded={})

    def _encode(self, splits: Sequence[SplitName]) -> dict[SplitName, Samples]:
        target = self.preprocessing.target
        rows = sum(self.rows(split) for split in splits)
        check_free_space(4 * (self.preprocessing.width + target.width) * rows)
        parts = {split: _Part(self, split) for split in splits}
        names = [column.name for column in self.preprocessing.columns]
        step = batch_rows(self.preprocessing.width)
        for start, frame in self.stream.batches(names):
            for first in range(0, frame.height, step):
                batch = frame.slice(first, step)
                here = self.assignment[start + first : start + first + batch.height]
                for split, part in parts.items():
                    at = np.flatnonzero(here == SPLIT_NAMES.index(split))
                    if len(at):
                        encoded = self.preprocessing.transform(batch, at)
                        y, _ = self.targets(at + start + first)
                        part.x.append(encoded.x)
                        part.y.append(y)
                        part.unseen[part.done : part.done + len(at)] = encoded.unseen
                        part.done += len(at)
                        part.encoding_warnings.update(encoded.encoding_warnings)
        return {split: part.samples(self) for split, part in parts.items()}


class _Part:
    """The samples of a split while they are written."""

    def __init__(self, table: StreamedDataset, split: SplitName) -> None:
        rows = table.rows(split)
        self.split = split
        self.x = ScratchArray(rows, table.preprocessing.width)
        self.y = ScratchArray(rows, table.preprocessing.target.width)
        self.unseen = np.zeros(rows, dtype=np.bool_)
        self.encoding_warnings: Counter[tuple[str, str]] = Counter()
        self.done = 0

    def samples(self, table: StreamedDataset) -> Samples:
        at = np.flatnonzero(table.assignment == SPLIT_NAMES.index(self.split))
        return Samples(
            x=self.x.mapped(),
            y=self.y.mapped(),
            weight=None if table.weight is None else table.weight[at],
            rows=at,
            unseen=self.unseen,
            warnings=warning_texts(self.encoding_warnings),
            values=table.target_values(at),
        )


def prepare_streaming(config: Config) -> StreamedDataset:
    """Split and fit a table without holding it in memory.

    What `prepare` gives, but for rounding and, beyond a million values, sampled quantiles
    (`trainer.data.sketches`).

    Args:
        config: Its `data.source` paths are absolute, or relative to the working directory;
            `config.streaming_conflicts` finds nothing in it.

    Raises:
        DataError: Files, columns, values, splits; with every problem that could be found.
        StorageError: There is no room on disk for the encoded rows.
    """
    data = config.data
    stream = open_stream(data)
    names = validated_features(stream.empty_table, data)
    keys = dict.fromkeys([*target_columns(data), data.weight, split_column(data)])
    table = stream.read_columns([name for name in keys if name is not None])

    def fit(assignment: Assignment) -> ColumnFit:
        return fit_stream(stream, table, names, assignment, data)

    division = split_and_fit(config, table, names, fit)
    width = division.preprocessing.width + division.preprocessing.target.width
    check_free_space(4 * width * table.frame.height)
    return StreamedDataset(**vars(division), stream=stream)
