"""Choose the engine of a run, without TensorFlow.

`trainer.engine` has the engines, `trainer.data.size_estimate` the estimate of the size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.config.data import Data
from trainer.config.schema import Config
from trainer.config.streaming_conflicts import streaming_conflicts
from trainer.data.size_estimate import table_size
from trainer.engine.devices import free_gpu_memory, total_gpu_memory
from trainer.runs.machine import available_memory, total_memory


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine of a run.

    Attributes:
        engine: "resident": rows in device memory. "streaming": rows on disk.
        reason: Why, in one line.
    """

    engine: Literal["resident", "streaming"]
    reason: str

    def __str__(self) -> str:
        return f"{self.engine}: {self.reason}"


def choose_engine(config: Config) -> EngineChoice:
    """Return the engine set by `runtime.engine`, else the resident engine if the rows fit in memory."""
    match config.runtime.engine:
        case "resident" | "streaming" as engine:
            return EngineChoice(engine, "set by runtime.engine")
        case "auto":
            pass
    size = table_size(config.data)
    if size is None:
        return EngineChoice("resident", "the size of the table is unknown")
    free = available_memory()
    reason = f"the table takes about {_text(size.memory)} of memory"
    too_large = free is not None and size.memory > free
    if free is not None:
        reason += f", {_text(free)} free"
    if not too_large and config.runtime.device != "cpu":
        # The query takes time: skip it for tables that fit any GPU.
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
    conflict = next(streaming_conflicts(config), None)
    if conflict is not None:
        return EngineChoice("resident", f"{reason}, but {conflict.keys[0]} requires it in memory")
    return EngineChoice("streaming", reason)


def device_memory(config: Config) -> tuple[int | None, str]:
    """Return the memory in bytes of the device that a run trains on, None if unknown, and its name."""
    gpu = None if config.runtime.device == "cpu" else total_gpu_memory()
    return (total_memory(), "this machine") if gpu is None else (gpu, "the GPU")


def exceeds_memory(data: Data) -> bool:
    """Return whether the table should be read in parts: it exceeds free memory, and can be."""
    size, free = table_size(data), available_memory()
    return size is not None and free is not None and size.streamable and size.memory > free


def _text(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
