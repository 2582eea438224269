"""The example code in a report predicts what `trainer predict` predicts, without this package."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from tests.cli.conftest import CommandResult
from tests.data.images import make_images

TITLE = "Reproduce a prediction with json, numpy and Keras only"
IMAGE_TITLE = "Reproduce a prediction with json, numpy, Pillow and Keras only"

QUICK = ("regression",)
CASES: dict[str, dict[str, Any]] = {
    # Numbers, one-hot, yes/no, missing values, temperature, threshold.
    "binary": {
        "data": {
            "target": "label",
            "features": {"exclude": ["kind", "amount", "other", "when", "tagged", "marked"]},
            "numeric": {"indicator": True},
        },
        "evaluate": {"calibrate": True, "threshold": "f1"},
    },
    # Dates, ordered levels, several classes with temperature, two networks.
    "multiclass": {
        "data": {
            "target": "kind",
            "features": {"include": ["when", "size", "a"]},
            "columns": {"size": {"encode": "ordinal", "levels": ["small", "medium", "large"]}},
        },
        "evaluate": {"calibrate": True},
        "fit": {"repeats": 2},
    },
    # An embedding, quantiles of columns and targets, targets scaled by a log and a power.
    "regression": {
        "loss": {"name": "quantile", "quantiles": [0.1, 0.4, 0.95]},
        "data": {
            "target": ["amount", "other"],
            "features": {"include": ["a", "b", "size", "color"]},
            "columns": {"color": {"encode": "embedding"}},
            "numeric": {"scale": "quantile", "smooth_clip": 2.0},
            "target_scale": {"amount": "log", "other": "power"},
        },
    },
    # Folds, a scaled target, quantiles beside the mean.
    "folds": {
        "data": {"target": "other", "features": {"include": ["a", "b", "color", "paid"]}},
        "fit": {"folds": 2},
        "loss": {"name": "mean_with_quantiles", "quantiles": [0.1, 0.9]},
    },
    # Yes/no columns, streamed; a softmax of two classes.
    "multilabel": {
        "data": {
            "target": ["tagged", "marked"],
            "features": {"include": ["a", "when", "color", "paid"]},
        },
        "evaluate": {"calibrate": True},
        "runtime": {"engine": "streaming"},
    },
    "softmax": {
        "data": {"target": "label", "features": {"include": ["a", "b"]}},
        "model": {"head": "softmax"},
        "evaluate": {"calibrate": True},
    },
}


def table() -> pl.DataFrame:
    rng = np.random.default_rng(4)
    count = 160
    a, b = rng.normal(size=count), rng.integers(0, 40, count).astype(float)
    score = a + rng.normal(size=count)
    missing = rng.random(count) < 0.1
    days = rng.integers(0, 900, count)
    return pl.DataFrame(
        {
            "a": np.where(missing, np.nan, a.round(4)),
            "b": b,
            "color": rng.choice(["red", "blue", "grün"], count),
            "size": rng.choice(["small", "medium", "large"], count),
            "paid": rng.choice(["yes", "no"], count),
            "when": [str(np.datetime64("2021-01-30T07:30") + np.timedelta64(d, "D")) for d in days],
            "label": np.where(score > 0.3, "bad", "good"),
            "kind": np.array(["low", "mid", "high"])[np.digitize(score, [-0.7, 0.7])],
            "amount": np.exp(score * 2 + 3),
            "other": 100 + 30 * score,
            "tagged": np.where(score > 0, "yes", "no"),
            "marked": np.where(b > 20, "yes", "no"),
        }
    ).with_columns(pl.col("a").fill_nan(None))


class Blocks(HTMLParser):
    """The text of each `<pre>` by its label."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self._label = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._label = str(dict(attrs).get("aria-label")) if tag == "pre" else self._label

    def handle_endtag(self, tag: str) -> None:
        self._label = "" if tag == "pre" else self._label

    def handle_data(self, data: str) -> None:
        if self._label:
            self.texts[self._label] = self.texts.get(self._label, "") + data


def code_of_markdown(text: str) -> str:
    lines = text.splitlines()
    start = lines.index(f"{TITLE}:") + 2
    code = []
    for line in lines[start:]:
        if not line.startswith("    "):
            break
        code.append(line[4:].rstrip())
    return "\n".join(code).rstrip()


def run_in_this_process(code: str) -> list[str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {"__name__": "example"})
    return out.getvalue().splitlines()


def run_without_this_package(code: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("case", "execute"),
    [
        *(
            pytest.param(case, run_in_this_process, marks=marks, id=case)
            for case, marks in ((case, () if case in QUICK else pytest.mark.slow) for case in CASES)
        ),
        pytest.param(
            "regression", run_without_this_package, marks=pytest.mark.slow, id="separate process"
        ),
    ],
)
def test_example_predicts_what_predict_does(
    case: str,
    execute: Callable[[str], list[str]],
    folder: Path,
    trainer: Callable[..., CommandResult],
) -> None:
    table().write_csv("rows.csv")
    config = {key: dict(value) for key, value in CASES[case].items()}
    config["data"]["source"] = "rows.csv"
    config.setdefault("model", {})["layers"] = [{"dense": {"units": 5, "activation": "tanh"}}]
    config["fit"] = {"epochs": 2, "batch_size": 16, **config.get("fit", {})}
    config["optimizer"] = {"name": "adam", "learning_rate": 0.02}
    Path("c.yaml").write_text(yaml.safe_dump(config))
    fitted = trainer("fit", "c.yaml", "--quiet")
    assert fitted.code == 0, fitted.err
    run = Path(fitted.out.strip())
    html = Blocks((run / "report.html").read_text(encoding="utf-8")).texts[TITLE]
    markdown = trainer("report", run, "--format", "md").out
    assert code_of_markdown(markdown) == html.rstrip()
    assert "import trainer" not in html
    printed, *label = execute(html)
    values = ast.literal_eval(printed)
    predicted = trainer("predict", run, "rows.csv", "-o", "out.parquet")
    assert predicted.code == 0, predicted.err
    row = json.loads((run / "example.json").read_text())["row"]
    (expected,) = pl.read_parquet("out.parquet").filter(pl.col("row") == row).to_dicts()
    prefix = "predicted" if case in ("regression", "folds") else "probability"
    for name, value in values.items():
        np.testing.assert_allclose(value, expected[f"{prefix}_{name}"], rtol=2e-6, atol=1e-6)
    if case in ("binary", "multiclass", "softmax"):
        assert label == [expected["label"]]
    if case == "multilabel":
        assert ast.literal_eval(label[0]) == [name for name in values if expected[f"label_{name}"]]
    decisions = [json.loads(path.read_text()) for path in run.rglob("decisions.json")]
    is_calibrated = "calibrate" in CASES[case].get("evaluate", {})
    assert any(decision["temperature"] != 1 for decision in decisions) == is_calibrated


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "table"])
def test_example_of_images(kind: str, folder: Path, trainer: Callable[..., CommandResult]) -> None:
    photos = make_images(folder / "photos", count=12).relative_to(folder)
    settings = ["fit.epochs=2", "fit.batch_size=8", "--quiet"]
    if kind == "folder":
        source = str(photos)
        fitted = trainer("fit", source, *settings)
    else:
        paths = sorted(str(path) for path in photos.rglob("*.*"))
        ages = [float(index % 7) for index in range(len(paths))]
        frame = pl.DataFrame({"path": paths, "age": ages})
        frame.with_columns(price=pl.col("age") * 3 + 1).write_csv("rows.csv")
        source = "rows.csv"
        Path("c.yaml").write_text(
            "data: {source: rows.csv, target: price, columns: {path: {kind: image}},\n"
            "       image: {resize: 10, crop: 8}}\n"
            "model: {layers: [{conv2d: {filters: 2, kernel_size: 3}}, flatten, {dense: 4}]}\n"
        )
        fitted = trainer("fit", "c.yaml", *settings)
    assert fitted.code == 0, fitted.err
    run = Path(fitted.out.strip())
    html = Blocks((run / "report.html").read_text(encoding="utf-8")).texts[IMAGE_TITLE]
    values = ast.literal_eval(run_in_this_process(html)[0])
    assert trainer("predict", run, source, "-o", "out.parquet").code == 0
    row = json.loads((run / "example.json").read_text())["row"]
    (expected,) = pl.read_parquet("out.parquet").filter(pl.col("row") == row).to_dicts()
    prefix = "probability" if kind == "folder" else "predicted"
    for name, value in values.items():
        np.testing.assert_allclose(value, expected[f"{prefix}_{name}"], rtol=2e-6, atol=1e-6)


TEXTS = {
    "terms": (
        "{review: {kind: text, sublinear: true},"
        " title: {kind: text, analyzer: characters, max_row_terms: 9}}",
        "text: {dimension: 4}", "[{dense: 4}]",
    ),
    "tokens": (
        "{review: {kind: tokens}, title: {kind: text}}",
        "tokens: {length: 5, truncate: middle, dimension: 4, normalize: nfkc}",
        "[{conv1d: {filters: 4, kernel_size: 2}}, global_max_pool]",
    ),
    "pieces": (
        "{review: {kind: tokens}, title: {kind: text}}",
        "tokens: {tokenizer: wordpiece, length: 7, truncate: start, dimension: 4, special_tokens: true}",
        "[{gru: 4}]",
    ),
}  # fmt: skip
"""Name → columns, another section of `data`, and layers."""
NAMES_OF_PACKAGES = {"pieces": "json, numpy, tokenizers and Keras"}


@pytest.mark.slow
@pytest.mark.parametrize(("case", "folds"), [("terms", 2), ("tokens", 0), ("pieces", 2)])
def test_example_of_texts(
    case: str, folds: int, folder: Path, trainer: Callable[..., CommandResult]
) -> None:
    if case == "pieces":
        pytest.importorskip("tokenizers")
    rng = np.random.default_rng(5)
    words = ["GREAT", "dull", "café", "ﬁne", "書店", "😀😀", "don't", "x_1", "a", "²", "e\u0301t"]
    texts = [" ".join(rng.choice(words, size)) for size in rng.integers(2, 12, 90)]
    frame = pl.DataFrame(
        {
            "review": texts,
            "title": [text[::-1][:9] for text in texts],
            "number": rng.normal(size=90).round(2),
            "answer": [str("GREAT" in text) for text in texts],
        }
    )
    frame.write_csv("rows.csv")
    columns, section, layers = TEXTS[case]
    Path("c.yaml").write_text(
        f"data: {{source: rows.csv, target: answer, columns: {columns}, {section}}}\n"
        f"model: {{layers: {layers}}}\n"
        f"fit: {{epochs: 2, batch_size: 16{f', folds: {folds}' if folds else ''}}}\n"
    )
    fitted = trainer("fit", "c.yaml", "--quiet")
    assert fitted.code == 0, fitted.err
    run = Path(fitted.out.strip())
    packages = NAMES_OF_PACKAGES.get(case, "json, numpy and Keras")
    blocks = Blocks((run / "report.html").read_text(encoding="utf-8")).texts
    printed, label = run_in_this_process(blocks[f"Reproduce a prediction with {packages} only"])
    assert trainer("predict", run, "rows.csv", "-o", "out.parquet").code == 0
    row = json.loads((run / "example.json").read_text())["row"]
    (expected,) = pl.read_parquet("out.parquet").filter(pl.col("row") == row).to_dicts()
    for name, value in ast.literal_eval(printed).items():
        np.testing.assert_allclose(value, expected[f"probability_{name}"], rtol=2e-6, atol=1e-6)
    assert label == expected["label"]
