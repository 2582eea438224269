"""The commented config that `trainer init` writes, from choices that were made for the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.config.data import ColumnKind, TaskName
from trainer.config.resolve import DEFAULT_EPOCHS
from trainer.config.yaml_writer import flow_text, scalar_text
from trainer.errors import command_text

_MOST_NAMED = 12
_UNFIT_FOR_A_COMMENT = re.compile(
    "[^\x20-\x7e\xa1-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(frozen=True)
class TemplateColumn:
    """A column of the table, with what the config says about it.

    Attributes:
        missing: Number of rows without a value.
        explicit_kind: Whether the config sets the kind, so that it is not inferred.
        settings: Further settings for `data.columns`.
        comment: A comment on these; may be empty.
        excluded: Why it is not a feature ("a different value in every row"); empty if it is one.
    """

    name: str
    kind: ColumnKind
    missing: int = 0
    explicit_kind: bool = False
    settings: Mapping[str, str | bool] = field(default_factory=dict)
    comment: str = ""
    excluded: str = ""


@dataclass(frozen=True)
class TemplateInputs:
    """The properties of a table and the settings chosen for it.

    Attributes:
        source: The path, relative to the config.
        target: The target columns.
        rows: Number of rows of the table.
        columns: All columns except the targets.
        classes: Classes and their numbers of rows, for binary and multiclass tasks.
        positive: The positive class of two; None for the default.
        hidden: Units of the hidden layers.
        dropout: Rate of the dropout after each; 0 for none.
        learning_rate: Learning rate of adam; None for its default.
        epochs: Maximum number of epochs.
        patience: Patience of early stopping; None for no early stopping.
        test: Fraction of test rows.
        validation: Fraction of validation rows.
        balanced: Whether classes are weighted.
        file_name: File name of the config, for the commands in its header.
        order: A date column by which rows can be split; None if there is none.
        is_ordered: Whether the rows are sorted by it, so that the split is by time.
        target_columns: Target columns that need settings.
        reading: Settings of `data` that differ from the defaults, on how the file is read.
        separator: Separator of the labels in a target cell; None if there are no lists.
        scale: A target scale to propose in a comment, or None.
        schema: Path or address of the JSON schema for the editor's YAML server; None for no header.
    """

    source: str
    target: tuple[str, ...]
    task: TaskName
    rows: int
    columns: tuple[TemplateColumn, ...]
    classes: tuple[tuple[str, int], ...] = ()
    positive: str | None = None
    hidden: tuple[int, ...] = (64, 64)
    dropout: float = 0.0
    batch_size: int = 32
    learning_rate: float | None = None
    epochs: int = DEFAULT_EPOCHS
    patience: int | None = 10
    test: float = 0.2
    validation: float = 0.2
    balanced: bool = False
    file_name: str = "config.yaml"
    order: str | None = None
    is_ordered: bool = False
    target_columns: tuple[TemplateColumn, ...] = ()
    reading: Mapping[str, object] = field(default_factory=dict)
    separator: str | None = None
    scale: str | None = None
    schema: str | None = None


_TASKS: dict[TaskName, str] = {
    "binary": "one of two classes",
    "multiclass": "one of several classes",
    "multilabel": "any number of labels, each yes or no",
    "regression": "numbers",
}


def render_template(findings: TemplateInputs) -> str:
    """Return a commented config that loads without problems."""
    return "\n".join([*_head(findings), *_data(findings), *_rest(findings)]) + "\n"


def _head(findings: TemplateInputs) -> list[str]:
    lines = []
    if findings.schema is not None:
        lines.append(f"# yaml-language-server: $schema={_on_a_line(findings.schema)}")
    target = ", ".join(_on_a_line(name) for name in findings.target[:3])
    name = _on_a_line(findings.file_name)
    return [
        *lines,
        f"# Predicts {target} ({_TASKS[findings.task]}) from {_on_a_line(findings.source)}.",
        "#",
        f"#   {command_text('check', name)}    show what would be read, split and built, in a second",
        f"#   {command_text('fit', name)}      train, evaluate, write a run directory",
        "#",
        "# All settings and their defaults: trainer schema --markdown",
    ]


def _on_a_line(text: str) -> str:
    """Replace characters that would end a comment."""
    return _UNFIT_FOR_A_COMMENT.sub("�", text)


def _data(findings: TemplateInputs) -> list[str]:
    target = findings.target[0] if len(findings.target) == 1 else list(findings.target)
    lines = [
        "data:",
        f"  source: {scalar_text(findings.source)}  # {findings.rows:,} rows",
        *(f"  {name}: {flow_text(value)}" for name, value in findings.reading.items()),
        f"  target: {flow_text(target)}",
        f"  task: {findings.task}{_class_counts(findings)}",
    ]
    if findings.scale is not None:
        lines.append(
            f"  # target_scale: {findings.scale}  # the target spans orders of magnitude; predictions "
            "and metrics stay in its unit"
        )
    if findings.separator is not None:
        lines.append(
            f"  target_separator: {scalar_text(findings.separator)}  # separates the labels in a cell"
        )
    if findings.positive is not None:
        about = "the class of precision, recall and probabilities"
        lines.append(f"  positive: {scalar_text(findings.positive)}  # {about}")
    excluded = [column for column in findings.columns if column.excluded]
    if excluded:
        lines += ["  features:", "    exclude:"]
        lines += [
            f"      - {scalar_text(exact_pattern(column.name))}  # {_on_a_line(column.excluded)}"
            for column in excluded
        ]
    lines += _splits(findings)
    lines += _kinds(findings)
    return lines


def _splits(findings: TemplateInputs) -> list[str]:
    """Return the split, and an alternative one as a comment if the table has dates."""
    fractions = {"test": findings.test, "validation": findings.validation}
    by = "random" if findings.task in ("regression", "multilabel") else "stratified"
    drawn = f"split: {flow_text({**fractions, 'by': by})}"
    if findings.order is None:
        return [f"  {drawn}  # fractions of all rows"]
    timed = f"split: {flow_text({**fractions, 'by': 'time', 'column': findings.order})}"
    if findings.is_ordered:
        name = _on_a_line(findings.order)
        return [
            f"  {timed}  # the rows are sorted by {name}: the latest are the test set",
            f"  # {drawn}  # alternative, if new rows will be from the same period",
        ]
    return [
        f"  {drawn}  # fractions of all rows",
        f"  # {_on_a_line(timed)}  # alternative, if later rows will be predicted from earlier ones",
    ]


def _class_counts(findings: TemplateInputs) -> str:
    if not findings.classes:
        return ""
    counts = [f"{_on_a_line(name)} {count:,}" for name, count in findings.classes[:_MOST_NAMED]]
    more = len(findings.classes) - len(counts)
    return f"  # rows: {', '.join(counts)}" + (f" and {more} more classes" if more else "")


def exact_pattern(name: str) -> str:
    """Return a wildcard pattern that matches only this name."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _kinds(findings: TemplateInputs) -> list[str]:
    used = [column for column in findings.columns if not column.excluded]
    lines = []
    numeric = [column for column in used if column.kind == "numeric"]
    categorical = [column for column in used if column.kind == "categorical"]
    if numeric:
        lines.append(
            f"  numeric: {{impute: median, scale: robust, smooth_clip: 3.0}}  # {_counted(numeric)}"
        )
    if categorical:
        settings = "{encode: onehot, impute: separate_level}"
        lines.append(f"  categorical: {settings}  # {_counted(categorical)}")
    configured = [column for column in used if column.explicit_kind or column.settings]
    ordering = [column for column in findings.columns if column.excluded and column.settings]
    if findings.target_columns or configured or ordering:
        lines.append("  columns:")
        lines += [_column(column) for column in (*findings.target_columns, *ordering, *configured)]
    return lines


def _column(column: TemplateColumn) -> str:
    settings = {**({"kind": column.kind} if column.explicit_kind else {}), **column.settings}
    comment = f"  # {_on_a_line(column.comment)}" if column.comment else ""
    return f"    {scalar_text(column.name)}: {flow_text(settings)}{comment}"


def _counted(columns: list[TemplateColumn]) -> str:
    missing = [column for column in columns if column.missing]
    text = f"{len(columns):,} column{'s' if len(columns) > 1 else ''}"
    if not missing:
        return text
    counts = [f"{_on_a_line(column.name)} {column.missing:,}" for column in missing[:_MOST_NAMED]]
    more = len(missing) - len(counts)
    return f"{text}; missing: {', '.join(counts)}" + (f" and {more} more" if more else "")


def _rest(findings: TemplateInputs) -> list[str]:
    lines = ["model:", "  layers:" if findings.hidden else "  layers: []  # a linear model"]
    for units in findings.hidden:
        lines.append(f"    - dense: {{units: {units}, activation: relu}}")
        if findings.dropout:
            lines.append(f"    - dropout: {scalar_text(findings.dropout)}")
    lines.append("  head: auto")
    rate = findings.learning_rate
    optimizer = {"name": "adam", **({} if rate is None else {"learning_rate": rate})}
    lines += [
        f"optimizer: {flow_text(optimizer)}",
        "metrics: auto",
        "fit:",
        f"  epochs: {findings.epochs}",
        f"  batch_size: {findings.batch_size}",
    ]
    if findings.balanced:
        lines.append("  class_weight: balanced  # the class sizes differ much")
    if findings.patience is not None:
        monitor = "val_loss" if findings.validation > 0 else "loss"
        stop = {"monitor": monitor, "patience": findings.patience, "restore_best": True}
        lines.append(f"  early_stopping: {flow_text(stop)}")
    return lines
