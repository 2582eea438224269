"""Which engine a run has, and why. No TensorFlow.

Owns: the choice. Does not own: the engines (`trainer.engine`), the estimate
    (`trainer.data.size_estimate`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.config.data import Data
from trainer.config.schema import Config
from trainer.config.streaming_conflicts import streaming_conflicts
from trainer.data.size_estimate import table_size
from trainer.engine.devices import free_gpu_memory
from trainer.runs.machine import available_memory


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Where the rows are while training.

    Attributes:
        engine: "resident": in the memory of the device. "streaming": on disk.
        reason: Why, in one line.
    """

    engine: Literal["resident", "streaming"]
    reason: str

    def __str__(self) -> str:
        return f"{self.engine}: {self.reason}"


def choose_engine(config: Config) -> EngineChoice:
    """What `runtime.engine` says, or what fits into memory."""
    match config.runtime.engine:
        case "resident" | "streaming" as stated:
            return EngineChoice(stated, "runtime.engine says so")
        case "auto":
            pass
    size = table_size(config.data)
    if size is None:
        return EngineChoice("resident", "the size of the table is not known")
    free = available_memory()
    reason = f"the table takes about {_text(size.memory)} of memory"
    too_large = free is not None and size.memory > free
    if free is not None:
        reason += f" of {_text(free)} that are free"
    if not too_large and config.runtime.device != "cpu":
        # Asking takes a moment: not for a table that any GPU holds.
        gpu = free_gpu_memory() if size.encoded > 1 << 29 else None
        if gpu is not None and size.encoded > gpu // 2:
            too_large = True
            reason = (
                f"its encoded rows take about {_text(size.encoded)}, and the GPU has {_text(gpu)}"
            )
    if not too_large:
        return EngineChoice("resident", reason)
    if not size.streamable:
        return EngineChoice("resident", f"{reason}, but its files cannot be read in parts")
    against = streaming_conflicts(config)
    if against:
        return EngineChoice("resident", f"{reason}, but {against[0].key} needs all of it there")
    return EngineChoice("streaming", reason)


def exceeds_memory(data: Data) -> bool:
    """Whether reading and encoding the table in memory takes more than is free, and need not be."""
    size, free = table_size(data), available_memory()
    return size is not None and free is not None and size.streamable and size.memory > free


def _text(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
