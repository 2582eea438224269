"""Propose a config of task: generate for a table or a folder of images: the output of
`trainer init --task generate`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.generation import GENERATE
from trainer.config.image_folders import is_image_folder
from trainer.config.images import FOLDER_LABEL, FOLDER_PATH, Image
from trainer.config.read_options import data_section, non_default_read_options
from trainer.config.template import comment_text, counts_text, exact_pattern
from trainer.config.yaml_writer import flow_text, scalar_text
from trainer.data.features import feature_columns
from trainer.data.generation import MAX_CLASSES
from trainer.data.generation_fitting import MAX_LEVELS, MAX_NUMBER_LEVELS
from trainer.data.generation_recipe import fitting_side, recipe_for_images, recipe_for_rows
from trainer.data.generation_template import (
    fit_lines,
    generation_lines,
    head_lines,
    network_lines,
    split_line,
)
from trainer.data.image_proposal import (
    image_settings,
    images_text,
    read_headers,
    read_image_folder,
)
from trainer.data.opening import open_table
from trainer.data.proposals import ConfigFile, Proposal
from trainer.data.recipes import Effort
from trainer.data.spellings import natural_sort
from trainer.data.table_inspection import ColumnFinding, TableFindings, column_findings
from trainer.data.tables import Table
from trainer.data.values import level_text
from trainer.errors import DataError, Problem, pluralize

_MIN_ROWS = 20
_MAX_SIDE: Mapping[Effort, int] = {"quick": 32, "balanced": 48, "best": 64}
_MIN_PIXELS = 16
_PIXEL = re.compile(r"(?:pixel|pix|px|p)(?:[ _.-]?\d+){1,2}|\d+x\d+", re.IGNORECASE)
_REASONS = {
    "no values": "no values",
    "identifier": "identifies the row",
    "nested": "a list or a structure in every row",
    "mostly numbers": "mostly numbers: correct the other values to generate it",
    "ambiguous dates": "dates that can be read in two ways: set data.columns.NAME.format",
}


def propose_generation(
    source: Path,
    target: str | None,
    config: Path | None,
    read_options: Sequence[str] = (),
    effort: Effort = "balanced",
    overrides: Sequence[str] | None = None,
) -> Proposal:
    """Inspect a table or a folder of images, and propose a config that generates more of them.

    Args:
        source: The table or folder.
        target: The column of the classes that samples are drawn of; None for none. Not for a folder,
            whose classes are its subfolders.
        config: The path of the config, to which the path of the table is made relative; None for stdout.
        read_options: Settings for reading the table, as typed: `data.csv.header=false`.
        effort: The training effort, which determines the number of epochs and the size of images.
        overrides: The overrides of a run that uses the config immediately, as for `propose_config`.

    Raises:
        ConfigError: A setting is invalid.
        DataError: The table cannot be read, has too few rows, or the target has no classes.
    """
    file = ConfigFile.for_data(source, config, overrides)
    if is_image_folder(source):
        return _folder_proposal(source, file, effort)
    # Without a target, a config is only valid with the networks that are proposed below.
    data = data_section(str(source), "-" if target is None else target, read_options)
    data = data.model_copy(update={"target": [] if target is None else target})
    return _table_proposal(data, target, file, effort)


# Tables -----------------------------------------------------------------------------------------


def _table_proposal(data: Data, target: str | None, file: ConfigFile, effort: Effort) -> Proposal:
    table = open_table(data, streamed=False).header
    names, problems = feature_columns(table, data)
    if problems:
        raise DataError(problems)
    used = table.frame
    if target is not None:
        used = used.filter(pl.col(target).is_not_null())
    if used.height < _MIN_ROWS:
        expected = f"at least {_MIN_ROWS} rows to generate others like them"
        raise DataError(Problem(table.name, expected, f"{used.height:,}"))
    classes = {} if target is None else _classes(table, used[target])
    rows = np.arange(table.frame.height, dtype=np.int64)
    columns = tuple(_with_reason(one) for one in column_findings(table, names, rows, data))
    generated = [one for one in columns if one.exclude is None]
    if not generated:
        reasons = ", ".join(f"'{one.name}': {_reason(one)}" for one in columns[:5])
        raise DataError(Problem(table.name, "a column to generate", f"none ({reasons})"))
    side = _pixel_side(generated)
    what = f"images of {side} × {side} pixels" if side else pluralize(len(generated), "column")
    findings = _findings(table, used.height, classes, columns, what, target)
    if side:
        recipe = recipe_for_images(used.height, (side, side, 1))
    else:
        recipe = recipe_for_rows(used.height, sum(map(_values, generated)))
    excluded = [one for one in columns if one.exclude is not None]
    lines = [
        *head_lines(f"Generates {what} like those of {file.source}", file, is_image=bool(side)),
        "data:",
        f"  source: {scalar_text(file.source)}  # {used.height:,} rows",
        *(
            f"  {name}: {flow_text(value)}"
            for name, value in non_default_read_options(data).items()
        ),
        f"  task: {GENERATE}",
        *([] if target is None else [f"  target: {scalar_text(target)}  # {counts_text(classes)}"]),
        *(["  features:", "    exclude:"] if excluded else []),
        *(
            f"      - {scalar_text(exact_pattern(one.name))}  # {comment_text(_reason(one))}"
            for one in excluded
        ),
        f"  {split_line()}",
        *_column_settings(generated),
        *network_lines(recipe),
        *generation_lines(recipe, is_conditioned=target is not None, side=side),
        *fit_lines(recipe, effort),
    ]
    return Proposal("\n".join(lines) + "\n", findings)


def _classes(table: Table, series: pl.Series) -> dict[str, int]:
    """Return the rows of each class of the target.

    Raises:
        DataError: It has one value, or too many for classes.
    """
    counted = level_text(series).value_counts()
    counts = dict(zip(counted[series.name], counted["count"], strict=True))
    rare = [name for name, count in counts.items() if count < 2]
    if 1 < len(counts) <= MAX_CLASSES and not rare:
        return {name: counts[name] for name in natural_sort(list(counts))}
    found = pluralize(len(counts), "value")
    if rare and len(counts) >= 2:
        found += (
            f", '{rare[0]}' in one row" if len(rare) == 1 else f", {len(rare):,} in one row each"
        )
    expected = f"2 to {MAX_CLASSES:,} classes of at least two rows in '{series.name}'"
    fix = "leave out --target: the column is then generated like the others"
    raise DataError(Problem(table.name, expected, found, fix))


def _with_reason(column: ColumnFinding) -> ColumnFinding:
    """Return a finding with the reason why a generator cannot make the column, or without one."""
    if column.kind == "text":
        return replace(column, exclude="text")
    if _is_category(column) and column.distinct > MAX_LEVELS:
        return replace(column, exclude="many levels")
    if column.exclude in _REASONS:
        return column
    return replace(column, exclude=None)


def _is_category(column: ColumnFinding) -> bool:
    """Return whether a column is generated as categories, as are numbers and dates written as text."""
    return column.kind in (None, "categorical", "boolean") or column.spec.note is not None


def _reason(column: ColumnFinding) -> str:
    match column.exclude:
        case "text":
            return "texts, which are not generated"
        case "many levels":
            return f"{column.distinct:,} different values, too many for categories"
    return _REASONS[str(column.exclude)].replace("NAME", column.name)


def _column_settings(columns: Sequence[ColumnFinding]) -> list[str]:
    """Return the kinds of columns whose values are neither all numbers nor all something else."""
    odd = [column for column in columns if column.kind is None]
    lines = [
        f"    {scalar_text(column.name)}: {{kind: categorical}}  # not all values are numbers"
        for column in odd
    ]
    return ["  columns:", *lines] if odd else []


def _values(column: ColumnFinding) -> int:
    """Return the number of encoded values of a column."""
    if _is_category(column) or column.distinct <= MAX_NUMBER_LEVELS:
        return column.distinct + (column.missing > 0)
    return 3 if column.missing else 1


def _pixel_side(columns: Sequence[ColumnFinding]) -> int | None:
    """Return the side of the square images whose grey pixels the columns are; None if they are not.

    They are if they are named like pixels, all have numbers, and there are as many as in a square.
    """
    side = round(len(columns) ** 0.5)
    if side * side != len(columns) or len(columns) < _MIN_PIXELS:
        return None
    is_named = all(_PIXEL.fullmatch(column.name) for column in columns)
    if not is_named or any(column.missing for column in columns):
        return None
    return side if all(column.kind == "numeric" for column in columns) else None


# Folders of images ------------------------------------------------------------------------------


def _folder_proposal(folder: Path, file: ConfigFile, effort: Effort) -> Proposal:
    images = read_image_folder(folder, file.source)
    table, classes = images.table, images.classes
    labels = table.frame[FOLDER_LABEL]
    is_conditioned = len(classes) > 1 and min(classes.values()) > 1 and labels.null_count() == 0
    if not is_conditioned:
        images = replace(images, classes={})
    if len(labels) < _MIN_ROWS:
        expected = f"at least {_MIN_ROWS} images to generate others like them"
        raise DataError(Problem(str(folder), expected, f"{len(labels):,}"))
    sample, broken = read_headers(table.frame[FOLDER_PATH])
    image, shape = _image_shape(image_settings(sample.headers, _MAX_SIDE[effort])[0])
    what = f"images of {shape[0]} × {shape[1]} × {shape[2]}"
    target = FOLDER_LABEL if is_conditioned else None
    findings = _findings(table, len(labels), dict(images.classes), (), what, target)
    findings = replace(
        findings,
        images=images_text(sample, image, len(labels)),
        warnings=(*findings.warnings, *broken),
    )
    recipe = recipe_for_images(len(labels), shape)
    lines = [
        *head_lines(f"Generates {what} like those of {file.source}", file, is_image=True),
        "data:",
        images.source_line(),
        f"  task: {GENERATE}",
        *([] if is_conditioned else ["  target: []", f"  features: {{include: [{FOLDER_PATH}]}}"]),
        f"  image: {flow_text(image)}  # found {findings.images}",
        *([f"  {split_line()}"] if isinstance(images.source, str) else []),
        *network_lines(recipe),
        *generation_lines(recipe, is_conditioned=is_conditioned, side=None),
        *fit_lines(recipe, effort),
    ]
    return Proposal("\n".join(lines) + "\n", findings)


def _image_shape(settings: dict[str, Any]) -> tuple[dict[str, Any], tuple[int, int, int]]:
    """Return `data.image` and the shape of images, with sides that the networks can generate."""
    height, width, channels = Image.model_validate(settings).shape
    values = height * width * channels
    sides = fitting_side(height, values), fitting_side(width, values)
    if sides != (height, width):
        others = {name: value for name, value in settings.items() if name == "color"}
        settings = {"size": sides[0] if sides[0] == sides[1] else [*sides], **others}
    return settings, (*sides, channels)


# Both -------------------------------------------------------------------------------------------


def _findings(
    table: Table,
    rows: int,
    classes: dict[str, int],
    columns: tuple[ColumnFinding, ...],
    what: str,
    target: str | None,
) -> TableFindings:
    by_class = f", by class ({target}: {len(classes):,} classes)" if classes else ""
    return TableFindings(
        files=table.files,
        rows=rows,
        target=() if target is None else (target,),
        task=GENERATE,
        reason=what + by_class,
        classes=classes,
        number_formats={},
        order=None,
        duplicates=0,
        columns=columns,
        warnings=table.warnings,
    )
