"""TensorFlow on one core, as in the other tests that build networks."""

import pytest

from trainer.engine import devices


@pytest.fixture(scope="session", autouse=True)
def _tensorflow() -> None:
    devices.start("cpu", 1)
