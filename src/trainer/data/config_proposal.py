"""Propose a config for a table: the output of `trainer init`.

Makes the choices that depend on the table; `trainer.data.table_inspection` inspects it and
`trainer.config.template` renders the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.config.data import Data
from trainer.config.image_folders import is_image_folder
from trainer.config.read_options import data_section, non_default_read_options
from trainer.config.template import Recipe, TemplateColumn, TemplateInputs, render_template
from trainer.config.translation import translates
from trainer.data.ensemble_size import with_networks_for
from trainer.data.image_proposal import propose_image_config
from trainer.data.proposals import ConfigFile, Proposal
from trainer.data.recipes import Effort, choose_recipe
from trainer.data.table_inspection import ColumnFinding, TableFindings, inspect_table
from trainer.data.text_formats import format_setting
from trainer.data.translation_proposal import are_translations, propose_translation_config

_EXCLUSIONS = {
    "orders the rows": (
        "orders the rows: later in test rows than in any training row; to use the time of year and "
        "week, replace exclude with include: ['*'] and set columns.NAME.parts: [year, week]"
    ),
    "constant": "the same value in every row",
    "no values": "no values",
    "identifier": "identifies the row",
    "nested": "a list or a structure in every row",
}
# Of more levels, only the most frequent ones have an input: rare ones have few rows to learn from.
# The mean target carries as much information as these rows.
_MAX_ONEHOT_LEVELS, _MIN_LEVEL_ROWS = 24, 3
_MAX_LEVELS_WITHOUT_MEAN = 8
# The effect of a date lasts for days, while that of most numbers is smooth.
_MIN_DATE_BINS, _MAX_DATE_BINS, _ROWS_PER_DATE_BIN = 16, 64, 50


def propose_config(
    source: Path,
    targets: tuple[str, ...],
    config: Path | None,
    read_options: Sequence[str] = (),
    effort: Effort = "balanced",
    overrides: Sequence[str] | None = None,
    seconds: float | None = None,
) -> Proposal:
    """Inspect a table and propose a config for it.

    Args:
        source: The table, or a folder of images.
        targets: The columns to predict; not used for a folder of images.
        config: The path of the config, to which the table's path is made relative; None for stdout,
            where it is relative to the working directory.
        read_options: Settings for reading the table, as typed: `data.csv.header=false`; and
            `data.task=translate`.
        effort: The training effort, which determines the number of networks, and for `quick` their size.
        overrides: The overrides of a run that uses the config immediately and keeps it, which then has
            a name and the absolute path of the table.
        seconds: The time limit of that run; it determines the number of networks of the effort `best`.

    Raises:
        ConfigError: A setting is invalid.
        DataError: The table cannot be read or lacks the target.
    """
    file = ConfigFile.for_data(source, config, overrides)
    if is_image_folder(source):
        return propose_image_config(source, file, effort)
    data = data_section(str(source), _one_or_several(targets), read_options)
    findings = None if translates(data) else inspect_table(data)
    if findings is None or are_translations(findings):
        return propose_translation_config(data, file, effort)
    recipe = choose_recipe(findings, effort)
    if effort == "best" and seconds is not None:
        recipe = with_networks_for(recipe, findings, seconds)
    return Proposal(_rendered(findings, recipe, data, file), findings)


def _rendered(findings: TableFindings, recipe: Recipe, data: Data, file: ConfigFile) -> str:
    return render_template(
        TemplateInputs(
            source=file.source,
            target=findings.target,
            task=findings.task,
            rows=findings.rows,
            columns=_columns(findings, recipe),
            classes=tuple(findings.classes.items()),
            recipe=recipe,
            separator=findings.separator,
            scale=findings.scale,
            read_options=non_default_read_options(data),
            order=None if findings.order is None else findings.order.column,
            is_ordered=findings.order is not None and findings.order.is_sorted,
            target_columns=_target_columns(findings),
            file_name=file.file_name,
            name=file.name,
            overrides=file.overrides,
        )
    )


def _columns(findings: TableFindings, recipe: Recipe) -> tuple[TemplateColumn, ...]:
    bins = recipe.piecewise_bins
    return tuple(_column(column, findings.rows, bins) for column in findings.columns)


def _target_columns(findings: TableFindings) -> tuple[TemplateColumn, ...]:
    names = findings.number_formats
    return (*(_target_column(findings, name) for name in names), *_case_of_target(findings))


def _one_or_several(targets: tuple[str, ...]) -> str | list[str]:
    return targets[0] if len(targets) == 1 else list(targets)


def _case_of_target(findings: TableFindings) -> tuple[TemplateColumn, ...]:
    """Return the setting for a target with classes that differ only in case."""
    if not findings.case_variants:
        return ()
    names = ", ".join(f"'{name}'" for name in findings.case_variants[:3])
    settings = {"ignore_case": True}
    return (
        TemplateColumn(
            findings.target[0], "categorical", settings=settings, comment=f"{names} are one class"
        ),
    )


def _target_column(findings: TableFindings, name: str) -> TemplateColumn:
    """Return the setting for a target whose numbers are written as text."""
    settings = {"decimal": findings.number_formats[name].decimal}
    note = next(
        (warning for warning in findings.warnings if warning.startswith(f"'{name}' is read")), ""
    )
    return TemplateColumn(name, "numeric", settings=settings, comment=note.partition("; ")[0])


def _column(column: ColumnFinding, rows: int, bins: int | None) -> TemplateColumn:
    spec = column.spec
    settings: dict[str, str | bool | int] = {}
    comment = ""
    if spec.note is not None and spec.number_format is not None:
        settings, comment = {"decimal": spec.number_format.decimal}, spec.note.what
    elif spec.note is not None and spec.kind == "datetime":
        settings = {"kind": "datetime", "format": str(spec.date_format)}
        comment = spec.note.what
    elif column.kind == "datetime":
        settings = {"kind": "datetime"}
    elif spec.note is not None or column.kind is None:
        # If some values are not numbers, fitting requires the kind.
        settings = {"kind": "categorical"}
        comment = _odd_values(column)
    if column.kind == "text":
        settings, comment = {"kind": "text"}, f"{column.distinct:,} different texts"
    if column.kind == "categorical" and column.distinct > _MAX_LEVELS_WITHOUT_MEAN:
        settings = {**settings, "target_mean": True}
        comment = comment or f"{column.distinct:,} levels"
        if column.distinct > _MAX_ONEHOT_LEVELS:
            settings |= {"max_levels": _MAX_ONEHOT_LEVELS, "min_count": _MIN_LEVEL_ROWS}
    date_bins = min(_MAX_DATE_BINS, rows // _ROWS_PER_DATE_BIN)
    if (
        column.kind == "datetime"
        and column.exclude is None
        and date_bins > (bins or _MIN_DATE_BINS)
    ):
        settings = {**settings, "piecewise_bins": date_bins}
        comment = comment or "bins of a few days, as holidays and seasons are short"
    excluded = ""
    if column.exclude is not None:
        excluded = _exclusion(column)
        if column.exclude != "orders the rows" or spec.date_format is None:
            settings = {}
    kind = "categorical" if column.kind is None else column.kind
    return TemplateColumn(
        column.name, kind, column.missing, settings=settings, comment=comment, excluded=excluded
    )


def _odd_values(column: ColumnFinding) -> str:
    """Return why a column of mostly numbers or dates has another kind."""
    if column.spec.note is not None:
        return column.spec.note.what
    return "" if column.problem is None else f"not all values are numbers: {column.problem.found}"


def _exclusion(column: ColumnFinding) -> str:
    """Return why a column is excluded from the features."""
    if column.exclude == "ambiguous dates":
        setting = format_setting(column.name, column.spec.formats)
        return f"ambiguous dates: remove it here and set {setting}"
    if column.exclude == "mostly numbers":
        return (
            f"{_odd_values(column)}: correct them, or add them to data.csv.null_values, to use it"
        )
    reason = _EXCLUSIONS[column.exclude or ""]
    return reason.replace("NAME", column.name)
