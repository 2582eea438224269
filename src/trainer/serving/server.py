"""A worker: the event loop that answers requests."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from trainer.serving.application import Application
from trainer.serving.connections import limited_protocol
from trainer.serving.counters import Counters
from trainer.serving.immediate import ImmediateResponses
from trainer.serving.models import Models
from trainer.serving.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_TICK = 0.25
_PAGE_BYTES = 4096


class Server(uvicorn.Server):
    """A uvicorn server that returns after a signal, instead of raising it again.

    Attributes:
        signal: The signal that stopped it.
    """

    signal: int | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and Ctrl-C; a second Ctrl-C does not wait for requests."""
        previous = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop the server."""
        if self.signal == sig == signal.SIGINT:
            self.force_exit = True
        self.signal = sig
        self.should_exit = True


def serve(
    settings: WorkerSettings,
    listener: socket.socket,
    on_ready: Callable[[Counters], None],
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> int | None:
    """Answer requests until a signal; return the signal.

    Args:
        settings: What to serve.
        listener: The socket, which listens already.
        on_ready: Called once before requests are answered.
        should_stop: Called several times a second; whether to stop without a signal.

    Raises:
        RunError: A model cannot be opened.
    """
    models = Models(settings)
    application = Application(models, models.counters, settings.limits, settings.token)
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http=limited_protocol(settings.limits, models.counters, ImmediateResponses(application)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # The sockets of a burst of connections must be accepted before they can be refused.
        backlog=2048,
        timeout_keep_alive=max(1, round(settings.limits.keep_alive)),
        timeout_graceful_shutdown=max(1, round(settings.limits.timeout)),
    )
    config.load()
    server = Server(config)

    async def run() -> None:
        ticking = asyncio.create_task(_tick(server, models, should_stop))
        on_ready(models.counters)
        try:
            await server.serve(sockets=[listener])
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError):
                await ticking
            models.count_pending()

    factory = config.get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())
    return server.signal


async def _tick(server: Server, models: Models, should_stop: Callable[[], bool]) -> None:
    """Update gauges, count monitored rows, and open newer models."""
    loop = asyncio.get_running_loop()
    counters: Counters = models.counters
    while True:
        counters.set_gauge("open_connections", len(server.server_state.connections))
        counters.set_gauge("resident_memory_bytes", _resident_bytes())
        models.count_pending()
        if models.is_outdated():
            await loop.run_in_executor(None, models.reload)
        if should_stop():
            server.should_exit = True
        await asyncio.sleep(_TICK)


def _resident_bytes() -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    return 0
