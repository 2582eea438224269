"""Group networks into packs, which are trained together. Does not import TensorFlow.

`trainer.models.pack_compatibility` defines what networks of a pack have in common; `packs` trains them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.config.generation import generates
from trainer.config.load import LoadedConfig
from trainer.errors import InputError, Problem, RunError, pluralize
from trainer.models.pack_compatibility import (
    ModelDimensions,
    incompatible_reason,
    member_bytes,
    pack_key,
)
from trainer.runs.directory import RunDirectory
from trainer.runs.files import json_bytes, read_json, write_atomically
from trainer.runs.machine import available_memory
from trainer.workflows.generation.plan import make_generation_plan
from trainer.workflows.plan import RunPlan, TableCache, make_plan

LARGEST_PACK = 64
"""More members are not faster (measured: from 32 on, the time of a step per member stays constant)."""
SMALLEST_PACK = 4
"""With fewer members per job, compilation takes longer than their training."""
_MEMORY_SHARE = 0.25
_RECORD = "pack.json"


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A network to train.

    Attributes:
        number: Its number.
        loaded: Its config.
        run_path: Its run directory.
    """

    number: int
    loaded: LoadedConfig
    run_path: Path


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A network to train, with its plan."""

    spec: RunSpec
    plan: RunPlan


@dataclass(frozen=True, slots=True)
class PackSpec:
    """Networks trained by one program.

    Attributes:
        members: The networks in the order of the pack.
        single_reason: Why a single network cannot be in a pack; None for a pack, even with one member.
    """

    members: tuple[PlannedRun, ...]
    single_reason: str | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the members."""
        return tuple(member.spec.number for member in self.members)


@dataclass(frozen=True, slots=True)
class PackSchedule:
    """All programs of a set of networks.

    Attributes:
        packs: The packs in the order of training.
        failed: Networks that cannot be trained, and why.
        generators: Runs of task: generate, which are trained one by one, after the packs.
    """

    packs: tuple[PackSpec, ...]
    failed: Mapping[int, tuple[Problem, ...]]
    generators: tuple[RunSpec, ...] = ()

    def __str__(self) -> str:
        """Return for example `20 networks in 1 program`, and why some are trained individually."""
        if self.generators:
            return f"{pluralize(len(self.generators), 'generator')}, one by one"
        count = sum(len(pack.members) for pack in self.packs)
        text = f"{pluralize(count, 'network')} in {pluralize(len(self.packs), 'program')}"
        reasons = dict.fromkeys(p.single_reason for p in self.packs if p.single_reason is not None)
        return (
            f"{text} (separate: {', '.join(str(reason) for reason in reasons)})"
            if reasons
            else text
        )


def schedule_packs(specs: Sequence[RunSpec], tables: TableCache, jobs: int = 1) -> PackSchedule:
    """Read the tables and group the networks by architecture, in their order.

    Args:
        specs: The networks.
        tables: A cache of tables.
        jobs: The number of packs trained at a time.
    """
    groups: dict[str, list[PlannedRun]] = {}
    singles: dict[int, PackSpec] = {}
    failed: dict[int, tuple[Problem, ...]] = {}
    generators: list[RunSpec] = []
    for spec in specs:
        try:
            if generates(spec.loaded.config.data):
                make_generation_plan(spec.loaded)
                generators.append(spec)
                continue
            started = RunDirectory(spec.run_path).has_checkpoint("last")
            planned_run = PlannedRun(spec, make_plan(spec.loaded, tables, started=started))
        except InputError as error:
            failed[spec.number] = error.problems
            continue
        reason = incompatible_reason(planned_run.plan.config, network_sizes(planned_run.plan))
        if reason is None and planned_run.plan.engine.engine == "streaming":
            reason = "a table larger than memory"
        if reason is None:
            key = pack_key(planned_run.plan.config, network_sizes(planned_run.plan))
            groups.setdefault(key, []).append(planned_run)
        else:
            singles[spec.number] = PackSpec((planned_run,), reason)
    for key in [key for key, group in groups.items() if len(group) == 1]:
        # Compiling a pack takes longer than training one network uncompiled.
        (planned_run,) = groups.pop(key)
        singles[planned_run.spec.number] = PackSpec(
            (planned_run,), "no other network of this shape"
        )
    packs = [
        PackSpec(tuple(group[first : first + size]))
        for group in groups.values()
        for size in [pack_size(group[0].plan, len(group), jobs)]
        for first in range(0, len(group), size)
    ]
    return PackSchedule((*packs, *singles.values()), failed, tuple(generators))


def network_sizes(plan: RunPlan) -> ModelDimensions:
    """Return the part of the network's architecture that depends on its data."""
    return ModelDimensions(
        network=plan.network.trained,
        loss=plan.task.loss,
        rows=plan.dataset.rows("train"),
        validation_rows=plan.dataset.rows("validation"),
        steps=plan.total_steps,
    )


def pack_size(plan: RunPlan, count: int, jobs: int) -> int:
    """Return the number of members per pack for `count` networks of one architecture.

    Memory limits it, and all jobs get packs of about the same size.
    """
    free = available_memory()
    output_shapes = [
        layer.output_shape for layer in plan.trained_layers if layer.output_shape is not None
    ]
    bytes_per_member = member_bytes(
        plan.config, network_sizes(plan), plan.parameters or 0, output_shapes
    )
    affordable = (
        LARGEST_PACK if free is None else int(_MEMORY_SHARE * free / jobs / bytes_per_member)
    )
    limit = max(1, min(LARGEST_PACK, affordable))
    packs = max(-(-count // limit), min(jobs, count // SMALLEST_PACK))
    return -(-count // packs)


@dataclass(frozen=True, slots=True)
class PackRecord:
    """The record of a pack: its members, and whether all their run directories are complete."""

    numbers: tuple[int, ...]
    is_done: bool


def read_pack_record(directory: Path) -> PackRecord | None:
    """Read the record of the pack in a directory; None if there is none.

    Raises:
        RunError: The record is damaged.
    """
    path = directory / _RECORD
    if not path.exists():
        return None
    match read_json(path):
        case {"members": list(numbers), "done": bool(done)} if all(
            type(number) is int for number in numbers
        ):
            return PackRecord(tuple(numbers), done)
        case found:
            fix = "remove the folder to train its networks from the start"
            raise RunError(Problem(str(path), "the numbers of a pack's members", str(found), fix))


def write_pack_record(directory: Path, record: PackRecord) -> None:
    """Write the record of the pack in a directory."""
    content = {"members": list(record.numbers), "done": record.is_done}
    write_atomically(directory / _RECORD, json_bytes(content))
