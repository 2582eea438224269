"""The models that a worker serves, and their replacement by newer ones."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.errors import TrainerError
from trainer.serving.columns import RowReader
from trainer.serving.counters import Counters
from trainer.serving.monitoring_bins import SLOTS, counters_by_model
from trainer.serving.onnx_model import OnnxModel
from trainer.serving.openapi import openapi
from trainer.serving.opening import open_model
from trainer.serving.settings import ModelSource, WorkerSettings, read_state

if TYPE_CHECKING:
    from trainer.serving.generators import ServedGenerator
    from trainer.serving.monitoring import Monitor

LOG = logging.getLogger("trainer.serving")
_NO_STAMP = (0, 0)


@dataclass(frozen=True)
class Served:
    """A model with what is computed once for it.

    Attributes:
        model: The model.
        reader: Converts rows for it.
        number: Its place among the models.
        monitor: Counts its inputs and predictions; None without monitoring.
        unseen: The prediction column that flags values that do not occur in training.
        headers: The headers of its responses.
        api: The description of its requests, OpenAPI 3.1.
    """

    model: OnnxModel
    reader: RowReader
    number: int
    monitor: Monitor | None
    unseen: str
    headers: dict[str, str]
    api: dict[str, Any]

    @property
    def listed(self) -> dict[str, Any]:
        """Its entry in `/models`."""
        return {
            "name": self.model.source.name,
            "run": self.model.schema.run,
            "task": self.model.schema.task,
            "columns": list(self.reader.columns),
            "predictions": list(self.model.column_names),
        }


class Models:
    """The models by name; the first is also served without its name.

    Attributes:
        counters: The counters of the worker.
        names: The names of the models.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        """Open the models of a worker.

        Raises:
            RunError: A file is missing or damaged.
        """
        self._state = settings.state
        self._limits = settings.limits
        self._stamp = _stamp(settings.state)
        sources = read_state(settings.state)
        self.counters = make_counters(sources, settings)
        self._served: dict[str, Served | ServedGenerator] = {
            source.name: self._open(source, number, sources)
            for number, source in enumerate(sources)
        }
        self.names = tuple(self._served)

    def get(self, name: str | None) -> Served | ServedGenerator | None:
        """Return a model; without a name the first."""
        return self._served.get(self.names[0] if name is None else name)

    def all(self) -> list[Served | ServedGenerator]:
        """Return all models."""
        return list(self._served.values())

    def is_outdated(self) -> bool:
        """Return whether the state file was replaced."""
        return _stamp(self._state) not in (self._stamp, _NO_STAMP)

    def reload(self) -> None:
        """Open the models that have changed, and then serve them instead of the old ones.

        Requests that are being answered keep the old ones. If a file cannot be opened, the old ones
        stay.
        """
        self._stamp = _stamp(self._state)
        try:
            sources = read_state(self._state)
            opened = {
                source.name: self._open(source, number, sources)
                for number, source in enumerate(sources)
                if source != self._served[source.name].model.source
            }
        except (TrainerError, OSError, ValueError) as error:
            LOG.warning("the newer model is not served: %s", error)
            return
        for served in opened.values():
            if served.monitor is not None:
                served.monitor.clear()
        self._served = {**self._served, **opened}

    def count_pending(self) -> None:
        """Count the rows that monitors have noted."""
        for served in self._served.values():
            if served.monitor is not None:
                served.monitor.count()

    def _open(
        self, source: ModelSource, number: int, sources: Sequence[ModelSource]
    ) -> Served | ServedGenerator:
        model = open_model(source)
        headers = {"x-trainer-run": model.schema.run} if _is_header(model.schema.run) else {}
        if not isinstance(model, OnnxModel):
            from trainer.serving.generators import serve_generator

            return serve_generator(model, number, headers, self._limits)
        monitor = None
        if source.bins:
            from trainer.serving.monitoring import Monitor

            own = self.counters.own[self.counters.extra :]
            slots = [*counters_by_model((other.bins for other in sources), own)][number]
            monitor = Monitor(source.bins, slots)
        schema = model.schema
        unseen = next(output.columns[0] for output in schema.outputs if output.role == "unseen")
        return Served(model, RowReader(schema), number, monitor, unseen, headers, openapi(schema))


def _is_header(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _stamp(path: str) -> tuple[int, int]:
    with suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 (called twice a second; a Path costs more)
        return status.st_mtime_ns, status.st_ino
    return _NO_STAMP


def make_counters(sources: Sequence[ModelSource], settings: WorkerSettings) -> Counters:
    """Return the counters of a worker."""
    slots = monitored_slots(sources)
    return Counters([source.name for source in sources], settings.worker, settings.counters, slots)


def monitored_slots(sources: Sequence[ModelSource]) -> int:
    """Return the number of counters of monitoring."""
    return SLOTS * sum(len(source.bins) for source in sources)
