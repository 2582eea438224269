"""`trainer explain`: feature importance, partial dependence, SHAP values and heat maps of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trainer.errors import Problem, UsageError, did_you_mean, pluralize
from trainer.report.text import Table, cell, number
from trainer_cli import console
from trainer_cli.options import AllowCustom, DataSettings, Device, Json, Quiet, RunPath, device_name

if TYPE_CHECKING:
    from trainer.workflows.explanations.explain import Explanation

_SHOWN = 40
_MAX_ROWS = 10_000


def command(
    run: RunPath,
    settings: DataSettings = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Rows for permutation importance, or for heat maps: validation or test.",
            show_default="validation; for repeats or folds test, if there are such rows; for images, "
            "those in the report",
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=1000, help="Number of shuffles per column.")
    ] = 5,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            help="Comma-separated columns for partial dependence; can be repeated.",
            show_default="the ten most important",
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows",
            metavar="N|FILE",
            help="Compute SHAP values for this many test rows, or for the rows of a file (needs the "
            "explain extra); for images, heat maps: FILE is an image, a folder, a glob or a table.",
        ),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
    allow_custom: AllowCustom = False,
) -> None:
    """Compute feature importance, partial dependence and SHAP values, or heat maps of images.

    Permutation importance is the drop in a metric when a column is shuffled. Partial dependence is the
    mean prediction as a function of a column's value. A picture of each image shows where its class
    activation (Grad-CAM) is high, and which parts lower the prediction when they are covered. Files are
    written to RUN/explanation.

    Example: trainer explain runs/breast-cancer/20261122-141530-9f3c --columns mean_area --rows 50

    Example: trainer explain runs/photos/20261122-141530-9f3c --rows new_photos
    """
    split_name, shap_rows = _split_name(split), _shap_rows(rows)
    if settings and not isinstance(shap_rows, Path):
        expected = "--rows FILE with data settings"
        fix = "add --rows FILE, or remove it"
        raise UsageError(Problem("trainer explain", expected, f"'{settings[0]}' alone", fix))
    stderr = console.Console(quiet=quiet)
    stderr.announce_loading(run)
    from trainer.prediction.predictor import open_predictor
    from trainer.runs.records import to_json
    from trainer.workflows.explanations.explain import explain

    explanation = explain(
        open_predictor(run, device=device_name(device), allow_custom=allow_custom),
        split=split_name,
        repeats=repeats,
        columns=tuple(columns or ()),
        shap_rows=shap_rows,
        read_options=settings or (),
    )
    for warning in explanation.warnings:
        console.warn(warning)
    for part in _parts(explanation):
        if isinstance(part, Table):
            stderr.table(part)
        else:
            stderr.print(part)
    if json:
        console.json_result(
            {
                "run": str(explanation.run),
                "checkpoint": explanation.checkpoint,
                "explanation": str(explanation.folder),
                "files": list(explanation.files),
                "importance": explanation.importance,
                "heat_maps": None
                if explanation.heat_maps is None
                else to_json(explanation.heat_maps),
            }
        )
    else:
        console.result(str(explanation.folder))


def _parts(explanation: Explanation) -> list[str | Table]:
    """Return the lines and the table to print."""
    parts: list[str | Table] = [f"{explanation.run}, checkpoint {explanation.checkpoint}"]
    if explanation.importance is not None:
        parts += _importance_parts(explanation.importance)
    if explanation.shap is not None:
        parts.append(
            f"SHAP values for {len(explanation.shap['rows']):,} rows; with the base value, they sum to "
            f"the prediction within {number(explanation.shap['largest_gap'])}"
        )
    heat_maps = explanation.heat_maps
    if heat_maps is not None:
        kinds = "occlusion" if not heat_maps.has_class_activation else "Grad-CAM and occlusion"
        images = pluralize(len(heat_maps.images), "image")
        pictures = explanation.folder / "heat_map_*.jpg"
        parts.append(f"heat maps ({kinds}) of {images} of {cell(heat_maps.source)}: {pictures}")
    return parts


def _importance_parts(importance: dict[str, Any]) -> list[str | Table]:
    total = (
        ""
        if importance["rows"] == importance["split_rows"]
        else f" of {importance['split_rows']:,}"
    )
    parts: list[str | Table] = [
        f"{importance['metric']} {number(importance['baseline'])} on {importance['rows']:,}{total} "
        f"{importance['split']} rows; each column shuffled {importance['repeats']} times",
    ]
    rows = tuple(
        (
            cell(column["column"]),
            _short(column["drop"]),
            f"{_short(column['low'])} to {_short(column['high'])}",
            "" if column["is_significant"] else "not significant",
        )
        for column in importance["columns"][:_SHOWN]
    )
    headers = ("column", "drop", f"{100 * importance['confidence_level']:g}% interval", "")
    parts += ["", Table("", headers, rows, frozenset({1, 2}))]
    if len(importance["columns"]) > _SHOWN:
        parts.append(f"and {len(importance['columns']) - _SHOWN:,} more in importance.json")
    return parts


def _short(value: float) -> str:
    # Rounding turns floating-point noise into 0.
    return number(round(value, 12))


def _split_name(name: str | None) -> Literal["validation", "test"] | None:
    match name:
        case None | "validation" | "test":
            return name
    fix = did_you_mean(name, ("validation", "test"))
    raise UsageError(Problem("--split", "validation or test", f"'{name}'", fix))


def _shap_rows(text: str | None) -> int | Path | None:
    if text is None:
        return None
    if not text.isdecimal():
        return Path(text)
    if not 1 <= int(text) <= _MAX_ROWS:
        raise UsageError(Problem("--rows", f"1 to {_MAX_ROWS:,} rows, or a file", text))
    return int(text)
