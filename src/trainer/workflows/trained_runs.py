"""A network out of a run directory, ready to be asked.

The network is built anew from the run's config and takes the checkpoint's weights: nothing that a file
describes is executed. Importing this module does not import TensorFlow; `load_network` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.data import Data
from trainer.config.dump import resolved_settings
from trainer.config.load import LoadedConfig, load_config
from trainer.config.nodes import to_python
from trainer.config.read_options import parse_read_options
from trainer.data.preprocessing import Preprocessing
from trainer.errors import DataError, Problem, RunError, command_text
from trainer.runs.checkpoints import read_checkpoint
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_errors
from trainer.runs.opening import open_run
from trainer.runs.search import is_run
from trainer.workflows.decisions import with_decisions
from trainer.workflows.task import Task, make_task

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A run that can be read, before its network is built.

    Attributes:
        run: Its directory.
        checkpoint: The name of the checkpoint asked for, "best" or "last".
        loaded: The run's config.
        preprocessing: What was fitted on its training rows.
        task: What it answers.
    """

    run: RunDirectory
    checkpoint: str
    loaded: LoadedConfig
    preprocessing: Preprocessing
    task: Task


def open_members(path: Path) -> tuple[RunDirectory, tuple[TrainedRun, ...]]:
    """The run at `path` and what answers for it: each of its finished members, or itself alone.

    Raises:
        RunError: As `open_trained`; no member has finished.
    """
    opened = open_run(path)
    if opened.checkpoint is not None or not opened.run.members.is_dir():
        alone = open_trained(path)
        return alone.run, (alone,)
    runs = [RunDirectory(place) for place in sorted(opened.run.members.iterdir()) if is_run(place)]
    able = tuple(open_trained(run.path) for run in runs if run.has_checkpoint("best"))
    if not able:
        fix = f"resume them: {command_text('resume', opened.run.path)}"
        raise RunError(Problem(str(path), "a run with members that have finished", "none yet", fix))
    return opened.run, able


def open_trained(path: Path) -> TrainedRun:
    """The run at `path`, or the checkpoint of a run (default: the best).

    Raises:
        RunError: There is no such run, or it has no such checkpoint, or its files are damaged.
    """
    opened = open_run(path)
    checkpoint = opened.checkpoint or "best"
    if not opened.run.has_checkpoint(checkpoint):
        raise RunError(
            Problem(
                str(path),
                "a run with a checkpoint",
                "none yet",
                "wait for its first checkpoint, or run trainer fit on its config.yaml",
            )
        )
    loaded = read_run_config(opened.run)
    # A run's config states every setting: one that does not was cut off, and would mean another thing.
    missing = _missing(resolved_settings(loaded.config), to_python(loaded.root))
    if missing is not None:
        fix = "take the file from a whole copy of the run"
        found = f"no {missing}"
        raise RunError(Problem(str(opened.run.config), "every setting of the run", found, fix))
    try:
        preprocessing = Preprocessing.from_json(opened.run.read_preprocessing())
    except DataError as damaged:
        where = str(opened.run.preprocessing)
        raise RunError(problem.at(where) for problem in damaged.problems) from damaged
    task = make_task(loaded.config, preprocessing.target)
    decisions = read_decisions(opened.run)
    if decisions is not None:
        task = with_decisions(task, decisions)
    return TrainedRun(opened.run, checkpoint, loaded, preprocessing, task)


def ensemble_task(run: RunDirectory, members: Sequence[TrainedRun]) -> Task:
    """The question that a run's members answer together: with what was chosen for all of them.

    Raises:
        RunError: A file is damaged.
    """
    task = members[0].task
    decisions = read_decisions(run) if run.path != members[0].run.path else None
    return task if decisions is None else with_decisions(task, decisions)


def read_run_config(run: RunDirectory, overrides: Sequence[str] = ()) -> LoadedConfig:
    """The config of a run, with overrides.

    Raises:
        RunError: The file is missing, or is none of the run's own.
        ConfigError: It is wrong, or the overrides are.
    """
    with read_errors(run.config):
        return load_config(run.config, overrides)


def data_settings_for(
    opened: TrainedRun, source: Path, reading: Sequence[str], command: str
) -> Data:
    """The `data` section of a run for another file.

    Args:
        opened: The run.
        source: The file.
        reading: Settings of how it is read, as typed, in place of those of the run.
        command: The command that takes them, for messages.

    Raises:
        ConfigError: A setting is wrong or is about something else.
    """
    data = opened.loaded.config.data
    if reading:
        parse_read_options(reading, command)
        data = read_run_config(opened.run, reading).config.data
    return data.model_copy(update={"source": str(source)})


def _missing(whole: Any, found: Any, path: str = "") -> str | None:
    """The first setting of `whole` that is not in `found`."""
    if not isinstance(whole, dict) or not isinstance(found, dict):
        return None
    for name, value in whole.items():
        if name not in found:
            return f"{path}{name}"
        missing = _missing(value, found[name], f"{path}{name}.")
        if missing is not None:
            return missing
    return None


def load_network(opened: TrainedRun, *, allow_custom: bool) -> keras.Sequential:
    """The network with the checkpoint's weights.

    Raises:
        RunError: The checkpoint is damaged or is not of this network.
        ConfigError: A layer of the user's own is not allowed.
    """
    from trainer.models.network import build_network

    preprocessing, task = opened.preprocessing, opened.task
    network = build_network(
        opened.loaded.config,
        preprocessing.width,
        preprocessing.embeddings,
        task.head,
        task.outputs,
        task.prior(),
        allow_custom=allow_custom,
        base=Path.cwd(),
    )
    checkpoint = read_checkpoint(opened.run.checkpoint(opened.checkpoint))
    try:
        network.load_weights(checkpoint.model)
    except (ValueError, KeyError, OSError) as error:
        raise RunError(
            Problem(
                str(checkpoint.model),
                "the weights of the network in config.yaml",
                str(error).splitlines()[0],
                "take config.yaml and checkpoint from the same run",
            )
        ) from error
    return network
