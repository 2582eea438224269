"""Rows of recorded splits are the rows that fit used, or are refused."""

import io

import numpy as np
import polars as pl
import pytest

from trainer.config.schema import Config
from trainer.data.prepare import prepare, split_table
from trainer.data.recorded import recorded_table
from trainer.errors import DataError, RunError


@pytest.fixture
def made(tmp_path):
    lines = ["size,colour,label,weight"]
    lines += [f"{row},{'rgb'[row % 3]},{'yn'[row % 2]},{row + 1}" for row in range(40)]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    source = str(tmp_path / "table.csv")
    config = Config.model_validate(
        {"data": {"source": source, "target": "label", "weight": "weight"}}
    )
    prepared = prepare(config)
    buffer = io.BytesIO()
    split_table(prepared).write_parquet(buffer)
    return config, prepared, buffer.getvalue()


def recorded(made, in_parts, content=None):
    config, prepared, splits = made
    fingerprints = {file.path: file.sha256 for file in prepared.table.files}
    return recorded_table(
        config.data,
        prepared.preprocessing,
        splits if content is None else content,
        fingerprints,
        in_parts=in_parts,
    )


BOTH = pytest.mark.parametrize("in_parts", [False, True], ids=["at once", "in parts"])


@BOTH
def test_samples_are_those_of_the_fit(made, in_parts):
    again = recorded(made, in_parts)
    for split in ("train", "validation", "test"):
        samples, first = again.samples(split), made[1].samples(split)
        for name in ("x", "y", "weight", "rows", "unseen"):
            np.testing.assert_array_equal(getattr(samples, name), getattr(first, name))


@BOTH
def test_rows_later_than_the_fold_stay_out(made, in_parts):
    split = {"by": "time", "column": "size", "fold": "2/4"}
    data = made[0].model_dump(exclude_unset=True)["data"] | {"split": split}
    config = Config.model_validate({"data": data})
    prepared = prepare(config)
    assert prepared.dropped == {"later than the fold": 12}
    buffer = io.BytesIO()
    split_table(prepared).write_parquet(buffer)
    again = recorded((config, prepared, buffer.getvalue()), in_parts)
    for name in ("train", "validation", "test"):
        assert again.rows(name) == prepared.rows(name) > 0
        assert np.array_equal(again.samples(name).rows, prepared.samples(name).rows)


@BOTH
def test_other_data_are_refused(made, tmp_path, in_parts):
    with (tmp_path / "table.csv").open("a") as table:
        table.write("1,r,y,1\n")
    with pytest.raises(DataError, match="other content"):
        recorded(made, in_parts)
    (tmp_path / "table.csv").write_text("size,colour\n1,r\n")
    with pytest.raises(DataError, match="other content"):
        recorded(made, in_parts)


@BOTH
def test_a_damaged_record_is_refused(made, in_parts):
    with pytest.raises(RunError, match=r"splits\.parquet"):
        recorded(made, in_parts, b"no parquet")
    buffer = io.BytesIO()
    pl.DataFrame({"split": ["train"]}).write_parquet(buffer)
    with pytest.raises(RunError, match="1 rows of 40"):
        recorded(made, in_parts, buffer.getvalue())
