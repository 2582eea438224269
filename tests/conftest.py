"""What holds for all tests: none fails for being slow, and commands in this process have one core.

TensorFlow's threads are fixed once it has run: with more cores a test that compares bytes, or goes on
with what a process of its own began, would depend on which tests ran in this process before it.
"""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from trainer.engine import devices

settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.fixture(scope="session", autouse=True)
def _one_core() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "usable_cores", lambda: 1)
        yield
