"""The manifest of a run that is being trained: how it changes and ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from trainer.errors import Problem, StorageError, TrainerError
from trainer.runs.directory import RunDirectory
from trainer.runs.manifest import Manifest, Status


@dataclass(slots=True)
class RunRecord:
    """A run directory whose manifest is being written.

    Attributes:
        run: The directory.
        manifest: The current manifest, which may not be written yet.
    """

    run: RunDirectory
    manifest: Manifest

    def set_stop_reason(self, reason: str) -> None:
        """Set the reason why the run ends."""
        self.manifest = replace(self.manifest, stopped_because=reason)

    def write_end(
        self,
        status: Status,
        problems: tuple[Problem, ...] = (),
        weights_sha256: str | None = None,
    ) -> None:
        """Write how the run ended."""
        ended = self.manifest.with_end(status, datetime.now(UTC), problems)
        self.manifest = replace(ended, weights_sha256=weights_sha256)
        self.run.write_manifest(self.manifest)


@contextmanager
def record_errors(record: RunRecord) -> Iterator[None]:
    """Context manager that records in the manifest how a run that raises an exception ended.

    It is `failed` with the problems of the exception, or `stopped` if the user or the system stopped the
    run.
    """
    try:
        yield
    except TrainerError as error:
        with suppress(StorageError):
            record.write_end("failed", error.problems)
        raise
    except (KeyboardInterrupt, GeneratorExit):
        with suppress(StorageError):
            record.write_end("stopped")
        raise
    except BaseException as bug:
        with suppress(StorageError):
            record.write_end("failed", (Problem("internal error", "no exception", repr(bug)),))
        raise
