"""Counters that the workers of a server share, and their Prometheus text.

Each worker writes only its own part of a file that all map into memory. The counts of a worker that is
killed are kept, and its successor continues them.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUTES = ("predict", "explain", "schema", "health", "ready", "metrics", "page", "other")
STATUSES = (200, 400, 401, 404, 405, 408, 413, 415, 422, 431, 500, 503)
BOUNDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
)  # fmt: skip
"""Upper bounds of the buckets of the duration of predictions, in seconds."""
GAUGES = ("open_connections", "resident_memory_bytes")
"""Values that a new worker sets to 0."""

_REQUESTS = len(ROUTES) * len(STATUSES)
_DURATIONS = _REQUESTS
_DURATION_SUM = _DURATIONS + len(BOUNDS) + 1
_GAUGES = _DURATION_SUM + 1
_RESTARTS = _GAUGES + len(GAUGES)
_FIXED = _RESTARTS + 1
_ITEM = 8


class Counters:
    """The counters of one worker, and their sums over all workers.

    Attributes:
        models: The names of the models.
        extra: The first index of the counters of monitoring.
    """

    def __init__(
        self, models: Sequence[str], worker: int = 0, file: str | None = None, extra: int = 0
    ) -> None:
        """Open the counters.

        Args:
            models: The names of the models.
            worker: The number of the worker.
            file: The file that the workers share, from `create_file`; None for one worker.
            extra: The number of counters of monitoring.
        """
        self.models = tuple(models)
        self.extra = _FIXED + 2 * len(models)
        size = self.extra + extra
        if file is None:
            self._all: NDArray[np.int64] = np.zeros((1, size), np.int64)
            worker = 0
        else:
            with Path(file).open("r+b") as opened:
                mapped = mmap.mmap(opened.fileno(), 0)
            self._all = np.frombuffer(mapped, np.int64).reshape(-1, size)
        self.own = self._all[worker]
        self.own[_GAUGES : _GAUGES + len(GAUGES)] = 0
        self._statuses = {status: number for number, status in enumerate(STATUSES)}
        self._routes = {route: number * len(STATUSES) for number, route in enumerate(ROUTES)}

    def count_request(self, route: str, status: int) -> None:
        """Count a request."""
        other = self._statuses[500 if status >= 500 else 400]
        self.own[self._routes[route] + self._statuses.get(status, other)] += 1

    def count_duration(self, seconds: float) -> None:
        """Count the duration of a prediction."""
        self.own[_DURATIONS + bisect_left(BOUNDS, seconds)] += 1
        self.own[_DURATION_SUM] += int(seconds * 1e9)

    def count_rows(self, model: int, rows: int, unseen: int) -> None:
        """Count predicted rows, and those with values that do not occur in training."""
        place = _FIXED + 2 * model
        self.own[place] += rows
        self.own[place + 1] += unseen

    def set_gauge(self, name: str, value: int) -> None:
        """Set a value of this worker."""
        self.own[_GAUGES + GAUGES.index(name)] = value

    def count_restart(self) -> None:
        """Count a worker that is started again."""
        self.own[_RESTARTS] += 1

    def monitored(self) -> NDArray[np.int64]:
        """Return the counters of monitoring, summed over the workers."""
        total: NDArray[np.int64] = self._all[:, self.extra :].sum(axis=0)
        return total

    def text(self) -> Iterator[str]:
        """Yield lines in the text format of Prometheus, version 0.0.4."""
        total = self._all.sum(axis=0).tolist()
        yield from head("trainer_requests_total", "counter", "Requests by route and status.")
        for route, first in self._routes.items():
            for status, number in self._statuses.items():
                if total[first + number]:
                    labels = f'route="{route}",status="{status}"'
                    yield f"trainer_requests_total{{{labels}}} {total[first + number]}"
        name = "trainer_predict_seconds"
        yield from head(name, "histogram", "Duration of predictions, from request to response.")
        below = 0
        for number, bound in enumerate((*BOUNDS, "+Inf")):
            below += total[_DURATIONS + number]
            yield f'{name}_bucket{{le="{bound}"}} {below}'
        yield f"{name}_sum {total[_DURATION_SUM] / 1e9:.9g}"
        yield f"{name}_count {below}"
        for offset, name, what in (
            (0, "trainer_rows_total", "Predicted rows."),
            (1, "trainer_unseen_rows_total", "Rows with values that do not occur in training."),
        ):
            yield from head(name, "counter", what)
            for number, model in enumerate(self.models):
                value = total[_FIXED + 2 * number + offset]
                yield f"{name}{{model={quoted(model)}}} {value}"
        for number, gauge in enumerate(GAUGES):
            yield from head(
                f"trainer_{gauge}", "gauge", f"{gauge.replace('_', ' ')} of all workers."
            )
            yield f"trainer_{gauge} {total[_GAUGES + number]}"
        name = "trainer_worker_restarts_total"
        yield from head(name, "counter", "Workers that ended unexpectedly and were started again.")
        yield f"{name} {total[_RESTARTS]}"


def create_file(path: Path, models: int, workers: int, extra: int = 0) -> str:
    """Create the file of counters that are shared by workers; return its path."""
    with path.open("xb") as file:
        os.ftruncate(file.fileno(), workers * (_FIXED + 2 * models + extra) * _ITEM)
    return str(path)


def quoted(value: str) -> str:
    """Return the value of a label, quoted."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


def head(name: str, kind: str, what: str) -> tuple[str, str]:
    """Return the lines before the values of a metric."""
    return f"# HELP {name} {what}", f"# TYPE {name} {kind}"
