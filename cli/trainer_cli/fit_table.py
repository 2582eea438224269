"""`trainer fit TABLE --target Y` and `trainer fit FOLDER`: the config that `trainer init` would write,
without a file for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from trainer.errors import Problem, TrainerError, command_text, pluralize
from trainer_cli import console

if TYPE_CHECKING:
    from trainer.config.load import LoadedConfig

Effort = Literal["quick", "balanced", "best"]
EFFORT_HELP = (
    "quick: small networks, in seconds. balanced: five networks, one for each fold. best: ten or "
    "twenty."
)
TASK_HELP = (
    "translate: the target is the translation, or another rewriting, of a column of texts. generate: "
    "networks that make new rows or images; --target is then optional, a column of classes, each of "
    "which can be generated."
)
_EFFORTS = ("quick", "balanced", "best")
_SETTINGS = re.compile(rb"^(data|extends|name)[ \t]*:", re.MULTILINE)


def is_data(path: Path) -> bool:
    """Return whether a path is a table or a folder of images rather than a config.

    A table has the extension of one, and does not begin as a config does.
    """
    from trainer.config.image_folders import is_image_folder
    from trainer.config.load import TABLE_SUFFIXES
    from trainer.data.parallel_paths import parallel_files
    from trainer.runs.search import is_run

    if path.is_dir():
        return is_image_folder(path) and not is_run(path)
    if parallel_files(path):
        return True
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml", ".json"):
        return False
    try:
        with path.open("rb") as file:
            is_config = _SETTINGS.search(file.read(10_000)) is not None
    except OSError:
        is_config = False
    return not is_config and suffix in TABLE_SUFFIXES


def table_problems(
    paths: Sequence[Path],
    targets: Sequence[str],
    effort: str | None,
    task: str | None,
    settings: Sequence[str],
) -> list[Problem]:
    """Return problems with the combination of files and the options for a table.

    Args:
        paths: The tables and configs.
        targets: The values of --target.
        effort: The value of --effort.
        task: The value of --task.
        settings: The overrides.
    """
    from trainer.config.task_rules import GENERATED_TASKS, TEXT_TASKS

    tasks = (*TEXT_TASKS, *GENERATED_TASKS)
    tables = [path for path in paths if is_data(path)]
    options = {
        "trainer fit --target": targets, "trainer fit --effort": effort, "trainer fit --task": task,
    }  # fmt: skip
    given = [name for name, value in options.items() if value]
    problems = []
    if effort is not None and effort not in _EFFORTS:
        problems.append(Problem("trainer fit --effort", "quick, balanced or best", f"'{effort}'"))
    if task is not None and task not in tasks:
        fix = "set data.task=TASK for other tasks"
        problems.append(Problem("trainer fit --task", " or ".join(tasks), f"'{task}'", fix))
    if not tables:
        fixes = {
            "trainer fit --target": "set data.target in the config, or with data.target=COLUMN",
            "trainer fit --effort": "choose epochs, folds and repeats in the config",
            "trainer fit --task": "set data.task in the config, or with data.task=TASK",
        }
        found = f"the config {paths[0]}"
        problems += [Problem(name, "a table", found, fixes[name]) for name in given]
        return problems
    if len(paths) > 1:
        found = ", ".join(str(path) for path in paths)
        fix = "use one table, or write a config for each with trainer init"
        problems.append(Problem("trainer fit", "one table, without configs", found, fix))
    return [*problems, *target_problems("fit", tables[0], targets, settings)]


def target_problems(
    verb: str, data: Path, targets: Sequence[str], settings: Sequence[str]
) -> Sequence[Problem]:
    """Return problems with the targets of a table or a folder of images, and with its task.

    Args:
        verb: The command, for messages.
        data: The table or folder.
        targets: The values of --target.
        settings: The overrides, with `data.task` for --task.
    """
    from trainer.config.image_folders import is_image_folder
    from trainer.config.task_rules import TEXT_TASKS

    option, is_generated = f"trainer {verb} --target", _is_generated(settings)
    if is_image_folder(data):
        found, problems = f"the folder {data}", []
        if any(f"data.task={task}" in settings for task in TEXT_TASKS):
            problems.append(Problem(f"trainer {verb} --task", "a table of texts", found))
        if targets:
            fix = "remove it: the class of an image is its subfolder"
            problems.append(Problem(option, "a table", found, fix))
        return problems
    if is_generated and len(targets) > 1:
        expected = "at most one column, the class of each row, with task: generate"
        fix = "name one of them, or none"
        return [Problem(option, expected, ", ".join(targets), fix)]
    return [] if targets or is_generated else _missing_target(verb, data, settings)


def _missing_target(verb: str, table: Path, settings: Sequence[str]) -> tuple[Problem, ...]:
    """Return the problem of a table without --target, which lists likely columns."""
    from trainer.config.read_options import split_read_options
    from trainer.config.task_rules import TEXT_TASKS
    from trainer.data.likely_targets import likely_targets

    try:
        columns = likely_targets(str(table), split_read_options(settings)[0])
    except TrainerError as error:
        return error.problems
    shown = ", ".join(f"'{name}'" for name in columns)
    task = [
        part for name in TEXT_TASKS if f"data.task={name}" in settings for part in ("--task", name)
    ]
    fix = f"for example: {command_text(verb, table, '--target', columns[0], *task)}"
    found = f"none; likely columns: {shown}"
    return (Problem(f"trainer {verb} --target", "the column to predict", found, fix),)


def propose(
    table: Path,
    targets: Sequence[str],
    effort: str | None,
    settings: Sequence[str],
    stderr: console.Console,
    max_seconds: float | None = None,
) -> LoadedConfig:
    """Return the config that `trainer init` would write for a table, with these settings.

    With the effort `best`, a time limit determines the number of networks.

    Raises:
        ConfigError: A setting is invalid.
        DataError: The table cannot be read or lacks the target.
    """
    from trainer.config.read_options import split_read_options
    from trainer.data.checking import load_checked
    from trainer.data.config_proposal import propose_config

    reading, others = split_read_options(settings)
    level = cast(Effort, effort or "balanced")
    if _is_generated(settings):
        from trainer.data.generation_proposal import propose_generation

        target = next(iter(targets), None)
        used_with = [text for text in others if not _is_generated([text])]
        proposal = propose_generation(table, target, None, reading, level, used_with)
    else:
        proposal = propose_config(
            table, tuple(targets), None, reading, level, overrides=others, seconds=max_seconds
        )
    findings = proposal.findings
    stderr.print(f"{pluralize(findings.rows, 'row')}; {findings.task}: {findings.reason}")
    for column in findings.columns:
        if column.exclude is not None:
            stderr.print(f"excluded: {column.name} ({column.exclude})")
    return load_checked(Path(f"config for {table}"), others, proposal.text)


def _is_generated(settings: Sequence[str]) -> bool:
    """Return whether an override sets the task to generate."""
    from trainer.config.task_rules import GENERATED_TASKS

    return any(f"data.task={task}" in settings for task in GENERATED_TASKS)
