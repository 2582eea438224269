"""A served model in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.serving.files import write_model
from trainer.serving.application import Application
from trainer.serving.models import Models
from trainer.serving.settings import Limits, ModelSource, WorkerSettings, write_state


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "churn.onnx")


@pytest.fixture
def make_client(model_file: Path, tmp_path: Path) -> Callable[..., TestClient]:
    """Return a client of an application: `make_client(token="x", max_rows=3)`."""

    def make(*sources: ModelSource, token: str | None = None, **limits: Any) -> TestClient:
        state = tmp_path / "models.json"
        write_state(state, sources or (ModelSource("churn", str(model_file)),))
        settings = WorkerSettings(str(state), Limits(**limits), token=token)
        models = Models(settings)
        application = Application(models, models.counters, settings.limits, token)
        return TestClient(application, raise_server_exceptions=False)

    return make


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> Iterator[TestClient]:
    with make_client() as client:
        yield client
