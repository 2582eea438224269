"""Who follows the decoding of images. Imports nothing, so that the start of commands stays fast."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

Progress = Callable[[int, int], None]
"""Called with the number of images that are decoded and of all."""

progress: ContextVar[Progress | None] = ContextVar("progress", default=None)
