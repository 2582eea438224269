"""A Ray for one sweep, on this machine: a process that starts it, keeps it, and ends it.

    keeper ─ starts Ray, says where ─► … its standard input ends ─► kills all of it

The keeper and all that Ray starts are a session of their own: no Ctrl-C of the terminal and no signal
to the group of the one who asked reaches them. However that one ends, its end of the pipe is closed, and
Ray with its helpers, some of which outlive a raylet that is killed by minutes, is gone within moments.

Owns: the life of that Ray. Does not own: who connects to it (`ray_connection`).
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

_LONGEST_FOLDER = 40
"""Ray adds some 60 letters to it for its sockets, whose names may have 107."""


def guard() -> None:
    """Have a Ray that is started here ask for a token: whoever else reaches a port of it could run what
    they like. To be called before this process imports Ray, which reads it then; after it, it is late.
    """
    if "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", token_hex(32))


class LocalRay:
    """A Ray on this machine, from `__init__` to `close`."""

    def __init__(self, cpus: int) -> None:
        """Start it, which takes some seconds.

        Args:
            cpus: So many workers with one CPU each have room.

        Raises:
            ResourceError: It did not start.
        """
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "trainer.workflows.local_ray", str(cpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # Ray of its own accord asks for a token where a file holds one.
            env={"RAY_AUTH_MODE": "disabled", **os.environ},
        )
        assert self._keeper.stdout is not None
        try:
            line = self._keeper.stdout.readline()
        except BaseException:
            self.close()
            raise
        self.address = line.decode().strip()
        if not self.address:
            self.close()
            raise ResourceError(
                Problem(
                    "--engine ray",
                    "a Ray that starts on this machine",
                    f"its exit code {self._keeper.returncode}",
                    "see what `ray start --head` says, or take --engine local",
                )
            )

    def close(self) -> None:
        """End it; a second call does nothing."""
        assert self._keeper.stdin is not None
        with suppress(OSError):
            self._keeper.stdin.close()
        self._keeper.wait()


def _keep(cpus: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=_place()))
    told = os.dup(1)
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
        os.write(told, f"{context.address_info['gcs_address']}\n".encode())
        os.close(told)
        while True:
            signal.pause()
    finally:
        _end(folder, 1)


def _place() -> str | None:
    return None if len(tempfile.gettempdir()) <= _LONGEST_FOLDER else "/tmp"


def _end_with_input(folder: Path) -> None:
    while os.read(0, 1):
        pass
    _end(folder, 0)


def _end(folder: Path, code: int) -> None:
    while others := _session():
        for number in others:
            with suppress(OSError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(code)


def _session() -> list[int]:
    """The other processes of this one's session that live."""
    own, found = os.getsid(0), []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            # The name of the program, in brackets, can hold blanks and brackets itself.
            words = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(words[3]) == own and words[0] not in "ZX" and int(place.name) != os.getpid():
                found.append(int(place.name))
    return found


if __name__ == "__main__":
    _keep(json.loads(sys.argv[1]))
