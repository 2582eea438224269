"""TensorFlow's start and its global state: device, threads, determinism, what it prints.

The one module that touches them; everything else takes what it is given. TensorFlow is imported by
`start`, not by importing this module.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from trainer.engine.program_cache import cache_root, use_cache
from trainer.errors import ConfigError, Problem
from trainer.packages import install_command

# Keras imports each of these when it finds it, for adapters that are not used here: 1 to 4 seconds.
_NOT_NEEDED = ("jax", "matplotlib", "pandas", "scipy", "sklearn", "torch")

# Below this many multiplications a step, a second thread costs more than it does.
_SMALL_STEP = 4_000_000


@dataclass(frozen=True, slots=True)
class Device:
    """What training runs on.

    Attributes:
        kind: "cpu" or "gpu".
        name: As a person would say it: "GPU NVIDIA H200", "CPU".
        reason: Why this one, in one line.
        threads: Threads inside one operation.
    """

    kind: Literal["cpu", "gpu"]
    name: str
    reason: str
    threads: int


def choose_threads(parameters: int, batch_size: int) -> int:
    """One thread for small networks, all usable cores for large ones.

    A step of a dense network multiplies about `parameters · batch_size` times forward.
    """
    return 1 if parameters * batch_size < _SMALL_STEP else usable_cores()


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start(wanted: Literal["auto", "cpu", "gpu"], threads: int) -> Device:
    """Import TensorFlow and Keras, and set device, threads and determinism.

    Calling it again in one process changes nothing but checks `wanted`: TensorFlow's threads and
    devices are fixed once it has run.

    Raises:
        ConfigError: `wanted` is "gpu" and there is none.
    """
    _import_quietly()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if wanted == "gpu" and not gpus:
        raise ConfigError(
            Problem(
                where="",
                expected="a GPU that TensorFlow can use",
                found=why_no_gpu(),
                fix="set runtime.device: auto to use the CPU",
                key="runtime.device",
            )
        )
    use_gpu = bool(gpus) and wanted != "cpu"
    # Once something has run they can no longer be changed: a second run takes what is in force.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        if gpus and not use_gpu:
            tf.config.set_visible_devices([], "GPU")
    tf.config.experimental.enable_op_determinism()
    in_force = int(tf.config.threading.get_intra_op_parallelism_threads()) or usable_cores()
    if use_gpu:
        details = tf.config.experimental.get_device_details(gpus[0])
        name = f"GPU {details['device_name']}" if "device_name" in details else "GPU"
        return Device("gpu", name, "a GPU was found", in_force)
    reason = "runtime.device is cpu" if wanted == "cpu" else why_no_gpu()
    return Device("cpu", "CPU", reason, in_force)


@contextmanager
def tensorflow_import(*, in_background: bool) -> Iterator[None]:
    """Within it TensorFlow is loaded in another thread, if that is worth while.

    It ends when the thread has ended, also with an exception: until then what is written to standard
    error is held back.
    """
    if not in_background:
        yield
        return
    thread = threading.Thread(target=_import_quietly, name="import-tensorflow")
    thread.start()
    try:
        yield
    finally:
        thread.join()


def free_gpu_memory() -> int | None:
    """Free bytes of the first GPU, or None where there is none; asks the system, not TensorFlow."""
    if shutil.which("nvidia-smi") is None:
        return None
    words = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
        return int(answer.stdout.split()[0]) << 20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def why_no_gpu() -> str:
    """Why no GPU is used, in one line; asks the system, not TensorFlow."""
    if shutil.which("nvidia-smi") is None:
        return "no NVIDIA driver (nvidia-smi is not there)"
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "nvidia-smi does not answer"
    if listed.returncode != 0 or not re.search(r"^GPU \d", listed.stdout, re.MULTILINE):
        return "nvidia-smi lists no GPU"
    return f"TensorFlow lacks its CUDA libraries ({install_command('gpu')})"


def _import_quietly() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if "keras" in sys.modules:
        return
    use_cache(cache_root())
    with _without(_NOT_NEEDED), _standard_error_held_back():
        import keras  # noqa: F401
        import tensorflow as tf

    # Its advice on tracing is for those who write the functions, not for those who run them.
    tf.get_logger().setLevel("ERROR")


@contextmanager
def _without(modules: tuple[str, ...]) -> Iterator[None]:
    """Within it, modules that were not imported yet cannot be; afterwards they can."""
    hidden = [name for name in modules if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _standard_error_held_back() -> Iterator[None]:
    """TensorFlow's libraries print on loading whatever their log level; shown only if loading fails."""
    _flush_standard_error()
    kept = os.dup(2)
    with _scratch() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            _flush_standard_error()
            os.dup2(kept, 2)
            os.close(kept)


def _flush_standard_error() -> None:
    if sys.stderr is not None:  # the command was started with it closed
        sys.stderr.flush()


def _scratch() -> IO[bytes]:
    """A file for a short while; where none can be made, what is written is lost."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return Path(os.devnull).open("w+b")


def physical_devices() -> list[str]:
    """Names of the devices TensorFlow sees, for `trainer doctor`. Imports TensorFlow."""
    _import_quietly()
    import tensorflow as tf

    return [device.name for device in tf.config.list_physical_devices()]
