"""Labels of probabilities in float32."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.export.onnx_tasks import least_float32


@given(st.floats(0, 1), st.integers(-2, 2))
def test_threshold_is_compared_as_in_float64(threshold: float, steps: int) -> None:
    p = np.float32(threshold)
    for _ in range(abs(steps)):
        p = np.nextafter(p, np.float32(np.sign(steps) * np.inf))
    assert (p >= least_float32(threshold)) == (float(p) >= threshold)
