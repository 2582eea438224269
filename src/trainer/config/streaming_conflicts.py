"""Settings that need the whole table in memory, and so cannot be had in a stream."""

from __future__ import annotations

from trainer.config.schema import Config
from trainer.errors import Problem


def streaming_conflicts(config: Config) -> list[Problem]:
    """What speaks against `runtime.engine: streaming` in a config."""
    problems = []
    otherwise = "or set runtime.engine: resident"
    if config.data.clean.duplicates == "drop":
        problems.append(
            Problem(
                "",
                "'keep' in a stream, which does not see two rows side by side",
                "'drop'",
                f"take duplicates out of the files, {otherwise}",
                "data.clean.duplicates",
            )
        )
    if config.data.split.by == "hash" and config.data.split.column is None:
        problems.append(
            Problem(
                "",
                "in a stream a column to split by, which data.split.column names",
                "'hash' of whole rows",
                f"name a column, split by random, {otherwise}",
                "data.split.by",
            )
        )
    if config.data.format == "npz":
        problems.append(
            Problem(
                "",
                "in a stream a format that can be read in parts",
                "'npz'",
                f"save the table as Parquet, {otherwise}",
                "data.format",
            )
        )
    return problems
