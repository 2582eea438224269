"""TensorFlow, started once and the way the product starts it."""

import pytest

from trainer.engine import devices


@pytest.fixture(scope="session", autouse=True)
def _tensorflow() -> None:
    devices.start("cpu", 1)
