"""`trainer init`: writes a commented config for a table or a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trainer.errors import Problem, UsageError, command_text, pluralize
from trainer.report.text import cell
from trainer_cli import console
from trainer_cli.fit_table import EFFORT_HELP, TASK_HELP, target_problems
from trainer_cli.options import DataSettings, Json, Quiet
from trainer_cli.sheet import Sheet, check_sheet, write_sheet

if TYPE_CHECKING:
    from trainer.data.proposals import Proposal
    from trainer.data.table_inspection import TableFindings

Effort = Literal["quick", "balanced", "best"]
Task = Literal["translate", "generate"]
_SHOWN = 12


def command(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A table (CSV, Parquet, NDJSON, …), parallel text files ('corpus.{en,fr}'), or a "
            "folder of images with a subfolder for each class.",
            readable=False,
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            help="The column to predict; can be repeated. Not for images.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option("--task", help=TASK_HELP, show_default="that of the target"),
    ] = None,
    settings: DataSettings = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The config to write; - for stdout.",
            show_default="DATA's name with .yaml",
        ),
    ] = None,
    effort: Annotated[
        Effort,
        typer.Option("--effort", "-e", help=EFFORT_HELP),
    ] = "balanced",
    sheet: Sheet = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Inspect a table or a folder of images and write a commented config for it.

    Example: trainer init patients.csv --target diagnosis

    Example: trainer init patients.csv --target diagnosis --effort best

    Example: trainer init photos --sheet photos.html

    Example: trainer init pairs.csv --target french --task translate

    Example: trainer init 'corpus.{en,fr}' --target fr --task translate

    Example: trainer init patients.csv --task generate --target diagnosis

    Example: trainer init iris.data --target column_5 data.csv.header=false
    """
    from trainer.config.task_rules import GENERATED_TASKS

    to_stdout = output is not None and str(output) == "-"
    default = Path(f"{data.name.split('.')[0] or 'config'}.yaml")
    config = output or default
    if not to_stdout:
        _check_output(config, force=force)
    elif json:
        expected, fix = "one result on stdout", "use only one of them"
        raise UsageError(Problem("trainer init", expected, "-o - and --json", fix))
    check_sheet(sheet)
    if sheet is not None and task in GENERATED_TASKS:
        expected, fix = f"no --sheet with --task {task}", "remove it"
        raise UsageError(Problem("trainer init --sheet", expected, f"{sheet}", fix))
    path = None if to_stdout else config
    proposal = _propose(data, target or (), path, task, settings or (), effort)
    from trainer.runs.files import write_atomically

    table, stderr = proposal.findings, console.Console(quiet=quiet)
    _print_findings(table, stderr)
    if sheet is not None:
        _write_sheet(sheet, proposal.text, default if to_stdout else config)
    if to_stdout:
        console.result(proposal.text.rstrip("\n"))
        return
    write_atomically(config, proposal.text.encode())
    if json:
        console.json_result(
            {"config": str(config), "task": table.task, "rows": table.rows, "reason": table.reason}
        )
    else:
        stderr.print(f"next: {command_text('check', config)}, then {command_text('fit', config)}")
        console.result(str(config))


def _propose(
    data: Path,
    targets: Sequence[str],
    config: Path | None,
    task: Task | None,
    settings: Sequence[str],
    effort: Effort,
) -> Proposal:
    from trainer.config.task_rules import GENERATED_TASKS

    with_task = [*settings, *([] if task is None else [f"data.task={task}"])]
    problems = target_problems("init", data, targets, with_task)
    if problems:
        raise UsageError(problems)
    if task in GENERATED_TASKS:
        from trainer.data.generation_proposal import propose_generation

        return propose_generation(data, next(iter(targets), None), config, settings, effort)
    from trainer.data.config_proposal import propose_config

    return propose_config(data, tuple(targets), config, with_task, effort)


def _print_findings(table: TableFindings, stderr: console.Console) -> None:
    stderr.print(f"{pluralize(table.rows, 'row')}; {table.task}: {table.reason}")
    if table.images:
        shown = list(table.classes.items())[:_SHOWN]
        counts = ", ".join(f"{cell(name)} {rows:,}" for name, rows in shown)
        more = "" if len(table.classes) <= _SHOWN else ", …"
        stderr.print(f"{counts}{more}; {table.images}" if counts else table.images)
    for column in table.columns:
        if column.exclude is not None:
            stderr.print(f"excluded: {column.name} ({column.exclude})")
    for warning in table.warnings:
        console.warn(warning)


def _write_sheet(sheet: Path, text: str, config: Path) -> None:
    """Write the contact sheet of a proposed config."""
    from trainer.data.checking import load_checked
    from trainer.workflows.plan import make_plan

    write_sheet(sheet, make_plan(load_checked(config, (), text)))


def _check_output(config: Path, *, force: bool) -> None:
    from trainer.runs.files import parent_problem

    if config.is_dir():
        raise UsageError(
            Problem("--output", "a file", f"the directory {config}", "add a file name")
        )
    if (missing := parent_problem("--output", config)) is not None:
        raise UsageError(missing)
    if config.exists() and not force:
        fix = "choose another name with -o, or overwrite it with --force"
        raise UsageError(Problem("--output", "a new file", f"{config}, which exists", fix))
