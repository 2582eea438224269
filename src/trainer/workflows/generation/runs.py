"""Whether a run has a generator, from its manifest alone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from trainer.errors import RunError
from trainer.runs.opening import open_run

_TASK = "generate"


def is_generation_run(path: Path) -> bool:
    """Return whether a path is a run of task: generate, or a checkpoint in one; False without a run."""
    with suppress(RunError):
        run = open_run(path).run
        return run.manifest.exists() and run.read_manifest().task == _TASK
    return False
