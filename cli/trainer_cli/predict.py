"""`trainer predict`: predicts the rows of a file with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.errors import Problem, UsageError, pluralize
from trainer_cli import console
from trainer_cli.options import AllowCustom, DataSettings, Device, Json, Quiet, RunPath, device_name
from trainer_cli.samples import SampleClass, SampleCount, SampleSeed, Sampling, draw
from trainer_cli.stdin import data_file, with_stdin_name

if TYPE_CHECKING:
    from trainer.prediction.files import LazyPredictions

_FORMATS = (".csv", ".parquet")


def command(
    run: RunPath,
    out: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A .csv or .parquet file, or - for CSV on stdout; for generated images, a new folder.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="The rows to predict: a table; a file of one text per line, for a run of parallel text "
            "files; an image, a folder of images or a glob, or a table of their paths; - for stdin. Not "
            "for task: generate.",
            readable=False,
            show_default=False,
        ),
    ] = None,
    settings: DataSettings = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            help="Copy this column of FILE to the output; can be repeated; '*' copies all. Paths of "
            "images are always copied.",
        ),
    ] = None,
    count: SampleCount = None,
    seed: SampleSeed = None,
    class_name: SampleClass = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
    allow_custom: AllowCustom = False,
) -> None:
    """Predict the rows of a file, or images, or draw samples from a generator.

    The output has the same rows in the same order. A run of task: generate takes no file: it draws new
    rows or images, the same ones for the same seed.

    Example: trainer predict runs/breast-cancer/20261122-141530-9f3c patients.csv -o out.csv --keep id

    Example: trainer predict runs/photos/20261122-141530-9f3c new_photos -o out.csv

    Example: head -n 6 patients.csv | trainer predict runs/breast-cancer/20261122-141530-9f3c - -o -

    Example: trainer predict runs/breast-cancer/20261122-141530-9f3c new.csv data.csv.separator=';' -o -

    Example: trainer predict runs/digits-gan/20261122-141530-9f3c --count 1000 --seed 1 -o samples/
    """
    from trainer.workflows.generation.runs import is_generation_run

    sampling = Sampling(count, seed, class_name)
    if is_generation_run(run):
        _check_for_samples(data, settings, keep)
        draw(run, out, sampling, device_name(device), quiet=quiet, json=json)
        return
    data = _check_for_rows(data, sampling)
    _check_output(out, data, json=json)
    console.Console(quiet=quiet).announce_loading(run)
    from trainer.prediction.files import predict_file
    from trainer.prediction.predictor import open_predictor

    chosen = device_name(device)
    with data_file(data) as source:
        predicted = predict_file(
            open_predictor(run, device=chosen, allow_custom=allow_custom),
            source,
            keep=tuple(keep or ()),
            read_options=settings or (),
        )
        if str(out) == "-":
            for text in predicted.csv():
                console.result(text)
            _warn(predicted, data, source)
            return
        rows, columns = predicted.write(out)
    _warn(predicted, data, source)
    console.Console(quiet=quiet).print(pluralize(rows, "row"))
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


def _check_for_samples(
    data: Path | None, settings: list[str] | None, keep: list[str] | None
) -> None:
    """Check that a command that draws samples names no file."""
    given = [str(data)] if data is not None else []
    given += [f"--keep {name}" for name in keep or ()] + (settings or [])
    if given:
        expected = "no FILE and no settings of one: a run of task: generate draws samples"
        fix = f"remove {given[0]}"
        raise UsageError(Problem("trainer predict", expected, f"'{given[0]}'", fix))


def _check_for_rows(data: Path | None, sampling: Sampling) -> Path:
    """Check that a command that predicts rows names a file, and return it."""
    problems = [
        Problem(name, "a run of task: generate with this option", "another run", f"remove {name}")
        for name in sampling.given
    ]
    if data is None:
        expected = "FILE, the rows to predict"
        problems.append(Problem("trainer predict", expected, "none", "name a table or images"))
    if problems or data is None:
        raise UsageError(problems)
    return data


def _warn(predicted: LazyPredictions, data: Path, source: Path) -> None:
    """Print the warnings, which are complete only after all rows have been predicted."""
    for warning in predicted.warnings:
        console.warn(with_stdin_name(warning, data, source))


def _check_output(out: Path, data: Path, *, json: bool) -> None:
    """Check the output path before doing any work."""
    from trainer.runs.files import parent_problem

    if str(out) == "-":
        if json:
            expected, fix = "one result on stdout", "use only one of them"
            raise UsageError(Problem("trainer predict", expected, "-o - and --json", fix))
        return
    if out.suffix not in _FORMATS:
        fix = "the extension sets the format"
        raise UsageError(Problem("--output", "a name ending in .csv or .parquet", f"'{out}'", fix))
    if out.is_dir():
        raise UsageError(Problem("--output", "a file", f"the directory {out}", "add a file name"))
    if (missing := parent_problem("--output", out)) is not None:
        raise UsageError(missing)
    if out.exists() and data.exists() and out.samefile(data):
        fix = "choose another file"
        raise UsageError(Problem("--output", "a file other than the input", f"'{out}'", fix))
