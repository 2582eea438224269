"""Requests for translations: the texts of `predict`, in batches by length, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.export.test_onnx_translation import write_pairs_run
from trainer.errors import UsageError
from trainer.export.bundle import load_bundle
from trainer.export.formats import load_format
from trainer.prediction.predictor import open_predictor
from trainer.serving.settings import ModelSource
from trainer.serving.texts import length_batches
from trainer.workflows.serving.sources import origins

TEXTS = ["the small cat number 3", "", "the très odd dog", "bird", "the large 日 cat"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs_run(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def file(run: Path) -> Path:
    path = run.parent / "pairs.onnx"
    bundle, onnx = load_bundle(run), load_format("onnx")
    onnx.write(bundle, onnx.schema(bundle), path)
    return path


@pytest.fixture
def client(make_client: Callable[..., TestClient], file: Path) -> TestClient:
    return make_client(ModelSource("pairs", str(file)))


@pytest.mark.slow
def test_texts_are_those_of_predict(client: TestClient, run: Path) -> None:
    predictor = open_predictor(run, device="cpu", allow_custom=False)
    expected = predictor.predict({"en": TEXTS})
    rows = client.post("/predict", json=[{"en": text} for text in TEXTS]).json()
    assert [row["predicted_fr"] for row in rows] == expected["predicted_fr"].to_list()
    logs = [row["log_probability"] for row in rows]
    assert logs == pytest.approx(expected["log_probability"].to_list(), abs=1e-3)
    one = client.post("/predict", json={"en": TEXTS[0]}).json()
    assert one["predicted_fr"] == rows[0]["predicted_fr"]
    csv = client.post("/predict", content="en\nbird\n", headers={"content-type": "text/csv"})
    assert csv.text.splitlines()[0] == "predicted_fr,log_probability,unseen"
    assert 'trainer_rows_total{model="pairs"} 7' in client.get("/metrics").text


def test_the_page_and_its_schema(client: TestClient) -> None:
    api = client.get("/schema").json()
    assert (
        api["components"]["schemas"]["Prediction"]["properties"]["predicted_fr"]["type"] == "string"
    )
    assert [field["kind"] for field in api["x-trainer"]["inputs"]] == ["tokens"]
    content = client.post("/explain", json={"en": "bird"}).json()
    assert content["score"] is None
    assert content["prediction"] == client.post("/predict", json={"en": "bird"}).json()


def test_texts_that_are_too_long_and_other_values(client: TestClient) -> None:
    rows = [{"en": "bird"}, {"en": "small cat " * 40}, {"en": True}, {"en": ["x"]}]
    response = client.post("/predict", json=rows)
    assert response.status_code == 422
    errors = response.json()["errors"]
    assert [error["row"] for error in errors] == [1, 2, 3]
    assert errors[0]["expected"] == "a text of at most 14 tokens"
    assert "sentences" in errors[0]["fix"]
    assert client.post("/predict", json={"english": "bird"}).status_code == 422


@given(st.lists(st.integers(1, 300), min_size=1, max_size=400))
def test_batches_have_each_row_once_and_few_tokens(lengths: list[int]) -> None:
    array = np.array(lengths, np.int32)
    batches = list(length_batches(array))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) * array[rows].max() <= 4096
    greatest = [int(array[rows].max()) for rows in batches]
    assert greatest == sorted(greatest)


def test_translations_are_not_monitored(run: Path) -> None:
    with pytest.raises(UsageError, match="whose task is translate"):
        origins([run], monitor=True)
