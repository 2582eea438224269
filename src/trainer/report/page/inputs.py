"""Preprocessing and postprocessing: formulas with the fitted parameters, and Python code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import assert_never

from pydantic import ValidationError

from trainer.config.losses import Loss
from trainer.config.task_rules import TASK_RULES
from trainer.data.categorical import MISSING, RARE, BooleanColumn, CategoricalColumn
from trainer.data.datetimes import DatetimeColumn
from trainer.data.images import ImageColumn
from trainer.data.numeric import NumericColumn
from trainer.data.preprocessing import Column, Preprocessing
from trainer.data.targets import FittedTarget
from trainer.data.text_columns import TextColumn
from trainer.data.token_columns import TokenColumn
from trainer.errors import RunError, pluralize
from trainer.report.example_code import Example, example_code
from trainer.report.networks import Network, read_networks
from trainer.report.page.content import (
    Block,
    CodeBlock,
    Paragraph,
    Section,
    TableBlock,
    section,
    table_block,
)
from trainer.report.page.run_content import RunContent
from trainer.report.text import inputs_text, number, short_name
from trainer.runs.example import ExampleRow, read_example

_MAX_COLUMNS = 10
_MAX_LEVELS = 6
_MAX_LEVEL_LENGTH = 24
_MEANS = "the standardized mean target, (sum + 10 · prior) / (rows + 10), and log(1 + rows)"
_CYCLES = {
    "year": "year: sin and cos of 2π · (time since 1 January) / (length of the year)",
    "week": "week: sin and cos of 2π · (time since Monday 00:00) / 7 days",
    "day": "day: sin and cos of 2π · (time since 00:00) / 24 h",
}


def preprocessing_section(content: RunContent) -> Section:
    """Make the section with formulas of features and target, and code that reproduces a prediction."""
    return section("inputs", "Preprocessing", _inputs(content))


def _inputs(content: RunContent) -> Iterator[Block]:
    try:
        networks = read_networks(content.run)
        example = read_example(content.run)
    except RunError as error:
        for problem in error.problems:
            if problem not in content.problems:
                yield Paragraph(f"Damaged file: {problem}", "warning")
        return
    if not networks:
        return
    preprocessing = networks[0].preprocessing
    yield _columns_table(preprocessing)
    steps = _output_steps(content, networks)
    yield table_block("From model outputs to predictions", ("step", "formula"), steps)
    models = [network.run.checkpoint("best") / "model.keras" for network in networks]
    has_text = preprocessing.target.text is not None
    if example is not None and not has_text and all(map(Path.is_file, models)):
        yield from _code(content, networks, example)


def _columns_table(preprocessing: Preprocessing) -> TableBlock:
    columns, count = preprocessing.columns[:_MAX_COLUMNS], len(preprocessing.columns)
    rows = []
    for column in columns:
        name, inputs = preprocessing.input_columns[column.name]
        last = inputs.stop - 1
        span = f"{inputs.start}" if inputs.start == last else f"{inputs.start}–{last}"
        if isinstance(column, ImageColumn):
            span = name
        elif len(preprocessing.inputs) > 1:
            span = f"{name} {span}"
        rows.append((column.name, column.kind, _missing_text(column), _formula(column), span))
    verb = "is" if count == 1 else "are"
    title = f"{pluralize(count, 'column')} {verb} encoded as {inputs_text(preprocessing.inputs)}"
    if count > len(columns):
        title += f"; the first {len(columns)} are shown, see preprocessing.json for all"
    return table_block(title, ("column", "kind", "missing values", "formula", "inputs"), rows)


def _missing_text(column: Column) -> str:
    match column:
        case NumericColumn():
            text = f"{number(column.fill)} ({column.impute.replace('_', ' ')})"
            if column.impute == "drop":
                text = f"training rows dropped; otherwise {number(column.fill)} (median)"
            return text + (", with an indicator input" if column.indicator else "")
        case CategoricalColumn():
            if column.has_missing_level:
                return f"category {MISSING}"
            if column.fill is not None:
                return f"{_level(column.fill)} ({column.impute.replace('_', ' ')})"
            return "like an unknown category"
        case BooleanColumn():
            if column.has_missing_level:
                return "0, with an indicator input"
            return f"{int(column.fill)} ({column.impute.replace('_', ' ')})"
        case DatetimeColumn():
            days = ", ".join(
                f"{number(part.fill)} days" + (" of the year" if part is column.yearday else "")
                for part in column.numbers
            )
            waves = "0 for sin and cos" if column.cycles else ""
            one_hot = "all 0 for one-hot parts" if column.calendar else ""
            return ", ".join(part for part in (days, waves, one_hot) if part)
        case ImageColumn():
            return "black"
        case TextColumn():
            return "no terms"
        case TokenColumn():
            return "padding"
        case _:
            assert_never(column)


def _formula(column: Column) -> str:
    match column:
        case NumericColumn():
            return _scaled(column, "x") + _bins(column) + _number_format(column)
        case CategoricalColumn():
            return _encoded(column) + ("" if column.target_means is None else f"; and {_MEANS}")
        case BooleanColumn():
            return "no → 0, yes → 1"
        case DatetimeColumn():
            parts = [_CYCLES[cycle] for cycle in column.cycles]
            parts += [
                f"{item.part}: one-hot of its {len(item.values)} values" for item in column.calendar
            ]
            if column.dates is not None:
                parts.append(f"date: {_MEANS}")
            if column.yearday is not None:
                day = _scaled(column.yearday, "x")
                parts.insert(0, f"x = day of a leap year, from 0: {day}{_bins(column.yearday)}")
            if column.elapsed is not None:
                days = f"x = days since {column.origin.removesuffix('T00:00:00')}"
                parts.insert(0, f"{days}: {_scaled(column.elapsed, 'x')}{_bins(column.elapsed)}")
            return "; ".join(parts)
        case ImageColumn():
            scale = ", ".join(
                f"(x - {number(mean)}) / {number(std)}"
                for mean, std in zip(column.mean, column.std, strict=True)
            )
            return f"{column.height} × {column.width} × {column.channels}; in the network {scale}"
        case TextColumn():
            return _terms(column)
        case TokenColumn():
            return _tokens(column)
        case _:
            assert_never(column)


def _tokens(column: TokenColumn) -> str:
    """Describe the tokens of a column."""
    if column.pieces is None:
        tokens = f"{column.unit}, {len(column.tokens):,} of them known"
    else:
        tokens = f"tokens of {column.pieces.model}, of {column.pieces.size:,}"
        if column.pieces.prefix or column.pieces.suffix:
            tokens += ", special tokens included"
    return (
        f"ids of {column.length} {tokens}; in the network a learned vector of {column.dimension} "
        "numbers for each"
    )


def _terms(column: TextColumn) -> str:
    """Describe the terms of a column of text."""
    parts = []
    for table in column.tables:
        low, high = table.lengths
        sizes = f"{low}" if low == high else f"{low}–{high}"
        parts.append(f"{len(table.terms):,} n-grams of {sizes} {table.unit}")
    return (
        f"TF-IDF of {' and '.join(parts)}, the {column.slots} largest weights of a row; in the network "
        f"the weighted sum of a learned vector of {column.dimension} numbers for each"
    )


def _bins(column: NumericColumn) -> str:
    """Describe the piecewise-linear encoding, if there is one."""
    if column.piecewise is None:
        return ""
    edges = column.piecewise.edges
    return (
        f"; and clip((x - a) / (b - a), 0, 1) - mean in each of {len(edges) - 1:,} bins [a, b] "
        f"from {number(edges[0])} to {number(edges[-1])}"
    )


def _number_format(column: NumericColumn) -> str:
    """Describe how text is parsed as numbers, if not in the default format."""
    if column.number_format is None:
        return ""
    unit = f", without '{column.number_format.unit}'" if column.number_format.unit else ""
    return f" (x: text with decimal separator {column.number_format.decimal}{unit})"


def _scaled(column: NumericColumn, x: str) -> str:
    """Describe clipping, scaling and smooth clipping, in the order in which they are applied."""
    bounds = column.outliers
    if bounds is not None and bounds.action == "clip":
        x = f"clip({x}, {number(bounds.lower)}, {number(bounds.upper)})"
    if column.quantiles is not None:
        points = len(column.quantiles.values)
        text = f"z = normal score of {x}, interpolated between {points:,} quantiles"
    else:
        text = f"z = {_affine(x, column.center, column.divisor)}"
        text += {"standard": "", "none": ""}.get(column.scale, f" ({column.scale})")
    if column.smooth_clip is not None:
        bound = number(column.smooth_clip)
        text += f"; input = z / √(1 + (z / {bound})²)"
    return text.removeprefix("z = ") if column.smooth_clip is None else text


def _affine(x: str, offset: float, scale: float) -> str:
    """Format (x - offset) / scale without trivial parts."""
    shifted = f"{x} {'-' if offset > 0 else '+'} {number(abs(offset))}" if offset else x
    if scale == 1:
        return shifted
    return f"({shifted}) / {number(scale)}" if offset else f"{x} / {number(scale)}"


def _encoded(column: CategoricalColumn) -> str:
    specials = [RARE] * (column.rare > 0) + [MISSING] * column.has_missing_level
    levels = [*map(_level, column.levels), *specials]
    listed = ", ".join(levels[:_MAX_LEVELS])
    if len(levels) > _MAX_LEVELS:
        listed += f", … ({len(levels):,} categories)"
    to_rare = column.unknown == "rare" and column.rare > 0
    match column.encode:
        case "onehot":
            unknown = RARE if to_rare else "all 0"
            return f"one-hot in the order {listed}; unknown categories: {unknown}"
        case "ordinal":
            unknown = RARE if to_rare else number(-1 / (column.codes - 1))
            order = listed.replace(", ", " < ") if len(levels) <= _MAX_LEVELS else listed
            return f"index / {column.codes - 1}, from 0: {order}; unknown categories: {unknown}"
        case "embedding":
            unknown = RARE if to_rare else "id 0"
            return (
                f"id = index + 1: {listed}; unknown categories: {unknown}; "
                f"embedding of dimension {column.dimension}"
            )
        case _:
            assert_never(column.encode)


def _level(level: str) -> str:
    return short_name(level, _MAX_LEVEL_LENGTH)


def _output_steps(content: RunContent, networks: Sequence[Network]) -> Iterator[tuple[str, str]]:
    """Yield the steps from model outputs to predictions, in order."""
    target = networks[0].preprocessing.target
    if target.text is not None:
        yield "logits", "of each token, from the source and the tokens before it"
        yield "text", "the tokens of the best beam up to [SEP], joined (evaluate.decoding)"
        return
    has_classes = TASK_RULES[target.task].has_classes
    if has_classes:
        yield "output", _probability(target)
        yield from _temperature_steps(networks, target)
    else:
        loss = _loss(content)
        if loss.predicted_quantiles:
            values = ", ".join(f"{quantile:g}" for quantile in loss.predicted_quantiles)
            which = "other outputs of a column" if loss.kind.has_mean else "outputs of a column"
            yield "quantiles", f"the {which}, sorted: {values}"
        yield from _regression_steps(target)
    if len(networks) > 1:
        what = "p" if has_classes else "prediction"
        yield "ensemble", f"mean {what} of {len(networks):,} networks"
    if has_classes:
        yield "label", _label(target, content.threshold)


def _loss(content: RunContent) -> Loss:
    """Return the loss of the run; the default if its config cannot be read."""
    try:
        return Loss.model_validate(content.settings.get("loss", {}))
    except ValidationError:
        return Loss()


def _probability(target: FittedTarget) -> str:
    rules = TASK_RULES[target.task]
    if rules.has_positive_class:
        return f"p = probability of {_level(target.classes[1])}"
    if rules.is_exclusive:
        return f"p = probability of each of the {len(target.classes):,} classes"
    return "p = probability of yes in each column"


def _temperature_steps(
    networks: Sequence[Network], target: FittedTarget
) -> Iterator[tuple[str, str]]:
    temperatures = {network.temperature for network in networks}
    if temperatures == {1.0}:
        return
    text = number(temperatures.pop()) if len(temperatures) == 1 else "temperature of the network"
    logits = (
        "softmax(log(p)" if TASK_RULES[target.task].predicts_most_likely else "sigmoid(logit(p)"
    )
    yield "temperature", f"p = {logits} / {text})"


def _label(target: FittedTarget, threshold: float) -> str:
    rules = TASK_RULES[target.task]
    if rules.has_positive_class:
        negative, positive = map(_level, target.classes)
        return f"{positive} if p ≥ {number(threshold)}, else {negative}"
    if rules.has_several_labels:
        return f"yes if p ≥ {number(threshold)}"
    return "the class with the largest p"


def _regression_steps(target: FittedTarget) -> Iterator[tuple[str, str]]:
    for index, name in enumerate(target.columns[:_MAX_COLUMNS]):
        scale, offset = target.scale[index], target.offset[index]
        y = "output" if scale == 1 else f"{number(scale)} · output"
        if offset:
            y += f" {'+' if offset > 0 else '-'} {number(abs(offset))}"
        transform = target.transforms[index] if target.transforms else None
        if transform is not None:
            inverse = f"exp({y})"
            if transform.kind == "power":
                inverse = f"inverse Yeo-Johnson({y}; λ = {number(transform.exponent)})"
            y = f"clip({inverse}, {number(transform.low)}, {number(transform.high)})"
        yield name, f"prediction = {y}"


def _code(content: RunContent, networks: Sequence[Network], row: ExampleRow) -> Iterator[Block]:
    members = [network.run.path for network in networks if network.run.path != content.run.path]
    example = Example(
        path=str(content.run.path),
        preprocessing=[network.preprocessing for network in networks],
        values=row.values,
        members=[path.relative_to(content.run.path).as_posix() for path in members],
        is_calibrated=any(network.temperature != 1 for network in networks),
        has_custom=_has_custom(content.settings.get("model")),
        loss=_loss(content),
    )
    yield Paragraph(
        f"This code reproduces the prediction for {row.split} row {row.row:,} (counted from 0) "
        f"without this package. Dates are in ISO 8601 and UTC; missing values are None."
    )
    fitted = networks[0].preprocessing
    others = ["Pillow"] if fitted.image is not None else []
    if fitted.tokens is not None and fitted.tokens.pieces is not None:
        others.append("tokenizers")
    packages = f"{', '.join(['json', 'numpy', *others])} and Keras"
    yield CodeBlock(f"Reproduce a prediction with {packages} only", example_code(example))


def _has_custom(value: object) -> bool:
    match value:
        case dict():
            return "custom" in value or any(map(_has_custom, value.values()))
        case list():
            return any(map(_has_custom, value))
        case _:
            return False
