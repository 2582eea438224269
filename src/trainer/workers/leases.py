"""Write leases on a directory that several machines share: files that can be revoked.

A worker on another machine cannot be stopped reliably, for example if the network is down. So each
worker gets a lease, a file next to the runs that it writes. It checks the file several times a second
and exits when the file is gone. Before another worker takes over, the lease is deleted, and the
coordinator waits until the old worker must have noticed.
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
from trainer.runs.lock import remove_lock_of
from trainer.runs.process import ProcessIdentity, is_alive, this_process

POLL_SECONDS = 0.1
"""Interval at which a holder checks its lease."""
REVOKE_SECONDS = 1.0
"""Time after which every holder has noticed that its lease is gone."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A write lease, stored as a file at `path`."""

    path: Path

    @classmethod
    def grant(cls, folder: Path) -> Self:
        """Create a lease in a folder, which is created if missing.

        Raises:
            StorageError: The file could not be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lease = cls(folder / f"{token_hex(8)}.json")
        write_atomically(lease.path, json_bytes({}))
        return lease

    def set_holder(self, holder: ProcessIdentity) -> None:
        """Record the holder, so that the lease can be revoked without waiting if the holder is dead."""
        write_atomically(self.path, json_bytes(asdict(holder)))

    @property
    def holder(self) -> ProcessIdentity | None:
        """The process that holds the lease; None if unknown."""
        try:
            return ProcessIdentity(**json.loads(self.path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def delete(self) -> None:
        """Delete the lease of a holder that writes nothing; return immediately."""
        self.path.unlink(missing_ok=True)

    @property
    def is_held(self) -> bool:
        """Whether the lease still exists."""
        try:
            # Opened rather than looked up: a network file system can cache for half a minute that a
            # name exists, but checks again before it opens the file.
            self.path.open("rb").close()
        except OSError:
            return False
        return True


def leases_in(folder: Path) -> list[Lease]:
    """Return all current leases in a folder."""
    return [Lease(path) for path in sorted(folder.glob("*.json"))]


def revoke(leases: Iterable[Lease], locks: Iterable[Path]) -> None:
    """Delete leases and wait until none of their holders can write.

    Args:
        leases: The leases to revoke.
        locks: Lock files of runs that the holders may have been writing; the holders' locks are
            removed.
    """
    holders = {lease.path: lease.holder for lease in leases}
    if not holders:
        return
    for path in holders:
        path.unlink(missing_ok=True)
    end = time.monotonic() + REVOKE_SECONDS
    observer = this_process()
    while time.monotonic() < end and any(
        _may_live(holder, observer) for holder in holders.values()
    ):
        time.sleep(POLL_SECONDS / 5)
    processes = {holder for holder in holders.values() if holder is not None}
    for lock in locks:
        remove_lock_of(lock, processes)


def _may_live(holder: ProcessIdentity | None, observer: ProcessIdentity) -> bool:
    return holder is None or is_alive(holder, observer) is not False


def exit_when_revoked(lease: Lease) -> None:
    """Exit this process immediately, from a background thread, when the lease is gone."""
    Thread(target=_watch, args=(lease,), name="lease", daemon=True).start()


def _watch(lease: Lease) -> None:
    while lease.is_held:
        time.sleep(POLL_SECONDS)
    os._exit(0)


def lock_files(trials: Path) -> Iterator[Path]:
    """Yield the lock files of all runs in a folder."""
    with suppress(OSError):
        yield from trials.glob("*/lock")
