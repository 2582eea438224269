"""A served model of images takes files, and answers like `predict`."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.data.images import make_images
from tests.serving.browser import BROWSER, Browser
from tests.serving.files import Server
from tests.workflows.conftest import predict_table, run_fit

pytestmark = pytest.mark.slow
CONFIG = """\
name: photos
data: {source: photos, image: {resize: 14, crop: 12}}
model: {layers: [{conv2d: {filters: 4, kernel_size: 3, activation: relu}}, global_average_pool]}
fit: {epochs: 3}
evaluate: {report: false}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    make_images(folder / "photos")
    config = folder / "config.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    return run_fit(config, folder / "runs").run


def test_files_are_answered_like_predict(run: Path, tmp_path: Path) -> None:
    photos = sorted((run.parents[2] / "photos").rglob("*.*g"))[:6]
    predicted = predict_table(run, run.parents[2] / "photos").frame
    expected = dict(zip(predicted["path"], predicted["probability_dog"], strict=True))
    server = Server(run)
    served = {}
    for photo in photos:
        kind = {"content-type": "image/png" if photo.suffix == ".png" else "image/jpeg"}
        response = httpx.post(f"{server.url}/predict", content=photo.read_bytes(), headers=kind)
        assert response.status_code == 200, response.text
        served[photo] = response.json()["probability_dog"]
    files = [("files", (photo.name, photo.read_bytes(), "image/png")) for photo in photos]
    form = httpx.post(f"{server.url}/predict", files=files).json()
    text = base64.b64encode(photos[0].read_bytes()).decode()
    prediction = httpx.post(f"{server.url}/predict", json={"path": text}).json()
    explained = httpx.post(f"{server.url}/explain", json={"path": text}).json()
    refused = [
        httpx.post(f"{server.url}/predict", json={"path": value})
        for value in (
            str(photos[0]),
            "/etc/passwd",
            None,
            3,
            base64.b64encode(b"no image").decode(),
        )
    ]
    half = httpx.post(
        f"{server.url}/predict",
        content=photos[0].read_bytes()[:100],
        headers={"content-type": "image/png"},
    )
    _, err = server.stop()
    for photo in photos:
        name = next(path for path in expected if Path(path).parts[-2:] == photo.parts[-2:])
        assert served[photo] == pytest.approx(expected[name], abs=1e-5)
    np.testing.assert_allclose([row["probability_dog"] for row in form], list(served.values()))
    assert prediction["probability_dog"] == served[photos[0]]
    assert np.shape(explained["maps"]["path"]) == (8, 8)
    # A path is never opened.
    assert [response.status_code for response in (*refused, half)] == [422] * 6
    assert "Traceback" not in err


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_page_shows_the_explanation_of_a_prediction(run: Path, tmp_path: Path) -> None:
    photo = next((run.parents[2] / "photos").rglob("*.png"))
    text = base64.b64encode(photo.read_bytes()).decode()
    server = Server(run)
    browser = Browser(server.url, tmp_path / "profile")
    browser.wait_for("document.querySelectorAll('.field').length === 1")
    browser.evaluate(
        f"""(async () => {{
            const bytes = Uint8Array.from(atob("{text}"), (letter) => letter.charCodeAt(0));
            const files = new DataTransfer();
            files.items.add(new File([bytes], "photo.png", {{type: "image/png"}}));
            document.querySelector("input[type=file]").files = files.files;
            document.getElementById("submit-button").click();
        }})()"""
    )
    browser.wait_for("document.querySelectorAll('canvas').length === 1")
    label = browser.evaluate("document.getElementById('prediction').textContent")
    browser.close()
    server.stop()
    assert label in ("cat", "dog")
