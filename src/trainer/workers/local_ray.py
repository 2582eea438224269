"""A Ray cluster on this machine for one sweep: a supervisor process starts it and ends it.

    supervisor ─ starts Ray, prints the address ─► … its standard input closes ─► kills everything

The supervisor and the processes of Ray form a separate session, so that neither Ctrl-C in the terminal
nor a signal to the caller's process group reaches them. However the caller ends, its end of the pipe
is closed, and all of Ray ends within moments, including helpers that can outlive a killed raylet by
minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from threading import Thread

from trainer.errors import Problem, ResourceError

_MAX_FOLDER_LENGTH = 40
"""Ray appends about 60 characters for its sockets, whose paths are limited to 107."""


def require_token() -> None:
    """Make a Ray cluster started here require a token; otherwise anyone who reaches its ports can run
    code.

    Call it before this process imports Ray, which reads the settings then.
    """
    if "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", token_hex(32))


class LocalRay:
    """A Ray cluster on this machine, running until `close`."""

    def __init__(self, cpus: int) -> None:
        """Start the cluster, which takes a few seconds.

        Args:
            cpus: The number of workers with one CPU each.

        Raises:
            ResourceError: Ray did not start.
        """
        self._supervisor = subprocess.Popen(
            [sys.executable, "-m", "trainer.workers.local_ray", str(cpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # By default, Ray requires a token if a file has one.
            env={"RAY_AUTH_MODE": "disabled", **os.environ},
        )
        assert self._supervisor.stdout is not None
        try:
            line = self._supervisor.stdout.readline()
        except BaseException:
            self.close()
            raise
        self.address = line.decode().strip()
        if not self.address:
            self.close()
            raise ResourceError(
                Problem(
                    "--engine ray",
                    "Ray to start on this machine",
                    f"exit code {self._supervisor.returncode}",
                    "see the output of `ray start --head`, or use --engine local",
                )
            )

    def close(self) -> None:
        """End the cluster; a second call does nothing."""
        assert self._supervisor.stdin is not None
        with suppress(OSError):
            self._supervisor.stdin.close()
        self._supervisor.wait()


def _supervise(cpus: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=_parent_folder()))
    output = os.dup(1)
    os.dup2(2, 1)
    Thread(target=_end_with_input, args=(folder,), daemon=True).start()
    import ray

    try:
        context = ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=str(folder),
        )
        os.write(output, f"{context.address_info['gcs_address']}\n".encode())
        os.close(output)
        while True:
            signal.pause()
    finally:
        _end(folder, 1)


def _parent_folder() -> str | None:
    return None if len(tempfile.gettempdir()) <= _MAX_FOLDER_LENGTH else "/tmp"


def _end_with_input(folder: Path) -> None:
    while os.read(0, 1):
        pass
    _end(folder, 0)


def _end(folder: Path, code: int) -> None:
    while processes := _session_processes():
        for number in processes:
            with suppress(OSError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(code)


def _session_processes() -> list[int]:
    """Return the other running processes of this session."""
    session, processes = os.getsid(0), []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            # The program name in parentheses can contain spaces and parentheses.
            fields = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if (
                int(fields[3]) == session
                and fields[0] not in "ZX"
                and int(path.name) != os.getpid()
            ):
                processes.append(int(path.name))
    return processes


if __name__ == "__main__":
    _supervise(json.loads(sys.argv[1]))
