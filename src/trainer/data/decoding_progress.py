"""The callback for the progress of image decoding. Imports nothing, so that commands start fast."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

Progress = Callable[[int, int], None]
"""Called with the number of decoded images and the total."""

progress: ContextVar[Progress | None] = ContextVar("progress", default=None)
