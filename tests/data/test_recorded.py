"""Rows of recorded splits are the rows that fit used, or are refused."""

import io

import numpy as np
import pytest

from trainer.config.schema import Config
from trainer.data.prepare import prepare, split_table
from trainer.data.recorded import recorded_samples
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


def recorded(made, content=None):
    config, prepared, splits = made
    fingerprints = {file.path: file.sha256 for file in prepared.table.files}
    return recorded_samples(
        config.data,
        prepared.preprocessing,
        splits if content is None else content,
        fingerprints,
        ("train", "validation", "test"),
    )


def test_samples_are_those_of_the_fit(made):
    again = recorded(made)
    for split, samples in again.items():
        first = made[1].samples(split)
        for name in ("x", "y", "weight", "rows", "unseen"):
            np.testing.assert_array_equal(getattr(samples, name), getattr(first, name))


def test_other_data_are_refused(made, tmp_path):
    with (tmp_path / "table.csv").open("a") as table:
        table.write("1,r,y,1\n")
    with pytest.raises(DataError, match="other content"):
        recorded(made)


def test_a_damaged_record_is_refused(made):
    with pytest.raises(RunError, match=r"splits\.parquet"):
        recorded(made, b"no parquet")
