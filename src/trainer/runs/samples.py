"""The files of `samples/` in a run directory: what a generator makes of the same random numbers after
each epoch, `0001.png` or `0001.csv`, and the findings about them.
"""

from __future__ import annotations

from trainer.runs.directory import RunDirectory
from trainer.runs.files import storage_errors, write_atomically


def write_sample(run: RunDirectory, name: str, content: bytes) -> None:
    """Write a file of `samples/`.

    Raises:
        StorageError: It cannot be written.
    """
    with storage_errors(run.samples, "create this directory"):
        # Not its parents: a run that was deleted during training must not be partially recreated.
        run.samples.mkdir(exist_ok=True)
    write_atomically(run.samples / name, content)
