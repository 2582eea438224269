"""Leave to write a directory that several machines share: a file that can be taken away.

Who trains on another machine cannot be ended for certain, be it that the network is cut. So each is
given a lease, a file beside what it writes; it looks at it several times a second and ends once it is
gone. Whoever lets another go on takes the lease away first and waits as long as that takes.

Owns: the files in a folder of leases. Does not own: locks of runs (`lock`), who is given one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from threading import Thread
from typing import Self

from trainer.runs.files import json_bytes, write_atomically
from trainer.runs.lock import take_off
from trainer.runs.process import Process, is_alive, this_process

LOOK_SECONDS = 0.1
"""So often its holder looks at a lease."""
END_SECONDS = 1.0
"""After so long a holder has seen that its lease is gone."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Leave to write.

    Attributes:
        path: The file.
    """

    path: Path

    @classmethod
    def grant(cls, folder: Path) -> Self:
        """A new one in a folder, which is made when missing.

        Raises:
            StorageError: It could not be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lease = cls(folder / f"{token_hex(8)}.json")
        write_atomically(lease.path, json_bytes({}))
        return lease

    def name(self, holder: Process) -> None:
        """Write down who holds it: whoever withdraws it may then see that its holder is gone."""
        write_atomically(self.path, json_bytes(asdict(holder)))

    @property
    def holder(self) -> Process | None:
        """Who holds it; None where that is not known."""
        try:
            return Process(**json.loads(self.path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def drop(self) -> None:
        """Take it away from one who writes nothing: nobody waits."""
        self.path.unlink(missing_ok=True)

    @property
    def is_held(self) -> bool:
        """Whether it is there."""
        try:
            # Opened rather than looked up: a network file system may remember for half a minute that a
            # name was there, but asks again before it opens a file.
            self.path.open("rb").close()
        except OSError:
            return False
        return True


def leases_in(folder: Path) -> list[Lease]:
    """All that were granted in a folder and not withdrawn."""
    return [Lease(path) for path in sorted(folder.glob("*.json"))]


def withdraw(leases: Iterable[Lease], locks: Iterable[Path]) -> None:
    """Take leases away, and return when none of their holders writes any more.

    Args:
        leases: Those to be withdrawn.
        locks: Of the runs that the holders may have been writing; their locks are taken off.
    """
    holders = {lease.path: lease.holder for lease in leases}
    if not holders:
        return
    for path in holders:
        path.unlink(missing_ok=True)
    end = time.monotonic() + END_SECONDS
    here = this_process()
    while time.monotonic() < end and any(_may_live(holder, here) for holder in holders.values()):
        time.sleep(LOOK_SECONDS / 5)
    known = {holder for holder in holders.values() if holder is not None}
    for lock in locks:
        take_off(lock, known)


def _may_live(holder: Process | None, here: Process) -> bool:
    return holder is None or is_alive(holder, here) is not False


def end_without(lease: Lease) -> None:
    """From now on this process ends at once when the lease is gone, whatever else it does."""
    Thread(target=_watch, args=(lease,), name="lease", daemon=True).start()


def _watch(lease: Lease) -> None:
    while lease.is_held:
        time.sleep(LOOK_SECONDS)
    os._exit(0)


def lock_files(trials: Path) -> Iterator[Path]:
    """The locks of all runs in a folder."""
    with suppress(OSError):
        yield from trials.glob("*/lock")
