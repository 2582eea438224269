"""Connect to an existing Ray cluster, or start one on this machine.

Validates addresses, explains Ray's errors, and checks that all nodes see the sweep and have the same
packages. Ray is imported on connecting.
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
from trainer.runs.machine import PACKAGES, package_versions
from trainer.runs.process import ProcessIdentity, this_process
from trainer.workers.leases import Lease
from trainer.workers.local_ray import LocalRay, require_token

_CLIENT_PORT = 10001
_REACH_SECONDS = 5.0
_NODE_SECONDS = 120.0
_SETTINGS = {
    # Disable usage reports to the developers of Ray.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_py_gcs_connect_timeout_s": "5",
}
_SETTINGS_FRAME = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_OR_START_LOCALLY = "or omit --address to start Ray here"


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Information about a process of the cluster.

    Attributes:
        node: Host name and address of its machine.
        process: Its process identity.
        packages: Versions of Python and of the packages that a run depends on.
        sees_directory: Whether it sees a file written here.
    """

    node: str
    process: ProcessIdentity
    packages: dict[str, str]
    sees_directory: bool


class Cluster:
    """A Ray cluster; a context manager that connects to it.

    Attributes:
        address: `auto`, `HOST:PORT` or `ray://HOST:PORT`; None for a cluster started here.
    """

    def __init__(self, address: str | None) -> None:
        self.address = address
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Connect to the cluster at the address; one without an address is started later, by `start`.

        Raises:
            UsageError: Ray is not installed, or the cluster does not respond or has another version.
        """
        if self.address is None:
            require_token()
        else:
            check_address(self.address)
        _import_ray()
        if self.address is not None:
            self._connect(self.address)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, jobs: int) -> None:
        """Start a cluster on this machine unless there is an address.

        Raises:
            ResourceError: It did not start.
        """
        if self.address is None:
            local = LocalRay(jobs)
            self._stack.callback(local.close)
            self._connect(local.address)

    def capacity(self, *, wants_gpu: bool) -> int | None:
        """Return how many workers fit; None for a cluster started here, which is sized for them."""
        if self.address is None:
            return None
        resources = _import_ray().cluster_resources()
        gpus = int(resources.get("GPU", 0)) if wants_gpu else 0
        return max(1, gpus or int(resources.get("CPU", 0)))

    def check_nodes(self, directory: Path) -> None:
        """Check that each node sees a directory and has the packages installed here.

        Raises:
            RunError: Some nodes do not; each problem names the node.
        """
        if self.address is None:
            return
        ray = _import_ray()
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        lease = Lease.grant(directory)
        try:
            inspect = ray.remote(num_cpus=0, max_retries=0)(inspect_node)
            nodes = {
                inspect.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote(lease.path.absolute()): str(node["NodeManagerHostname"])
                for node in ray.nodes()
                if node["Alive"]
            }
            ray.wait(list(nodes), num_returns=len(nodes), timeout=_NODE_SECONDS)
            problems: list[Problem] = []
            for reference, node in nodes.items():
                try:
                    problems += node_differences(ray.get(reference, timeout=0), directory)
                except ray.exceptions.RayError as error:
                    problems.append(node_problem(node, error))
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
        except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
            raise UsageError(_connection_problem(address, error)) from error
        # Ray reports ended workers on standard output, which is reserved for results.
        self._stack.enter_context(redirect_stdout(self._stack.enter_context(_open_devnull())))
        self._stack.callback(ray.shutdown)


def check_address(address: str) -> None:
    """Check that something listens at an address; `auto` cannot be checked beforehand.

    Raises:
        UsageError: The address is invalid, or nothing responds.
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
        _check_http2(host, port)
    except OSError as error:
        found = error.strerror or str(error)
        fix = f"run `ray start --head --port=6379` there, {_OR_START_LOCALLY}"
        raise UsageError(Problem(where, "a Ray cluster that responds", found, fix)) from error


def _check_http2(host: str, port: int) -> None:
    """Connect as gRPC does; Ray itself would wait for minutes.

    Raises:
        OSError: Nothing responds, or nothing that speaks HTTP/2 (RFC 9113, 3.4: each side starts with
            a SETTINGS frame).
    """
    with socket.create_connection((host, port), timeout=_REACH_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() in {"1", "true"}:
            return
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS_FRAME)
        response = connection.recv(len(_SETTINGS_FRAME))
        if len(response) < 4 or response[3] != _SETTINGS_FRAME[3]:
            raise OSError("a service other than Ray")


def inspect_node(token: Path) -> NodeInfo:
    """Return information about this process of the cluster."""
    return NodeInfo(
        node=f"{socket.gethostname()} ({_import_ray().util.get_node_ip_address()})",
        process=this_process(),
        packages=_packages(),
        sees_directory=Lease(token).is_held,
    )


def node_differences(node_info: NodeInfo, directory: Path) -> Iterator[Problem]:
    """Yield problems that keep a process of the cluster from working on a sweep as one here would."""
    if not node_info.sees_directory:
        yield Problem(
            str(directory),
            "a directory that all nodes of the cluster see",
            f"nothing at {directory.absolute()} on node {node_info.node}",
            "put --sweeps on a file system that all of them share",
        )
    local_packages = _packages()
    for name in dict.fromkeys((*local_packages, *node_info.packages)):
        if local_packages.get(name) != node_info.packages.get(name):
            yield Problem(
                f"node {node_info.node}",
                f"{_package(name, local_packages)}, as here",
                _package(name, node_info.packages),
                "install the same packages on all nodes",
            )


def node_problem(node: str, error: Exception) -> Problem:
    """Return the problem of a node that cannot run this code or does not respond."""
    text = str(error)
    if "No module named" in text:
        found = f"no module named {text.split('No module named ', 1)[1].split(maxsplit=1)[0]}"
        return Problem(f"node {node}", "trainer with its dependencies", found, "install it there")
    found = error_summary(error)
    return Problem(f"node {node}", "a node that runs a task", found, "see `ray status`")


def error_summary(error: Exception) -> str:
    """Return the last line of a Ray error, which can be a page long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _package(name: str, versions: dict[str, str]) -> str:
    return f"{name} {versions[name]}" if name in versions else f"no {name}"


def _packages() -> dict[str, str]:
    return {**package_versions(PACKAGES), "python": platform.python_version()}


def _connection_problem(address: str, error: Exception) -> Problem:
    where = f"--address {address}"
    lines: Sequence[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "ersion mismatch" in str(error):
        versions = [line for line in lines if line.startswith(("Ray:", "Python:"))]
        found = ", ".join(versions[: len(versions) // 2]) or error_summary(error)
        ours = f"Ray {_import_ray().__version__} and Python {platform.python_version()}"
        return Problem(where, f"a cluster with {ours}, as here", found, "install the same versions")
    found = lines[0] if lines else type(error).__name__
    fix = (
        "`ray start --head` starts one; if it requires a token, set RAY_AUTH_MODE=token; "
        f"{_OR_START_LOCALLY}"
    )
    return Problem(where, "a Ray cluster that responds", found, fix)


def _import_ray() -> Any:
    os.environ.update(_SETTINGS)
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            Problem(
                "--engine ray",
                "the package ray to be installed",
                "that it is not",
                f"{install_command('cluster')}, or use --engine local",
            )
        ) from error
    return ray


def _open_devnull() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


@contextmanager
def _standard_error_dropped() -> Iterator[None]:
    """Context manager that discards standard error, where Ray reports what it waits for each second."""
    kept = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    os.close(devnull)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Context manager that blocks SIGTERM, which Ray handles itself, and then restores the handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
