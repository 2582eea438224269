"""A table written in parts is complete, or does not exist."""

import polars as pl
import pytest

from trainer.data.table_writer import write_table
from trainer.errors import DataError, Problem, StorageError

WHOLE = pl.DataFrame(
    {
        "row": range(10),
        "word": ["a", "b, c", None, '"', "e", "f", "g", "h", "i", "j"],
        "share": pl.Series([index / 7 for index in range(10)], dtype=pl.Float32),
    }
)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
@pytest.mark.parametrize("rows", [3, 10])
def test_parts_are_joined(tmp_path, name, rows):
    out = tmp_path / name
    parts = list(WHOLE.iter_slices(rows))
    assert write_table(parts, out) == (10, WHOLE.columns)
    if name == "out.csv":
        assert out.read_text() == WHOLE.write_csv()
    else:
        assert pl.read_parquet(out).equals(WHOLE)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_existing_file_is_kept_if_a_part_fails(tmp_path, name):
    def parts():
        yield WHOLE
        raise DataError(Problem("x.csv:7", "a number", "a word"))

    out = tmp_path / name
    out.write_text("before")
    with pytest.raises(DataError):
        write_table(parts(), out)
    assert out.read_text() == "before"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_unwritable_path_raises(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(StorageError, match="to write this file"):
        write_table([WHOLE], tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
