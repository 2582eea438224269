"""The packages that archives need, which are optional."""

from __future__ import annotations

from importlib.util import find_spec

from trainer.errors import Problem, UsageError
from trainer.packages import install_command


def check_packages(*, encrypted: bool) -> None:
    """Check that the packages for archives are installed.

    Args:
        encrypted: Whether the archive is encrypted.

    Raises:
        UsageError: A package is missing.
    """
    needed = ("zstandard", "cryptography") if encrypted else ("zstandard",)
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        fix = install_command("archive")
        raise UsageError(
            Problem(name, "this package, for archives", "no such package", fix) for name in missing
        )
