"""Recorded splits load the rows that fit used, or raise."""

import io

import numpy as np
import polars as pl
import pytest

from trainer.config.schema import Config
from trainer.data.prepare import prepare
from trainer.data.recorded_splits import load_recorded_dataset, split_frame
from trainer.errors import DataError, RunError


@pytest.fixture
def run(tmp_path):
    lines = ["size,color,label,weight"]
    lines += [f"{row},{'rgb'[row % 3]},{'yn'[row % 2]},{row + 1}" for row in range(40)]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    source = str(tmp_path / "table.csv")
    config = Config.model_validate(
        {"data": {"source": source, "target": "label", "weight": "weight"}}
    )
    dataset = prepare(config)
    buffer = io.BytesIO()
    split_frame(dataset).write_parquet(buffer)
    return config, dataset, buffer.getvalue()


def recorded(run, streamed, content=None):
    config, dataset, splits = run
    fingerprints = {file.path: file.sha256 for file in dataset.table.files}
    return load_recorded_dataset(
        config.data,
        dataset.preprocessing,
        splits if content is None else content,
        fingerprints,
        streamed=streamed,
    )


BOTH = pytest.mark.parametrize("streamed", [False, True], ids=["at once", "in parts"])


@BOTH
def test_samples_match_the_fit(run, streamed):
    reloaded = recorded(run, streamed)
    for split in ("train", "validation", "test"):
        samples, first = reloaded.samples(split), run[1].samples(split)
        np.testing.assert_array_equal(samples.inputs["features"], first.inputs["features"])
        for name in ("y", "weight", "rows", "unseen"):
            np.testing.assert_array_equal(getattr(samples, name), getattr(first, name))


@BOTH
def test_rows_later_than_the_fold_stay_dropped(run, streamed):
    split = {"by": "time", "column": "size", "fold": "2/4"}
    data = run[0].model_dump(exclude_unset=True)["data"] | {"split": split}
    config = Config.model_validate({"data": data})
    dataset = prepare(config)
    assert dataset.dropped == {"later than the fold": 12}
    buffer = io.BytesIO()
    split_frame(dataset).write_parquet(buffer)
    reloaded = recorded((config, dataset, buffer.getvalue()), streamed)
    for name in ("train", "validation", "test"):
        assert reloaded.rows(name) == dataset.rows(name) > 0
        assert np.array_equal(reloaded.samples(name).rows, dataset.samples(name).rows)


@BOTH
def test_changed_data_raises(run, tmp_path, streamed):
    with (tmp_path / "table.csv").open("a") as table:
        table.write("1,r,y,1\n")
    with pytest.raises(DataError, match="different content"):
        recorded(run, streamed)
    (tmp_path / "table.csv").write_text("size,color\n1,r\n")
    with pytest.raises(DataError, match="different content"):
        recorded(run, streamed)


@BOTH
def test_damaged_splits_raise(run, streamed):
    with pytest.raises(RunError, match=r"splits\.parquet"):
        recorded(run, streamed, b"no parquet")
    buffer = io.BytesIO()
    pl.DataFrame({"split": ["train"]}).write_parquet(buffer)
    with pytest.raises(RunError, match="1 of 40 rows"):
        recorded(run, streamed, buffer.getvalue())
