"""`trainer eval`: evaluates a trained model on its splits or on a file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trainer.errors import Problem, UsageError, did_you_mean
from trainer.report.text import Table, cell, number
from trainer_cli import console
from trainer_cli.options import (
    SPLITS,
    AllowCustom,
    DataSettings,
    Device,
    JsonLines,
    Quiet,
    RunPath,
    device_name,
)
from trainer_cli.stdin import data_file, with_stdin_name

if TYPE_CHECKING:
    from trainer.data.splits import SplitName


def command(
    run: RunPath,
    settings: DataSettings = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Evaluate on this file instead; - for CSV on stdin.", readable=False
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split", help="train, validation or test; can be repeated.", show_default="all"
        ),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: JsonLines = False,
    allow_custom: AllowCustom = False,
) -> None:
    """Evaluate a run or a checkpoint on its splits or on a file.

    For a run of task: generate, samples are compared with the rows of each split.

    Example: trainer eval runs/breast-cancer/20261122-141530-9f3c --data new_patients.csv
    """
    if data is not None and split:
        fix = "use only one of them"
        raise UsageError(Problem("trainer eval", "either --data or --split", "both", fix))
    if settings and data is None:
        expected = "--data FILE with data settings"
        fix = "add --data FILE, or remove it: the run's splits are read as they were for training"
        raise UsageError(Problem("trainer eval", expected, f"'{settings[0]}' alone", fix))
    stderr = console.Console(quiet=quiet)
    stderr.announce_loading(run)
    from trainer.workflows.generation.runs import is_generation_run

    splits = tuple(_split_name(name) for name in split) if split else SPLITS
    if is_generation_run(run):
        if data is not None:
            expected = "no --data: samples of a generator are compared with the splits of its run"
            raise UsageError(Problem("trainer eval", expected, "--data", "remove --data"))
        _evaluate_samples(run, splits, device_name(device), stderr, json=json)
        return
    from trainer.prediction.evaluation import evaluate
    from trainer.prediction.predictor import open_predictor
    from trainer.report.decisions import read_decision_summary
    from trainer.runs.directory import RunDirectory

    chosen = device_name(device)
    with nullcontext() if data is None else data_file(data) as source:
        evaluations = evaluate(
            open_predictor(run, device=chosen, allow_custom=allow_custom),
            splits=splits,
            data=source,
            read_options=settings or (),
        )
    for warning in evaluations.warnings:
        console.warn(warning if data is None else with_stdin_name(warning, data, source))
    if json:
        for result in evaluations.results:
            console.json_result(
                {
                    "run": str(result.run),
                    "checkpoint": result.checkpoint,
                    **({"split": result.split} if result.data is None else {"data": str(data)}),
                    "rows": result.rows,
                    "metrics": result.metrics,
                }
            )
        return
    first = evaluations.results[0]
    stderr.print(f"{first.run}, checkpoint {first.checkpoint}")
    columns = ("", *(cell(result.split or str(data)) for result in evaluations.results))
    rows = [("rows", *(number(result.rows) for result in evaluations.results))]
    labels = read_decision_summary(RunDirectory(first.run)).labels
    rows += [
        (
            labels.display_name(name),
            *(number(result.metrics[name]) for result in evaluations.results),
        )
        for name in first.metrics
    ]
    right = frozenset(range(1, len(columns)))
    console.result_table(Table("", columns, tuple(rows), right))


def _evaluate_samples(
    run: Path,
    splits: Sequence[SplitName],
    device: Literal["auto", "cpu", "gpu"],
    stderr: console.Console,
    *,
    json: bool,
) -> None:
    """Print the measures of samples compared with each split."""
    from trainer.workflows.generation.trained import evaluate_generator, open_generator

    opened = open_generator(run)
    results = evaluate_generator(opened, splits, device)
    if json:
        for result in results:
            console.json_result(
                {
                    "run": str(opened.run.path),
                    "checkpoint": opened.checkpoint,
                    "split": result.split,
                    "rows": result.rows,
                    "metrics": result.metrics,
                }
            )
        return
    stderr.print(f"{opened.run.path}, checkpoint {opened.checkpoint}")
    columns = ("", *(cell(result.split) for result in results))
    names = dict.fromkeys(name for result in results for name in result.metrics)
    rows = [("rows", *(number(result.rows) for result in results))]
    rows += [(name, *(number(result.metrics.get(name)) for result in results)) for name in names]
    console.result_table(Table("", columns, tuple(rows), frozenset(range(1, len(columns)))))


def _split_name(name: str) -> SplitName:
    for split in SPLITS:
        if name == split:
            return split
    fix = did_you_mean(name, SPLITS)
    raise UsageError(Problem("--split", "train, validation or test", f"'{name}'", fix))
