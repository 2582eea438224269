"""`trainer explain`: what a trained network looks at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trainer.errors import Problem, UsageError, did_you_mean
from trainer.report.text import Table, cell, number
from trainer_cli import console
from trainer_cli.options import AllowCustom, DataSettings, Device, Json, Quiet, RunPath, device_name

if TYPE_CHECKING:
    from trainer.workflows.explain import Explanation

_SHOWN = 40
_MOST_ROWS = 10_000


def command(
    run: RunPath,
    settings: DataSettings = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="The rows that columns are shuffled in: validation or test.",
            show_default="validation; with repeats or folds test",
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=1000, help="Shuffles of each column.")
    ] = 5,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            help="Columns, separated by commas, to compute curves of; may be repeated.",
            show_default="the ten most important",
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows",
            metavar="N|FILE",
            help="Compute SHAP values of this many test rows, or of the rows of a file; needs the "
            "explain extra.",
        ),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
    allow_custom: AllowCustom = False,
) -> None:
    """Explain a run or a checkpoint: importance of columns, partial dependence, SHAP values.

    Importance is how much worse the network is with a column shuffled; partial dependence is the mean
    prediction over a column's values. Files are written to RUN/explanation.

    Example: trainer explain runs/breast-cancer/20261122-141530-9f3c --columns mean_area --rows 50
    """
    split_metric_name, shap_rows = _split_name(split), _shap_rows(rows)
    if settings and not isinstance(shap_rows, Path):
        expected = "--rows FILE with settings of how that file is read"
        fix = "add --rows FILE, or leave it out"
        raise UsageError(Problem("trainer explain", expected, f"'{settings[0]}' alone", fix))
    stderr = console.Console(quiet=quiet)
    stderr.announce_loading(run)
    from trainer.workflows.explain import explain

    done = explain(
        run,
        split=split_metric_name,
        repeats=repeats,
        columns=tuple(columns or ()),
        shap_rows=shap_rows,
        device=device_name(device),
        allow_custom=allow_custom,
        reading=settings or (),
    )
    for part in _parts(done):
        if isinstance(part, Table):
            stderr.table(part)
        else:
            stderr.print(part)
    if json:
        console.json_result(
            {
                "run": str(done.run),
                "checkpoint": done.checkpoint,
                "explanation": str(done.folder),
                "files": list(done.files),
                "importance": done.importance,
            }
        )
    else:
        console.result(str(done.folder))


def _parts(done: Explanation) -> list[str | Table]:
    """The lines and the table that a user reads."""
    found: dict[str, Any] = done.importance
    of_all = "" if found["rows"] == found["of_rows"] else f" of {found['of_rows']:,}"
    share = f"{100 * found['level']:g}%"
    parts: list[str | Table] = [
        f"{done.run}, checkpoint {done.checkpoint}",
        f"{found['measure']} {number(found['baseline'])} on {found['rows']:,}{of_all} "
        f"{found['split']} rows; each column shuffled {found['repeats']} times",
    ]
    rows = tuple(
        (
            cell(one["column"]),
            _short(one["drop"]),
            f"{_short(one['low'])} to {_short(one['high'])}",
            "within the noise" if one["is_noise"] else "",
        )
        for one in found["columns"][:_SHOWN]
    )
    heads = ("column", "drop", share, "")
    parts += ["", Table("", heads, rows, frozenset({1, 2}))]
    if len(found["columns"]) > _SHOWN:
        parts.append(f"and {len(found['columns']) - _SHOWN:,} more in importance.json")
    if done.shap is not None:
        parts.append(
            f"SHAP values of {len(done.shap['rows']):,} rows; base and values sum to each answer "
            f"within {number(done.shap['largest_gap'])}"
        )
    return parts


def _short(value: float) -> str:
    # What rounding leaves of nothing is nothing.
    return number(round(value, 12))


def _split_name(name: str | None) -> Literal["validation", "test"] | None:
    match name:
        case None | "validation" | "test":
            return name
    fix = did_you_mean(name, ("validation", "test"))
    raise UsageError(Problem("--split", "validation or test", f"'{name}'", fix))


def _shap_rows(words: str | None) -> int | Path | None:
    if words is None:
        return None
    if not words.isdecimal():
        return Path(words)
    if not 1 <= int(words) <= _MOST_ROWS:
        raise UsageError(Problem("--rows", f"1 to {_MOST_ROWS:,} rows, or a file", words))
    return int(words)
