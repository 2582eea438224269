"""Where served models come from: runs and exported files, their names, and newer ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.config.task_rules import TASK_RULES
from trainer.errors import Problem, RunError, UsageError, command_text
from trainer.runs.directory import RunDirectory
from trainer.runs.monitoring import monitoring_folder
from trainer.runs.opening import open_run
from trainer.runs.search import find_runs
from trainer.serving.opening import open_model
from trainer.serving.settings import ModelSource
from trainer.workflows.generation.runs import EXPORT_NAME, is_generation_run

_UNMONITORED = tuple(
    name for name, rules in TASK_RULES.items() if rules.has_text or rules.is_generated
)
"""Tasks without columns of numbers or categories to count."""


@dataclass(slots=True)
class Origin:
    """Where a served model comes from, to notice newer ones.

    Attributes:
        name: The name of the model.
        path: The run directory, or the file.
        stamp: The state of the file; None for a run.
        rejected: Newer runs that cannot be served instead, by path or stamp.
    """

    name: str
    path: Path
    stamp: tuple[int, int, int] | None
    rejected: set[object] = field(default_factory=set)


def origins(paths: Sequence[Path], *, monitor: bool) -> list[Origin]:
    """Return where the models come from, with a name for each.

    Raises:
        RunError: A path is neither a run nor a file.
        UsageError: A file without a run, or a run that translates, is monitored.
    """
    found = []
    for path in paths:
        if path.is_file() and path.suffix == ".onnx":
            if monitor:
                fix = "use the run directory, which has the training rows"
                raise UsageError(Problem("--monitor", "run directories", f"the file {path}", fix))
            found.append(Origin(path.stem, path, stamp_of(path)))
            continue
        run = open_run(path).run
        if run.exports.absolute() in path.absolute().parents:
            expected = "a run directory, or an ONNX file of trainer export"
            fix = f"serve the run: {command_text('serve', run.path)}"
            raise UsageError(Problem(str(path), expected, "another file of an export", fix))
        manifest = run.read_manifest()
        if monitor and manifest.task in _UNMONITORED:
            expected, fix = "runs that predict classes or numbers", "serve it without --monitor"
            found_task = f"{path}, whose task is {manifest.task}"
            raise UsageError(Problem("--monitor", expected, found_task, fix))
        found.append(Origin(manifest.name, path, None))
        if monitor and not os.access(run.path, os.W_OK):
            folder = monitoring_folder(run)
            fix = "give yourself write permission there, or serve without --monitor"
            raise UsageError(Problem(str(folder), "a directory to write to", "none", fix))
    names = [origin.name for origin in found]
    for origin in found:
        if names.count(origin.name) > 1:
            origin.name = origin.path.resolve().name.removesuffix(".onnx")
    names = [origin.name for origin in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        times = f"'{twice[0]}' {names.count(twice[0])} times"
        fix = "serve each run once, and rename files of the same name"
        raise UsageError(Problem("trainer serve", "models with different names", times, fix))
    return found


def write_model(origin: Origin, path: Path, file: Path) -> None:
    """Export a run, or copy a file, which may be replaced while it is served.

    Args:
        origin: The model.
        path: Its run or file, or a newer one.
        file: The file to write.

    Raises:
        RunError: It cannot be served.
    """
    source = ModelSource(origin.name, str(file))
    if origin.stamp is None:
        if not _copy_export(path, source):
            _export(path, file)
        return
    try:
        shutil.copyfile(path, file)
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        raise RunError(Problem(str(path), "an exported ONNX file", found)) from error
    _check(source, path)


def _export(path: Path, file: Path) -> None:
    """Write the ONNX file of a run."""
    if is_generation_run(path):
        _export_generator(path, file)
        return
    from trainer.export.bundle import load_bundle
    from trainer.export.formats import load_format

    bundle = load_bundle(path)
    onnx = load_format("onnx")
    problems = onnx.problems(bundle)
    if problems:
        raise RunError(problems)
    onnx.write(bundle, onnx.schema(bundle), file)


def _export_generator(path: Path, file: Path) -> None:
    """Write the ONNX file of a generator."""
    from trainer.export.bundle import check_finished
    from trainer.workflows.generation.export import write_generator_file
    from trainer.workflows.generation.trained import open_generator

    opened = open_generator(path)
    check_finished(path, opened.run)
    write_generator_file(opened, file)


def _copy_export(path: Path, source: ModelSource) -> bool:
    """Use the file of `trainer export` in a run, if there is one of its weights.

    It takes much less time to open than the run.
    """
    opened = open_run(path)
    name = EXPORT_NAME if is_generation_run(path) else "model.onnx"
    exported = opened.run.exports / "onnx" / name
    if opened.checkpoint is not None or not exported.is_file():
        return False
    try:
        shutil.copyfile(exported, source.file)
        schema = open_model(source).schema
    except (OSError, RunError):
        return False
    return schema.weights_sha256 == opened.run.read_manifest().weights_sha256


def _check(source: ModelSource, path: Path) -> None:
    """Check a copied file; messages name the original.

    Raises:
        RunError: It cannot be served.
    """
    try:
        open_model(source)
    except RunError as error:
        raise RunError(problem.at(str(path)) for problem in error.problems) from error


def newer_source(origin: Origin) -> tuple[Path, object] | None:
    """Return a newer run or file, and what it is rejected by."""
    if origin.stamp is not None:
        stamp = stamp_of(origin.path)
        is_new = stamp not in (origin.stamp, (0, 0, 0)) and stamp not in origin.rejected
        return (origin.path, stamp) if is_new else None
    run = open_run(origin.path).run.path
    folder = run.absolute().parent
    # The names of runs begin with the time in UTC.
    later = [path for path in find_runs(folder) if path.name > run.name and path.parent == folder]
    for path in sorted(later, key=lambda path: path.name, reverse=True):
        shown = run.parent / path.name
        if shown not in origin.rejected and _is_finished(RunDirectory(path)):
            return shown, shown
    return None


def _is_finished(run: RunDirectory) -> bool:
    try:
        return run.read_manifest().status == "finished"
    except RunError:
        return False


def stamp_of(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino
