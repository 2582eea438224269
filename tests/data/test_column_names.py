from __future__ import annotations

import polars as pl
import pytest

from trainer.config.data import Data
from trainer.data.opening import open_table
from trainer.errors import DataError


@pytest.mark.parametrize("name", ["*", "^a$", "^.*$"])
@pytest.mark.parametrize("suffix", [".csv", ".ndjson", ".parquet", ".arrow"])
@pytest.mark.parametrize("streamed", [False, True])
def test_names_that_are_polars_patterns_raise(tmp_path, name, suffix, streamed):
    path = tmp_path / f"x{suffix}"
    frame = pl.DataFrame({"b": ["x", "z"], name: ["1", "2"], "y": ["0", "1"]})
    write = {".csv": frame.write_csv, ".ndjson": frame.write_ndjson,
             ".parquet": frame.write_parquet, ".arrow": frame.write_ipc}  # fmt: skip
    write[suffix](path)
    data = Data(source=str(path), target="y")
    with pytest.raises(DataError) as caught:
        open_table(data, streamed=streamed)
    (problem,) = caught.value.problems
    assert problem.found == f"'{name}'"
    assert ("data.csv.names" in problem.fix) == (suffix == ".csv")


def test_other_names_with_pattern_characters_are_read(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a*,^b,$c,y\n1,2,3,0\n4,5,6,1\n")
    data = Data(source=str(path), target="y")
    assert open_table(data, streamed=False).header.frame.columns == ["a*", "^b", "$c", "y"]
