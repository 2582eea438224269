"""Serve runs or exported files over HTTP: export, bins for monitoring, workers, newer runs.

run ─ export ─► file ─► state file ─► workers     (again for a newer run, with `reload`)
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from trainer.errors import Problem, TrainerError, UsageError
from trainer.runs.directory import RunDirectory
from trainer.runs.monitoring import Monitoring, write_monitoring
from trainer.serving.counters import Counters, create_file
from trainer.serving.models import make_counters, monitored_slots
from trainer.serving.monitoring_bins import counters_by_model, monitored_columns
from trainer.serving.onnx_model import OnnxModel
from trainer.serving.opening import incompatible_models, open_model
from trainer.serving.server import serve
from trainer.serving.settings import Limits, ModelSource, WorkerSettings, write_state
from trainer.serving.supervisor import Supervisor
from trainer.workflows.serving.sources import (
    Origin,
    newer_source,
    origins,
    stamp_of,
    write_model,
)

_CHECK_SECONDS = 2.0
_WRITE_SECONDS = 10.0
_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `serve_models` serves, and how.

    Attributes:
        paths: Run directories, and files of `trainer export --to onnx`.
        host: The address to listen on.
        port: The port; 0 for any that is free.
        workers: The number of worker processes.
        limits: Limits of requests.
        token: The bearer token that requests need.
        reload: Whether to serve newer runs as soon as they have finished.
        monitor: Whether to count inputs and predictions.
    """

    paths: tuple[Path, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    token: str | None = field(default=None, repr=False)
    reload: bool = False
    monitor: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: `http://127.0.0.1:8000`."""

    url: str
    models: tuple[str, ...]


def serve_models(
    options: ServeOptions, on_ready: Callable[[Address], None], log: Callable[[str], None]
) -> int | None:
    """Serve until SIGTERM or Ctrl-C; return the signal.

    Args:
        options: What to serve.
        on_ready: Called when requests are answered.
        log: Called with messages while serving.

    Raises:
        RunError: A run or a file cannot be served.
        UsageError: The address cannot be used.
        ResourceError: Workers do not start.
    """
    with tempfile.TemporaryDirectory(prefix="trainer-serve-") as folder, _kept(folder):
        served = _ServedModels(options, Path(folder), log)
        listener = _listen(options.host, options.port)
        settings = WorkerSettings(str(served.state), options.limits, token=options.token)
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        address = Address(url, tuple(source.name for source in served.sources))
        if options.workers == 1:
            return _serve_alone(served, settings, listener, lambda: on_ready(address))
        slots = monitored_slots(served.sources)
        file = create_file(
            Path(folder) / "counters", len(served.sources), options.workers + 1, slots
        )
        settings = WorkerSettings(
            settings.state, options.limits, options.workers, file, options.token
        )
        counters = make_counters(served.sources, settings)
        supervisor = Supervisor(settings, listener, options.workers, counters, log)
        try:
            return supervisor.run(lambda: on_ready(address), lambda: served.update(counters))
        finally:
            served.write_counts(counters)


@contextmanager
def _kept(folder: str) -> Iterator[None]:
    """Context manager that keeps systemd-tmpfiles from removing a folder when it is days old.

    It skips folders with a lock (tmpfiles.d(5), "Age").
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _serve_alone(
    served: _ServedModels,
    settings: WorkerSettings,
    listener: socket.socket,
    on_ready: Callable[[], None],
) -> int | None:
    """Serve in this process, and look for newer runs in a thread."""
    ended = Event()
    opened: list[Counters] = []

    def watch() -> None:
        while not ended.wait(0.1):
            served.update(opened[0])

    watcher = Thread(target=watch, daemon=True)

    def start(counters: Counters) -> None:
        opened.append(counters)
        watcher.start()
        on_ready()

    try:
        return serve(settings, listener, start)
    finally:
        ended.set()
        if opened:
            watcher.join()
            served.write_counts(opened[0])


class _ServedModels:
    """The models of a server, their state file, and the counts of their monitoring.

    Attributes:
        sources: The models.
        state: The file that workers read them from.
    """

    def __init__(self, options: ServeOptions, folder: Path, log: Callable[[str], None]) -> None:
        self._options = options
        self._folder = folder
        self._log = log
        self._exported = 0
        self._started = datetime.now(UTC)
        self._next_check = self._next_write = 0.0
        self._written: dict[str, int] = {}
        self._logged: set[str] = set()
        self._origins = origins(options.paths, monitor=options.monitor)
        self.sources = tuple(self._source(origin, origin.path) for origin in self._origins)
        self.state = folder / "models.json"
        write_state(self.state, self.sources)

    def update(self, counters: Counters) -> None:
        """Look for newer runs, and write the counts of monitoring, if it is time.

        Problems are logged once each: the server continues.
        """
        try:
            self._update(counters)
        except Exception as error:
            self._log_once(str(error) if isinstance(error, TrainerError) else repr(error))

    def _log_once(self, text: str) -> None:
        if text not in self._logged:
            self._logged.add(text)
            self._log(text)

    def _update(self, counters: Counters) -> None:
        now = datetime.now(UTC).timestamp()
        if self._options.monitor and now >= self._next_write:
            self._next_write = now + _WRITE_SECONDS
            self.write_counts(counters)
        if self._options.reload and now >= self._next_check:
            self._next_check = now + _CHECK_SECONDS
            for number in range(len(self._origins)):
                self._reload(number, counters)

    def write_counts(self, counters: Counters) -> None:
        """Write what was counted since the start into the runs."""
        if not self._options.monitor:
            return
        counts = counters_by_model((source.bins for source in self.sources), counters.monitored())
        for source, part in zip(self.sources, counts, strict=True):
            columns = tuple(monitored_columns(source.bins, part))
            rows = sum(columns[0].served) if columns else 0
            if rows == self._written.get(source.file, 0):
                continue
            model = OnnxModel(source)
            monitoring = Monitoring(
                model.schema.weights_sha256, self._started, datetime.now(UTC), rows, columns
            )
            name = f"{self._started:%Y%m%d-%H%M%S}-{os.getpid()}"
            try:
                write_monitoring(RunDirectory(Path(source.run)), name, monitoring)
            except TrainerError as error:
                self._log_once(f"the counts of monitoring are not written: {error}")
                continue
            self._written[source.file] = rows

    def _source(self, origin: Origin, path: Path) -> ModelSource:
        """Write the file of a run or of a newer one, and its bins for monitoring."""
        self._exported += 1
        file = self._folder / f"{self._exported}.onnx"
        write_model(origin, path, file)
        run = "" if origin.stamp is not None else str(path)
        source = ModelSource(origin.name, str(file), run)
        if not self._options.monitor:
            return source
        # Its imports take longer than all others.
        from trainer.workflows.serving.bins import bins_of_run

        return ModelSource(origin.name, str(file), str(path), bins_of_run(path, OnnxModel(source)))

    def _reload(self, number: int, counters: Counters) -> None:
        origin = self._origins[number]
        newer = newer_source(origin)
        if newer is None:
            return
        path, mark = newer
        try:
            source = self._source(origin, path)
            reason = incompatible_models(open_model(source), open_model(self.sources[number]))
        except TrainerError as error:
            reason = str(error)
        if reason:
            origin.rejected.add(mark)
            self._log(f"{path} is not served instead of {origin.path}: {reason}")
            return
        self.write_counts(counters)
        origin.path = path
        origin.stamp = None if origin.stamp is None else stamp_of(path)
        sources = list(self.sources)
        sources[number] = source
        self.sources = tuple(sources)
        write_state(self.state, self.sources)
        self._log(f"now serving {path} as '{origin.name}'")


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UsageError: The address cannot be used.
    """
    where = f"--host {host} --port {port}"
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        fix = "use an address of this machine"
        if error.errno == errno.EADDRINUSE:
            fix = "stop the other server, or choose another --port (0 for any that is free)"
        elif error.errno == errno.EACCES:
            fix = "choose a port of 1024 or more"
        found = (error.strerror or str(error)).lower()
        raise UsageError(Problem(where, "an address to listen on", found, fix)) from error
    listener.setblocking(False)
    return listener
