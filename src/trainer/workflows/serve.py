"""Serve runs or exported files over HTTP: export, bins for monitoring, workers, newer runs.

run ─ export ─► file ─► state file ─► workers     (again for a newer run, with `reload`)
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from trainer.errors import Problem, RunError, TrainerError, UsageError
from trainer.runs.directory import RunDirectory
from trainer.runs.monitoring import Monitoring, monitoring_folder, write_monitoring
from trainer.runs.opening import open_run
from trainer.runs.search import find_runs
from trainer.serving.counters import Counters, create_file
from trainer.serving.models import make_counters, monitored_slots
from trainer.serving.monitoring_bins import SLOTS, monitored_columns
from trainer.serving.onnx_model import OnnxModel, is_compatible
from trainer.serving.server import serve
from trainer.serving.settings import Limits, ModelSource, WorkerSettings, write_state
from trainer.serving.supervisor import Supervisor

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


@dataclass(slots=True)
class _Origin:
    """Where a served model comes from, to notice newer ones.

    Attributes:
        name: The name of the model.
        path: The run directory, or the file.
        stamp: The state of the file; None for a run.
        rejected: Newer runs that cannot be served instead, by path or stamp.
    """

    name: str
    path: Path
    stamp: tuple[int, int, int] | None
    rejected: set[object] = field(default_factory=set)


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
    with tempfile.TemporaryDirectory(prefix="trainer-serve-") as folder:
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
        self._origins = _origins(options)
        self.sources = tuple(self._source(origin, origin.path) for origin in self._origins)
        self.state = folder / "models.json"
        write_state(self.state, self.sources)

    def update(self, counters: Counters) -> None:
        """Look for newer runs, and write the counts of monitoring, if it is time."""
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
        counts, first = counters.monitored(), 0
        for source in self.sources:
            part = counts[first : first + SLOTS * len(source.bins)]
            first += SLOTS * len(source.bins)
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
                self._log(f"the counts of monitoring are not written: {error}")
            self._written[source.file] = rows

    def _source(self, origin: _Origin, path: Path) -> ModelSource:
        """Export a run, or copy a file, which may be replaced while it is served."""
        self._exported += 1
        file = self._folder / f"{self._exported}.onnx"
        if origin.stamp is not None:
            try:
                shutil.copyfile(path, file)
            except OSError as error:
                found = (error.strerror or str(error)).lower()
                raise RunError(Problem(str(path), "an exported ONNX file", found)) from error
            source = ModelSource(origin.name, str(file))
            _check(source, path)
            return source
        source = ModelSource(origin.name, str(file), str(path))
        if not _copy_export(path, source):
            _export(path, file)
        model = OnnxModel(source)
        if not self._options.monitor:
            return source
        # Its imports take longer than all others.
        from trainer.workflows.serving_bins import bins_of_run

        return ModelSource(origin.name, str(file), str(path), bins_of_run(path, model))

    def _reload(self, number: int, counters: Counters) -> None:
        origin = self._origins[number]
        newer = _newer(origin)
        if newer is None:
            return
        path, mark = newer
        try:
            source = self._source(origin, path)
            old = OnnxModel(self.sources[number]).schema
            reason = is_compatible(OnnxModel(source).schema, old)
        except TrainerError as error:
            reason = str(error)
        if reason:
            origin.rejected.add(mark)
            self._log(f"{path} is not served instead of {origin.path}: {reason}")
            return
        self.write_counts(counters)
        origin.path = path
        origin.stamp = None if origin.stamp is None else _stamp(path)
        sources = list(self.sources)
        sources[number] = source
        self.sources = tuple(sources)
        write_state(self.state, self.sources)
        self._log(f"now serving {path} as '{origin.name}'")


def _origins(options: ServeOptions) -> list[_Origin]:
    """Return where the models come from, with a name for each.

    Raises:
        RunError: A path is neither a run nor a file.
        UsageError: A file without a run is monitored.
    """
    origins = []
    for path in options.paths:
        if path.is_file() and path.suffix == ".onnx":
            if options.monitor:
                fix = "use the run directory, which has the training rows"
                raise UsageError(Problem("--monitor", "run directories", f"the file {path}", fix))
            origins.append(_Origin(path.stem, path, _stamp(path)))
            continue
        run = open_run(path).run
        origins.append(_Origin(run.read_manifest().name, path, None))
        if options.monitor and not os.access(run.path, os.W_OK):
            folder = monitoring_folder(run)
            fix = "give yourself write permission there, or serve without --monitor"
            raise UsageError(Problem(str(folder), "a directory to write to", "none", fix))
    names = [origin.name for origin in origins]
    for origin in origins:
        if names.count(origin.name) > 1:
            origin.name = origin.path.resolve().name.removesuffix(".onnx")
    names = [origin.name for origin in origins]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        found = f"'{twice[0]}' {names.count(twice[0])} times"
        raise UsageError(Problem("trainer serve", "models with different names", found))
    return origins


def _export(path: Path, file: Path) -> None:
    """Write the ONNX file of a run."""
    from trainer.export.bundle import load_bundle
    from trainer.export.formats import load_format

    bundle = load_bundle(path)
    onnx = load_format("onnx")
    problems = onnx.problems(bundle)
    if problems:
        raise RunError(problems)
    onnx.write(bundle, onnx.schema(bundle), file)


def _copy_export(path: Path, source: ModelSource) -> bool:
    """Use the file of `trainer export` in a run, if there is one of its weights.

    It takes much less time to open than the run.
    """
    opened = open_run(path)
    exported = opened.run.exports / "onnx" / "model.onnx"
    if opened.checkpoint is not None or not exported.is_file():
        return False
    try:
        shutil.copyfile(exported, source.file)
        schema = OnnxModel(source).schema
    except (OSError, RunError):
        return False
    return schema.weights_sha256 == opened.run.read_manifest().weights_sha256


def _check(source: ModelSource, path: Path) -> None:
    """Check a copied file; messages name the original.

    Raises:
        RunError: It cannot be served.
    """
    try:
        OnnxModel(source)
    except RunError as error:
        raise RunError(problem.at(str(path)) for problem in error.problems) from error


def _newer(origin: _Origin) -> tuple[Path, object] | None:
    """Return a newer run or file, and what it is rejected by."""
    if origin.stamp is not None:
        stamp = _stamp(origin.path)
        is_new = stamp not in (origin.stamp, (0, 0, 0)) and stamp not in origin.rejected
        return (origin.path, stamp) if is_new else None
    run = open_run(origin.path).run.path
    folder = run.absolute().parent
    # The names of runs begin with the time in UTC.
    later = [path for path in find_runs(folder) if path.name > run.name and path.parent == folder]
    for path in sorted(later, key=lambda path: path.name, reverse=True):
        shown = run.parent / path.name
        if shown not in origin.rejected and _is_finished(RunDirectory(path)):
            return shown, shown
    return None


def _is_finished(run: RunDirectory) -> bool:
    try:
        return run.read_manifest().status == "finished"
    except RunError:
        return False


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino


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
