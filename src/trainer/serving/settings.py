"""The settings of a server."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from trainer.serving.monitoring_bins import ColumnBins


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of each worker, beyond which requests are refused.

    Attributes:
        max_body_bytes: Largest body of a request; 413 beyond.
        max_rows: Most rows of a request; 413 beyond.
        max_connections: Most connections at the same time; 503 beyond.
        timeout: Seconds for a request from its first byte to the last byte of the response; 408 or a
            closed connection beyond.
        keep_alive: Seconds after which an idle connection is closed.
    """

    max_body_bytes: int = 16 * 2**20
    max_rows: int = 100_000
    max_connections: int = 256
    timeout: float = 30.0
    keep_alive: float = 60.0

    @property
    def max_bytes_in_flight(self) -> int:
        """Bytes of the bodies of all requests at the same time; 503 beyond."""
        return 8 * self.max_body_bytes


@dataclass(frozen=True, slots=True)
class ModelSource:
    """An exported file to serve, and where it comes from.

    Attributes:
        name: Its name in `/models/NAME`.
        file: The exported file.
        run: The run directory; empty for a file without one.
        bins: The bins that its inputs and predictions are counted in; empty without monitoring.
    """

    name: str
    file: str
    run: str = ""
    bins: tuple[ColumnBins, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker serves, and how.

    Attributes:
        state: The JSON file with the models to serve, which is replaced when there are newer ones.
        limits: Limits of requests.
        worker: The number of the worker.
        counters: The file of counters that the workers share; None for a single worker.
        token: The bearer token that requests need; None for none. Excluded from the representation, so
            that it is never logged.
    """

    state: str
    limits: Limits
    worker: int = 0
    counters: str | None = None
    token: str | None = field(default=None, repr=False)


def write_state(path: Path, models: tuple[ModelSource, ...]) -> None:
    """Write the models to serve; readers see the old ones or all new ones."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(orjson.dumps([asdict(model) for model in models]))
    temporary.replace(path)


def read_state(path: str) -> tuple[ModelSource, ...]:
    """Read the models to serve."""
    return tuple(_model(entry) for entry in orjson.loads(Path(path).read_bytes()))


def _model(entry: dict[str, Any]) -> ModelSource:
    bins = tuple(_bins(column) for column in entry["bins"])
    return ModelSource(entry["name"], entry["file"], entry["run"], bins)


def _bins(column: dict[str, Any]) -> ColumnBins:
    edges = column["edges"]
    return ColumnBins(
        name=column["name"],
        role=column["role"],
        array=column["array"],
        edges=None if edges is None else tuple(edges),
        levels=tuple(column["levels"]),
        reference=tuple(column["reference"]),
    )


def settings_json(settings: WorkerSettings) -> bytes:
    """Return the settings of a worker as JSON, with its token; for a pipe, never for a file."""
    return orjson.dumps(asdict(settings))


def read_settings(content: bytes) -> WorkerSettings:
    """Read what `settings_json` returned."""
    values = orjson.loads(content)
    return WorkerSettings(**{**values, "limits": Limits(**values["limits"])})
