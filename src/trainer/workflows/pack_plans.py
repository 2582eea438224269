"""Which of several networks are trained together: from configs to packs. No TensorFlow.

Owns: the grouping, how large a pack is. Does not own: what networks must have in common
(`trainer.models.packing`), their training (`packs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.config.load import LoadedConfig
from trainer.errors import InputError, Problem
from trainer.models.packing import Sizes, member_bytes, obstacle, shape_of
from trainer.report.text import counted
from trainer.runs.machine import free_memory
from trainer.workflows.plan import Plan, Tables, make_plan

LARGEST_PACK = 64
"""More members than this gain nothing (measured: from 32 on a member's step takes as long as before)."""
SMALLEST_PACK = 4
"""Where another job would have fewer members, compiling takes longer than they do."""
_MEMORY_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Entrant:
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
class Candidate:
    """An entrant, planned."""

    entrant: Entrant
    plan: Plan


@dataclass(frozen=True, slots=True)
class PlannedPack:
    """Networks that one program trains.

    Attributes:
        members: In the order of the pack.
        alone_because: What keeps its one member out of packs; None for a pack, be it of one.
    """

    members: tuple[Candidate, ...]
    alone_because: str | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of its members."""
        return tuple(member.entrant.number for member in self.members)


@dataclass(frozen=True, slots=True)
class PackPlan:
    """All programs that there will be.

    Attributes:
        packs: In the order they are trained in.
        failed: Entrants that cannot be trained, and why.
    """

    packs: tuple[PlannedPack, ...]
    failed: Mapping[int, tuple[Problem, ...]]

    def __str__(self) -> str:
        """`20 networks in 1 program`, with what is trained alone and why."""
        count = sum(len(pack.members) for pack in self.packs)
        text = f"{counted(count, 'network')} in {counted(len(self.packs), 'program')}"
        reasons = dict.fromkeys(p.alone_because for p in self.packs if p.alone_because is not None)
        return (
            f"{text} (alone: {', '.join(str(reason) for reason in reasons)})" if reasons else text
        )


def plan_packs(entrants: Sequence[Entrant], tables: Tables, jobs: int = 1) -> PackPlan:
    """Read the tables and group the networks by shape, in the order of the entrants.

    Args:
        entrants: The networks.
        tables: Those read so far.
        jobs: So many packs are trained at a time.
    """
    groups: dict[str, list[Candidate]] = {}
    alone: dict[int, PlannedPack] = {}
    failed: dict[int, tuple[Problem, ...]] = {}
    for entrant in entrants:
        try:
            candidate = Candidate(entrant, make_plan(entrant.loaded, tables))
        except InputError as wrong:
            failed[entrant.number] = wrong.problems
            continue
        reason = obstacle(candidate.plan.config, sizes_of(candidate.plan))
        if reason is None and candidate.plan.engine.engine == "streaming":
            reason = "a table larger than memory"
        if reason is None:
            key = shape_of(candidate.plan.config, sizes_of(candidate.plan))
            groups.setdefault(key, []).append(candidate)
        else:
            alone[entrant.number] = PlannedPack((candidate,), reason)
    for key in [key for key, group in groups.items() if len(group) == 1]:
        # What compiles a pack takes longer than a network that need not be compiled.
        (candidate,) = groups.pop(key)
        alone[candidate.entrant.number] = PlannedPack((candidate,), "no other of its shape")
    packs = [
        PlannedPack(tuple(group[begin : begin + size]))
        for group in groups.values()
        for size in [pack_size(group[0].plan, len(group), jobs)]
        for begin in range(0, len(group), size)
    ]
    return PackPlan((*packs, *alone.values()), failed)


def sizes_of(plan: Plan) -> Sizes:
    """What of a network's shape comes from its data."""
    preprocessing = plan.prepared.preprocessing
    return Sizes(
        width=preprocessing.width,
        embeddings=tuple((levels, dimension) for levels, dimension in preprocessing.embeddings),
        head=plan.question.head,
        outputs=plan.question.outputs,
        loss=plan.question.loss,
        rows=plan.prepared.rows("train"),
        judged=plan.prepared.rows("validation"),
        steps=plan.total_steps,
    )


def pack_size(plan: Plan, count: int, jobs: int) -> int:
    """Members of a pack where there are `count` networks of one shape: as memory allows, and so that all
    jobs have packs to do, of about one size.
    """
    free = free_memory()
    shapes = [layer.output_shape for layer in plan.layers if layer.output_shape is not None]
    each = member_bytes(plan.config, sizes_of(plan), plan.parameters or 0, shapes)
    affordable = LARGEST_PACK if free is None else int(_MEMORY_SHARE * free / jobs / each)
    most = max(1, min(LARGEST_PACK, affordable))
    packs = max(-(-count // most), min(jobs, count // SMALLEST_PACK))
    return -(-count // packs)
