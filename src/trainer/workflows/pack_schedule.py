"""Which of several networks are trained together: from configs to packs. No TensorFlow.

Owns: the grouping, how large a pack is. Does not own: what networks must have in common
(`trainer.models.pack_compatibility`), their training (`packs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.config.load import LoadedConfig
from trainer.errors import InputError, Problem
from trainer.models.pack_compatibility import (
    ModelDimensions,
    incompatible_reason,
    member_bytes,
    pack_key,
)
from trainer.report.text import pluralize
from trainer.runs.machine import available_memory
from trainer.workflows.plan import RunPlan, TableCache, make_plan

LARGEST_PACK = 64
"""More members than this gain nothing (measured: from 32 on a member's step takes as long as before)."""
SMALLEST_PACK = 4
"""Where another job would have fewer members, compiling takes longer than they do."""
_MEMORY_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A network that is to be trained.

    Attributes:
        number: What it is called by.
        loaded: Its config.
        place: Its run directory.
    """

    number: int
    loaded: LoadedConfig
    place: Path


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """An entrant, planned."""

    spec: RunSpec
    plan: RunPlan


@dataclass(frozen=True, slots=True)
class PackSpec:
    """Networks that one program trains.

    Attributes:
        members: In the order of the pack.
        single_reason: What keeps its one member out of packs; None for a pack, be it of one.
    """

    members: tuple[PlannedRun, ...]
    single_reason: str | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of its members."""
        return tuple(member.spec.number for member in self.members)


@dataclass(frozen=True, slots=True)
class PackSchedule:
    """All programs that there will be.

    Attributes:
        packs: In the order they are trained in.
        failed: Entrants that cannot be trained, and why.
    """

    packs: tuple[PackSpec, ...]
    failed: Mapping[int, tuple[Problem, ...]]

    def __str__(self) -> str:
        """`20 networks in 1 program`, with what is trained alone and why."""
        count = sum(len(pack.members) for pack in self.packs)
        text = f"{pluralize(count, 'network')} in {pluralize(len(self.packs), 'program')}"
        reasons = dict.fromkeys(p.single_reason for p in self.packs if p.single_reason is not None)
        return (
            f"{text} (alone: {', '.join(str(reason) for reason in reasons)})" if reasons else text
        )


def schedule_packs(specs: Sequence[RunSpec], tables: TableCache, jobs: int = 1) -> PackSchedule:
    """Read the tables and group the networks by shape, in the order of the entrants.

    Args:
        specs: The networks.
        tables: Those read so far.
        jobs: So many packs are trained at a time.
    """
    groups: dict[str, list[PlannedRun]] = {}
    alone: dict[int, PackSpec] = {}
    failed: dict[int, tuple[Problem, ...]] = {}
    for spec in specs:
        try:
            planned_run = PlannedRun(spec, make_plan(spec.loaded, tables))
        except InputError as wrong:
            failed[spec.number] = wrong.problems
            continue
        reason = incompatible_reason(planned_run.plan.config, network_sizes(planned_run.plan))
        if reason is None and planned_run.plan.engine.engine == "streaming":
            reason = "a table larger than memory"
        if reason is None:
            key = pack_key(planned_run.plan.config, network_sizes(planned_run.plan))
            groups.setdefault(key, []).append(planned_run)
        else:
            alone[spec.number] = PackSpec((planned_run,), reason)
    for key in [key for key, group in groups.items() if len(group) == 1]:
        # What compiles a pack takes longer than a network that need not be compiled.
        (planned_run,) = groups.pop(key)
        alone[planned_run.spec.number] = PackSpec((planned_run,), "no other of its shape")
    packs = [
        PackSpec(tuple(group[begin : begin + size]))
        for group in groups.values()
        for size in [pack_size(group[0].plan, len(group), jobs)]
        for begin in range(0, len(group), size)
    ]
    return PackSchedule((*packs, *alone.values()), failed)


def network_sizes(plan: RunPlan) -> ModelDimensions:
    """What of a network's shape comes from its data."""
    preprocessing = plan.dataset.preprocessing
    return ModelDimensions(
        width=preprocessing.width,
        embeddings=tuple((levels, dimension) for levels, dimension in preprocessing.embeddings),
        head=plan.task.head,
        outputs=plan.task.outputs,
        loss=plan.task.loss,
        rows=plan.dataset.rows("train"),
        validation_rows=plan.dataset.rows("validation"),
        steps=plan.total_steps,
    )


def pack_size(plan: RunPlan, count: int, jobs: int) -> int:
    """Members of a pack where there are `count` networks of one shape: as memory allows, and so that all
    jobs have packs to do, of about one size.
    """
    free = available_memory()
    shapes = [layer.output_shape for layer in plan.layers if layer.output_shape is not None]
    each = member_bytes(plan.config, network_sizes(plan), plan.parameters or 0, shapes)
    affordable = LARGEST_PACK if free is None else int(_MEMORY_SHARE * free / jobs / each)
    most = max(1, min(LARGEST_PACK, affordable))
    packs = max(-(-count // most), min(jobs, count // SMALLEST_PACK))
    return -(-count // packs)
