"""The state of a pack as one snapshot, which is its checkpoint.

0000/network/… 0000/best/… …    the snapshot of each member
0000/judged/0000 …              the weights of each member to evaluate
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from trainer.engine.pack_executor import PackExecutor
from trainer.engine.snapshot import Snapshot
from trainer.engine.training_group import TrainingGroup
from trainer.errors import Problem


def pack_snapshot(group: TrainingGroup, executor: PackExecutor) -> Snapshot:
    """Return the state of a pack; each entry of `members` in its metadata can be extended.

    Args:
        group: The members.
        executor: Their executor.
    """
    arrays: dict[str, Any] = {}
    members: list[dict[str, Any]] = []
    for number, (member, state) in enumerate(zip(group.members, group.states(), strict=True)):
        prefix = f"{number:04d}/"
        arrays |= {f"{prefix}{name}": value for name, value in state.snapshot.arrays.items()}
        arrays |= {
            f"{prefix}judged/{index:04d}": value
            for index, value in enumerate(state.evaluation_weights)
        }
        problem = {} if member.problem is None else {"problem": asdict(member.problem)}
        members.append({"facts": dict(state.snapshot.metadata), **problem})
    return Snapshot(arrays, {"slots": executor.slots, "members": members})


def restore_pack(group: TrainingGroup, snapshot: Snapshot) -> None:
    """Restore `pack_snapshot`.

    Raises:
        RunError: The snapshot does not match the networks, or is incomplete.
    """
    snapshots, evaluation_weights = [], []
    for number, metadata in enumerate(snapshot.metadata["members"]):
        prefix = f"{number:04d}/"
        arrays = {
            name.removeprefix(prefix): value
            for name, value in snapshot.arrays.items()
            if name.startswith(prefix)
        }
        snapshots.append(Snapshot(arrays, metadata["facts"]))
        evaluation_weights.append(
            [value for name, value in sorted(arrays.items()) if name.startswith("judged/")]
        )
        if "problem" in metadata:
            group.members[number].problem = Problem(**metadata["problem"])
    group.restore(snapshots, evaluation_weights)
