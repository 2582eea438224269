"""HTTP connections with limits that uvicorn lacks: the size of headers, the time of a request, and the
number of connections. They answer small requests at once.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trainer.serving.counters import Counters
from trainer.serving.problems import error_body
from trainer.serving.settings import Limits

if TYPE_CHECKING:
    from trainer.serving.immediate import ImmediateResponses

MAX_HEADER_BYTES = 64 * 1024
_LINGER = 1.0
"""Seconds in which a refused client can read the response before its connection is closed."""


class LimitedProtocol(HttpToolsProtocol):
    """A connection with limits; `limited_protocol` sets them."""

    limits: ClassVar[Limits] = Limits()
    counters: ClassVar[Counters | None] = None
    immediate: ClassVar[ImmediateResponses | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: TimerHandle | None = None
        self._is_refused = False
        self._is_receiving = False
        self._header_bytes = 0
        # The body of a request that is answered at once; None for others.
        self._immediate_body: bytes | None = None
        self._has_answered = False
        self._closes_after_answer = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or refuse it with 503 if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            found = f"{self.limits.max_connections:,} open connections"
            self._refuse(
                503, "a free connection", found, "try again later, or use fewer connections"
            )
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, unless the headers are too large."""
        if self._is_refused:
            return
        self._header_bytes += len(data)
        self._has_answered = False
        super().data_received(data)
        is_in_headers = self._is_receiving and self._header_bytes > MAX_HEADER_BYTES
        if is_in_headers and not self._is_refused:
            expected = f"headers of at most {MAX_HEADER_BYTES:,} bytes"
            self._refuse(431, expected, "more", "send fewer or shorter headers")
        elif self._is_receiving:
            self._start_timer()

    def on_message_begin(self) -> None:
        """Note the start of a request."""
        super().on_message_begin()
        self._is_receiving = True

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless it is answered at once."""
        # What follows is the body, whose size the application limits.
        self._header_bytes = -(2**62)
        if self._is_immediate():
            self._immediate_body = b""
            return
        self._start_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        if self._immediate_body is None:
            super().on_body(body)
        else:
            self._immediate_body += body

    def on_message_complete(self) -> None:
        """Note the end of the request, and answer it if it is answered at once."""
        self._is_receiving = False
        self._header_bytes = 0
        if self._immediate_body is not None:
            self._answer(self._immediate_body)
            return
        super().on_message_complete()
        if self.cycle.response_complete:
            self._stop_timer()

    def _is_immediate(self) -> bool:
        """Return whether the request is answered at once: it is small, and no other is unanswered."""
        if self.immediate is None or self._has_answered or self.flow.write_paused or self.pipeline:
            return False
        parser = self.parser
        return (
            (self.cycle is None or self.cycle.response_complete)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and self.immediate.accepts(self.url, self.headers)
        )

    def _answer(self, body: bytes) -> None:
        assert self.immediate is not None, "it accepted the request"
        more = self.server_state.default_headers
        self.transport.write(self.immediate.answer(self.url, self.headers, body, more))
        self._immediate_body = None
        # More requests that were received together get a task each, so that others have their turn.
        self._has_answered = True
        self._stop_timer()
        super().on_response_complete()
        if self._closes_after_answer:
            self.transport.close()

    def shutdown(self) -> None:
        """Close the connection, after the answer to a request that is being received."""
        if self._immediate_body is None:
            super().shutdown()
        else:
            self._closes_after_answer = True

    def on_response_complete(self) -> None:
        """Stop the time of the request, and start that of the next one if it was sent already."""
        self._stop_timer()
        super().on_response_complete()
        # The rest of a refused body is still received, so that the client can read the response.
        is_busy = self._is_receiving or not self.cycle.response_complete
        if is_busy:
            self._start_timer()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also if the client does not read its last response."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def _start_timer(self) -> None:
        """Start the time of a request, unless it has started."""
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.limits.timeout, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        self._timer = None
        is_answering = self.cycle is not None and self.cycle.response_started
        if self.transport.is_closing() or (is_answering and self._immediate_body is None):
            self.transport.abort()
            return
        expected = f"a request that is sent and answered within {self.limits.timeout:g} seconds"
        fix = "send it faster or in parts, or start trainer serve with a larger --timeout"
        self._refuse(408, expected, "a longer one", fix)

    def _refuse(self, status: int, expected: str, found: str, fix: str) -> None:
        """Send an error instead of calling the application, and close the connection.

        A connection that is closed with unread bytes is reset, and the client may never see the
        response; therefore bytes are discarded for a moment.
        """
        self._is_refused = True
        if self.counters is not None:
            self.counters.count_request("other", status)
        self._stop_timer()
        self._unset_keepalive_if_required()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = error_body(expected, found, fix)
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.connections.discard(self)
        self.flow.resume_reading()
        self.transport.write(head.encode() + body)
        self.transport.write_eof()
        self.loop.call_later(_LINGER, self.transport.abort)


_REASONS = {
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


def limited_protocol(
    limits: Limits, counters: Counters, immediate: ImmediateResponses
) -> type[LimitedProtocol]:
    """Return the class of connections with these limits, which counts refused ones."""
    values = {"limits": limits, "counters": counters, "immediate": immediate}
    return type("Connection", (LimitedProtocol,), values)
