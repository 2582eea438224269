"""The callback for the progress of image decoding and of features of images.

Imports nothing, so that commands start fast.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

Progress = Callable[..., None]
"""Called with the number of processed images, the total, and the work if it is not decoding."""

progress: ContextVar[Progress | None] = ContextVar("progress", default=None)
