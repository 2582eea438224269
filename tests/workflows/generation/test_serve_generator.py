"""Generators behind HTTP: the samples are those of `trainer predict`."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from tests.workflows.generation.test_generation import sample
from trainer.data.generated_samples import sample_table, sampled_images
from trainer.errors import RunError, UsageError
from trainer.serving.application import Application
from trainer.serving.models import Models
from trainer.serving.settings import Limits, ModelSource, WorkerSettings, write_state
from trainer.workflows.serving.sources import origins, write_model


def client_of(runs: dict[str, Path], folder: Path, **limits: Any) -> TestClient:
    """Return a client of an application that serves runs, by name."""
    sources = []
    for name, run in runs.items():
        file = folder / f"{name}.onnx"
        (origin,) = origins([run], monitor=False)
        write_model(origin, run, file)
        sources.append(ModelSource(name, str(file)))
    state = folder / "models.json"
    write_state(state, tuple(sources))
    settings = WorkerSettings(str(state), Limits(**limits))
    models = Models(settings)
    application = Application(models, models.counters, settings.limits)
    return TestClient(application, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(rows_run: Any, images_run: Any, tmp_path_factory: Any) -> Iterator[TestClient]:
    runs = {"rows": rows_run.run, "images": images_run.run}
    with client_of(runs, tmp_path_factory.mktemp("served"), max_rows=2_000) as client:
        yield client


def errors(response: Any, status: int = 422) -> dict[str, dict[str, str]]:
    assert response.status_code == status, response.text
    return {error.get("column", ""): error for error in response.json()["errors"]}


def png_pixels(content: bytes) -> np.ndarray[Any, Any]:
    image = pytest.importorskip("PIL.Image")
    with image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened)


def test_rows_are_those_of_predict(client: TestClient, rows_run: Any) -> None:
    opened, values, draw = sample(rows_run.run, 1_500, 3)
    expected = sample_table(opened.rows, values, draw)
    body = {"count": 1_500, "seed": 3}
    response = client.post("/predict", json=body)
    assert response.status_code == 200
    assert response.headers["x-trainer-seed"] == "3"
    assert response.headers["x-trainer-run"] == rows_run.run.name
    served = response.json()
    # JSON has dates as text. Sums in another order can change a last digit.
    wanted = json.loads(json.dumps(expected.to_dicts(), default=str))
    cells = [
        one[name] == other[name]
        for one, other in zip(served, wanted, strict=True)
        for name in expected.columns
    ]
    assert np.mean(cells) > 0.998
    assert any(one["size"] is None for one in served)
    csv = client.post("/predict", json=body, headers={"accept": "text/csv"})
    assert csv.headers["content-type"].startswith("text/csv")
    assert pl.read_csv(io.BytesIO(csv.content)).to_dicts() == served
    arrow = "application/vnd.apache.arrow.stream"
    table = client.post("/predict", json={"count": 5, "seed": 3}, headers={"accept": arrow})
    frame = pl.read_ipc_stream(io.BytesIO(table.content))
    assert frame.schema == expected.schema
    assert json.loads(json.dumps(frame.to_dicts(), default=str)) == served[:5]


def test_images_are_those_of_predict(client: TestClient, images_run: Any) -> None:
    opened, values, draw = sample(images_run.run, 12, 7)
    images = sampled_images(opened.rows, values)
    body = {"count": 12, "seed": 7}
    samples = client.post("/models/images/predict", json=body).json()
    assert [one["class"] for one in samples] == [opened.rows.classes[code] for code in draw.classes]
    for one, image in zip(samples, images, strict=True):
        pixels = png_pixels(base64.b64decode(one["image"]))
        np.testing.assert_allclose(pixels, image[:, :, 0], atol=1)
    table = client.post("/models/images/predict", json=body, headers={"accept": "text/csv"})
    assert pl.read_csv(io.BytesIO(table.content)).columns[-2:] == ["p11", "digit"]

    png = {"accept": "image/png"}
    one = client.post("/models/images/predict", json={"seed": 7, "class": 1}, headers=png)
    assert one.headers["content-type"] == "image/png"
    assert png_pixels(one.content).shape == (4, 3)
    several = client.post("/models/images/predict", json=body, headers=png)
    assert "one image" in errors(several)["count"]["expected"]
    of_one = client.post("/models/images/predict", json={"count": 9, "class": "1"}).json()
    assert {sample["class"] for sample in of_one} == {"1"}


def test_samples_without_a_seed_differ_and_can_be_repeated(client: TestClient) -> None:
    first, second = (client.post("/predict", json={"count": 20}) for _ in range(2))
    assert first.json() != second.json()
    seed = int(first.headers["x-trainer-seed"])
    assert client.post("/predict", json={"count": 20, "seed": seed}).json() == first.json()
    assert len(client.post("/predict").json()) == 1


def test_all_wrong_settings_are_named(client: TestClient) -> None:
    body = {"count": 2_001, "seed": -1, "class": "a", "sede": 3}
    found = errors(client.post("/predict", json=body))
    assert found["count"]["expected"] == "a whole number from 1 to 2,000"
    assert "--max-rows" in found["count"]["fix"]
    assert found["seed"]["found"] == "-1"
    assert "generation.condition" in found["class"]["expected"]
    assert "seed" in found["sede"]["fix"]
    for value in (True, 1.5, "10", 0):
        assert errors(client.post("/predict", json={"count": value}))["count"]["expected"]
    wrong = errors(client.post("/models/images/predict", json={"class": "7"}))
    assert wrong["class"]["expected"] == "a class (0, 1)"
    assert errors(client.post("/predict", json=[1]))[""]["found"] == "a list"
    assert errors(
        client.post("/predict", content=b"{", headers={"content-type": "application/json"}), 400
    )
    assert errors(client.post("/predict", content=b"a", headers={"content-type": "text/csv"}), 415)
    assert errors(client.post("/predict", json={}, headers={"accept": "image/png"}), 406)
    assert errors(client.post("/explain", json={}))[""]["found"] == "a generator"


def test_descriptions_of_generators(client: TestClient, rows_run: Any) -> None:
    api = client.get("/models/rows/schema").json()
    row = client.post("/predict", json={"count": 50, "seed": 1}).json()
    sample_schema = api["components"]["schemas"]["Sample"]
    assert list(sample_schema["properties"]) == ["size", "count", "color", "day", "kind"]
    for one in row:
        jsonschema.validate(one, sample_schema)
    request = api["components"]["schemas"]["Samples"]
    assert request["properties"]["count"]["maximum"] == 2_000
    assert "class" not in request["properties"]
    images = client.get("/models/images/schema").json()
    assert images["x-trainer"]["classes"] == ["0", "1"]
    both = client.get("/schema").json()
    assert set(both["paths"]) == {"/models/rows/predict", "/models/images/predict"}
    listed = client.get("/models").json()["models"]
    assert [model["task"] for model in listed] == ["generate", "generate"]
    page = client.get("/")
    assert 'id="seed"' in page.text
    metrics = client.get("/metrics").text
    assert f'run="{rows_run.run.name}"' in metrics
    assert 'trainer_rows_total{model="rows"}' in metrics


def test_an_export_of_the_run_is_used_and_an_old_one_is_not(
    images_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(images_run.run, tmp_path / "run"))
    (origin,) = origins([run], monitor=False)
    file = run / "export" / "onnx" / "generator.onnx"
    file.parent.mkdir(parents=True)
    write_model(origin, run, file)
    exported = "trainer.workflows.generation.export.write_generator_file"
    with monkeypatch.context() as context:
        context.setattr(exported, None)
        write_model(origin, run, tmp_path / "copy.onnx")
        assert (tmp_path / "copy.onnx").read_bytes() == file.read_bytes()
    file.write_bytes(b"of an earlier version")
    write_model(origin, run, tmp_path / "new.onnx")
    assert (tmp_path / "new.onnx").read_bytes() == (tmp_path / "copy.onnx").read_bytes()
    with pytest.raises(UsageError, match="runs that predict classes or numbers"):
        origins([run], monitor=True)
    manifest = run / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"finished"', '"stopped"'))
    shutil.rmtree(run / "export")
    with pytest.raises(RunError, match="a run that has finished"):
        write_model(origin, run, tmp_path / "stopped.onnx")
