"""Open a trained run and load its network.

The network is built from the run's config and gets the weights of the checkpoint: nothing that a file
describes is executed. Importing this module does not import TensorFlow; `load_network` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.data import Data
from trainer.config.dump import resolved_settings
from trainer.config.generation import generates
from trainer.config.images import image_columns
from trainer.config.load import LoadedConfig, load_config
from trainer.config.nodes import to_python
from trainer.config.read_options import parse_read_options
from trainer.data.arrays import BoolArray
from trainer.data.dataset import Dataset
from trainer.data.parallel_paths import parallel_files
from trainer.data.preprocessing import Preprocessing
from trainer.data.recorded_splits import load_recorded_dataset, read_assignment
from trainer.data.sources import is_lines
from trainer.data.splits import VALIDATION
from trainer.engine.selection import exceeds_memory
from trainer.errors import DataError, Problem, RunError, command_text
from trainer.models.pretrained.description import describe_saved_base
from trainer.models.pretrained.encoder_folder import describe_saved_encoder
from trainer.models.summary import NetworkShape
from trainer.runs.checkpoints import MODEL, read_checkpoint
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_errors
from trainer.runs.lock import lock_state
from trainer.runs.opening import open_run
from trainer.runs.search import is_run
from trainer.tasks.task import Task, make_task

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A trained run whose network has not been built.

    Attributes:
        run: The run directory.
        checkpoint: The name of the checkpoint, "best" or "last".
        loaded: The config of the run.
        preprocessing: The preprocessing fitted on its training rows.
        task: The task.
    """

    run: RunDirectory
    checkpoint: str
    loaded: LoadedConfig
    preprocessing: Preprocessing
    task: Task


def open_members(path: Path) -> tuple[RunDirectory, tuple[TrainedRun, ...]]:
    """Open the run at `path` and the networks that predict for it: its finished members, or itself.

    Raises:
        RunError: See `open_trained`; or no member has finished.
    """
    opened = open_run(path)
    if opened.checkpoint is not None or not opened.run.members.is_dir():
        single = open_trained(path)
        return single.run, (single,)
    runs = [
        RunDirectory(directory)
        for directory in sorted(opened.run.members.iterdir())
        if is_run(directory)
    ]
    finished = tuple(open_trained(run.path) for run in runs if run.has_checkpoint("best"))
    if not finished:
        fix = f"resume them: {command_text('resume', opened.run.path)}"
        raise RunError(Problem(str(path), "a run with finished members", "none yet", fix))
    return opened.run, finished


def open_checkpoint(path: Path) -> tuple[RunDirectory, str]:
    """Return the run at `path`, and the name of the checkpoint that the path is of (default: the best).

    Raises:
        RunError: The run or the checkpoint does not exist.
    """
    opened = open_run(path)
    checkpoint = opened.checkpoint or "best"
    if not opened.run.has_checkpoint(checkpoint):
        expected, found = f"a run with a '{checkpoint}' checkpoint", "none yet"
        fix = "wait for its first checkpoint"
        if lock_state(opened.run.lock) != "alive":
            fix = f"continue the run: {command_text('resume', opened.run.path)}"
            if not opened.run.has_checkpoint("last"):
                found, fix = "none", "repeat the run with `trainer fit` on its config.yaml"
        raise RunError(Problem(str(path), expected, found, fix))
    return opened.run, checkpoint


def open_trained(path: Path) -> TrainedRun:
    """Open the run at `path`, or a checkpoint of a run (default: the best).

    Raises:
        RunError: The run or the checkpoint does not exist, or files are damaged.
    """
    run, checkpoint = open_checkpoint(path)
    loaded = read_run_config(run)
    if generates(loaded.config.data):
        has_images = loaded.config.generation.image or image_columns(loaded.config.data)
        out = "samples" if has_images else "samples.csv"
        fix = f"draw samples: {command_text('predict', run.path)} -o {out}"
        found = f"a run of task: {loaded.config.data.task}"
        raise RunError(Problem(str(path), "a run with predictions", found, fix))
    check_complete(run, loaded)
    try:
        preprocessing = Preprocessing.from_json(run.read_preprocessing())
    except DataError as error:
        where = str(run.preprocessing)
        raise RunError(problem.at(where) for problem in error.problems) from error
    task = make_task(loaded.config, preprocessing.target)
    decisions = read_decisions(run)
    if decisions is not None:
        task = task.with_decisions(decisions)
    return TrainedRun(run, checkpoint, loaded, preprocessing, task)


def ensemble_task(run: RunDirectory, members: Sequence[TrainedRun]) -> Task:
    """Return the task of a run with the decisions made for the ensemble of its members.

    Raises:
        RunError: A file is damaged.
    """
    task = members[0].task
    decisions = read_decisions(run) if run.path != members[0].run.path else None
    return task if decisions is None else task.with_decisions(decisions)


def read_run_config(run: RunDirectory, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Return the config of a run, with overrides.

    Raises:
        RunError: The config is missing or is not a file of the run.
        ConfigError: The config or an override is invalid.
    """
    with read_errors(run.config):
        return load_config(run.config, overrides)


def load_run_table(opened: TrainedRun) -> Dataset:
    """Return the table that a run was trained on, with its splits.

    Raises:
        DataError: The files are missing or have changed.
        RunError: The record of the splits is damaged.
    """
    manifest, data = opened.run.read_manifest(), opened.loaded.config.data
    streamed = manifest.engine is not None and manifest.engine.startswith("streaming")
    with _located_in(opened.run):
        return load_recorded_dataset(
            data,
            opened.preprocessing,
            opened.run.read_splits(),
            {file.path: file.sha256 for file in manifest.data},
            streamed=streamed or exceeds_memory(data),
        )


def validation_rows(members: Sequence[TrainedRun], rows: int) -> BoolArray:
    """Return which rows are validation rows of which member, (members, rows).

    Args:
        members: The members of a run.
        rows: Number of rows of their table.

    Raises:
        RunError: The record of the splits of a member is damaged.
    """
    found = np.empty((len(members), rows), np.bool_)
    for number, member in enumerate(members):
        with _located_in(member.run):
            found[number] = read_assignment(member.run.read_splits(), rows) == VALIDATION
    return found


@contextmanager
def _located_in(run: RunDirectory) -> Iterator[None]:
    """Context manager that adds the path of a run to the problems of its files."""
    try:
        yield
    except RunError as error:
        raise RunError(
            problem.at(str(run.path / problem.where)) for problem in error.problems
        ) from error


def data_settings_for(
    opened: TrainedRun, source: Path, read_options: Sequence[str], command: str
) -> Data:
    """Return the `data` section of a run for another file.

    Args:
        opened: The run.
        source: The file.
        read_options: Settings for reading it, as typed, that replace those of the run.
        command: The command that takes them, for messages.

    Raises:
        ConfigError: A setting is invalid or does not concern reading.
    """
    data = opened.loaded.config.data
    if read_options:
        parse_read_options(read_options, command)
        data = read_run_config(opened.run, read_options).config.data
    names = [column.name for column in opened.preprocessing.columns]
    if len(names) == 1 and not parallel_files(source) and is_lines(source, data):
        # A file with only the source of a translation, for example.
        csv = data.csv.model_copy(update={"names": names})
        data = data.model_copy(update={"format": "lines", "csv": csv})
    return data.model_copy(update={"source": str(source)})


def check_complete(run: RunDirectory, loaded: LoadedConfig) -> None:
    """Check that the config of a run is not truncated, which would give it another meaning.

    It was written with every setting. Those of later versions are missing in between, and have their
    defaults; those after the end of a truncated file are all missing.

    Raises:
        RunError: The last settings are missing.
    """
    settings = list(_settings_in(resolved_settings(loaded.config), to_python(loaded.root)))
    last = max((index for index, (_, found) in enumerate(settings) if found), default=-1)
    if last + 1 < len(settings):
        found = f"no {settings[last + 1][0]}, and nothing after it"
        fix = "restore the file from a copy of the run"
        raise RunError(Problem(str(run.config), "every setting of the run", found, fix))


def _settings_in(expected: Any, actual: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """Yield the settings of `expected`, in their order, and whether each is in `actual`."""
    if not isinstance(expected, dict) or not isinstance(actual, dict) or not expected:
        return
    for name, value in expected.items():
        yield f"{path}{name}", name in actual
        if name in actual:
            yield from _settings_in(value, actual[name], f"{path}{name}.")


def network_shape(opened: TrainedRun) -> NetworkShape:
    """Return the inputs of the network, its pretrained base and its output layer.

    Raises:
        ConfigError: The checkpoint lacks the base.
    """
    shape = opened.task.network_shape(opened.preprocessing)
    settings = opened.loaded.config.model.pretrained
    if settings is None:
        return shape
    model = opened.run.checkpoint(opened.checkpoint) / MODEL
    if shape.image is None:
        return shape.with_base(describe_saved_encoder(settings, model))
    return shape.with_base(describe_saved_base(settings, model, shape.image))


def load_network(opened: TrainedRun, *, allow_custom: bool) -> keras.Model:
    """Load the network with the weights of the checkpoint.

    Raises:
        RunError: The checkpoint is damaged or belongs to another network.
        ConfigError: A custom layer is not allowed.
    """
    from trainer.models.network import build_network

    checkpoint = read_checkpoint(opened.run.checkpoint(opened.checkpoint))
    network = build_network(
        opened.loaded.config,
        network_shape(opened),
        opened.task.prior(),
        allow_custom=allow_custom,
        base=Path.cwd(),
    )
    try:
        network.load_weights(checkpoint.model)
    except (ValueError, KeyError, OSError) as error:
        raise RunError(
            Problem(
                str(checkpoint.model),
                "the weights of the network in config.yaml",
                str(error).splitlines()[0],
                "use config.yaml and checkpoint of the same run",
            )
        ) from error
    return network
