"""Fitted targets: encode target columns as `y`, and transform predictions back.

A fitted target holds the order of the classes, the positive class, priors and scaling. `tasks` infers
the task.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from trainer.config.nodes import column_key
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import BoolArray, Float32Array, Float64Array
from trainer.data.classes import class_indices, classes_text
from trainer.data.fitted_base import FittedBase
from trainer.data.label_lists import has_value, label_matrix
from trainer.data.number_formats import NumberFormat
from trainer.data.numeric_targets import (
    apply_transforms,
    check_log_domain,
    invert_transforms,
    read_binary_targets,
    read_target_numbers,
)
from trainer.data.spellings import casefold_level
from trainer.data.target_transforms import TargetTransform
from trainer.data.text_targets import TextTarget
from trainer.data.values import to_text
from trainer.errors import DataError, Problem, did_you_mean, pluralize
from trainer.metrics.labels import encode_classes
from trainer.task_names import TaskName


class FittedTarget(FittedBase):
    """Target encoding fitted on the training rows.

    Attributes:
        task: The task.
        reason: Why this task.
        columns: The target columns.
        classes: Classes as text, in order: (negative, positive) for binary; natural order for
            multiclass and for the labels of multilabel lists; empty for multilabel of several columns
            and for regression.
        rows: Number of training rows.
        class_counts: Training rows of each class; multilabel: positive rows of each label or column.
        prior: binary: fraction of the positive class, one value. multiclass: fraction of each class.
            multilabel: fraction of positive rows of each label or column. regression: mean of each
            column of y, which is 0 if it is scaled.
        offset: regression: y = (value - offset) / scale, one value per column; otherwise empty.
        scale: See `offset`.
        ignore_case: Whether classes that differ only in case are merged.
        transforms: regression: the transform applied to each column before scaling, or None; empty, and
            not written, if no column has one.
        number_formats: regression: the number formats of text columns that are not plain numbers; not
            written if empty.
        text: The tokens of a target that is a text; not written without.
        separator: Separator of the labels in a text cell; null if cells are not lists, or are typed or
            bracketed lists.
    """

    task: TaskName
    reason: str
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    rows: int
    class_counts: tuple[int, ...]
    prior: tuple[float, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    ignore_case: bool = Field(default=False, exclude_if=operator.not_)
    transforms: tuple[TargetTransform | None, ...] = Field(
        default=(), exclude_if=lambda transforms: not transforms
    )
    number_formats: dict[str, NumberFormat] = Field(
        default_factory=dict, exclude_if=lambda value: not value
    )
    separator: str | None = Field(default=None, exclude_if=operator.not_)
    text: TextTarget | None = Field(default=None, exclude_if=operator.not_)

    @property
    def has_label_lists(self) -> bool:
        """Whether the cells of the target are lists of labels."""
        return TASK_RULES[self.task].has_several_labels and bool(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes or labels, otherwise the columns: the names in per-class metrics."""
        return self.classes or self.columns

    @property
    def width(self) -> int:
        """Columns of `y`: 1 for binary, otherwise one per class, label, target column or token."""
        if self.text is not None:
            return self.text.column.length
        return len(TASK_RULES[self.task].scored_names(self.names))

    def encode(
        self, frame: pl.DataFrame, where: Callable[[int], str] = lambda row: f"row {row + 1}"
    ) -> tuple[Float32Array, BoolArray]:
        """Encode the target of each row.

        Args:
            frame: A frame with the target columns; shape (n, …).
            where: Returns the location of a row of the frame, for messages.

        Returns:
            y, float32 (n, width), scaled if the target is, or ids; and valid, bool (n,): False where the
            target is missing (y is 0 there).

        Raises:
            DataError: If a column is missing, a class does not occur in training, or a value is not a
                number.
        """
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            raise DataError(
                Problem(
                    "",
                    f"a target column '{name}'",
                    "none",
                    did_you_mean(name, frame.columns, "add the column"),
                )
                for name in missing
            )
        valid = target_mask(frame, self.columns, has_label_lists=self.has_label_lists)
        rules = TASK_RULES[self.task]
        if rules.is_exclusive:
            codes = np.maximum(self._codes(frame[self.columns[0]], valid, where), 0)
            y = encode_classes(codes, self.width, np.float32)
            y[~valid] = 0
            return y, valid
        if self.has_label_lists:
            return self._labels(frame)[0], valid
        if rules.has_classes:
            return read_binary_targets(frame, self.columns, valid, where), valid
        if self.text is not None:
            return self.text.column.encode(frame[self.columns[0]])[0].astype(np.float32), valid
        values = read_target_numbers(frame, self.columns, valid, where, self.number_formats)
        values = self._transformed(values, valid, where)
        values -= np.array(self.offset)
        values /= np.array(self.scale)
        values[~valid] = 0
        return np.ascontiguousarray(values, dtype=np.float32), valid

    def values(self, frame: pl.DataFrame) -> Float64Array | None:
        """Return the regression targets as in the table, float64 (n, columns); None for other tasks.

        Raises:
            DataError: If a value is not a number.
        """
        if not TASK_RULES[self.task].has_numbers:
            return None
        known = target_mask(frame, self.columns)
        return read_target_numbers(
            frame, self.columns, known, lambda row: f"row {row + 1}", self.number_formats
        )

    def unknown_labels(self, frame: pl.DataFrame) -> Counter[str]:
        """Count the labels that do not occur in training, which `encode` ignores."""
        return self._labels(frame)[1] if self.has_label_lists else Counter()

    def _labels(self, frame: pl.DataFrame) -> tuple[Float32Array, Counter[str]]:
        series = frame[self.columns[0]]
        return label_matrix(series, self.separator, self.classes, ignore_case=self.ignore_case)

    def inverse_transform(self, predictions: Float64Array | Float32Array) -> Float64Array:
        """Return predicted numbers (n, k) in the target's original units, float64."""
        values = np.asarray(predictions, dtype=np.float64)
        unscaled: Float64Array = values * np.array(self.scale) + np.array(self.offset)
        return invert_transforms(unscaled, self.transforms)

    def to_interval_scale(self, values: NDArray[np.floating[Any]]) -> Float64Array:
        """Transform numbers (n, k) in the target's units to the scale of prediction intervals.

        That is their logarithm; for a power transform, which differs from fit to fit, the standardized
        transformed values; otherwise the numbers themselves.
        """
        offset, scale = self._power_scales()
        transformed: Float64Array = (
            apply_transforms(values.astype(np.float64), self.transforms) - offset
        ) / scale
        return transformed

    def from_interval_scale(self, values: Float64Array) -> Float64Array:
        """Invert `to_interval_scale`, within the bounds of each transform."""
        offset, scale = self._power_scales()
        return invert_transforms(values * scale + offset, self.transforms)

    def _power_scales(self) -> tuple[Float64Array, Float64Array]:
        transforms = self.transforms or (None,) * len(self.columns)
        powers = [transform is not None and transform.kind == "power" for transform in transforms]
        return np.where(powers, self.offset, 0.0), np.where(powers, self.scale, 1.0)

    def _transformed(
        self, values: Float64Array, valid: BoolArray, where: Callable[[int], str]
    ) -> Float64Array:
        """Apply the transforms; rows that are not valid get an arbitrary number.

        Raises:
            DataError: If a number has no logarithm.
        """
        if not self.transforms:
            return values
        values[~valid] = 1.0
        logs = [transform is not None and transform.kind == "log" for transform in self.transforms]
        check_log_domain(values, self.columns, logs, where)
        return apply_transforms(values, self.transforms)

    def _codes(
        self, series: pl.Series, valid: BoolArray, where: Callable[[int], str]
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        labels = to_text(series)
        levels = labels.unique().drop_nulls().to_list()
        indices = class_indices(self.classes, levels, ignore_case=self.ignore_case)
        table = {level: -1 if code is None else code for level, code in indices.items()}
        codes = (
            labels.replace_strict(table, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()
        )
        unknown = np.flatnonzero(valid & (codes < 0))
        if len(unknown):
            counts = Counter(labels.gather(unknown).to_list())
            locations = {label: where(int(unknown[0])) for label in list(counts)[:1]}
            raise DataError(
                Problem(
                    locations.get(label, ""),
                    "a class of the training rows: " + classes_text(self.classes),
                    f"'{label}' in '{series.name}' in {pluralize(count, 'row')}",
                    self._unknown_class_fix(label, series.name),
                )
                for label, count in sorted(counts.items())
            )
        return np.asarray(codes)

    def _unknown_class_fix(self, label: str, column: str) -> str:
        if casefold_level(label) in map(casefold_level, self.classes):
            return f"set {column_key(column)}.ignore_case: true to ignore case"
        fix = "remove these rows, merge the class, or change the split so that the training rows have it"
        return did_you_mean(label, self.classes, fix)


def target_mask(
    frame: pl.DataFrame, columns: Sequence[str], *, has_label_lists: bool = False
) -> BoolArray:
    """Return a mask of the rows with a value in every target column; bool (n,).

    Args:
        frame: A frame with the target columns.
        columns: The target columns.
        has_label_lists: Whether cells are lists of labels; a list in a text cell can be empty.
    """
    if has_label_lists:
        return has_value(frame[columns[0]])
    known = np.ones(frame.height, dtype=np.bool_)
    for name in columns:
        series = frame[name]
        present = series.is_not_null()
        if series.dtype.is_float():
            present &= series.is_not_nan()
        known &= present.fill_null(value=False).to_numpy()
    return known
