"""The target: classes or numbers, as the training rows have them.

Owns: the order of classes, the positive one, priors, the scale of numbers, and the way from cells to
`y` and from predictions back. Does not own: which task it is (`tasks`), class weights, thresholds.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, assert_never

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from trainer.config.data import Data, TaskName
from trainer.config.nodes import column_key
from trainer.config.resolve import ResolvedTargetScale
from trainer.data.arrays import BoolArray, Float32Array, Float64Array
from trainer.data.classes import (
    check_classes,
    class_indices,
    classes_text,
    count_classes,
    positive_class,
)
from trainer.data.column_settings import folds_target_case
from trainer.data.fitted_base import FittedBase
from trainer.data.label_lists import fit_labels, has_value, label_matrix
from trainer.data.number_formats import NumberFormat
from trainer.data.numeric_targets import (
    apply_transforms,
    check_log_domain,
    fit_scales,
    fit_transforms,
    invert_transforms,
    read_binary_targets,
    read_target_numbers,
)
from trainer.data.target_transforms import TargetTransform
from trainer.data.tasks import InferredTask
from trainer.data.values import (
    casefold_level,
    natural_sort,
    text,
)
from trainer.errors import DataError, Problem, did_you_mean


class FittedTarget(FittedBase):
    """What was learnt of the target from the training rows.

    Attributes:
        task: What is predicted.
        reason: Why this task.
        columns: The target columns.
        classes: Classes as text, in order: binary (negative, positive), multiclass all in natural
            order, multilabel of lists the labels in natural order; empty for multilabel of several
            columns and for regression.
        rows: Training rows.
        class_counts: Training rows of each class; multilabel: positive rows of each label or column.
        prior: binary: share of the positive class, one value. multiclass: share of each class.
            multilabel: share of positive rows of each label or column. regression: mean of each column
            of y, which is 0 when it is scaled.
        offset: regression: y = (value - offset) / scale, one each column; else empty.
        scale: See `offset`.
        ignore_case: Whether classes that differ in case only are one.
        curves: regression: of each column the curve that its values are put on first, or None; empty,
            and not written, where no column has one.
        numbers: regression: how numbers are written as text, of the columns where they are not plain;
            left out where all are.
        separator: What stands between labels in a text cell; null where cells are no lists, or are
            lists by themselves.
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
    curves: tuple[TargetTransform | None, ...] = Field(
        default=(), exclude_if=lambda curves: not curves
    )
    numbers: dict[str, NumberFormat] = Field(
        default_factory=dict, exclude_if=lambda value: not value
    )
    separator: str | None = Field(default=None, exclude_if=operator.not_)

    @property
    def listed(self) -> bool:
        """Whether the cells of the target are lists of labels."""
        return self.task == "multilabel" and bool(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes or labels, else the columns: what metrics are broken down by."""
        return self.classes or self.columns

    @property
    def width(self) -> int:
        """Columns of `y`: binary 1, multiclass one a class, multilabel one a label, else one a target
        column.
        """
        return 1 if self.task == "binary" else len(self.names)

    def encode(
        self, frame: pl.DataFrame, where: Callable[[int], str] = lambda row: f"row {row + 1}"
    ) -> tuple[Float32Array, BoolArray]:
        """The target of each row as numbers.

        Args:
            frame: A frame with the target columns; shape (n, …).
            where: The place of a row of the frame, for messages.

        Returns:
            y, float32 (n, width), scaled where the target is; and valid, bool (n,): false where the
            target is missing (y is 0 there).

        Raises:
            DataError: A column is missing, a class was not in training, or a value is no number.
        """
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            raise DataError(
                Problem("", f"a target column '{name}'", "none", did_you_mean(name, frame.columns))
                for name in missing
            )
        valid = target_mask(frame, self.columns, listed=self.listed)
        match self.task:
            case "binary":
                codes = self._codes(frame[self.columns[0]], valid, where)
                return np.maximum(codes, 0).astype(np.float32).reshape(-1, 1), valid
            case "multiclass":
                codes = self._codes(frame[self.columns[0]], valid, where)
                y = np.zeros((frame.height, self.width), dtype=np.float32)
                at = np.flatnonzero(valid)
                y[at, codes[at]] = 1
                return y, valid
            case "multilabel" if self.listed:
                return self._labels(frame)[0], valid
            case "multilabel":
                return read_binary_targets(frame, self.columns, valid, where), valid
            case "regression":
                values = read_target_numbers(frame, self.columns, valid, where, self.numbers)
                values = self._curved(values, valid, where)
                values -= np.array(self.offset)
                values /= np.array(self.scale)
                values[~valid] = 0
                return np.ascontiguousarray(values, dtype=np.float32), valid
            case _:
                assert_never(self.task)

    def values(self, frame: pl.DataFrame) -> Float64Array | None:
        """The numbers of a regression as the table has them, float64 (n, columns); else None.

        Raises:
            DataError: A value is no number.
        """
        if self.task != "regression":
            return None
        known = target_mask(frame, self.columns)
        return read_target_numbers(
            frame, self.columns, known, lambda row: f"row {row + 1}", self.numbers
        )

    def unknown_labels(self, frame: pl.DataFrame) -> Counter[str]:
        """The labels in lists of rows that no training row has, which `encode` ignores."""
        return self._labels(frame)[1] if self.listed else Counter()

    def _labels(self, frame: pl.DataFrame) -> tuple[Float32Array, Counter[str]]:
        series = frame[self.columns[0]]
        return label_matrix(series, self.separator, self.classes, ignore_case=self.ignore_case)

    def inverse_transform(self, predictions: Float64Array | Float32Array) -> Float64Array:
        """Predicted numbers (n, k) in the target's own unit, float64; finite where they are."""
        values = np.asarray(predictions, dtype=np.float64)
        unscaled: Float64Array = values * np.array(self.scale) + np.array(self.offset)
        return invert_transforms(unscaled, self.curves)

    def to_interval_scale(self, values: NDArray[np.floating[Any]]) -> Float64Array:
        """Numbers (n, k) in the target's unit as intervals around them are measured.

        Their logarithm; on the curve of a power, which differs from fit to fit, standardised; or as they
        are.
        """
        offset, scale = self._power_scales()
        curved: Float64Array = (
            apply_transforms(values.astype(np.float64), self.curves) - offset
        ) / scale
        return curved

    def from_interval_scale(self, values: Float64Array) -> Float64Array:
        """The inverse of `to_interval_scale`, within the bounds of each curve."""
        offset, scale = self._power_scales()
        return invert_transforms(values * scale + offset, self.curves)

    def _power_scales(self) -> tuple[Float64Array, Float64Array]:
        curves = self.curves or (None,) * len(self.columns)
        powers = [curve is not None and curve.kind == "power" for curve in curves]
        return np.where(powers, self.offset, 0.0), np.where(powers, self.scale, 1.0)

    def _curved(
        self, values: Float64Array, valid: BoolArray, where: Callable[[int], str]
    ) -> Float64Array:
        """Numbers put on their curves; rows that are not valid get any number.

        Raises:
            DataError: A number has no logarithm.
        """
        if not self.curves:
            return values
        values[~valid] = 1.0
        logs = [curve is not None and curve.kind == "log" for curve in self.curves]
        check_log_domain(values, self.columns, logs, where)
        return apply_transforms(values, self.curves)

    def _codes(
        self, series: pl.Series, valid: BoolArray, where: Callable[[int], str]
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        labels = text(series)
        levels = labels.unique().drop_nulls().to_list()
        numbers = class_indices(self.classes, levels, ignore_case=self.ignore_case)
        table = {level: -1 if code is None else code for level, code in numbers.items()}
        codes = (
            labels.replace_strict(table, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()
        )
        wrong = np.flatnonzero(valid & (codes < 0))
        if len(wrong):
            counts = Counter(labels.gather(wrong).to_list())
            at = {label: where(int(wrong[0])) for label in list(counts)[:1]}
            raise DataError(
                Problem(
                    at.get(label, ""),
                    "a class of the training rows: " + classes_text(self.classes),
                    f"'{label}' in '{series.name}' in {count} {'row' if count == 1 else 'rows'}",
                    self._fix_of(label, series.name),
                )
                for label, count in sorted(counts.items())
            )
        return np.asarray(codes)

    def _fix_of(self, label: str, column: str) -> str:
        if casefold_level(label) in map(casefold_level, self.classes):
            return f"set {column_key(column)}.ignore_case: true to ignore case"
        fix = "take these rows out, merge the class, or split so that training has some"
        return did_you_mean(label, self.classes, fix)


def target_mask(frame: pl.DataFrame, columns: Sequence[str], *, listed: bool = False) -> BoolArray:
    """Where every target column has a value; bool (n,).

    Args:
        frame: A frame with the target columns.
        columns: The target columns.
        listed: Whether cells are lists of labels, of which one in a cell of text can be empty.
    """
    if listed:
        return has_value(frame[columns[0]])
    known = np.ones(frame.height, dtype=np.bool_)
    for name in columns:
        series = frame[name]
        there = series.is_not_null()
        if series.dtype.is_float():
            there &= series.is_not_nan()
        known &= there.fill_null(value=False).to_numpy()
    return known


def fit_target(
    frame: pl.DataFrame,
    columns: Sequence[str],
    finding: InferredTask,
    data: Data,
    scales: Sequence[ResolvedTargetScale],
    where: Callable[[int], str],
) -> FittedTarget:
    """Learn the target from training rows.

    Args:
        frame: The training rows, each with a target.
        columns: The target columns.
        finding: The task.
        data: The `data` section, for `positive`.
        scales: How the numbers of each column are scaled; of no meaning for classes.
        where: The place of a row of the frame, for messages.

    Raises:
        DataError: One class only, more than two for `binary`, a positive class that is not there,
            values that are no numbers or have no logarithm, one number only.
    """
    task, rows, ignore_case = finding.task, frame.height, folds_target_case(data)
    separator: str | None = None
    classes: tuple[str, ...] = ()
    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    curves: tuple[TargetTransform | None, ...] = ()
    if data.positive is not None and task != "binary":
        has_two = len(columns) == 1 and frame[columns[0]].n_unique() == 2
        raise DataError(
            Problem(
                "",
                "two classes, of which one can be positive",
                f"task {task} ({finding.reason})",
                "remove data.positive" + (", or set data.task to binary" if has_two else ""),
                "data.positive",
            )
        )
    match task:
        case "binary" | "multiclass":
            counts = count_classes(frame[columns[0]], ignore_case=ignore_case)
            classes = tuple(natural_sort(list(counts)))
            check_classes(task, columns[0], counts)
            if task == "binary":
                positive = positive_class(classes, counts, data.positive, ignore_case)
                classes = (*(name for name in classes if name != positive), positive)
            class_counts = tuple(counts[name] for name in classes)
            shares = tuple(count / rows for count in class_counts)
            prior = shares[1:] if task == "binary" else shares
        case "multilabel" if len(columns) == 1:
            label_rows = fit_labels(frame[columns[0]], data, ignore_case=ignore_case)
            classes, class_counts = tuple(label_rows), tuple(label_rows.values())
            prior = tuple(count / rows for count in class_counts)
            separator = data.target_separator
        case "multilabel":
            everywhere = np.ones(rows, dtype=np.bool_)
            y = read_binary_targets(frame, columns, everywhere, where)
            class_counts = tuple(int(count) for count in y.sum(axis=0, dtype=np.float64))
            prior = tuple(count / rows for count in class_counts)
        case "regression":
            everywhere = np.ones(rows, dtype=np.bool_)
            values = read_target_numbers(frame, columns, everywhere, where, finding.numbers)
            same = [name for name, low, high in
                    zip(columns, values.min(axis=0), values.max(axis=0), strict=True)
                    if low == high]  # fmt: skip
            if same:
                raise DataError(
                    _target_problem(f"numbers that differ in '{name}'", "one number in every row")
                    for name in same
                )
            class_counts = ()
            curves = fit_transforms(values, columns, scales, where)
            offset, scale, prior = fit_scales(values, scales, curves)
        case _:
            assert_never(task)
    return FittedTarget(
        task=task, reason=finding.reason, columns=tuple(columns), classes=classes, rows=rows,
        class_counts=class_counts, prior=prior, offset=offset, scale=scale, ignore_case=ignore_case,
        curves=curves, numbers=dict(finding.numbers) if task == "regression" else {},
        separator=separator,
    )  # fmt: skip


def _target_problem(expected: str, found: str, fix: str = "") -> Problem:
    return Problem("", expected, found, fix, "data.target")
