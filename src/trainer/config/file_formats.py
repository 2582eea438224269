"""The formats of the files of a table, and their extensions.

`trainer.data.table_files` has the class of each.
"""

from typing import Literal

FileFormat = Literal["csv", "parquet", "ndjson", "arrow", "npz", "folder", "lines"]

TEXT_FORMATS: tuple[FileFormat, ...] = ("csv", "ndjson", "lines")
"""Formats whose cells are text; their files may be compressed."""

WHOLE_FORMATS: tuple[FileFormat, ...] = ("npz",)
"""Formats whose files cannot be read in parts."""

FORMAT_SUFFIXES: dict[str, FileFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".data": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".npz": "npz",
}
