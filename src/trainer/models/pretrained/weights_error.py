"""The exception of the readers of weights."""

from __future__ import annotations


class WeightsError(Exception):
    """A file of weights is damaged, hostile or of another kind.

    Attributes:
        expected: What was expected, if not a file of weights.
        fix: How to get a file that can be read.
    """

    def __init__(self, found: str, *, expected: str = "", fix: str = "") -> None:
        super().__init__(found)
        self.expected, self.fix = expected, fix
