import gzip

import numpy as np
import polars as pl
import pytest

from trainer.config.data import Data
from trainer.data.size_estimate import TEXT_CELL_BYTES, TYPED_CELL_BYTES, table_size

FRAME = pl.DataFrame({name: np.arange(20_000) * 1.5 for name in "abcde"})


def size(path):
    return table_size(Data(source=str(path), target="a"))


def test_typed_files_are_exact(tmp_path):
    for part in range(3):
        FRAME.write_parquet(tmp_path / f"{part}.parquet")
    FRAME.write_ipc(tmp_path / "x.arrow")
    assert size(tmp_path / "*.parquet").cells == 300_000
    assert size(tmp_path / "x.arrow").memory == 100_000 * TYPED_CELL_BYTES


def test_text_is_estimated(tmp_path):
    FRAME.write_csv(tmp_path / "x.csv")
    FRAME.write_ndjson(tmp_path / "x.ndjson")
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(FRAME.write_csv().encode()))
    for name in ("x.csv", "x.ndjson"):
        found = size(tmp_path / name)
        assert found.cells == pytest.approx(100_000, rel=0.15)
        assert found.memory == found.cells * TEXT_CELL_BYTES
    assert 30_000 < size(tmp_path / "x.csv.gz").cells < 400_000


def test_unreadable_file_has_no_size(tmp_path):
    (tmp_path / "damaged.parquet").write_bytes(b"no")
    assert size(tmp_path / "damaged.parquet") is None
    assert size(tmp_path / "nothing.csv") is None
    assert size(tmp_path / "odd.xyz") is None


def test_npz_is_not_streamable(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(1000))
    FRAME.write_parquet(tmp_path / "x.parquet")
    assert not size(tmp_path / "x.npz").streamable
    assert size(tmp_path / "x.parquet").streamable
