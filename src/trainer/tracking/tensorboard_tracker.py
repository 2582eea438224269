"""TensorBoard's event files of a run, in its folder `tensorboard`:

    train/         epoch_loss, epoch_<metric>, epoch_learning_rate, histograms of the weights
    validation/    the same measures of the validation rows: TensorBoard lays the curves over each other
    .              hyperparameters (the HParams tab), and what the best epoch's evaluations say

Tags are those of Keras's own callback; steps are epochs, from 1. A process that goes on with a run
writes the files anew, with what they hold of the epochs it goes on after: no step is there twice,
whatever reads them. A viewer that follows them is told of a restart, and forgets what it has seen.

They are written with the `tensorboard` package alone: `tf.summary` needs that one, too, runs its writes
through TensorFlow's runtime, and would let this room know TensorFlow. Each epoch is handed to the system
at once: what a killed process told of is there.

Owns: the files. Does not own: what is told (`tracker`), which settings (`hyperparameters`).
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
    """The event files of one run."""

    def __init__(self, settings: TensorBoard) -> None:
        """Nothing is written before `started`."""
        self._every = 0 if settings.histograms is None else int(settings.histograms.split()[0])
        self._files: dict[str, _EventFile] = {}
        self._folder = Path()

    def wants_weights(self, epoch: int) -> bool:
        """As in `Tracker`."""
        return bool(self._every) and epoch % self._every == 0

    def started(self, start: RunStart) -> None:
        """As in `Tracker`."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        self._folder = start.run.tensorboard
        # Not its parents: a run that was removed while it trained is not to come back in part.
        self._folder.mkdir(exist_ok=True)
        for name in _FOLDERS:
            folder = self._folder / name
            folder.mkdir(exist_ok=True)
            # In the root's file is nothing of epochs, and what it says is said again.
            kept = -1 if name == "." else start.manifest.epochs
            self._files[name] = _EventFile(folder, kept)
        began = start.manifest.started.timestamp()
        # HParams calls sessions with one identifier repetitions of one another: each run is its own.
        summary = hparams_pb(hyperparameters(start.config), str(start.run.path), began)
        self._files["."].add([summary], 0, time.time())

    def epoch(self, epoch: EpochLogs) -> None:
        """As in `Tracker`."""
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        summaries: dict[str, list[Any]] = {"train": [], "validation": []}
        for name, value in epoch.measures.items():
            folder = "validation" if name.startswith("val_") else "train"
            tag = f"epoch_{name.removeprefix('val_')}"
            summaries[folder].append(scalar_pb(tag, value))
        summaries["train"].append(scalar_pb("epoch_learning_rate", epoch.learning_rate))
        for path, weights in (epoch.weights or {}).items():
            summaries["train"].append(histogram_pb(path, weights))
        for folder, written in summaries.items():
            self._files[folder].add(written, epoch.number, epoch.at_seconds)

    def finished(self, end: RunEnd) -> None:
        """As in `Tracker`; a run that was stopped has not ended in the HParams tab, either."""
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        now = time.time()
        scalars = [scalar_pb(name, value) for name, value in end.metrics.items()]
        self._files["."].add(scalars, end.epoch, now)
        if end.status != "stopped":
            self._files["."].add([_session_end(end, now)], 0, now)

    def close(self) -> None:
        """As in `Tracker`."""
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
    """The one file of events of a folder: records of TensorFlow's form, each an event."""

    def __init__(self, folder: Path, kept_steps: int) -> None:
        """Begin it, in place of the one that is there.

        Args:
            folder: Its folder.
            kept_steps: The last step of which the former file's events are kept.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        # A process that was killed here may have left two: the later one holds all.
        former = sorted(folder.glob(f"{_NAME}*"))
        number = int(former[-1].name.removeprefix(_NAME)) + 1 if former else 1
        growing = folder / f".tmp-{number}"
        self._file: BinaryIO = growing.open("wb")
        self._records = RecordWriter(self._file)
        now = time.time()
        self._write([Event(wall_time=now, file_version=_FORMAT)])
        if former:
            restart = SessionLog(status=SessionLog.START)
            self._write([Event(wall_time=now, session_log=restart)])
            events = (Event.FromString(record) for record in _records(former[-1]))
            self._write(
                event for event in events if event.HasField("summary") and event.step <= kept_steps
            )
        growing.rename(folder / f"{_NAME}{number:06d}")
        for path in former:
            path.unlink()

    def add(self, summaries: Iterable[Any], step: int, at_seconds: float) -> None:
        """Append summaries of one step."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(wall_time=at_seconds, step=step, summary=one) for one in summaries)

    def _write(self, events: Iterable[Any]) -> None:
        for event in events:
            self._records.write(event.SerializeToString())
        self._records.flush()

    def close(self) -> None:
        """Close it; a second call does nothing."""
        self._file.close()


def _records(path: Path) -> Iterator[bytes]:
    """The records of a file, up to the first that is damaged or was written in part."""
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
