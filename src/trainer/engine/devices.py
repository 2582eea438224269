"""Setup of TensorFlow's global state: device, threads, determinism, log output.

No other module touches this state. Importing this module does not import TensorFlow; `start` does.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from pathlib import Path
from types import ModuleType
from typing import IO, Literal

from trainer.engine.program_cache import cache_root, use_cache
from trainer.errors import ConfigError, Problem, ResourceError
from trainer.packages import install_command

# Keras imports these when they are installed, for adapters that are not used here: 1 to 4 seconds.
_NOT_NEEDED = ("jax", "matplotlib", "pandas", "scipy", "sklearn", "torch")
# Modules of TensorFlow that are loaded when one of their attributes is used: half a second.
_RARELY_NEEDED = ("tensorflow._api.v2.compat", "tensorflow._api.v2.lite")

# Below this many multiplications per step, a second thread costs more than it saves.
_SMALL_STEP = 4_000_000


@dataclass(frozen=True, slots=True)
class Device:
    """The device that training runs on.

    Attributes:
        kind: "cpu" or "gpu".
        name: Human-readable name, such as "GPU NVIDIA H200" or "CPU".
        reason: Why this device was chosen, in one line.
        threads: Number of intra-op threads.
    """

    kind: Literal["cpu", "gpu"]
    name: str
    reason: str
    threads: int


def choose_threads(multiplications: int, batch_size: int) -> int:
    """Return 1 for small networks and the number of usable cores for large ones.

    Args:
        multiplications: Multiplications of a forward pass for a row; about the parameters of a dense
            network.
        batch_size: Rows per step.
    """
    return 1 if multiplications * batch_size < _SMALL_STEP else usable_cores()


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start(requested: Literal["auto", "cpu", "gpu"], threads: int) -> Device:
    """Import TensorFlow and Keras, and set device, threads and determinism.

    A second call in the same process only checks `requested`: TensorFlow's threads and devices cannot be
    changed once it has run.

    Raises:
        ConfigError: `requested` is "gpu" and no GPU is available.
    """
    _import_quietly()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if requested == "gpu" and not gpus:
        raise ConfigError(
            Problem(
                where="",
                expected="a GPU that TensorFlow can use",
                found=no_gpu_reason(),
                fix="set runtime.device: auto to use the CPU",
                key="runtime.device",
            )
        )
    use_gpu = bool(gpus) and requested != "cpu"
    # TensorFlow refuses changes once it has run; a second run then uses the current settings.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        if gpus and not use_gpu:
            tf.config.set_visible_devices([], "GPU")
    tf.config.experimental.enable_op_determinism()
    threads_used = int(tf.config.threading.get_intra_op_parallelism_threads()) or usable_cores()
    if use_gpu:
        details = tf.config.experimental.get_device_details(gpus[0])
        name = f"GPU {details['device_name']}" if "device_name" in details else "GPU"
        return Device("gpu", name, "a GPU was found", threads_used)
    reason = "runtime.device is cpu" if requested == "cpu" else no_gpu_reason()
    return Device("cpu", "CPU", reason, threads_used)


def uses_gpu() -> bool:
    """Return whether programs run on a GPU, after `start`."""
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))


@contextmanager
def tensorflow_import(*, in_background: bool) -> Iterator[None]:
    """Context manager that imports TensorFlow in a background thread while active, if `in_background`.

    On exit, even after an exception, it waits for the thread: standard error is captured until then.
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


@contextmanager
def resource_errors() -> Iterator[None]:
    """Context manager that reports exhausted memory, and a GPU that fails. Imports TensorFlow.

    Raises:
        ResourceError: The memory of the machine or the device is exhausted, or the GPU or a CUDA library
            failed.
    """
    import tensorflow as tf

    failures = (
        tf.errors.FailedPreconditionError,
        tf.errors.InternalError,
        tf.errors.UnavailableError,
        tf.errors.UnknownError,
    )
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        expected, fix = "enough for the data and the network", "lower fit.batch_size or units"
        raise ResourceError(Problem("memory", expected, _first_line(error), fix)) from error
    except failures as error:
        # On a CPU, the same errors are bugs.
        if not uses_gpu():
            raise
        expected = "a GPU, a driver and CUDA libraries that work with TensorFlow"
        fix = f"{install_command('gpu')}, or set runtime.device: cpu"
        raise ResourceError(Problem("GPU", expected, _first_line(error), fix)) from error


def _first_line(error: BaseException) -> str:
    """Return the first line of a message, without TensorFlow's names of operations and devices."""
    found = str(error).splitlines()[0] if str(error) else type(error).__name__
    return re.sub(r"\{\{.*?\}\}\s*| on /job:.*| \[Op:.*\]$", "", found).rstrip(".")


def free_gpu_memory() -> int | None:
    """Return the free memory of the first GPU in bytes, or None; does not use TensorFlow."""
    return _gpu_memory("free")


def total_gpu_memory() -> int | None:
    """Return the memory of the first GPU in bytes, or None; does not use TensorFlow."""
    return _gpu_memory("total")


def _gpu_memory(part: Literal["free", "total"]) -> int | None:
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", f"--query-gpu=memory.{part}", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return int(output.stdout.split()[0]) << 20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def no_gpu_reason() -> str:
    """Return why no GPU is used, in one line; does not use TensorFlow."""
    if shutil.which("nvidia-smi") is None:
        return "no NVIDIA driver: nvidia-smi not found"
    try:
        output = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "nvidia-smi does not respond"
    if output.returncode != 0 or not re.search(r"^GPU \d", output.stdout, re.MULTILINE):
        return "nvidia-smi lists no GPU"
    return f"TensorFlow lacks its CUDA libraries ({install_command('gpu')})"


def _import_quietly() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if "keras" in sys.modules:
        return
    use_cache(cache_root())
    with (
        _hidden(_NOT_NEEDED),
        _loaded_when_used(_RARELY_NEEDED),
        _without_collections(),
        _captured_standard_error(),
    ):
        import keras
        import tensorflow as tf

        # Whatever imports the package tensorflow.lite first replaces tf.lite, which is another module.
        lite = tf.lite
        import_module("tensorflow.lite")
        tf.lite = lite

    # Overrides the user's keras.json: a CPU does not support channels-first convolutions.
    keras.config.set_image_data_format("channels_last")
    # TensorFlow's warnings about retracing are for developers, not for users.
    tf.get_logger().setLevel("ERROR")


@contextmanager
def _hidden(modules: tuple[str, ...]) -> Iterator[None]:
    """Context manager that makes modules not yet imported unavailable while active."""
    hidden = [name for name in modules if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


class _LazyFinder(MetaPathFinder):
    """Finds modules that are loaded when one of their attributes is used."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def _loaded_when_used(modules: tuple[str, ...]) -> Iterator[None]:
    """Context manager in which imports of these modules are deferred until they are used."""
    finder = _LazyFinder(modules)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Context manager in which no garbage is collected, and whose objects never are.

    An import makes a million objects that stay: looking for garbage among them takes half a second.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def _captured_standard_error() -> Iterator[None]:
    """Context manager that captures standard error and shows it only if an exception is raised.

    TensorFlow's libraries print while loading, at any log level.
    """
    _flush_standard_error()
    original = os.dup(2)
    with _temporary_file() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception:
            captured.seek(0)
            os.write(original, captured.read())
            raise
        finally:
            _flush_standard_error()
            os.dup2(original, 2)
            os.close(original)


def _flush_standard_error() -> None:
    if sys.stderr is not None:  # None if the command was started with it closed
        sys.stderr.flush()


def _temporary_file() -> IO[bytes]:
    """Return a temporary file, or the null device if none can be created."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return Path(os.devnull).open("w+b")


def physical_devices() -> list[str]:
    """Return the names of the devices that TensorFlow sees, for `trainer doctor`. Imports TensorFlow."""
    _import_quietly()
    import tensorflow as tf

    return [device.name for device in tf.config.list_physical_devices()]
