"""A table whose rows are split, with the preprocessing fitted on its training rows.

    any rows ─ transform ─► samples, in memory or in unnamed files (`scratch_arrays`)

The target, the weight and a few bytes per row are in memory, whether or not the features are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import Assignment, BoolArray, Float32Array, Float64Array, RowIndex
from trainer.data.image_cache import CachedImages
from trainer.data.opening import Rows
from trainer.data.preprocessing import Preprocessing, warning_texts
from trainer.data.samples import Samples
from trainer.data.scratch_arrays import ScratchArray, check_free_space
from trainer.data.splits import DROPPED, SPLIT_NAMES, SplitName
from trainer.data.streams import batch_rows
from trainer.data.table_images import check_images
from trainer.data.tables import Table
from trainer.data.values import BLOCK_CELLS, to_text
from trainer.inputs import IMAGE, InputArray, InputSpec
from trainer.metrics.labels import class_totals

NO_TARGET, DUPLICATE, MISSING_VALUE, OUTLIER, LATER, BROKEN_IMAGE = 1, 2, 3, 4, 5, 6
REASONS = {
    NO_TARGET: "no target",
    DUPLICATE: "duplicate",
    MISSING_VALUE: "missing value",
    OUTLIER: "outlier",
    LATER: "later than the fold",
    BROKEN_IMAGE: "broken image",
}
"""Why a row was dropped, by code; 0 means that it was not."""


@dataclass(frozen=True)
class Dataset:
    """A table ready for training.

    Attributes:
        source: All columns of all rows, in memory or on disk.
        table: All rows; at least the target, weight and split columns.
        assignment: int8 (rows,): split code, or DROPPED.
        reasons: int8 (rows,): why a row is dropped, a key of `REASONS`; 0 for the others.
        preprocessing: The fitted preprocessing.
        warnings: Warnings for the user.
        weight: float32 (rows,), the weight column, or None.
        notes: Assumptions, each with the setting that changes it.
        hints: See `Diagnostics.hints`.
        derived: Samples that are computed from those of a split, for networks that share them.
    """

    source: Rows = field(repr=False)
    table: Table
    assignment: Assignment
    reasons: Assignment
    preprocessing: Preprocessing
    warnings: tuple[str, ...]
    weight: Float32Array | None = field(repr=False)
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    derived: dict[Hashable, Samples] = field(init=False, default_factory=dict, repr=False)
    _encoded: dict[SplitName, Samples] = field(init=False, default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # A worker that receives the dataset needs some splits at most, and encodes them itself.
        return {**vars(self), "_encoded": {}, "derived": {}}

    @property
    def dropped(self) -> dict[str, int]:
        """Number of dropped rows by reason."""
        return count_reasons(self.reasons)

    def rows(self, split: SplitName) -> int:
        """Return the number of rows of a split."""
        return int(np.count_nonzero(self.assignment == SPLIT_NAMES.index(split)))

    def classes(self, split: SplitName) -> dict[str, int]:
        """Count the rows of each class, or the positive rows of each label, of a split."""
        target = self.preprocessing.target
        if not TASK_RULES[target.task].has_classes:
            return {}
        rows = np.flatnonzero(self.assignment == SPLIT_NAMES.index(split))
        counts = np.zeros(len(target.names))
        for start in range(0, len(rows), BLOCK_CELLS):
            y, _ = self.targets(rows[start : start + BLOCK_CELLS])
            counts += class_totals(target.task, y)
        return {name: int(count) for name, count in zip(target.names, counts, strict=True)}

    def targets(self, rows: RowIndex) -> tuple[Float32Array, BoolArray]:
        """Return the encoded targets of some rows; see `FittedTarget.encode`."""
        target = self.preprocessing.target
        return target.encode(self.table.frame.select(target.columns)[rows])

    def with_preprocessing(self, preprocessing: Preprocessing) -> Dataset:
        """Return a copy with another preprocessing."""
        return replace(self, preprocessing=preprocessing)

    def images(self) -> CachedImages | None:
        """Return the images of all rows, decoded at the first call; None if there are none.

        Raises:
            DataError: Images of rows that are not dropped are broken.
            StorageError: There is not enough disk space for decoded images.
        """
        column = self.preprocessing.image
        if column is None:
            return None
        images = column.load(self.table.frame[column.name])
        check_images(images, self.table, column.name, self.assignment != DROPPED)
        return images

    def target_values(self, rows: RowIndex) -> Float64Array | None:
        """Return the regression targets of some rows; see `FittedTarget.values`."""
        target = self.preprocessing.target
        return target.values(self.table.frame.select(target.columns)[rows])

    def target_texts(self, rows: RowIndex) -> pl.Series | None:
        """Return the targets of some rows as in the table; None if they are no texts."""
        target = self.preprocessing.target
        if target.text is None:
            return None
        return to_text(self.table.frame[target.columns[0]].gather(rows)).fill_null("")

    def samples(self, split: SplitName) -> Samples | None:
        """Return the encoded rows of a split, always the same object; None if it has no rows.

        Those of a stream are memory-mapped from a file; training and validation rows are encoded in the
        same pass.

        Raises:
            StorageError: If there is not enough disk space.
            DataError: If the files of a stream have changed.
        """
        if split not in self._encoded and self.rows(split):
            together: tuple[SplitName, ...] = ("train", "validation")
            is_alone = self.source.in_memory or split not in together
            splits = (split,) if is_alone else together
            self._encoded.update(self._encode([name for name in splits if self.rows(name)]))
        return self._encoded.get(split)

    def release_samples(self) -> None:
        """Free the memory of encoded rows, which are encoded again when needed."""
        self.derived.clear()
        if self.source.in_memory:
            self._encoded.clear()

    def check_free_space(self, rows: int) -> None:
        """Check that there is disk space for some encoded rows, unless they stay in memory.

        Raises:
            StorageError: If there is not.
        """
        if not self.source.in_memory:
            image = self.preprocessing.image
            decoded = 0 if image is None else image.spec.row_bytes
            check_free_space((self.preprocessing.row_bytes - decoded) * rows)

    def _encode(self, splits: Sequence[SplitName]) -> dict[SplitName, Samples]:
        self.check_free_space(sum(self.rows(split) for split in splits))
        images = self.images()
        parts = {split: _SplitEncoder(self, split, images) for split in splits}
        names = [column.name for column in self.preprocessing.columns]
        for start, frame in self.source.batches(names):
            in_memory = self.source.in_memory
            step = frame.height if in_memory else batch_rows(self.preprocessing.width)
            for first in range(0, frame.height, step):
                for part in parts.values():
                    part.add(frame.slice(first, step), start + first)
        return {split: part.samples() for split, part in parts.items()}


class _SplitEncoder:
    """Encodes the rows of a split, batch by batch."""

    def __init__(self, dataset: Dataset, split: SplitName, images: CachedImages | None) -> None:
        self._dataset = dataset
        self._is_training = split == "train"
        self._rows = np.flatnonzero(dataset.assignment == SPLIT_NAMES.index(split))
        self._images = None if images is None else images.select(self._rows)
        self._inputs = {
            spec.name: self._array(spec)
            for spec in dataset.preprocessing.inputs
            if spec.name != IMAGE
        }
        target = dataset.preprocessing.target
        self._y = self._array(InputSpec("y", (target.width,), "float32"))
        self._unseen: list[BoolArray] = []
        self._encoding_warnings: Counter[tuple[str, str]] = Counter()

    def add(self, batch: pl.DataFrame, start: int) -> None:
        """Encode the rows of the split in a batch, which begins at row `start`."""
        first, last = np.searchsorted(self._rows, (start, start + batch.height))
        if first == last:
            return
        rows = self._rows[first:last]
        has_all_rows = len(rows) == batch.height
        encoded = self._dataset.preprocessing.transform(
            batch,
            None if has_all_rows else rows - start,
            rows if self._is_training else None,
            self._images,
        )
        for name, parts in self._inputs.items():
            parts.append(encoded.inputs[name][:])
        self._y.append(self._dataset.targets(rows)[0])
        self._unseen.append(encoded.unseen)
        self._encoding_warnings.update(encoded.encoding_warnings)

    def samples(self) -> Samples:
        """Return the encoded rows."""
        weight = self._dataset.weight
        inputs: dict[str, InputArray] = {
            name: _whole(parts) for name, parts in self._inputs.items()
        }
        if self._images is not None:
            inputs[IMAGE] = self._images
        return Samples(
            inputs=inputs,
            y=_whole(self._y),
            weight=None if weight is None else weight[self._rows],
            rows=self._rows,
            unseen=np.concatenate(self._unseen),
            warnings=warning_texts(self._encoding_warnings),
            values=self._dataset.target_values(self._rows),
            texts=self._dataset.target_texts(self._rows),
        )

    def _array(self, spec: InputSpec) -> list[NDArray[Any]] | ScratchArray:
        if self._dataset.source.in_memory:
            return []
        return ScratchArray(len(self._rows), spec.shape, spec.dtype)


def _whole(parts: list[NDArray[Any]] | ScratchArray) -> NDArray[Any]:
    """Return all rows, which are one batch if they are in memory."""
    if isinstance(parts, ScratchArray):
        return parts.mapped()
    (combined,) = parts
    return combined


def count_reasons(reasons: Assignment) -> dict[str, int]:
    """Return the number of dropped rows by reason."""
    counts = {name: int(np.count_nonzero(reasons == code)) for code, name in REASONS.items()}
    return {name: count for name, count in counts.items() if count}
