"""The schema of a model that takes the raw cells of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from trainer.data.categorical import BooleanColumn, CategoricalColumn
from trainer.data.column_names import free_name
from trainer.data.datetimes import DatetimeColumn
from trainer.data.images import ImageColumn
from trainer.data.numeric import NumericColumn
from trainer.data.preprocessing import Column
from trainer.data.text_columns import TextColumn
from trainer.data.text_targets import TextTarget
from trainer.data.token_columns import TokenColumn
from trainer.export.bundle import Bundle
from trainer.export.levels import missing_text
from trainer.export.schema import InputField, OutputField, Role, Schema
from trainer.tasks.task import Task


def raw_schema(bundle: Bundle) -> Schema:
    """Return the schema of a model that takes raw cells."""
    hidden = bundle.members[0].trained.loaded.config.data.pseudonymize
    inputs = tuple(
        replace(field, pseudonymized=field.column in hidden) for field in _inputs(bundle)
    )
    taken = [field.name for field in inputs]
    outputs = tuple(_outputs(bundle.task, len(bundle.members), taken))
    return schema_of(bundle, inputs, outputs)


def schema_of(
    bundle: Bundle, inputs: Sequence[InputField], outputs: Sequence[OutputField]
) -> Schema:
    """Return the schema of a model with other inputs or outputs than those of raw cells."""
    task, decisions = bundle.task, bundle.decisions
    return Schema(
        run=bundle.run.path.resolve().name,
        name=bundle.members[0].trained.loaded.config.name,
        weights_sha256=bundle.weights_sha256,
        task=task.name,
        target=task.target.columns,
        classes=task.target.classes,
        threshold=task.threshold if task.kind.rules.has_threshold else None,
        coverage=decisions.coverage if decisions is not None and task.half_widths else None,
        quantiles=task.quantiles,
        separator=task.target.separator,
        has_label_lists=task.target.has_label_lists,
        members=len(bundle.members),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        columns=tuple(prediction_columns(task, len(bundle.members))),
        # Not a row of the data, which would be known to all who have the model.
        example={field.column: field.typical for field in inputs},
        pseudonym_key=bundle.encoders[0].pseudonym_key,
    )


def input_names(bundle: Bundle, encoder: int) -> dict[str, str]:
    """Return the name of the input of each column of a preprocessing.

    Text and tokens that another preprocessing of an ensemble has fitted differently have an input for
    each: `review`, `review#2`, …
    """
    names = {}
    for column in bundle.encoders[encoder].columns:
        earlier = _distinct(bundle, column)
        number = earlier.index(column) if _is_encoded(column) else 0
        names[column.name] = column.name if number == 0 else f"{column.name}#{number + 1}"
    return names


def _is_encoded(column: Column) -> bool:
    return isinstance(column, TextColumn | TokenColumn)


def _distinct(bundle: Bundle, column: Column) -> list[Column]:
    """Return a column as the encoders have fitted it, those that are equal once."""
    distinct: list[Column] = []
    for other in bundle.columns[column.name]:
        if other not in distinct:
            distinct.append(other)
    return distinct


def _inputs(bundle: Bundle) -> Iterator[InputField]:
    for columns in bundle.columns.values():
        if not _is_encoded(columns[0]):
            yield _input(columns)
            continue
        for number, column in enumerate(_distinct(bundle, columns[0])):
            name = column.name if number == 0 else f"{column.name}#{number + 1}"
            yield _encoded_input(column, name)


def _input(columns: Sequence[Column]) -> InputField:
    """Return the input of a column; of several, the first is described."""
    column = columns[0]
    match column:
        case NumericColumn():
            format_ = column.number_format
            return InputField(
                column.name, column.name, "number", "float64", (1,),
                missing_in_training=column.missing,
                minimum=column.minimum,
                maximum=column.maximum,
                typical=_typical_number(column),
                number_format=None if format_ is None else format_.model_dump(mode="json"),
            )  # fmt: skip
        case BooleanColumn():
            return InputField(
                column.name, column.name, "boolean", "float64", (1,),
                missing_in_training=column.missing,
                typical=column.yes > column.no,
            )  # fmt: skip
        case DatetimeColumn():
            return InputField(
                column.name, column.name, "datetime", "float64", (1,),
                missing_in_training=column.missing,
                minimum=column.origin,
                maximum=_latest(column),
                typical=_middle(column),
                date_format=column.format,
            )  # fmt: skip
        case CategoricalColumn():
            counts = dict(zip(column.levels, column.counts, strict=True))
            return InputField(
                column.name, column.name, "category", "string", (1,),
                missing=missing_text(
                    [item for item in columns if isinstance(item, CategoricalColumn)]
                ),
                categories=column.levels,
                other_categories=column.merged,
                ignore_case=column.ignore_case,
                missing_in_training=column.missing,
                typical=max(counts, key=lambda level: counts[level]) if counts else None,
            )  # fmt: skip
        case ImageColumn():
            return _encoded_input(column, column.name)
        case TextColumn() | TokenColumn():
            raise AssertionError("texts have an input for each preprocessing")


def _typical_number(column: NumericColumn) -> float:
    """Return the median or the most frequent number if it is known, else the mean, rounded."""
    is_usual = column.impute in ("median", "most_frequent", "drop")
    return float(f"{column.fill if is_usual else column.mean:.6g}")


def _middle(column: DatetimeColumn) -> str:
    """Return the day in the middle of the training dates, or the first one."""
    if column.elapsed is None:
        return column.origin
    days = column.elapsed.maximum / 2
    return (datetime.fromisoformat(column.origin) + timedelta(days=days)).date().isoformat()


def _encoded_input(column: Column, name: str) -> InputField:
    fitted = column.model_dump(mode="json")
    match column:
        case TextColumn():
            shape: tuple[int, ...] = (column.slots, 2)
            return InputField(name, column.name, "text", "float32", shape, fitted=fitted)
        case TokenColumn():
            return InputField(name, column.name, "tokens", "int32", (column.length,), fitted=fitted)
        case ImageColumn():
            return InputField(name, column.name, "image", "uint8", column.spec.shape, fitted=fitted)
    raise AssertionError(column.kind)


def _latest(column: DatetimeColumn) -> str | None:
    """Return the latest training date, if the elapsed days are known."""
    if column.elapsed is None:
        return None
    seconds = datetime.fromisoformat(column.origin)
    return (seconds + timedelta(days=column.elapsed.maximum)).isoformat()


def prediction_columns(task: Task, members: int) -> list[str]:
    """Return the columns of `trainer predict`, without `row`."""
    if task.target.text is not None:
        return [*task.prediction_names, "log_probability", "unseen"]
    width = len(task.file_columns)
    names = list(task.prediction_columns(np.ones((1, width))))
    if members > 1:
        names += task.std_columns(np.ones((1, width)), names)
    return [*names, "unseen"]


def _outputs(task: Task, members: int, inputs: Sequence[str]) -> Iterator[OutputField]:
    def output(role: Role, dtype: str, columns: Sequence[str] = (), width: int = 0) -> OutputField:
        shape = (width,) if width else ()
        return OutputField(free_name(role, inputs, "_of_model"), role, dtype, shape, tuple(columns))

    rules, names = task.kind.rules, task.prediction_names
    if task.target.text is not None:
        yield _text_output(task.target.text, names, inputs)
        yield output("log_probability", "float32", ["log_probability"])
        yield output("unseen", "bool", ["unseen"])
        return
    all_names = prediction_columns(task, members)
    numbers = "float32" if rules.has_classes else "float64"
    if rules.is_exclusive:
        yield output("label", "string", ["label"])
        columns = [f"probability_{name}" for name in task.target.classes]
        yield output("probabilities", numbers, columns, len(columns))
    elif rules.has_classes:
        lists = task.target.has_label_lists
        columns = ["labels"] if lists else [f"label_{name}" for name in task.target.names]
        yield output("labels", "int64", columns, len(names))
        yield output("probabilities", numbers, names, len(names))
    else:
        yield output("predicted", numbers, names, len(names))
        ends: tuple[Role, ...] = ("low", "high") if task.half_widths else ()
        for end in ends:
            columns = [free_name(f"{name}_{end}", names, "_of_interval") for name in names]
            yield output(end, numbers, columns, len(names))
        count = len(task.file_columns) - len(names)
        last = len(all_names) - 1 - (len(names) if members > 1 else 0)
        if count:
            yield output("quantiles", numbers, all_names[last - count : last], count)
    if members > 1:
        yield output("std", numbers, all_names[-1 - len(names) : -1], len(names))
    yield output("unseen", "bool", ["unseen"])


def _text_output(text: TextTarget, columns: Sequence[str], inputs: Sequence[str]) -> OutputField:
    """Return the output of a run that translates, whose ids become text by its tokenizer."""
    name, shape = free_name("text", inputs, "_of_model"), (text.column.length - 1,)
    fitted = text.model_dump(mode="json")
    return OutputField(name, "text", "int64", shape, tuple(columns), fitted)
