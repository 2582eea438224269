"""Everything that an export of a run needs, loaded without TensorFlow.

A run with repeats or folds is exported as one model: the mean of its finished members, as it predicts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trainer.config.data import ColumnKind
from trainer.data.preprocessing import Column, Preprocessing
from trainer.errors import Problem, RunError, command_text
from trainer.export.keras_files import KerasLayer, KerasNetwork, read_layers, read_network
from trainer.prediction.trained_runs import TrainedRun, ensemble_task, open_members
from trainer.runs.checkpoints import read_checkpoint
from trainer.runs.decisions import Decisions, read_decisions
from trainer.runs.directory import RunDirectory
from trainer.tasks.task import Task


@dataclass(frozen=True)
class MemberNetwork:
    """One network of a run.

    Attributes:
        trained: The run of the network, with its config, preprocessing and task; it decodes its outputs
            by its own task, which has its temperature.
        encoder: The index of its preprocessing in `Bundle.encoders`.
        model: The file with the network, whose hash was verified.
        weights_sha256: The hash of its weights (`trainer.models.weights.values_sha256`).
    """

    trained: TrainedRun
    encoder: int
    model: Path
    weights_sha256: str

    @cached_property
    def network(self) -> KerasNetwork:
        """The layers, with their weights as arrays.

        Raises:
            RunError: The file is damaged.
        """
        return read_network(self.model)

    @cached_property
    def layers(self) -> tuple[KerasLayer, ...]:
        """All layers, those inside others too; of a translation, without what they are called with.

        Raises:
            RunError: The file is damaged.
        """
        if self.trained.task.kind.rules.has_text:
            return read_layers(self.model)
        return tuple(self.network.layers())

    @property
    def where(self) -> str:
        """The file, for messages."""
        return str(self.model)


@dataclass(frozen=True)
class Bundle:
    """A run to export.

    Attributes:
        run: The run directory.
        members: Its networks: one, or its finished members.
        encoders: The distinct preprocessing of the members.
        task: The task, with the decisions made for all members together.
        decisions: Threshold, temperature and intervals, if the run has chosen them.
    """

    run: RunDirectory
    members: tuple[MemberNetwork, ...]
    encoders: tuple[Preprocessing, ...]
    task: Task
    decisions: Decisions | None = None

    @property
    def weights_sha256(self) -> str:
        """The hash of the weights; for several members, of the lines of theirs."""
        hashes = [member.weights_sha256 for member in self.members]
        if len(hashes) == 1:
            return hashes[0]
        return hashlib.sha256("".join(f"{digest}\n" for digest in hashes).encode()).hexdigest()

    @property
    def columns(self) -> dict[str, list[Column]]:
        """Column of the table → it as each preprocessing that has it has fitted it, in order."""
        columns: dict[str, list[Column]] = {}
        for encoder in self.encoders:
            for column in encoder.columns:
                columns.setdefault(column.name, []).append(column)
        return columns


def load_bundle(path: Path) -> Bundle:
    """Open a finished run, or a checkpoint in a run, for export.

    Raises:
        RunError: The run does not exist, has not finished, or is damaged; or its folds have taken the
            same column for different kinds.
    """
    run, opened = open_members(path)
    check_finished(path, run)
    encoders: list[Preprocessing] = []
    members = []
    for trained in opened:
        if trained.preprocessing not in encoders:
            encoders.append(trained.preprocessing)
        checkpoint = read_checkpoint(trained.run.checkpoint(trained.checkpoint))
        digest = str(checkpoint.metadata.get("weights_sha256", ""))
        index = encoders.index(trained.preprocessing)
        members.append(MemberNetwork(trained, index, checkpoint.model, digest))
    bundle = Bundle(
        run=run,
        members=tuple(members),
        encoders=tuple(encoders),
        task=ensemble_task(run, opened),
        decisions=read_decisions(run),
    )
    _check_kinds(bundle)
    return bundle


def check_finished(path: Path, run: RunDirectory) -> None:
    """Check that a run has finished, or that a checkpoint of it is named.

    Raises:
        RunError: It has not.
    """
    status = run.read_manifest().status
    # A checkpoint that is named is meant, whatever became of the run.
    if status == "finished" or path.parent.name == run.checkpoints.name:
        return
    command = command_text("resume", run.path)
    fix = f"wait until it has finished, or resume it: {command}; or export {run.best} as it is"
    found = "one that is being trained" if status == "running" else f"one that has {status}"
    raise RunError(Problem(str(path), "a run that has finished", found, fix))


def _check_kinds(bundle: Bundle) -> None:
    problems = []
    for name, columns in bundle.columns.items():
        kinds: list[ColumnKind] = list(dict.fromkeys(column.kind for column in columns))
        if len(kinds) > 1:
            fix = f"set data.columns.{name}.kind, and repeat the run"
            found = f"{' and '.join(kinds)} in different folds"
            problems.append(Problem(str(bundle.run.path), f"one kind of '{name}'", found, fix))
    if problems:
        raise RunError(problems)
