"""The page at `/` in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.browser import BROWSER, Browser
from tests.serving.files import Server, write_faces

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="chromium is not installed"),
]
SUBMIT = "document.getElementById('submit-button').click()"


@pytest.fixture
def page(model_file: Path, tmp_path: Path) -> Iterator[Browser]:
    server = Server(model_file)
    browser = Browser(server.url, tmp_path / "profile")
    yield browser
    browser.close()
    server.stop()


def fill(page: Browser, column: str, value: str) -> None:
    page.evaluate(f"document.querySelector('[data-column=\"{column}\"]').value = '{value}'")


def shown(page: Browser, name: str) -> bool:
    return bool(page.evaluate(f"!document.getElementById('{name}').hidden"))


def test_user_tries_a_model(page: Browser) -> None:
    page.wait_for("document.querySelectorAll('.field').length === 3")
    assert page.evaluate("document.title") == "churn"
    # The form starts with the example of the model.
    assert page.evaluate("document.querySelector('[data-column=age]').value") == "40.5"
    page.evaluate(SUBMIT)
    page.wait_for("!document.getElementById('result').hidden")
    assert page.evaluate("document.getElementById('prediction').textContent") == "yes"
    bars = page.evaluate("document.getElementById('effects').innerText")
    assert bars.index("colour = red") < bars.index("age = 40.5")
    assert not shown(page, "unseen")

    fill(page, "colour", "green")
    page.evaluate(SUBMIT)
    page.wait_for("!document.getElementById('unseen').hidden")

    fill(page, "age", "old")
    page.evaluate(SUBMIT)
    page.wait_for("!document.getElementById('errors').hidden")
    assert "expected a number, found 'old'" in page.evaluate(
        "document.getElementById('error-list').innerText"
    )
    assert page.evaluate("document.querySelector('.wrong').dataset.column") == "age"
    assert not shown(page, "result")

    page.evaluate("document.getElementById('typical').click()")
    page.evaluate(SUBMIT)
    page.wait_for("!document.getElementById('result').hidden")
    assert not shown(page, "errors")
    # The refused request is reported by the browser; nothing else is.
    assert all("422" in message for message in page.messages), page.messages


def test_user_draws_samples(tmp_path: Path) -> None:
    server = Server(write_faces(tmp_path / "faces.onnx"))
    page = Browser(server.url, tmp_path / "profile")
    draw = "document.getElementById('submit-button').click()"
    images = "[...document.querySelectorAll('#samples img')].map((node) => node.src)"
    page.wait_for("document.title === 'faces'")
    page.evaluate("document.getElementById('seed').value = '1'")
    page.evaluate(draw)
    page.wait_for("!document.getElementById('result').hidden")
    first = page.evaluate(images)
    assert len(first) == 40
    assert len(set(first)) > 30
    assert page.evaluate("document.getElementById('note').textContent") == "seed 1"
    page.wait_for("document.querySelector('#samples img').naturalWidth === 4")
    assert (
        page.evaluate("getComputedStyle(document.getElementById('class-field')).display") == "none"
    )

    page.evaluate("document.getElementById('count').value = 'many'")
    page.evaluate(draw)
    page.wait_for("!document.getElementById('errors').hidden")
    assert "count: expected a whole number" in page.evaluate(
        "document.getElementById('error-list').innerText"
    )
    assert page.evaluate("document.querySelector('.wrong').id") == "count"

    page.evaluate("document.getElementById('count').value = '3'")
    page.evaluate(draw)
    page.wait_for("!document.getElementById('result').hidden")
    assert page.evaluate(images) == first[:3]
    page.close()
    server.stop()
