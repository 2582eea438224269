"""From plans to the members of a pack in training, at their start or where they were stopped.

Importing this module does not import TensorFlow; calling it does.

Owns: putting the pieces of models and engine together for a pack. Does not own: its files (`packs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.resolve import resolved_monitor
from trainer.data.samples import Samples
from trainer.data.splits import SplitName
from trainer.runs.checkpoints import read_newest_checkpoint
from trainer.workflows.divergence_advice import divergence_advice
from trainer.workflows.pack_schedule import PackSpec, PlannedRun
from trainer.workflows.task import apply_class_weights

if TYPE_CHECKING:
    from trainer.engine.pack_fit import MemberTraining, PackTraining
    from trainer.engine.packs import Pack, PackMember
    from trainer.workflows.recording import Recording


@dataclass(slots=True)
class PackedMember:
    """A member while its pack trains."""

    planned_run: PlannedRun
    training: MemberTraining
    stacked: PackMember
    record: Recording | None = None
    best: dict[str, float] = field(default_factory=dict)


class SampleCache:
    """Samples laid out for their heads, each once: a pack knows equal rows by their being the same."""

    def __init__(self) -> None:
        self._made: dict[Any, Samples | None] = {}
        self._kept: list[Any] = []

    def samples(self, planned_run: PlannedRun, split: SplitName) -> Samples | None:
        """The rows of a split, their targets laid out for the head."""
        plan = planned_run.plan
        key = (id(plan.dataset), plan.task.outputs, split)
        if key not in self._made:
            found = plan.dataset.samples(split)
            self._made[key] = None if found is None else plan.task.encode_targets(found)
            self._kept.append(plan.dataset)
        return self._made[key]

    def apply_class_weights(self, planned_run: PlannedRun) -> Samples:
        """The training rows with class weights multiplied into their weights."""
        plan = planned_run.plan
        settings = plan.config.fit.class_weight
        text = str(sorted(settings.items())) if isinstance(settings, dict) else settings
        key = (id(plan.dataset), plan.task.outputs, "weighted", text)
        if key not in self._made:
            train = self.samples(planned_run, "train")
            assert train is not None, "a plan has training rows"
            plain = plan.dataset.samples("train")
            assert plain is not None
            heavy = apply_class_weights(plain, plan.task.class_weights(settings))
            self._made[key] = replace(train, weight=heavy.weight)
        made = self._made[key]
        assert made is not None
        return made


def build_member(planned_run: PlannedRun, cache: SampleCache) -> PackedMember:
    from trainer.engine.pack_fit import MemberTraining
    from trainer.engine.packs import PackMember
    from trainer.models.network import build_network
    from trainer.models.stacking import StackMember
    from trainer.workflows.building import make_metric_function, make_monitors, warm_start

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
    train, judged = cache.samples(planned_run, "train"), cache.samples(planned_run, "validation")
    assert train is not None, "a plan has training rows"
    stopping = config.fit.early_stopping
    training = MemberTraining(
        train=train,
        validation=judged,
        compute_metrics=make_metric_function(task),
        monitors=make_monitors(config, judged is not None),
        monitor=resolved_monitor(config.fit, judged is not None),
        keep_last=stopping is not None and not stopping.restore_best,
        advice=divergence_advice(config, task),
    )
    stacked = PackMember(
        StackMember(config, network), cache.apply_class_weights(planned_run), judged
    )
    return PackedMember(planned_run, training, stacked)


def build_pack_training(
    planned: PackSpec, members: Sequence[PackedMember], directory: Path
) -> tuple[PackTraining, Mapping[str, Any] | None]:
    """The pack where it begins or was stopped; the facts of its checkpoint, where it had one."""
    from trainer.engine.batches import steps_per_execution
    from trainer.engine.pack_fit import PackTraining
    from trainer.engine.packs import Pack
    from trainer.engine.snapshot import Snapshot
    from trainer.models.losses import build_loss

    plan = planned.members[0].plan
    plain = plan.config.loss.model_copy(update={"label_smoothing": 0.0})
    loss = build_loss(plain, plan.task.loss)
    parameters = plan.parameters or 0

    def make(numbers: Sequence[int]) -> Pack:
        return Pack(
            [members[number].stacked for number in numbers],
            loss,
            total_steps=plan.total_steps,
            steps_per_execution=steps_per_execution(
                parameters * len(numbers),
                min(plan.config.fit.batch_size, plan.dataset.rows("train")),
            ),
        )

    trainings = [member.training for member in members]
    last = directory / "last"
    if not last.exists():
        return PackTraining(trainings, make), None
    checkpoint, _ = read_newest_checkpoint(last, with_model=False)
    facts, state = checkpoint.metadata, checkpoint.state
    training = PackTraining(trainings, make, facts["slots"])
    snapshots, judged = [], []
    for number, own in enumerate(facts["members"]):
        begin = f"{number:04d}/"
        arrays = {
            name.removeprefix(begin): value
            for name, value in state.items()
            if name.startswith(begin)
        }
        snapshots.append(Snapshot(arrays, own["facts"]))
        judged.append(
            [value for name, value in sorted(arrays.items()) if name.startswith("judged/")]
        )
        members[number].best = own["best"]
    training.restore(snapshots, judged)
    return training, facts
