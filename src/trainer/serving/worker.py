"""The process of a worker: `python -m trainer.serving.worker FD`, with its settings on stdin.

It listens on an inherited socket, and ends when its parent does, which closes stdin.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import socket
import sys

from trainer.errors import TrainerError
from trainer.serving.server import serve
from trainer.serving.settings import read_settings

READY = b"ready\n"


def main() -> int:
    """Serve until SIGTERM, or until the parent ends."""
    # Ctrl-C reaches all processes of a terminal; the parent stops its workers by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    size = int.from_bytes(_read(8), "big")
    settings = read_settings(_read(size))
    listener = socket.socket(fileno=int(sys.argv[1]))
    # The rows of a request are many objects and no garbage, as in `trainer_cli.main`.
    gc.freeze()
    gc.set_threshold(200_000)
    try:
        serve(settings, listener, lambda _: _announce(), should_stop=_has_no_parent)
    except TrainerError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _announce() -> None:
    os.write(1, READY)


def _has_no_parent() -> bool:
    """Return whether stdin is closed; nothing else is sent on it."""
    readable, _, _ = select.select([0], [], [], 0)
    return bool(readable)


def _read(size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = os.read(0, size - len(content))
        if not part:
            raise EOFError
        content += part
    return content


if __name__ == "__main__":
    sys.exit(main())
