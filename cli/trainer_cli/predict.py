"""`trainer predict`: the answers of a trained network for the rows of a file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.errors import Problem, UsageError
from trainer_cli import console
from trainer_cli.options import AllowCustom, DataSettings, Device, Json, Quiet, RunPath, device_name
from trainer_cli.stdin import data_file, with_stdin_name

if TYPE_CHECKING:
    from trainer.workflows.predict import LazyPredictions

_FORMATS = (".csv", ".parquet")


def command(
    run: RunPath,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="The rows to predict; - for CSV on stdin.", readable=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--output", "-o", help="A .csv or .parquet file, or - for CSV on stdout."),
    ],
    settings: DataSettings = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", help="Pass this column of FILE through; may be repeated; '*': all."),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
    allow_custom: AllowCustom = False,
) -> None:
    """Predict the rows of a file: one row out for each row in, in the same order.

    Example: trainer predict runs/breast-cancer/20261122-141530-9f3c patients.csv -o out.csv --keep id

    Example: head -n 6 patients.csv | trainer predict runs/breast-cancer/20261122-141530-9f3c - -o -

    Example: trainer predict runs/breast-cancer/20261122-141530-9f3c new.csv data.csv.separator=';' -o -
    """
    _check_output(out, data, json=json)
    console.Console(quiet=quiet).announce_loading(run)
    from trainer.workflows.predict import predict

    chosen = device_name(device)
    with data_file(data) as source:
        predicted = predict(
            run,
            source,
            keep=tuple(keep or ()),
            device=chosen,
            allow_custom=allow_custom,
            reading=settings or (),
        )
        if str(out) == "-":
            for text in predicted.csv():
                console.result(text)
            _warn(predicted, data, source)
            return
        rows, columns = predicted.write(out)
    _warn(predicted, data, source)
    console.Console(quiet=quiet).print(f"{rows:,} rows")
    if json:
        console.json_result(
            {
                "run": str(predicted.run),
                "checkpoint": predicted.checkpoint,
                "rows": rows,
                "output": str(out),
                "columns": columns,
            }
        )
    else:
        console.result(str(out))


def _warn(predicted: LazyPredictions, data: Path, source: Path) -> None:
    """Say what is odd in the rows, once all of them were looked at."""
    for warning in predicted.warnings:
        console.warn(with_stdin_name(warning, data, source))


def _check_output(out: Path, data: Path, *, json: bool) -> None:
    """What can be known of the output before any work is done."""
    if str(out) == "-":
        if json:
            raise UsageError(Problem("trainer predict", "one result on stdout", "-o - and --json"))
        return
    if out.suffix not in _FORMATS:
        fix = "the ending says the format"
        raise UsageError(Problem("--output", "a name ending in .csv or .parquet", f"'{out}'", fix))
    if out.is_dir():
        raise UsageError(Problem("--output", "a file", f"the directory {out}", "add a file name"))
    if not out.absolute().parent.is_dir():
        fix = f"mkdir -p {shlex.quote(str(out.parent))}"
        raise UsageError(Problem("--output", "a file in a directory", f"no {out.parent}", fix))
    if out.exists() and data.exists() and out.samefile(data):
        fix = "name another file"
        raise UsageError(Problem("--output", "another file than the input", f"'{out}'", fix))
