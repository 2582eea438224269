"""Key files named by options."""

from __future__ import annotations

from pathlib import Path

from trainer.errors import Problem, UsageError
from trainer_cli import console


def key_of(path: Path, option: str) -> bytes:
    """Return the key in a file; warn if other users can read it.

    Args:
        path: The file.
        option: The option that named it.

    Raises:
        UsageError: It does not contain a key.
    """
    from trainer.keys import key_file_warning, read_key

    key = read_key(path)
    if isinstance(key, Problem):
        raise UsageError(key.at(f"{option} {key.where}"))
    warning = key_file_warning(path)
    if warning is not None:
        console.warn(warning)
    return key
