"""`trainer init`: writes a commented config for a table or a folder of images."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trainer.errors import Problem, UsageError, command_text, pluralize
from trainer.report.text import cell
from trainer_cli import console
from trainer_cli.fit_table import TASK_HELP
from trainer_cli.options import DataSettings, Json, Quiet
from trainer_cli.sheet import Sheet, check_sheet, write_sheet

if TYPE_CHECKING:
    from trainer.data.config_proposal import Proposal
    from trainer.data.table_inspection import TableFindings

Effort = Literal["quick", "balanced", "best"]
Task = Literal["translate", "generate"]
_SHOWN = 12


def command(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A table (CSV, Parquet, NDJSON, …), or a folder of images with a subfolder for each "
            "class.",
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
        typer.Option(
            "--task",
            help=TASK_HELP,
            show_default="that of the target",
        ),
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
        typer.Option(
            "--effort",
            "-e",
            help="quick: small networks, in seconds. balanced: five networks, one for each fold. best: "
            "ten or twenty.",
        ),
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
    path = None if to_stdout else config
    if task in GENERATED_TASKS:
        proposal = _propose_generation(data, target or (), path, settings or (), effort, sheet)
    else:
        _check_target(data, target or (), task)
        reading = [*(settings or ()), *([] if task is None else [f"data.task={task}"])]
        from trainer.data.config_proposal import propose_config

        proposal = propose_config(data, tuple(target or ()), path, reading, effort)
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


def _propose_generation(
    data: Path,
    target: Sequence[str],
    config: Path | None,
    settings: Sequence[str],
    effort: Effort,
    sheet: Path | None,
) -> Proposal:
    """Propose a config of task: generate, whose target is optional."""
    from trainer.config.image_folders import is_image_folder

    problems = []
    if sheet is not None:
        expected, found = "no --sheet with --task generate", f"{sheet}"
        problems.append(Problem("trainer init --sheet", expected, found, "remove it"))
    if target and is_image_folder(data):
        fix = "remove it: the class of an image is its subfolder"
        found = f"--target {target[0]} for the folder {data}"
        problems.append(Problem("trainer init", "a table with --target", found, fix))
    elif len(target) > 1:
        expected = "at most one column, the class of each row, with --task generate"
        fix = "name one of them, or none"
        problems.append(Problem("trainer init --target", expected, ", ".join(target), fix))
    if problems:
        raise UsageError(problems)
    from trainer.data.generation_proposal import propose_generation

    return propose_generation(data, next(iter(target), None), config, settings, effort)


def _print_findings(table: TableFindings, stderr: console.Console) -> None:
    stderr.print(f"{pluralize(table.rows, 'row')}; {table.task}: {table.reason}")
    if table.images:
        shown = list(table.classes.items())[:_SHOWN]
        counts = ", ".join(f"{cell(name)} {rows:,}" for name, rows in shown)
        more = "" if len(table.classes) <= _SHOWN else ", …"
        stderr.print(f"{counts}{more}; {table.images}")
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


def _check_target(data: Path, target: Sequence[str], task: Task | None) -> None:
    """Check that there is a target for a table, and neither that nor a task for a folder of images."""
    from trainer.config.image_folders import is_image_folder

    if is_image_folder(data):
        if target:
            fix = "remove it: the class of an image is its subfolder"
            found = f"--target {target[0]} for the folder {data}"
            raise UsageError(Problem("trainer init", "a table with --target", found, fix))
        if task is not None:
            found = f"the folder {data}"
            raise UsageError(Problem(f"trainer init --task {task}", "a table of texts", found))
    elif not target:
        fix = "name the column to predict"
        raise UsageError(Problem("trainer init --target", "a column", "nothing", fix))


def _check_output(config: Path, *, force: bool) -> None:
    if config.is_dir():
        raise UsageError(
            Problem("--output", "a file", f"the directory {config}", "add a file name")
        )
    if not config.absolute().parent.is_dir():
        fix = f"mkdir -p {shlex.quote(str(config.parent))}"
        found = f"no directory {config.parent}"
        raise UsageError(Problem("--output", "a file in an existing directory", found, fix))
    if config.exists() and not force:
        fix = "choose another name with -o, or overwrite it with --force"
        raise UsageError(Problem("--output", "a new file", f"{config}, which exists", fix))
