"""Errors of TensorFlow that are reported as problems of the machine."""

import gc
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import tensorflow as tf

from trainer.engine import devices
from trainer.errors import ResourceError

OUT_OF_MEMORY = tf.errors.ResourceExhaustedError(
    None, None, "OOM when allocating tensor with shape[9] on /job:localhost/device:GPU:0"
)
NO_CUDNN = tf.errors.FailedPreconditionError(
    None, None, "DNN library initialization failed. [Op:__inference__block_1723]\nmore lines"
)


@pytest.mark.parametrize(
    "error", [OUT_OF_MEMORY, MemoryError("9 bytes")], ids=["device", "machine"]
)
def test_exhausted_memory_is_reported(error: Exception) -> None:
    expected = r"^memory: expected enough .*, found (OOM .* shape\[9\]|9 bytes); lower"
    with pytest.raises(ResourceError, match=expected), devices.resource_errors():
        raise error


def test_a_gpu_that_fails_is_reported_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "uses_gpu", lambda: True)
    expected = (
        r"^GPU: .*, found DNN library initialization failed; "
        r"pip install 'tensorflow\[and-cuda\].*', or set runtime\.device: cpu$"
    )
    with pytest.raises(ResourceError, match=expected), devices.resource_errors():
        raise NO_CUDNN


def test_the_same_error_on_a_cpu_is_a_bug() -> None:
    with pytest.raises(tf.errors.FailedPreconditionError), devices.resource_errors():
        raise NO_CUDNN


def test_rarely_needed_modules_are_loaded_when_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("rarely", "often"):
        made = "Path(__file__).with_suffix('.loaded').touch()"
        text = f"from pathlib import Path\n{made}\nname = '{name}'"
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with devices._loaded_when_used(("rarely", "missing")):
        rarely, often = import_module("rarely"), import_module("often")
        with pytest.raises(ModuleNotFoundError):
            import_module("missing")
    assert {path.name for path in tmp_path.glob("*.loaded")} == {"often.loaded"}
    assert (rarely.name, often.name) == ("rarely", "often")
    assert (tmp_path / "rarely.loaded").exists()


@pytest.mark.slow
def test_rarely_needed_modules_of_tensorflow_can_be_used() -> None:
    # In a process of its own, as the tests import TensorFlow before trainer does.
    code = """
from trainer.engine.devices import physical_devices
physical_devices()
import tensorflow as tf
assert tf.compat.as_bytes("a") == b"a"
assert tf.lite.Optimize.DEFAULT
# The line above has imported the package tensorflow.lite.
assert tf.lite.TFLiteConverter
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_collected_during_an_import(enabled: bool) -> None:
    was_enabled = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with devices._without_collections():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()
