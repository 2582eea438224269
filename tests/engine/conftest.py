"""Start TensorFlow once, in the same way as the program does."""

import pytest

from trainer.engine import devices


@pytest.fixture(scope="session", autouse=True)
def _tensorflow() -> None:
    devices.start("cpu", 1)
