"""A connection to a Ray cluster: the one at an address, or one that is started here for the time being.

Owns: addresses, what becomes of Ray's refusals, that the nodes see the sweep and have the packages that
are here. Does not own: the work (`cluster`), the Ray that is started here (`local_ray`). Ray is imported
when it is connected to.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TextIO
from urllib.parse import urlsplit

from trainer.errors import Problem, RunError, UsageError
from trainer.packages import install_command
from trainer.runs.leases import Lease
from trainer.runs.machine import PACKAGES, package_versions
from trainer.runs.process import ProcessIdentity, this_process
from trainer.workflows.local_ray import LocalRay, guard

_CLIENT_PORT = 10001
_REACH_SECONDS = 5.0
_NODE_SECONDS = 120.0
_SETTINGS = {
    # Nothing is reported to Ray's makers.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_py_gcs_connect_timeout_s": "5",
}
_SETTINGS_FRAME = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_INSTEAD = "or leave --address out to start a Ray here"


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a process of the cluster says of itself.

    Attributes:
        node: Its machine, by name and address.
        process: Which process it is.
        packages: Versions of those that a run depends on, and of Python.
        sees: Whether a file that was written here is there.
    """

    node: str
    process: ProcessIdentity
    packages: dict[str, str]
    sees: bool


class Cluster:
    """A Ray cluster, connected to within a `with`.

    Attributes:
        address: `auto`, `HOST:PORT` or `ray://HOST:PORT`; None for one that is started here.
    """

    def __init__(self, address: str | None) -> None:
        self.address = address
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Connect to the one at the address; one of our own is started when it is known for how many.

        Raises:
            UsageError: There is no Ray here or there, or another version.
        """
        if self.address is None:
            guard()
        else:
            check_address(self.address)
        _import_ray()
        if self.address is not None:
            self._connect(self.address)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, jobs: int) -> None:
        """Start one of our own, unless there is an address.

        Raises:
            ResourceError: It did not start.
        """
        if self.address is None:
            local = LocalRay(jobs)
            self._stack.callback(local.close)
            self._connect(local.address)

    def capacity(self, *, wants_gpu: bool) -> int | None:
        """How many workers there is room for; None for one of our own, which makes room."""
        if self.address is None:
            return None
        there = _import_ray().cluster_resources()
        gpus = int(there.get("GPU", 0)) if wants_gpu else 0
        return max(1, gpus or int(there.get("CPU", 0)))

    def check_nodes(self, directory: Path) -> None:
        """Checks that each node sees a directory and has what is installed here.

        Raises:
            RunError: Some do not; each problem names the node.
        """
        if self.address is None:
            return
        ray = _import_ray()
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        lease = Lease.grant(directory)
        try:
            look = ray.remote(num_cpus=0, max_retries=0)(inspect_node)
            asked = {
                look.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote(lease.path.absolute()): str(node["NodeManagerHostname"])
                for node in ray.nodes()
                if node["Alive"]
            }
            ray.wait(list(asked), num_returns=len(asked), timeout=_NODE_SECONDS)
            problems: list[Problem] = []
            for reference, node in asked.items():
                try:
                    problems += node_differences(ray.get(reference, timeout=0), directory)
                except ray.exceptions.RayError as wrong:
                    problems.append(node_problem(node, wrong))
        finally:
            lease.delete()
        if problems:
            raise RunError(problems)

    def _connect(self, address: str) -> None:
        ray = _import_ray()
        try:
            with _handlers_kept(), _standard_error_dropped():
                if address.startswith("ray://"):
                    ray.init(address=address, logging_level="ERROR", log_to_driver=False)
                else:
                    ray.init(
                        address=address,
                        logging_level="ERROR",
                        log_to_driver=False,
                        configure_logging=True,
                    )
        except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as wrong:
            raise UsageError(_refused(address, wrong)) from wrong
        # It prints of workers that have ended to standard output, which carries the result.
        self._stack.enter_context(redirect_stdout(self._stack.enter_context(_nowhere())))
        self._stack.callback(ray.shutdown)


def check_address(address: str) -> None:
    """Checks that something listens at an address; of `auto` nothing is known beforehand.

    Raises:
        UsageError: It is none, or nothing answers.
    """
    if address == "auto":
        return
    where = f"--address {address}"
    is_client = address.startswith("ray://")
    try:
        parts = urlsplit(address if is_client else f"//{address}")
        host, port = parts.hostname, parts.port or (_CLIENT_PORT if is_client else None)
    except ValueError:
        host = port = None
    if host is None or port is None:
        expected = "auto, HOST:PORT or ray://HOST:PORT"
        raise UsageError(Problem("--address", expected, f"'{address}'", "write host:6379"))
    try:
        _greet(host, port)
    except OSError as wrong:
        found = wrong.strerror or str(wrong)
        fix = f"`ray start --head --port=6379` there, {_INSTEAD}"
        raise UsageError(Problem(where, "a Ray cluster that answers", found, fix)) from wrong


def _greet(host: str, port: int) -> None:
    """Connect as gRPC does, whose answer Ray itself would wait minutes for.

    Raises:
        OSError: Nothing answers, or nothing that speaks HTTP/2 (RFC 9113, 3.4: each side begins with a
            SETTINGS frame).
    """
    with socket.create_connection((host, port), timeout=_REACH_SECONDS) as line:
        if os.environ.get("RAY_USE_TLS", "0").lower() in {"1", "true"}:
            return
        line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS_FRAME)
        answer = line.recv(len(_SETTINGS_FRAME))
        if len(answer) < 4 or answer[3] != _SETTINGS_FRAME[3]:
            raise OSError("something else than Ray, which answers otherwise")


def inspect_node(token: Path) -> NodeInfo:
    """In a process of the cluster: where it is, and what is there."""
    return NodeInfo(
        node=f"{socket.gethostname()} ({_import_ray().util.get_node_ip_address()})",
        process=this_process(),
        packages=_packages(),
        sees=Lease(token).is_held,
    )


def node_differences(there: NodeInfo, directory: Path) -> Iterator[Problem]:
    """Why a process of the cluster cannot work on a sweep as one here would."""
    if not there.sees:
        yield Problem(
            str(directory),
            "a directory that all nodes of the cluster see",
            f"nothing at {directory.absolute()} on node {there.node}",
            "put --sweeps on a file system that all of them share",
        )
    here = _packages()
    for name in dict.fromkeys((*here, *there.packages)):
        if here.get(name) != there.packages.get(name):
            yield Problem(
                f"node {there.node}",
                f"{name} {here.get(name, 'left out')}, as here",
                there.packages.get(name, "none"),
                "install the same packages on all nodes",
            )


def node_problem(node: str, wrong: Exception) -> Problem:
    """A node that cannot run our code, or does not answer."""
    text = str(wrong)
    if "No module named" in text:
        found = f"no module named {text.split('No module named ', 1)[1].split(maxsplit=1)[0]}"
        return Problem(f"node {node}", "trainer with what it needs", found, "install it there")
    found = error_summary(wrong)
    return Problem(f"node {node}", "a node that runs a task", found, "see `ray status`")


def error_summary(wrong: Exception) -> str:
    """What one of Ray's errors, which may be a page long, comes to."""
    lines = [line.strip() for line in str(wrong).splitlines() if line.strip()]
    return lines[-1] if lines else type(wrong).__name__


def _packages() -> dict[str, str]:
    return {**package_versions(PACKAGES), "python": platform.python_version()}


def _refused(address: str, wrong: Exception) -> Problem:
    where = f"--address {address}"
    lines: Sequence[str] = [line.strip() for line in str(wrong).splitlines() if line.strip()]
    if "ersion mismatch" in str(wrong):
        there = [line for line in lines if line.startswith(("Ray:", "Python:"))]
        found = ", ".join(there[: len(there) // 2]) or error_summary(wrong)
        ours = f"Ray: {_import_ray().__version__}, Python: {platform.python_version()}"
        return Problem(where, f"a cluster of {ours}, as here", found, "install the same versions")
    found = lines[0] if lines else type(wrong).__name__
    fix = (
        "`ray start --head` begins one; where it asks for a token, set RAY_AUTH_MODE=token; "
        f"{_INSTEAD}"
    )
    return Problem(where, "a Ray cluster that answers", found, fix)


def _import_ray() -> Any:
    os.environ.update(_SETTINGS)
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            Problem(
                "--engine ray",
                "the package ray",
                "no such package",
                f"{install_command('cluster')}, or use --engine local",
            )
        ) from error
    return ray


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


@contextmanager
def _standard_error_dropped() -> Iterator[None]:
    """Within it what is written to standard error is lost: each second Ray tells what it waits for."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; within it that signal waits, after it its handler is as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
