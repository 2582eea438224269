"""TensorBoard event files of a run, in its folder `tensorboard`:

    train/         epoch_loss, epoch_<metric>, epoch_learning_rate, histograms of the weights
    validation/    the same metrics on the validation rows, overlaid by TensorBoard
    .              hyperparameters (the HParams tab), and the metrics of the best epoch's evaluations

Tags are those of Keras's TensorBoard callback; steps are epochs, from 1. A process that resumes a run
rewrites the files, keeping the events of the epochs before the checkpoint, so that no step is duplicated
for any reader. A restart event tells running viewers to discard what they have read.

The files are written with the `tensorboard` package alone: `tf.summary` needs the package too, writes
through TensorFlow's runtime, and would make this package depend on TensorFlow. Each epoch is flushed
immediately, so that it survives if the process is killed.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from trainer.config.tracking import TensorBoard
from trainer.tracking.hyperparameters import hyperparameters
from trainer.tracking.tracker import EpochLogs, RunEnd, RunStart

_FORMAT = "brain.Event:2"
_NAME = "events.out.tfevents."
_FOLDERS = (".", "train", "validation")


class TensorBoardTracker:
    """Tracks a run with TensorBoard; nothing is written before `on_run_start`."""

    def __init__(self, settings: TensorBoard) -> None:
        self._every = 0 if settings.histograms is None else int(settings.histograms.split()[0])
        self._files: dict[str, _EventFile] = {}
        self._folder = Path()

    def wants_weights(self, epoch: int) -> bool:
        return bool(self._every) and epoch % self._every == 0

    def on_run_start(self, start: RunStart) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        self._folder = start.run.tensorboard
        # Not its parents: a run that was deleted during training must not be partially recreated.
        self._folder.mkdir(exist_ok=True)
        for name in _FOLDERS:
            folder = self._folder / name
            folder.mkdir(exist_ok=True)
            # The root's file has no epochs, and is rewritten.
            kept = -1 if name == "." else start.manifest.epochs
            self._files[name] = _EventFile(folder, kept)
        start_time = start.manifest.started.timestamp()
        # HParams groups sessions with the same identifier as repeats: every run gets its own.
        summary = hparams_pb(hyperparameters(start.config), str(start.run.path), start_time)
        self._files["."].add([summary], 0, time.time())

    def on_epoch_end(self, epoch: EpochLogs) -> None:
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        summaries: dict[str, list[Any]] = {"train": [], "validation": []}
        for name, value in epoch.metrics.items():
            folder = "validation" if name.startswith("val_") else "train"
            tag = f"epoch_{name.removeprefix('val_')}"
            summaries[folder].append(scalar_pb(tag, value))
        summaries["train"].append(scalar_pb("epoch_learning_rate", epoch.learning_rate))
        for path, weights in (epoch.weights or {}).items():
            summaries["train"].append(histogram_pb(path, weights))
        for folder, values in summaries.items():
            self._files[folder].add(values, epoch.number, epoch.at_seconds)

    def on_run_end(self, end: RunEnd) -> None:
        """Write the final metrics; a stopped run stays unfinished in the HParams tab."""
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        now = time.time()
        scalars = [scalar_pb(name, value) for name, value in end.metrics.items()]
        self._files["."].add(scalars, end.epoch, now)
        if end.status != "stopped":
            self._files["."].add([_session_end(end, now)], 0, now)

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def _session_end(end: RunEnd, now: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_SUCCESS if end.status == "finished" else api_pb2.STATUS_FAILURE
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=now)
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    summary = Summary()
    summary.value.add(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return summary


class _EventFile:
    """The event file of a folder: events as TFRecords."""

    def __init__(self, folder: Path, kept_steps: int) -> None:
        """Start a file that replaces the existing one.

        Args:
            folder: The folder of the file.
            kept_steps: Last step whose events are kept from the existing file.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        # A process that was killed here may have left two: the later one is complete.
        previous = sorted(folder.glob(f"{_NAME}*"))
        number = int(previous[-1].name.removeprefix(_NAME)) + 1 if previous else 1
        temporary = folder / f".tmp-{number}"
        self._file: BinaryIO = temporary.open("wb")
        self._records = RecordWriter(self._file)
        now = time.time()
        self._write([Event(wall_time=now, file_version=_FORMAT)])
        if previous:
            restart = SessionLog(status=SessionLog.START)
            self._write([Event(wall_time=now, session_log=restart)])
            events = (Event.FromString(record) for record in _records(previous[-1]))
            self._write(
                event for event in events if event.HasField("summary") and event.step <= kept_steps
            )
        temporary.rename(folder / f"{_NAME}{number:06d}")
        for path in previous:
            path.unlink()

    def add(self, summaries: Iterable[Any], step: int, at_seconds: float) -> None:
        """Append the summaries of a step."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(
            Event(wall_time=at_seconds, step=step, summary=summary) for summary in summaries
        )

    def _write(self, events: Iterable[Any]) -> None:
        for event in events:
            self._records.write(event.SerializeToString())
        self._records.flush()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()


def _records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file, up to the first damaged or partial one."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    with path.open("rb") as file:
        while len(header := file.read(12)) == 12:
            length, check = struct.unpack("<QI", header)
            if masked_crc32c(header[:8]) != check:
                return
            record, tail = file.read(length), file.read(4)
            if len(tail) < 4 or struct.unpack("<I", tail)[0] != masked_crc32c(record):
                return
            yield record
