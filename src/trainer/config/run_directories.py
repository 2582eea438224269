"""The `runs` section: the directories of runs and sweeps."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from trainer.config.sections import Section, ValueName


def _check_mode(value: int) -> int:
    """Check permissions whose octal digits are those of a decimal number: YAML reads 0700 as 700."""
    if not re.fullmatch(r"7[0-7]{2}", str(value)):
        raise ValueError("expected permissions of a directory")
    return value


Mode = Annotated[
    int,
    AfterValidator(_check_mode),
    ValueName(
        "permissions of a directory, from 0700 to 0777 in octal digits as for chmod",
        "permissions of directories such as 0700",
    ),
]
"""Permissions of a directory that its owner can use, as the decimal number with their octal digits."""


class RunDirectories(Section):
    """The directories of runs and sweeps."""

    mode: Mode | None = None
    """Permissions of the directory of a run or sweep, in octal digits as for `chmod`. 0700: only you can
    read its files. If unset, the umask applies, as to its files."""

    @property
    def permissions(self) -> int | None:
        """The permissions as bits."""
        return None if self.mode is None else int(str(self.mode), 8)
