"""Settings that need the whole table in memory and are not available with streaming."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.conflict import Conflict, conflict
from trainer.config.file_formats import WHOLE_FORMATS
from trainer.config.schema import Config

_ENGINE = "runtime.engine"


def streaming_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield the settings of a config that conflict with `runtime.engine: streaming`."""
    data = config.data
    alternative = "or set runtime.engine: resident"
    if data.clean.duplicates == "drop":
        expected = "'keep' with streaming, which cannot compare rows"
        fix = f"remove duplicates from the files, {alternative}"
        yield conflict("data.clean.duplicates", expected, "'drop'", fix, _ENGINE)
    if data.split.by == "hash" and data.split.column is None:
        expected = "a column to hash in data.split.column with streaming"
        fix = f"name a column, split by random, {alternative}"
        yield conflict("data.split.by", expected, "'hash' of whole rows", fix, _ENGINE)
    if data.format in WHOLE_FORMATS:
        expected = "a format that can be read in parts with streaming"
        fix = f"save the table as Parquet, {alternative}"
        yield conflict("data.format", expected, f"'{data.format}'", fix, _ENGINE)
