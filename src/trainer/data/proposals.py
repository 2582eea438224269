"""A proposed config, and the file that it is for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trainer.config.load import name_from_path
from trainer.config.template import comment_text
from trainer.config.yaml_writer import scalar_text
from trainer.data.table_inspection import TableFindings
from trainer.errors import command_text
from trainer.runs.directory import PROPOSED_CONFIG


@dataclass(frozen=True, slots=True)
class Proposal:
    """A config and the findings that it is based on."""

    text: str
    findings: TableFindings


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The file of a proposed config.

    Attributes:
        source: The path of the table or folder in the config.
        file_name: File name of the config, for its header.
        name: The name of the experiment, if it is not that of the file.
        overrides: Overrides that the config is used with, for its header.
    """

    source: str
    file_name: str
    name: str | None = None
    overrides: tuple[str, ...] = ()

    @classmethod
    def for_data(cls, data: Path, config: Path | None, overrides: Sequence[str] | None) -> Self:
        """Return the file of a config for a table or a folder.

        Args:
            data: The table or folder.
            config: The path of the config, to which the path of the data is made relative; None for
                stdout, where it is relative to the working directory.
            overrides: The overrides of a run that uses the config immediately and keeps it, which then
                has a name and the absolute path of the data.
        """
        if overrides is not None:
            name = name_from_path(Path(data.name.split(".")[0]))
            return cls(str(data.absolute()), PROPOSED_CONFIG, name, tuple(overrides))
        if config is None:
            return cls(os.path.relpath(data), "config.yaml")
        return cls(os.path.relpath(data, config.parent), config.name)

    def command(self, verb: str) -> str:
        """Return a command with the config, for a comment."""
        return comment_text(command_text(verb, self.file_name, *self.overrides))

    def name_lines(self) -> list[str]:
        """Return the line with the name, if the config needs one."""
        return [] if self.name is None else [f"name: {scalar_text(self.name)}"]
