"""From a config to numbers: read, split, clean, fit; and the same numbers from other files.

    files ─ read ─► table ─ split ─► assignment ─ drop ─► training rows ─ fit ─► preprocessing
                                                                  any rows ─ transform ─► samples

Owns: the order of it all, and what every row's part is. Does not own: any of the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.resolve import resolved_head
from trainer.config.schema import Config
from trainer.data.arrays import Assignment, Bools, Rows, Singles
from trainer.data.assignment import assign_splits
from trainer.data.features import feature_columns, target_columns
from trainer.data.fitting import fit_columns
from trainer.data.preprocessing import Preprocessing
from trainer.data.samples import Samples
from trainer.data.splits import DROPPED, SPLIT_NAMES, TEST, TRAIN, VALIDATION, SplitName
from trainer.data.tables import Table, read_table
from trainer.data.targets import FittedTarget, fit_target, known_target
from trainer.data.tasks import TaskFinding, infer_task, task_columns_problem
from trainer.data.values import number_matrix
from trainer.errors import DataError, Problem, did_you_mean

_Found = TypeVar("_Found")

NO_TARGET, DUPLICATE, MISSING_VALUE, OUTLIER = 1, 2, 3, 4
REASONS = {
    NO_TARGET: "no target",
    DUPLICATE: "duplicate",
    MISSING_VALUE: "missing value",
    OUTLIER: "outlier",
}
"""Why a row takes no part; 0 for rows that do."""


@dataclass(frozen=True)
class Prepared:
    """A table, the part of each of its rows, and what was fitted on the training rows.

    Attributes:
        table: All rows.
        assignment: int8 (rows,): split number, or DROPPED.
        reasons: int8 (rows,): why a row is dropped, a key of `REASONS`; 0 for the others.
        preprocessing: What was fitted.
        warnings: What a user should know.
        dropped: Rows by reason.
        weight: float32 (rows,), the weight column, or None.
    """

    table: Table
    assignment: Assignment
    reasons: Assignment
    preprocessing: Preprocessing
    warnings: tuple[str, ...]
    dropped: dict[str, int]
    weight: Singles | None = field(repr=False)

    def rows(self, split: SplitName) -> int:
        """How many rows a split has."""
        return int(np.count_nonzero(self.assignment == SPLIT_NAMES.index(split)))

    def classes(self, split: SplitName) -> dict[str, int]:
        """Rows of each class in a split; positive rows of each column for multilabel; else empty."""
        target = self.preprocessing.target
        at = np.flatnonzero(self.assignment == SPLIT_NAMES.index(split))
        y, _ = target.encode(self.table.frame.select(target.columns)[at])
        match target.task:
            case "binary":
                positive = int(y.sum(dtype=np.float64))
                return dict(zip(target.classes, (len(at) - positive, positive), strict=True))
            case "regression":
                return {}
            case _:
                names = target.classes or target.columns
                counts = y.sum(axis=0, dtype=np.float64)
                return {name: int(count) for name, count in zip(names, counts, strict=True)}

    def samples(self, split: SplitName) -> Samples | None:
        """The rows of a split as numbers; None when it has none."""
        at = np.flatnonzero(self.assignment == SPLIT_NAMES.index(split))
        if not len(at):
            return None
        target = self.preprocessing.target
        encoded = self.preprocessing.transform(self.table.frame, at)
        y, _ = target.encode(self.table.frame.select(target.columns)[at])
        return Samples(
            x=encoded.x,
            y=y,
            weight=None if self.weight is None else self.weight[at],
            rows=at,
            unseen=encoded.unseen,
            warnings=encoded.warnings,
        )


@dataclass(frozen=True)
class FileSamples:
    """Rows of other files as a fitted preprocessing sees them.

    Attributes:
        table: All rows of the files, for columns that are passed through.
        samples: The rows, but for those without a target where it was asked for.
        dropped: Rows by reason.
    """

    table: Table
    samples: Samples
    dropped: dict[str, int]


def prepare(config: Config) -> Prepared:
    """Read, split, clean and fit.

    Args:
        config: Its `data.source` paths are absolute, or relative to the working directory.

    Raises:
        DataError: Files, columns, values, splits; with every problem that could be found.
    """
    data = config.data
    table = read_table(data.source, data)
    names, problems = feature_columns(table, data)
    targets = target_columns(data)
    if data.task != "auto":
        wrong = task_columns_problem(data.task, targets)
        problems += [wrong] if wrong is not None else []
    if problems:
        raise DataError(problems)
    reasons = np.zeros(table.frame.height, dtype=np.int8)
    known = _known(table, targets, data)
    reasons[~known] = NO_TARGET
    weight = None if data.weight is None else _weights(table, data.weight, known)
    assignment = assign_splits(table, data, config.seed, known)
    if data.clean.duplicates == "drop":
        _drop(assignment, reasons, _duplicates(table, [*names, *targets], assignment), DUPLICATE)
    if weight is not None:
        _check_weights(table, weight, assignment)
    training = np.flatnonzero(assignment == TRAIN)
    finding = _task(table, data, targets, training)
    fit = fit_columns(table, names, training, data)
    _drop(assignment, reasons, fit.missing, MISSING_VALUE)
    _drop(assignment, reasons, fit.outlying, OUTLIER)
    target = _target(table, config, targets, finding, fit.rows)
    preprocessing = Preprocessing(rows=len(fit.rows), columns=fit.columns, target=target)
    _check_targets(table, target, assignment)
    dropped = _counted(reasons)
    lost = [f"{count:,} rows left out: {reason}" for reason, count in dropped.items()]
    return Prepared(
        table=table,
        assignment=assignment,
        reasons=reasons,
        preprocessing=preprocessing,
        warnings=(*table.warnings, *lost, *fit.warnings),
        dropped=dropped,
        weight=weight,
    )


def read_samples(
    source: str | Sequence[str],
    preprocessing: Preprocessing,
    data: Data,
    *,
    with_target: bool,
) -> FileSamples:
    """Rows of other files as numbers, in the order of the files.

    Args:
        source: A path, a glob or a list.
        preprocessing: What was fitted.
        data: The `data` section of the run: format, CSV, weight, `clean.missing_target`.
        with_target: Read target and weight, and leave out rows without a target; else y is (n, 0)
            and every row is kept.

    Raises:
        DataError: Files, missing columns, a class that was not in training.
    """
    table = read_table(source, data)
    height = table.frame.height
    columns = [column.name for column in preprocessing.columns]
    target = preprocessing.target
    wanted = [*columns, *target.columns] if with_target else columns
    if with_target and data.weight is not None:
        wanted.append(data.weight)
    problems = [
        Problem(table.name, f"a column '{name}', as in training", "none of that name",
                did_you_mean(name, [one for one in table.frame.columns if one not in wanted],
                             "Add it, empty where it is not known."))
        for name in wanted
        if name not in table.frame.columns
    ]  # fmt: skip
    if problems:
        raise DataError(problems)
    at: Rows = np.arange(height)
    y, weight = np.zeros((height, 0), dtype=np.float32), None
    dropped = 0
    if with_target:
        known = _known(table, target.columns, data)
        at = np.flatnonzero(known)
        dropped = height - len(at)
        if not len(at):
            fix = "Is this the right file?"
            raise DataError(Problem(table.name, "rows with a target", "none", fix))
        if data.weight is not None:
            weight = _weights(table, data.weight, known)[at]
        y, _ = target.encode(
            table.frame.select(target.columns)[at], lambda row: table.where(int(at[row]))
        )
    encoded = preprocessing.transform(table.frame, at)
    samples = Samples(encoded.x, y, weight, at, encoded.unseen, encoded.warnings)
    return FileSamples(table, samples, {REASONS[NO_TARGET]: dropped} if dropped else {})


def split_table(prepared: Prepared) -> pl.DataFrame:
    """The part of every row: `row` (int64, from 0), `split` (train, validation, test or dropped) and
    `reason` (why it is dropped, else null).
    """
    names = [*SPLIT_NAMES, "dropped"]
    split = pl.Series(prepared.assignment).replace_strict(
        [TRAIN, VALIDATION, TEST, DROPPED], names, return_dtype=pl.String
    )
    reason = pl.Series(prepared.reasons).replace_strict(
        list(REASONS), list(REASONS.values()), default=None, return_dtype=pl.String
    )
    rows = pl.Series(np.arange(len(prepared.assignment), dtype=np.int64))
    return pl.DataFrame({"row": rows, "split": split, "reason": reason})


def _known(table: Table, targets: Sequence[str], data: Data) -> Bools:
    known = known_target(table.frame, targets)
    if data.clean.missing_target == "error" and not known.all():
        at = np.flatnonzero(~known)
        more = f" and in {len(at) - 1:,} more rows" if len(at) > 1 else ""
        raise DataError(
            Problem(
                table.where(int(at[0])),
                f"a value in {' and '.join(repr(name) for name in targets)}",
                f"none there{more}",
                "Fill it, or set data.clean.missing_target to drop.",
            )
        )
    return known


def _weights(table: Table, name: str, known: Bools) -> Singles:
    weight = number_matrix(table.frame, [name])[:, 0]
    wrong = np.flatnonzero(known & ~(np.isfinite(weight) & (weight >= 0)))
    if len(wrong):
        raise DataError(
            Problem(
                table.where(int(row)),
                f"a finite weight of at least 0 in '{name}'",
                "no value" if table.frame[name][int(row)] is None
                else f"'{table.frame[name][int(row)]}'",
                f"{len(wrong):,} rows have such weights: correct them." if len(wrong) > 1 else "",
                "data.weight",
            )
            for row in wrong[:3]
        )  # fmt: skip
    return weight.astype(np.float32)


def _check_weights(table: Table, weight: Singles, assignment: Assignment) -> None:
    problems = [
        Problem(
            table.name,
            f"weights above 0 among the {name} rows",
            "0 in every row",
            "Correct the weights, or remove data.weight.",
            "data.weight",
        )
        for split, name in enumerate(SPLIT_NAMES)
        if (assignment == split).any() and not (weight[assignment == split] > 0).any()
    ]
    if problems:
        raise DataError(problems)


def _duplicates(table: Table, names: Sequence[str], assignment: Assignment) -> Rows:
    """Rows that repeat another in these columns; a training row is kept before the others."""
    rows = np.flatnonzero(assignment != DROPPED)
    rows = rows[np.argsort(assignment[rows], kind="stable")]
    part = table.frame.select(names)[rows]
    first = part.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()
    repeated: Rows = rows[~first]
    return repeated


def _drop(assignment: Assignment, reasons: Assignment, rows: Rows, reason: int) -> None:
    assignment[rows] = DROPPED
    reasons[rows] = reason


def _task(table: Table, data: Data, targets: Sequence[str], training: Rows) -> TaskFinding:
    if data.task != "auto":
        return TaskFinding(data.task, "stated as data.task")
    return _placed(table, lambda: infer_task(table.frame.select(targets)[training]))


def _target(
    table: Table, config: Config, targets: Sequence[str], finding: TaskFinding, training: Rows
) -> FittedTarget:
    match config.data.target_scale:
        case "auto":
            scaled = resolved_head(config, finding.task) == "linear"
        case "standard" | "none":
            scaled = config.data.target_scale == "standard"
    frame = table.frame.select(targets)[training]
    return _placed(
        table,
        lambda: fit_target(
            frame,
            targets,
            finding,
            config.data,
            scaled,
            lambda row: table.where(int(training[row])),
        ),
    )


def _check_targets(table: Table, target: FittedTarget, assignment: Assignment) -> None:
    """Validation and test rows have targets that training knows."""
    problems: list[Problem] = []
    for split in (VALIDATION, TEST):
        at = np.flatnonzero(assignment == split)
        frame = table.frame.select(target.columns)[at]
        try:
            target.encode(frame, lambda row, at=at: table.where(int(at[row])))  # type: ignore[misc]
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(table.placed(problems))


def _placed(table: Table, work: Callable[[], _Found]) -> _Found:
    """Do it, and give its problems a place."""
    try:
        return work()
    except DataError as error:
        raise DataError(table.placed(error.problems)) from error


def _counted(reasons: Assignment) -> dict[str, int]:
    counts = {name: int(np.count_nonzero(reasons == code)) for code, name in REASONS.items()}
    return {name: count for name, count in counts.items() if count}
