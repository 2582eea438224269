"""Errors of TensorFlow that are reported as problems of the machine."""

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
