"""Whether a run has a generator, from its manifest alone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from trainer.config.task_rules import rules_of
from trainer.errors import RunError
from trainer.runs.opening import open_run

EXPORT_NAME = "generator.onnx"
"""The file of `trainer export`, in `export/onnx/` of a run."""


def is_generation_run(path: Path) -> bool:
    """Return whether a path is a run of task: generate, or a checkpoint in one; False without a run."""
    with suppress(RunError):
        run = open_run(path).run
        rules = rules_of(run.read_manifest().task) if run.manifest.exists() else None
        return rules is not None and rules.is_generated
    return False
