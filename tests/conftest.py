"""Settings of all tests: no deadline of Hypothesis, one core, a new program cache, bounded memory.

TensorFlow fixes its thread count on first use. With more cores, a test that compares bytes with those of
another process would depend on which tests ran before it.
"""

import gc
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from trainer.assessment import boosting_baseline
from trainer.assessment.boosting_baseline import BoostingResult
from trainer.engine import devices

# Collect garbage rarely, and never look for it among what was imported: half a million objects, which
# `_free_graphs` would visit after each module.
gc.set_threshold(50_000, 20, 20)

settings.register_profile("any-machine", deadline=None, max_examples=50)
settings.load_profile("any-machine")


@pytest.fixture(scope="session", autouse=True)
def _one_core() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "usable_cores", lambda: 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_boosting() -> Iterator[None]:
    """Fit no gradient boosting for reports: importing scikit-learn in its process takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boosting_baseline, "fit_boosting_baseline", lambda *_: BoostingResult())
        yield


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _program_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile each XLA program once per test process, independently of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", autouse=True)
def _free_graphs() -> Iterator[None]:
    """Free the graphs of a module's networks.

    TensorFlow keeps each function with a custom gradient, and with it the graph of every training
    program (6 MB each), in a registry until the process ends.
    """
    yield
    ops = sys.modules.get("tensorflow.python.framework.ops")
    if ops is None:
        return
    registry = ops.gradient_registry._registry
    left = [name for name in registry if name.startswith("CustomGradient-")]
    for name in left:
        del registry[name]
    if left:
        gc.collect()
