"""The manifest of a run that is being trained: how it starts, changes and ends. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from trainer.data.splits import SPLIT_NAMES
from trainer.errors import Problem, StorageError, TrainerError
from trainer.runs.directory import RunDirectory
from trainer.runs.manifest import DataFile, Manifest, Status, new_manifest
from trainer.workflows.plan import RunPlan


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


def manifest_of_plan(plan: RunPlan, command: tuple[str, ...], now: datetime) -> Manifest:
    """Return the manifest of a new run, as far as its plan determines it.

    Args:
        plan: The plan of the run, or of the first of several networks.
        command: The command line.
        now: When the run started.
    """
    config = plan.config
    manifest = new_manifest(
        name=config.name,
        command=command,
        seed=config.seed,
        config_directory=plan.loaded.path.absolute().parent,
        now=now,
    )
    return with_data(
        replace(
            manifest,
            task=plan.task.name,
            parameters=plan.parameters,
            warnings=plan.warnings,
        ),
        plan,
    )


def with_data(manifest: Manifest, plan: RunPlan) -> Manifest:
    """Return the manifest with the data files and the rows of a plan."""
    return replace(
        manifest,
        data=tuple(DataFile(**asdict(file)) for file in plan.dataset.table.files),
        splits={name: plan.dataset.rows(name) for name in SPLIT_NAMES},
        dropped=plan.dataset.dropped,
    )
