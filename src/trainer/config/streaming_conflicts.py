"""Settings that need the whole table in memory and are not available with streaming."""

from __future__ import annotations

from trainer.config.data import WHOLE_FORMATS
from trainer.config.schema import Config
from trainer.errors import Problem


def streaming_conflicts(config: Config) -> list[Problem]:
    """Return the settings of a config that conflict with `runtime.engine: streaming`."""
    problems = []
    alternative = "or set runtime.engine: resident"
    if config.data.clean.duplicates == "drop":
        problems.append(
            Problem(
                "",
                "'keep' with streaming, which cannot compare rows",
                "'drop'",
                f"remove duplicates from the files, {alternative}",
                "data.clean.duplicates",
            )
        )
    if config.data.split.by == "hash" and config.data.split.column is None:
        problems.append(
            Problem(
                "",
                "a column to hash in data.split.column with streaming",
                "'hash' of whole rows",
                f"name a column, split by random, {alternative}",
                "data.split.by",
            )
        )
    if config.data.format in WHOLE_FORMATS:
        problems.append(
            Problem(
                "",
                "a format that can be read in parts with streaming",
                f"'{config.data.format}'",
                f"save the table as Parquet, {alternative}",
                "data.format",
            )
        )
    return problems
