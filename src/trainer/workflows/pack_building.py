"""Build the members of a pack, at the start or restored from its checkpoint.

Importing this module does not import TensorFlow; calling it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import Problem
from trainer.runs.checkpoints import read_newest_checkpoint
from trainer.workflows.pack_schedule import PackSpec, PlannedRun

if TYPE_CHECKING:
    from trainer.engine.pack_executor import PackExecutor
    from trainer.engine.packs import Pack, PackMember
    from trainer.engine.training import Training
    from trainer.engine.training_group import TrainingGroup
    from trainer.workflows.recording import Recording


@dataclass(slots=True)
class PackedMember:
    """A member during the training of its pack."""

    planned_run: PlannedRun
    training: Training
    stacked: PackMember
    record: Recording | None = None
    best: dict[str, float] = field(default_factory=dict)


def build_member(planned_run: PlannedRun) -> PackedMember:
    from trainer.engine.packs import PackMember
    from trainer.models.network import build_network
    from trainer.models.stacking import StackMember
    from trainer.workflows.building import make_training, warm_start

    plan = planned_run.plan
    config, task = plan.config, plan.task
    preprocessing = plan.dataset.preprocessing
    network = build_network(
        config,
        preprocessing.width,
        preprocessing.embeddings,
        task.head,
        task.outputs,
        task.prior(),
        allow_custom=False,
        base=plan.loaded.path.absolute().parent,
    )
    warm_start(config, network, allow_custom=False)
    train, validation = plan.encoded_samples("train"), plan.encoded_samples("validation")
    assert train is not None, "a plan has training rows"
    weighted = task.apply_class_weights(train, config.fit.class_weight)
    stacked = PackMember(StackMember(config, network), task.loss, weighted, validation)
    return PackedMember(planned_run, make_training(plan, train, validation), stacked)


def build_pack_training(
    planned: PackSpec, members: Sequence[PackedMember], directory: Path
) -> tuple[TrainingGroup, PackExecutor, Mapping[str, Any] | None]:
    """Return the new or restored training runs, their executor, and the metadata of the checkpoint
    if there is one.
    """
    from trainer.engine.batches import steps_per_execution
    from trainer.engine.pack_executor import PackExecutor
    from trainer.engine.packs import Pack
    from trainer.engine.snapshot import Snapshot
    from trainer.engine.training_group import TrainingGroup

    plan = planned.members[0].plan
    parameters = plan.parameters or 0

    def make(numbers: Sequence[int]) -> Pack:
        return Pack(
            [members[number].stacked for number in numbers],
            total_steps=plan.total_steps,
            steps_per_execution=steps_per_execution(
                parameters * len(numbers),
                min(plan.config.fit.batch_size, plan.dataset.rows("train")),
            ),
        )

    trainings = [member.training for member in members]
    last = directory / "last"
    if not last.exists():
        executor = PackExecutor(make, range(len(members)))
        return TrainingGroup(trainings, executor), executor, None
    checkpoint, _ = read_newest_checkpoint(last, with_model=False)
    metadata, state = checkpoint.metadata, checkpoint.state
    executor = PackExecutor(make, metadata["slots"])
    group = TrainingGroup(trainings, executor)
    snapshots, evaluation_weights = [], []
    for number, member in enumerate(metadata["members"]):
        prefix = f"{number:04d}/"
        arrays = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        snapshots.append(Snapshot(arrays, member["facts"]))
        evaluation_weights.append(
            [value for name, value in sorted(arrays.items()) if name.startswith("judged/")]
        )
        members[number].best = member["best"]
        if "problem" in member:
            trainings[number].problem = Problem(**member["problem"])
    group.restore(snapshots, evaluation_weights)
    return group, executor, metadata
