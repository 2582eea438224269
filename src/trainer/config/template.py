"""The commented config that `trainer init` writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.config.data import ColumnKind
from trainer.config.resolve import DEFAULT_EPOCHS
from trainer.config.task_rules import TASK_RULES
from trainer.config.yaml_writer import flow_text, scalar_text
from trainer.errors import command_text, pluralize
from trainer.task_names import TaskName

_MAX_LISTED = 12
_BASELINES = {"linear": "a linear model", "boosting": "gradient boosting"}
_NOT_ALLOWED_IN_COMMENTS = re.compile(
    "[^\x20-\x7e\xa1-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(frozen=True)
class TemplateColumn:
    """A column of the table and its settings in the config.

    Attributes:
        missing: Number of rows without a value.
        settings: Its settings for `data.columns`.
        comment: A comment on the settings; may be empty.
        excluded: Why it is not a feature ("a different value in every row"); empty if it is one.
    """

    name: str
    kind: ColumnKind
    missing: int = 0
    settings: Mapping[str, str | bool | int] = field(default_factory=dict)
    comment: str = ""
    excluded: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The network that `init` proposes, and how it is trained and evaluated.

    Attributes:
        components: Number of principal components that the network starts with; None for the inputs
            themselves.
        learned_scale: Whether the first layer learns a factor for each input.
        hidden: Units of the hidden layers.
        input_dropout: Dropout rate of the inputs; 0 for none.
        dropout: Dropout rate after each hidden layer; 0 for none.
        piecewise_bins: Bins of the piecewise-linear encoding of numbers; None for none.
        without_bins: Why numbers have no such encoding; empty if they do.
        label_smoothing: Label smoothing of the loss, whose effect calibration undoes; 0 for none.
        quantiles: Quantiles predicted beside the mean, for intervals; empty for none.
        decayed_rate: Learning rate that falls to 0 over the epochs; None for a constant one.
        epochs: Maximum number of epochs.
        patience: Patience of early stopping; None for no early stopping.
        batch_size: Rows per batch.
        folds: Number of folds, each the validation rows of a network; None for a single network.
        repeats: Number of networks for each fold.
        test: Fraction of test rows.
        validation: Fraction of validation rows; not used with folds.
        linear: Whether the report compares the network with a linear model.
        boosting: Whether it compares it with gradient boosting.
    """

    components: int | None = None
    learned_scale: bool = False
    hidden: tuple[int, ...] = (64, 64)
    input_dropout: float = 0.0
    dropout: float = 0.0
    batch_size: int = 32
    piecewise_bins: int | None = None
    without_bins: str = ""
    label_smoothing: float = 0.0
    quantiles: tuple[float, ...] = ()
    decayed_rate: float | None = None
    epochs: int = DEFAULT_EPOCHS
    patience: int | None = 10
    folds: int | None = None
    repeats: int = 1
    test: float = 0.2
    validation: float = 0.2
    linear: bool = True
    boosting: bool = True


@dataclass(frozen=True)
class TemplateInputs:
    """The properties of a table and the settings chosen for it.

    Attributes:
        source: The path, relative to the config.
        target: The target columns.
        rows: Number of rows of the table.
        columns: All columns except the targets.
        classes: Classes and their numbers of rows, for binary and multiclass tasks.
        positive: The positive class of a binary task; None for the default.
        recipe: The network and its training.
        file_name: File name of the config, for the commands in its header.
        name: The name of the experiment, if it is not that of the file.
        overrides: Overrides that it is used with, for its header.
        order: A date column by which rows can be split; None if there is none.
        is_ordered: Whether the rows are sorted by it, so that the split is by time.
        target_columns: Target columns that need settings.
        read_options: Settings of `data` that differ from the defaults, on how the file is read.
        separator: Separator of the labels in a target cell; None if there are no lists.
        scale: A target scale to suggest in a comment, or None.
        schema: Path or address of the JSON schema for the editor's YAML server; None for no header.
    """

    source: str
    target: tuple[str, ...]
    task: TaskName
    rows: int
    columns: tuple[TemplateColumn, ...]
    classes: tuple[tuple[str, int], ...] = ()
    positive: str | None = None
    recipe: Recipe = Recipe()
    file_name: str = "config.yaml"
    name: str | None = None
    overrides: tuple[str, ...] = ()
    order: str | None = None
    is_ordered: bool = False
    target_columns: tuple[TemplateColumn, ...] = ()
    read_options: Mapping[str, object] = field(default_factory=dict)
    separator: str | None = None
    scale: str | None = None
    schema: str | None = None


def render_template(inputs: TemplateInputs) -> str:
    """Return a commented config that loads without problems."""
    return "\n".join([*_head(inputs), *_data(inputs), *_rest(inputs)]) + "\n"


def _head(inputs: TemplateInputs) -> list[str]:
    lines = []
    if inputs.schema is not None:
        lines.append(f"# yaml-language-server: $schema={comment_text(inputs.schema)}")
    target = ", ".join(comment_text(name) for name in inputs.target[:3])
    check, fit = (
        comment_text(command_text(verb, inputs.file_name, *inputs.overrides))
        for verb in ("check", "fit")
    )
    explanation = TASK_RULES[inputs.task].explanation
    return [
        *lines,
        f"# Predicts {target} ({explanation}) from {comment_text(inputs.source)}.",
        "#",
        f"#   {check}    show what would be read, split and built, in a second",
        f"#   {fit}      train, evaluate, write a run directory",
        "#",
        "# All settings and their defaults: trainer schema --markdown",
        *([] if inputs.name is None else [f"name: {scalar_text(inputs.name)}"]),
    ]


def comment_text(text: str) -> str:
    """Replace characters that would end a comment."""
    return _NOT_ALLOWED_IN_COMMENTS.sub("�", text)


def _data(inputs: TemplateInputs) -> list[str]:
    target = inputs.target[0] if len(inputs.target) == 1 else list(inputs.target)
    lines = [
        "data:",
        f"  source: {scalar_text(inputs.source)}  # {inputs.rows:,} rows",
        *(f"  {name}: {flow_text(value)}" for name, value in inputs.read_options.items()),
        f"  target: {flow_text(target)}",
        f"  task: {inputs.task}{_class_counts(inputs)}",
    ]
    if inputs.scale is not None:
        lines.append(
            f"  # target_scale: {inputs.scale}  # the target spans orders of magnitude; predictions "
            "and metrics stay in its unit"
        )
    if inputs.separator is not None:
        lines.append(
            f"  target_separator: {scalar_text(inputs.separator)}  # separates the labels in a cell"
        )
    if inputs.positive is not None:
        about = "the class that precision, recall and probabilities refer to"
        lines.append(f"  positive: {scalar_text(inputs.positive)}  # {about}")
    excluded = [column for column in inputs.columns if column.excluded]
    if excluded:
        lines += ["  features:", "    exclude:"]
        lines += [
            f"      - {scalar_text(exact_pattern(column.name))}  # {comment_text(column.excluded)}"
            for column in excluded
        ]
    lines += _splits(inputs)
    lines += _kinds(inputs)
    return lines


def _splits(inputs: TemplateInputs) -> list[str]:
    """Return the split, and an alternative one as a comment if the table has dates."""
    recipe = inputs.recipe
    by = "stratified" if TASK_RULES[inputs.task].is_exclusive else "random"
    fractions = {"test": recipe.test, "validation": recipe.validation}
    meaning = "fractions of all rows"
    if recipe.folds is not None:
        fractions = {"test": recipe.test}
        meaning = "each row is evaluated by the networks that were not trained on it (fit.folds)"
    at_random = f"split: {flow_text({**fractions, 'by': by})}"
    if inputs.order is None:
        return [f"  {at_random}  # {meaning}"]
    if recipe.folds is not None:
        fractions = {
            "test": 0.2
        }  # With no test rows, the latest rows would only be validation rows.
    by_time = f"split: {flow_text({**fractions, 'by': 'time', 'column': inputs.order})}"
    if inputs.is_ordered:
        name = comment_text(inputs.order)
        return [
            f"  {by_time}  # the rows are sorted by {name}: the latest are the test set",
            f"  # {at_random}  # alternative, if new rows will be from the same period",
        ]
    later = "alternative, if the model will predict later rows"
    return [
        f"  {at_random}  # {meaning}",
        f"  # {comment_text(by_time)}  # {later}",
    ]


def _class_counts(inputs: TemplateInputs) -> str:
    return f"  # rows: {counts_text(dict(inputs.classes))}" if inputs.classes else ""


def counts_text(classes: Mapping[str, int]) -> str:
    """Return the rows of the first classes, for a comment."""
    shown = list(classes.items())[:_MAX_LISTED]
    counts = ", ".join(f"{comment_text(name)} {count:,}" for name, count in shown)
    more = len(classes) - len(shown)
    return counts + (f" and {more:,} more classes" if more else "")


def exact_pattern(name: str) -> str:
    """Return a wildcard pattern that matches only this name."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _kinds(inputs: TemplateInputs) -> list[str]:
    used = [column for column in inputs.columns if not column.excluded]
    lines = []
    numeric = [column for column in used if column.kind == "numeric"]
    categorical = [column for column in used if column.kind == "categorical"]
    if numeric:
        lines += _numeric(inputs.recipe, numeric)
    if categorical:
        settings = "{encode: onehot, impute: separate_level}"
        lines.append(f"  categorical: {settings}  # {_count_text(categorical)}")
    dates = [column for column in used if column.kind == "datetime"]
    if dates:
        parts = "[elapsed, yearday, year, week, day, weekday, month, hour, date]"
        about = "parts that do not vary are omitted"
        lines.append(f"  datetime: {{parts: {parts}}}  # {_count_text(dates)}; {about}")
    configured = [column for column in used if column.settings]
    ordering = [column for column in inputs.columns if column.excluded and column.settings]
    if inputs.target_columns or configured or ordering:
        lines.append("  columns:")
        lines += [_column(column) for column in (*inputs.target_columns, *ordering, *configured)]
    return lines


def _numeric(recipe: Recipe, columns: list[TemplateColumn]) -> list[str]:
    lines = [f"  numeric:  # {_count_text(columns)}", "    impute: median"]
    if any(column.missing for column in columns):
        lines.append("    indicator: true  # adds inputs that mark missing values")
    if recipe.components is not None:
        lines.append("    scale: standard")
    else:
        lines += ["    scale: robust", "    smooth_clip: 3.0  # limits the influence of outliers"]
    if recipe.piecewise_bins is not None:
        about = "lets the network learn steps and other nonlinear effects of a column"
        lines.append(f"    piecewise_bins: {recipe.piecewise_bins}  # {about}")
    elif recipe.without_bins:
        lines.append(f"    # piecewise_bins: none, as {recipe.without_bins}")
    return lines


def _column(column: TemplateColumn) -> str:
    comment = f"  # {comment_text(column.comment)}" if column.comment else ""
    return f"    {scalar_text(column.name)}: {flow_text(column.settings)}{comment}"


def _count_text(columns: list[TemplateColumn]) -> str:
    missing = [column for column in columns if column.missing]
    text = pluralize(len(columns), "column")
    if not missing:
        return text
    counts = [f"{comment_text(column.name)} {column.missing:,}" for column in missing[:_MAX_LISTED]]
    more = len(missing) - len(counts)
    return f"{text}; missing: {', '.join(counts)}" + (f" and {more} more" if more else "")


def _rest(inputs: TemplateInputs) -> list[str]:
    recipe = inputs.recipe
    has_layers = recipe.hidden or recipe.learned_scale or recipe.input_dropout or recipe.components
    lines = ["model:", "  layers:" if has_layers else "  layers: []  # a linear model"]
    if recipe.components is not None:
        about = "the columns are nearly linear combinations of a few"
        lines.append(f"    - principal_components: {recipe.components}  # {about}")
    if recipe.learned_scale:
        about = "finds out early in training which inputs matter"
        lines.append(f"    - learned_scale  # {about}")
    if recipe.input_dropout:
        about = "of the vectors of texts; no hidden layers, like a linear model on n-grams"
        lines.append(f"    - dropout: {scalar_text(recipe.input_dropout)}  # {about}")
    for units in recipe.hidden:
        lines.append(f"    - dense: {{units: {units}, activation: silu}}")
        if recipe.dropout:
            lines.append(f"    - dropout: {scalar_text(recipe.dropout)}")
    lines += ["  head: auto", _optimizer(recipe)]
    if recipe.label_smoothing:
        about = "regularizes; evaluate.calibrate undoes its effect on probabilities"
        lines.append(f"loss: {{label_smoothing: {scalar_text(recipe.label_smoothing)}}}  # {about}")
    if recipe.quantiles:
        loss = {"name": "mean_with_quantiles", "quantiles": list(recipe.quantiles)}
        about = "quantiles, for prediction intervals that adapt to the row"
        lines.append(f"loss: {flow_text(loss)}  # {about}")
    lines += [
        "metrics: auto",
        "fit:",
        *_folds(recipe),
        f"  epochs: {recipe.epochs}",
        f"  batch_size: {recipe.batch_size}",
    ]
    if recipe.patience is not None:
        monitor = "val_loss" if recipe.folds or recipe.validation > 0 else "loss"
        stop = {"monitor": monitor, "patience": recipe.patience, "restore_best": True}
        lines.append(f"  early_stopping: {flow_text(stop)}")
    evaluate = []
    if recipe.label_smoothing and (recipe.folds or recipe.validation > 0):
        about = "temperature scaling, fitted on validation rows"
        evaluate.append(f"  calibrate: true  # {about}")
    if not (recipe.linear and recipe.boosting):
        names = {"linear": recipe.linear, "boosting": recipe.boosting}
        fitted = ", ".join(name for name, is_fitted in names.items() if is_fitted)
        left_out = [_BASELINES[name] for name, is_fitted in names.items() if not is_fitted]
        about = f"{' and '.join(left_out)} would take longer than the network"
        evaluate.append(f"  baselines: [{fitted}]  # {about}")
    return [*lines, "evaluate:", *evaluate] if evaluate else lines


def _optimizer(recipe: Recipe) -> str:
    if recipe.decayed_rate is None:
        return "optimizer: {name: adamw, weight_decay: 0.01}"
    settings = {"name": "adamw", "learning_rate": recipe.decayed_rate, "weight_decay": 0.01}
    about = "the learning rate falls to 0 over the epochs, so that few are needed"
    return f"optimizer: {flow_text({**settings, 'schedule': 'cosine'})}  # {about}"


def _folds(recipe: Recipe) -> list[str]:
    if recipe.folds is None:
        return []
    lines = [
        f"  folds: {recipe.folds}  # networks, averaged to predict; each stops early on its own fold"
    ]
    if recipe.repeats > 1:
        about = "networks per fold: more are more accurate, but take longer"
        lines.append(f"  repeats: {recipe.repeats}  # {about}")
    return lines
