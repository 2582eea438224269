"""The event files as TensorBoard itself reads them."""

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
    events = EventAccumulator(str(folder), STORE_EVERYTHING_SIZE_GUIDANCE)
    events.Reload()
    return events


def curve(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]


def session(folder: Path, tag: str) -> Any:
    content = read(folder).SummaryMetadata(tag).plugin_data.content
    parse = {
        metadata.SESSION_START_INFO_TAG: metadata.parse_session_start_info_plugin_data,
        metadata.SESSION_END_INFO_TAG: metadata.parse_session_end_info_plugin_data,
    }
    return parse[tag](content)


def epoch_logs(number: int, value: float = 0.5, **more: Any) -> EpochLogs:
    metrics = {"loss": value, "accuracy": 0.75, "val_loss": 2 * value, "val_accuracy": 0.25}
    return EpochLogs(number, 0.1, metrics, 1.7e9 + number, **more)


def track(start: Any, *epochs: EpochLogs, end: RunEnd | None = None, settings: Any = None) -> Path:
    tracker = TensorBoardTracker(settings or TensorBoard())
    tracker.on_run_start(start)
    for event in epochs:
        tracker.on_epoch_end(event)
    if end is not None:
        tracker.on_run_end(end)
    tracker.close()
    return start.run.tensorboard


def test_train_and_validation_curves_share_tags(start: Callable) -> None:
    folder = track(start(), epoch_logs(1), epoch_logs(2, 0.25))
    train, validation = (read(folder / split) for split in SPLITS)
    assert curve(train, "epoch_loss") == [(1, 0.5), (2, 0.25)]
    assert curve(validation, "epoch_loss") == [(1, 1.0), (2, 0.5)]
    assert set(train.Tags()["tensors"]) == {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"}
    assert set(validation.Tags()["tensors"]) == {"epoch_loss", "epoch_accuracy"}
    assert [event.wall_time for event in train.Tensors("epoch_loss")] == [1.7e9 + 1, 1.7e9 + 2]
    assert train.SummaryMetadata("epoch_loss").plugin_data.plugin_name == "scalars"


def test_epoch_is_flushed_at_once(start: Callable) -> None:
    tracker = TensorBoardTracker(TensorBoard())
    started = start()
    tracker.on_run_start(started)
    tracker.on_epoch_end(epoch_logs(1))
    assert curve(read(started.run.tensorboard / "train"), "epoch_loss") == [(1, 0.5)]


@pytest.mark.parametrize("truncated", [False, True])
def test_resumed_run_writes_each_step_once(start: Callable, truncated: bool) -> None:
    folder = track(start(), *(epoch_logs(number, 0.5) for number in range(1, 7)))
    if truncated:  # by a kill
        for split in SPLITS:
            (file,) = (folder / split).iterdir()
            file.write_bytes(file.read_bytes()[:-5])
    track(start(epochs=3), *(epoch_logs(number, 0.25) for number in (4, 5)))
    for split, factor in (("train", 1), ("validation", 2)):
        values = [factor * value for value in (0.5, 0.5, 0.5, 0.25, 0.25)]
        assert curve(read(folder / split), "epoch_loss") == list(enumerate(values, 1))
    track(start(), epoch_logs(1, 0.125))  # started again in the same folder
    assert curve(read(folder / "train"), "epoch_loss") == [(1, 0.125)]


def test_extended_run_keeps_its_curve(start: Callable) -> None:
    folder = track(
        start(), epoch_logs(1), epoch_logs(2), end=RunEnd("finished", 2, {"test_auc": 0.5}, None)
    )
    track(start(epochs=2), epoch_logs(3), end=RunEnd("finished", 3, {"test_auc": 0.75}, None))
    assert [step for step, _ in curve(read(folder / "train"), "epoch_loss")] == [1, 2, 3]
    assert curve(read(folder), "test_auc") == [(3, 0.75)]


def test_histograms_are_written_at_their_interval(start: Callable) -> None:
    settings = TensorBoard(histograms="2 epochs")
    tracker = TensorBoardTracker(settings)
    assert [number for number in range(1, 7) if tracker.wants_weights(number)] == [2, 4, 6]
    assert not any(
        TensorBoardTracker(TensorBoard()).wants_weights(number) for number in range(1, 7)
    )
    weights = {"dense/kernel": np.linspace(-1, 1, 60, dtype=np.float32).reshape(6, 10)}
    folder = track(start(), epoch_logs(1), epoch_logs(2, weights=weights), settings=settings)
    events = read(folder / "train")
    (event,) = events.Tensors("dense/kernel")
    assert event.step == 2
    assert events.SummaryMetadata("dense/kernel").plugin_data.plugin_name == HISTOGRAMS
    buckets = make_ndarray(event.tensor_proto)
    assert buckets[0, 0] == -1
    assert buckets[-1, 1] == 1
    np.testing.assert_array_equal(buckets[:, 2], np.histogram(weights["dense/kernel"], 30)[0])


def test_hyperparameters_and_final_metrics(start: Callable) -> None:
    started = start("optimizer: {name: sgd, learning_rate: 0.25}\nseed: 3\n")
    folder = track(started, epoch_logs(1), end=RunEnd("finished", 1, {"test_auc": 0.5}, "ab"))
    info = session(folder, metadata.SESSION_START_INFO_TAG)
    assert info.hparams["optimizer.learning_rate"].number_value == 0.25
    assert info.hparams["optimizer.name"].string_value == "sgd"
    assert info.hparams["seed"].number_value == 3
    assert "fit.batch_size" not in info.hparams
    assert info.start_time_secs == started.manifest.started.timestamp()
    ended = session(folder, metadata.SESSION_END_INFO_TAG)
    assert ended.status == 1  # STATUS_SUCCESS
    assert curve(read(folder), "test_auc") == [(1, 0.5)]


def test_changed_settings_replace_old_ones(start: Callable) -> None:
    folder = track(start("fit: {epochs: 2}"), epoch_logs(1), end=RunEnd("stopped", 1, {}, None))
    assert metadata.SESSION_END_INFO_TAG not in read(folder).Tags()["tensors"]
    track(start("fit: {epochs: 9}", epochs=1), end=RunEnd("failed", 1, {}, None))
    info = session(folder, metadata.SESSION_START_INFO_TAG)
    assert info.hparams["fit.epochs"].number_value == 9
    assert session(folder, metadata.SESSION_END_INFO_TAG).status == 2  # STATUS_FAILURE


def test_deleted_run_is_not_recreated(start: Callable) -> None:
    import shutil

    started = start()
    shutil.rmtree(started.run.path)
    with pytest.raises(FileNotFoundError):
        TensorBoardTracker(TensorBoard()).on_run_start(started)
    assert not started.run.path.exists()


def test_tensorflow_is_not_imported() -> None:
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
