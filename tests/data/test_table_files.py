import typing

import numpy as np
import polars as pl
import pytest

from trainer.config.data import Data
from trainer.config.file_formats import FORMAT_SUFFIXES, WHOLE_FORMATS, FileFormat
from trainer.data.table_files import FILE_CLASSES, table_file
from trainer.errors import DataError

FRAME = pl.DataFrame(
    {"a": np.arange(7) * 1.5, "b": list("uvwxyzz"), "c": [True, False] * 3 + [True]}
)
WRITE = {
    "csv": pl.DataFrame.write_csv,
    "ndjson": pl.DataFrame.write_ndjson,
    "parquet": pl.DataFrame.write_parquet,
    "arrow": pl.DataFrame.write_ipc,
    "npz": lambda frame, path: np.savez(
        path,
        **{name: frame[name].to_numpy().astype("U" if name == "b" else None) for name in "abc"},
    ),
}


def opened(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    WRITE[kind](FRAME, path)
    return table_file(path, Data(source=str(path), target="a"))


def test_every_format_of_single_files_has_a_class_and_an_extension():
    formats = set(typing.get_args(FileFormat))
    assert set(FILE_CLASSES) == formats == {"folder", "lines", *FORMAT_SUFFIXES.values()}


@pytest.mark.parametrize("kind", sorted(WRITE))
def test_blocks_are_the_rows_read_as_a_whole(tmp_path, kind):
    file = opened(tmp_path, kind)
    frame, _ = file.read()
    assert frame.shape == FRAME.shape
    assert frame["b"].to_list() == FRAME["b"].to_list()
    if kind in WHOLE_FORMATS:
        with pytest.raises(DataError, match="must be read as a whole"):
            file.schema()
        return
    schema, _ = file.schema()
    assert schema == frame.schema
    columns = {name: schema[name] for name in ("c", "a")}
    assert pl.concat(file.blocks(columns, 3)).equals(frame.select("c", "a"))


@pytest.mark.parametrize(("kind", "line"), [("csv", 4), ("ndjson", 3), ("parquet", None)])
def test_lines(tmp_path, kind, line):
    assert opened(tmp_path, kind).line(2) == line
