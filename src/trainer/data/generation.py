"""Prepare the rows that a generator learns from: read, split, and fit an encoding that can be inverted.

files ─ open_table ─► table ─ assign_splits ─► assignment ─ fit ─► GeneratedRows
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.resolve import resolved_split_seed
from trainer.config.schema import Config
from trainer.data.arrays import Assignment, BoolArray
from trainer.data.assignment import assign_splits
from trainer.data.column_settings import explicit_kind
from trainer.data.dataset import BROKEN_IMAGE, LATER, NO_TARGET, count_reasons
from trainer.data.features import feature_columns, target_columns
from trainer.data.generated_columns import (
    GeneratedColumn,
    GeneratedImages,
    GeneratedRows,
    one_hot,
)
from trainer.data.generation_fitting import fit_columns, fit_images
from trainer.data.image_cache import CachedImages
from trainer.data.image_decoding import Geometry
from trainer.data.opening import open_table
from trainer.data.samples import Samples
from trainer.data.spellings import natural_sort, parse_number
from trainer.data.splits import DROPPED, SPLIT_NAMES, TRAIN, SplitName
from trainer.data.table_images import broken_images, check_images, image_feature
from trainer.data.tables import Table
from trainer.data.tasks import task_of_classes
from trainer.data.values import level_text, number_matrix
from trainer.errors import DataError, Problem, pluralize
from trainer.inputs import IMAGE, InputArray

MAX_CLASSES = 1_000
_MAX_INFERRED_CLASSES = 20


@dataclass(frozen=True)
class GenerationData:
    """A table whose rows are split, with the encoding fitted on its training rows.

    Attributes:
        table: All rows.
        assignment: int8 (rows,): split code, or DROPPED.
        reasons: int8 (rows,): why a row is dropped; see `trainer.data.dataset.REASONS`.
        preprocessing: The fitted encoding.
        warnings: Warnings for the user.
        notes: Assumptions, each with the setting that changes it.
    """

    table: Table
    assignment: Assignment
    reasons: Assignment
    preprocessing: GeneratedRows
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    _images: list[CachedImages] = field(default_factory=list, repr=False)

    @property
    def dropped(self) -> dict[str, int]:
        """Number of dropped rows by reason."""
        return count_reasons(self.reasons)

    def rows(self, split: SplitName) -> int:
        """Return the number of rows of a split."""
        return int(np.count_nonzero(self.assignment == SPLIT_NAMES.index(split)))

    def classes(self, split: SplitName) -> dict[str, int]:
        """Count the rows of each class of a split; empty without classes."""
        names = self.preprocessing.classes
        codes = self._codes(np.flatnonzero(self.assignment == SPLIT_NAMES.index(split)))
        if not names:
            return {}
        counts = np.bincount(codes[codes >= 0], minlength=len(names))
        return dict(zip(names, counts.tolist(), strict=True))

    def frame(self, split: SplitName) -> pl.DataFrame:
        """Return the columns of the rows of a split."""
        rows = np.flatnonzero(self.assignment == SPLIT_NAMES.index(split))
        names = [column.name for column in self.preprocessing.columns]
        return self.table.frame.select(names)[rows]

    def samples(self, split: SplitName, *, training: bool = False) -> Samples | None:
        """Return the encoded rows of a split, with the classes one-hot as `y`; None without rows.

        Args:
            split: The split.
            training: Whether they are trained on; see `GeneratedNumber.encode`.
        """
        rows = np.flatnonzero(self.assignment == SPLIT_NAMES.index(split))
        if not len(rows):
            return None
        spec = self.preprocessing.spec
        values: InputArray
        if spec.name == IMAGE:
            values = self._pixels(rows)
        else:
            values = self.preprocessing.encode(self.frame(split), training=training)
        y = one_hot(self._codes(rows), len(self.preprocessing.classes))
        return Samples({spec.name: values}, y, None, rows, np.zeros(len(rows), np.bool_))

    def _codes(
        self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        target = self.preprocessing.target
        if target is None:
            return np.full(len(rows), -1, np.int64)
        return self.preprocessing.class_codes(self.table.frame[target].gather(rows))

    def _pixels(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> InputArray:
        images = self.preprocessing.images
        assert images is not None
        if images.path is None:
            return images.encode(number_matrix(self.table.frame[rows], images.pixels))
        if not self._images:
            cached = _load(self.table, images)
            check_images(cached, self.table, images.path, self.assignment != DROPPED)
            self._images.append(cached)
        return self._images[0].select(rows)


def prepare_generation(config: Config) -> GenerationData:
    """Prepare the rows of a config of task: generate.

    Raises:
        DataError: There are problems with files, columns, values or splits; lists all of them.
        StorageError: There is not enough disk space for decoded images.
    """
    data = config.data
    table = open_table(data, streamed=False).header
    names, problems = feature_columns(table, data)
    if problems:
        raise DataError(problems)
    target = next(iter(target_columns(data)), None)
    image = image_feature(data, names)
    has_target = np.ones(table.frame.height, np.bool_)
    if target is not None:
        has_target = ~table.frame[target].is_null().to_numpy()
    classes = _classes(table, target, has_target, config)
    broken, warnings = np.zeros_like(has_target), list[str]()
    if image is not None and data.image.broken == "drop":
        broken, warnings = broken_images(table, image, data)
    assignment = assign_splits(
        table, _split_settings(data, classes), resolved_split_seed(config), has_target & ~broken
    )
    reasons = np.zeros_like(assignment)
    reasons[~has_target] = NO_TARGET
    reasons[has_target & broken] = BROKEN_IMAGE
    reasons[has_target & ~broken & (assignment == DROPPED)] = LATER
    training = assignment == TRAIN
    columns: tuple[GeneratedColumn, ...] = ()
    images, notes = None, list[str]()
    if image is not None or config.generation.image is not None:
        images = fit_images(table, names, image, training, config)
    else:
        generated = [name for name in table.frame.columns if name in {*names, target}]
        if config.generation.condition:
            generated.remove(str(target))
        columns, column_warnings, notes = fit_columns(table, generated, training, data)
        warnings += column_warnings
    counts = _class_counts(table, target, classes, training)
    rows = GeneratedRows(
        rows=int(np.count_nonzero(training)),
        columns=columns,
        images=images,
        target=target if classes else None,
        classes=classes,
        class_counts=counts,
        condition=config.generation.condition,
    )
    dropped = [
        f"{pluralize(count, 'row')} dropped: {reason}"
        for reason, count in count_reasons(reasons).items()
    ]
    return GenerationData(
        table, assignment, reasons, rows, (*table.warnings, *dropped, *warnings), tuple(notes)
    )


def _split_settings(data: Data, classes: Sequence[str]) -> Data:
    """Return the settings for `assign_splits`, which otherwise infers the task from the target."""
    by = data.split.by
    if by == "auto":
        by = "stratified" if classes else "random"
    if by == "stratified" and not classes:
        fix = "set data.target, or data.split.by: random"
        found = "none"
        raise DataError(Problem("", "classes to split by", found, fix, "data.split.by"))
    split = data.split.model_copy(update={"by": by})
    task = task_of_classes(len(classes)) if classes else data.task
    return data.model_copy(update={"split": split, "task": task})


def _classes(
    table: Table, target: str | None, has_target: BoolArray, config: Config
) -> tuple[str, ...]:
    """Return the classes of the target; empty if it has numbers, or without one."""
    if target is None:
        return ()
    series = table.frame[target].filter(pl.Series(has_target))
    levels = level_text(series).unique().drop_nulls().to_list()
    is_numeric = all(parse_number(level) is not None for level in levels)
    is_explicit = explicit_kind(config.data, target) in ("categorical", "boolean")
    required = config.generation.condition or is_explicit or not is_numeric
    if not required and len(levels) > _MAX_INFERRED_CLASSES:
        return ()
    counts = level_text(series).value_counts()["count"]
    if len(levels) > MAX_CLASSES or len(levels) < 2 or (required and counts.min() == 1):
        if not config.generation.condition:
            return ()
        found = pluralize(len(levels), "value")
        if 2 <= len(levels) <= MAX_CLASSES:
            found = "a class with one row"
        expected = f"2 to {MAX_CLASSES:,} classes of at least two rows in '{target}'"
        fix = "remove generation.condition, or name another column"
        raise DataError(Problem("", expected, found, fix, "data.target"))
    return tuple(natural_sort(levels))


def _class_counts(
    table: Table, target: str | None, classes: tuple[str, ...], training: BoolArray
) -> tuple[int, ...]:
    if target is None or not classes:
        return ()
    counted = level_text(table.frame[target].filter(pl.Series(training))).value_counts()
    counts = dict(zip(counted[target], counted["count"], strict=True))
    return tuple(counts.get(name, 0) for name in classes)


def _load(table: Table, images: GeneratedImages) -> CachedImages:
    from trainer.data.image_cache import load_images

    assert images.path is not None
    geometry = Geometry(images.height, images.width, images.resize, images.channels)
    return load_images(table.frame[images.path], geometry)
