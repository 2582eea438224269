"""What TensorBoard itself reads out of the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import (
    HISTOGRAMS,
    STORE_EVERYTHING_SIZE_GUIDANCE,
    EventAccumulator,
)
from tensorboard.plugins.hparams import metadata
from tensorboard.util.tensor_util import make_ndarray

from trainer.config.tracking import TensorBoard
from trainer.tracking.tensorboard_tracker import TensorBoardTracker
from trainer.tracking.tracker import EpochLogs, RunEnd

SPLITS = ("train", "validation")


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), STORE_EVERYTHING_SIZE_GUIDANCE)
    found.Reload()
    return found


def curve(found: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(one.step, float(make_ndarray(one.tensor_proto))) for one in found.Tensors(tag)]


def session(folder: Path, tag: str) -> Any:
    content = read(folder).SummaryMetadata(tag).plugin_data.content
    parse = {
        metadata.SESSION_START_INFO_TAG: metadata.parse_session_start_info_plugin_data,
        metadata.SESSION_END_INFO_TAG: metadata.parse_session_end_info_plugin_data,
    }
    return parse[tag](content)


def epoch(number: int, value: float = 0.5, **more: Any) -> EpochLogs:
    measures = {"loss": value, "accuracy": 0.75, "val_loss": 2 * value, "val_accuracy": 0.25}
    return EpochLogs(number, 0.1, measures, 1.7e9 + number, **more)


def told(start: Any, *epochs: EpochLogs, end: RunEnd | None = None, settings: Any = None) -> Path:
    files = TensorBoardTracker(settings or TensorBoard())
    files.started(start)
    for one in epochs:
        files.epoch(one)
    if end is not None:
        files.finished(end)
    files.close()
    return start.run.tensorboard


def test_curves_of_both_splits_have_the_same_tags(start: Callable) -> None:
    folder = told(start(), epoch(1), epoch(2, 0.25))
    train, validation = (read(folder / split) for split in SPLITS)
    assert curve(train, "epoch_loss") == [(1, 0.5), (2, 0.25)]
    assert curve(validation, "epoch_loss") == [(1, 1.0), (2, 0.5)]
    assert set(train.Tags()["tensors"]) == {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"}
    assert set(validation.Tags()["tensors"]) == {"epoch_loss", "epoch_accuracy"}
    assert [one.wall_time for one in train.Tensors("epoch_loss")] == [1.7e9 + 1, 1.7e9 + 2]
    assert train.SummaryMetadata("epoch_loss").plugin_data.plugin_name == "scalars"


def test_what_is_told_is_there_at_once(start: Callable) -> None:
    files = TensorBoardTracker(TensorBoard())
    begun = start()
    files.started(begun)
    files.epoch(epoch(1))
    assert curve(read(begun.run.tensorboard / "train"), "epoch_loss") == [(1, 0.5)]


@pytest.mark.parametrize("torn", [False, True])
def test_no_step_is_doubled_by_a_process_that_goes_on(start: Callable, torn: bool) -> None:
    folder = told(start(), *(epoch(number, 0.5) for number in range(1, 7)))
    if torn:  # by a kill
        for split in SPLITS:
            (file,) = (folder / split).iterdir()
            file.write_bytes(file.read_bytes()[:-5])
    told(start(epochs=3), *(epoch(number, 0.25) for number in (4, 5)))
    for split, factor in (("train", 1), ("validation", 2)):
        values = [factor * value for value in (0.5, 0.5, 0.5, 0.25, 0.25)]
        assert curve(read(folder / split), "epoch_loss") == list(enumerate(values, 1))
    told(start(), epoch(1, 0.125))  # begun anew in the same place
    assert curve(read(folder / "train"), "epoch_loss") == [(1, 0.125)]


def test_an_extended_run_keeps_its_curve(start: Callable) -> None:
    folder = told(start(), epoch(1), epoch(2), end=RunEnd("finished", 2, {"test_auc": 0.5}, None))
    told(start(epochs=2), epoch(3), end=RunEnd("finished", 3, {"test_auc": 0.75}, None))
    assert [step for step, _ in curve(read(folder / "train"), "epoch_loss")] == [1, 2, 3]
    assert curve(read(folder), "test_auc") == [(3, 0.75)]


def test_histograms_come_at_their_interval(start: Callable) -> None:
    settings = TensorBoard(histograms="2 epochs")
    files = TensorBoardTracker(settings)
    assert [number for number in range(1, 7) if files.wants_weights(number)] == [2, 4, 6]
    assert not any(
        TensorBoardTracker(TensorBoard()).wants_weights(number) for number in range(1, 7)
    )
    weights = {"dense/kernel": np.linspace(-1, 1, 60, dtype=np.float32).reshape(6, 10)}
    folder = told(start(), epoch(1), epoch(2, weights=weights), settings=settings)
    found = read(folder / "train")
    (one,) = found.Tensors("dense/kernel")
    assert one.step == 2
    assert found.SummaryMetadata("dense/kernel").plugin_data.plugin_name == HISTOGRAMS
    buckets = make_ndarray(one.tensor_proto)
    assert buckets[0, 0] == -1
    assert buckets[-1, 1] == 1
    np.testing.assert_array_equal(buckets[:, 2], np.histogram(weights["dense/kernel"], 30)[0])


def test_hyperparameters_and_final_metrics(start: Callable) -> None:
    begun = start("optimizer: {name: sgd, learning_rate: 0.25}\nseed: 3\n")
    folder = told(begun, epoch(1), end=RunEnd("finished", 1, {"test_auc": 0.5}, "ab"))
    info = session(folder, metadata.SESSION_START_INFO_TAG)
    assert info.hparams["optimizer.learning_rate"].number_value == 0.25
    assert info.hparams["optimizer.name"].string_value == "sgd"
    assert info.hparams["seed"].number_value == 3
    assert "fit.batch_size" not in info.hparams
    assert info.start_time_secs == begun.manifest.started.timestamp()
    ended = session(folder, metadata.SESSION_END_INFO_TAG)
    assert ended.status == 1  # STATUS_SUCCESS
    assert curve(read(folder), "test_auc") == [(1, 0.5)]


def test_changed_settings_take_the_place_of_former_ones(start: Callable) -> None:
    folder = told(start("fit: {epochs: 2}"), epoch(1), end=RunEnd("stopped", 1, {}, None))
    assert metadata.SESSION_END_INFO_TAG not in read(folder).Tags()["tensors"]
    told(start("fit: {epochs: 9}", epochs=1), end=RunEnd("failed", 1, {}, None))
    info = session(folder, metadata.SESSION_START_INFO_TAG)
    assert info.hparams["fit.epochs"].number_value == 9
    assert session(folder, metadata.SESSION_END_INFO_TAG).status == 2  # STATUS_FAILURE


def test_a_run_that_was_removed_does_not_come_back(start: Callable) -> None:
    import shutil

    begun = start()
    shutil.rmtree(begun.run.path)
    with pytest.raises(FileNotFoundError):
        TensorBoardTracker(TensorBoard()).started(begun)
    assert not begun.run.path.exists()


def test_it_needs_no_tensorflow() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from trainer.tracking import tensorboard_tracker as e\n"
        "from tensorboard.summary.writer.record_writer import RecordWriter\n"
        "from tensorboard.plugins.scalar.summary_v2 import scalar_pb\n"
        "from tensorboard.plugins.hparams.summary_v2 import hparams_pb\n"
        "scalar_pb('a', 1.0)\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
