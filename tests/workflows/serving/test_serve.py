"""A trained run, served by a process: its predictions are those of `predict`."""

from __future__ import annotations

import io
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from tests.serving.files import Server, write_model
from tests.workflows.conftest import predict_table, run_fit
from trainer.errors import RunError, UsageError
from trainer.report.monitoring import monitoring_json, monitoring_table
from trainer.runs.directory import RunDirectory
from trainer.runs.monitoring import read_monitoring
from trainer.workflows.serving.serve import ServeOptions, serve_models

CSV = {"content-type": "text/csv"}


def served_predictions(server: Server, table: bytes) -> pl.DataFrame:
    response = httpx.post(f"{server.url}/predict?unknown=ignore", content=table, headers=CSV)
    assert response.status_code == 200, response.text
    return pl.read_csv(io.BytesIO(response.content))


def check_same(served: pl.DataFrame, predicted: pl.DataFrame) -> None:
    predicted = predicted.drop("row")
    assert served.columns == predicted.columns
    for name in served.columns:
        if predicted[name].dtype.is_float():
            np.testing.assert_allclose(served[name], predicted[name], atol=1e-5, err_msg=name)
        else:
            assert served[name].to_list() == predicted[name].to_list()


@pytest.mark.parametrize("kind", ["single", pytest.param("folds", marks=pytest.mark.slow)])
def test_predictions_are_those_of_predict(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "single":
        run = request.getfixturevalue("finished").run
        table = run.parents[2] / "small.csv"
    else:
        run = request.getfixturevalue("folds_run").run
        table = run.parents[2] / "small.csv"
    predicted = predict_table(run, table).frame
    server = Server(run)
    served = served_predictions(server, table.read_bytes())
    code, err = server.stop()
    assert code == 0, err
    check_same(served, predicted)


KINDS = {
    "numbers": ("price", "loss: {name: mean_with_quantiles, quantiles: [0.05, 0.95]}"),
    "labels": ("tags", "loss: auto"),
}


def write_kinds(path: Path) -> None:
    """Write a table with columns of all kinds, and missing cells in each."""
    rng = np.random.default_rng(0)
    rows = 160
    size = rng.normal(size=rows)
    words = np.array(["good cheap fast", "bad slow", "good slow and loud", "cheap and bad"])
    columns = {
        "size": size.round(3),
        "cost": [f"${1000 + 10 * value:,.2f}" for value in size],
        "seen": [f"{1 + index % 28:02}/03/20{15 + index % 9}" for index in range(rows)],
        "level": rng.integers(1, 5, rows).astype(str),
        "member": rng.choice(["yes", "no"], rows),
        "text": words[rng.integers(0, 4, rows)],
    }
    frame = pl.DataFrame(columns).with_columns(
        pl.when(pl.int_range(rows) % 13 != index).then(pl.col(name)).alias(name)
        for index, name in enumerate(columns)
    )
    sets = (("a", size > 0), ("b", np.arange(rows) % 2 > 0), ("c", np.arange(rows) % 3 > 0))
    tags = ["|".join(name for name, mask in sets if mask[row]) for row in range(rows)]
    frame.with_columns(price=pl.Series(100 + 7 * size), tags=pl.Series(tags)).write_csv(path)


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS)
def test_columns_of_all_kinds_are_answered_like_predict(task: str, tmp_path: Path) -> None:
    target, loss = KINDS[task]
    write_kinds(tmp_path / "table.csv")
    other = "tags" if target == "price" else "price"
    separator = 'target_separator: "|", ' if task == "labels" else ""
    (tmp_path / "config.yaml").write_text(
        f"""\
name: kinds
data:
  {{source: table.csv, target: {target}, {separator}features: {{exclude: [{other}]}},
   columns: {{text: {{kind: text}}, level: {{kind: categorical}}}}}}
model: {{layers: [{{dense: 8}}]}}
{loss}
fit: {{epochs: 3}}
evaluate: {{report: false}}
""",
        encoding="utf-8",
    )
    run = run_fit(tmp_path / "config.yaml", tmp_path / "runs").run
    table = tmp_path / "table.csv"
    predicted = predict_table(run, table).frame
    server = Server(run)
    served = served_predictions(server, table.read_bytes())
    names = ["size", "cost", "seen", "level", "member", "text"]
    rows = pl.read_csv(table, infer_schema=False).select(names).to_dicts()
    objects = httpx.post(f"{server.url}/predict", json=rows).json()
    explained = httpx.post(f"{server.url}/explain", json=rows[7])
    api = httpx.get(f"{server.url}/schema").json()
    (example,) = api["components"]["schemas"]["Row"]["examples"]
    assert httpx.post(f"{server.url}/predict", json=example).status_code == 200, example
    wrong = httpx.post(f"{server.url}/predict", json={**rows[7], "seen": "2020", "cost": "1 kg"})
    code, err = server.stop()
    assert code == 0, err
    check_same(served, predicted)
    check_same(pl.DataFrame(objects).select(served.columns), predicted)
    assert len(explained.json()["effects"]) == len(names), explained.text
    assert {error["column"] for error in wrong.json()["errors"]} == {"seen", "cost"}


@pytest.mark.slow
def test_monitored_rows_are_shown(copied: Path, finished: Any) -> None:
    table = (finished.run.parents[2] / "small.csv").read_bytes()
    server = Server(copied, "--monitor", "--workers", "2")
    rows = table.count(b"\n") - 1
    for _ in range(2):
        served_predictions(server, table)
    for _ in range(3):
        assert httpx.post(f"{server.url}/predict", json={"size": 90, "color": "red"}).is_success
    code, err = server.stop()
    assert code == 0, err
    monitoring = read_monitoring(RunDirectory(copied))
    assert monitoring is not None
    assert monitoring.rows == 2 * rows + 3
    columns = {column.name: column for column in monitoring.columns}
    assert set(columns) == {"size", "color", "label", "probability_yes"}
    assert columns["size"].served[-2] >= 3  # above the last edge
    assert sum(columns["size"].reference) == RunDirectory(copied).read_manifest().splits["train"]
    assert "served rows: 243" in monitoring_table(monitoring).title
    assert monitoring_json(monitoring)["rows"] == monitoring.rows
    # Another server adds its counts.
    server = Server(copied, "--monitor")
    served_predictions(server, table)
    server.stop()
    again = read_monitoring(RunDirectory(copied))
    assert again is not None
    assert again.rows == 3 * rows + 3


@pytest.mark.slow
def test_newer_run_is_served_after_it_has_finished(finished: Any, tmp_path: Path) -> None:
    folder = tmp_path / "my runs"
    run = folder / finished.run.name
    shutil.copytree(finished.run, run)
    server = Server(run, "--reload")

    def serving() -> str:
        response = httpx.post(f"{server.url}/predict", json={"size": 1, "color": "red"})
        assert response.status_code == 200
        return response.headers["x-trainer-run"]

    assert serving() == run.name
    newer = f"9{run.name[1:]}"
    shutil.copytree(finished.run, folder / ".copying")
    (folder / ".copying").rename(folder / newer)
    assert server.wait_until(lambda: serving() != run.name)
    assert serving() == newer
    code, err = server.stop()
    assert code == 0
    assert "now serving" in err


@pytest.mark.slow
def test_server_continues_when_the_run_is_deleted(copied: Path) -> None:
    server = Server(copied, "--reload", "--monitor", "--workers", "2")
    shutil.rmtree(copied)
    row = {"size": 1, "color": "red"}
    lines: list[str] = []

    def read() -> None:
        assert server.process.stderr is not None
        lines.extend(server.process.stderr)

    reader = threading.Thread(target=read)
    reader.start()
    server.wait_until(lambda: any("expected a run directory" in line for line in lines))
    assert httpx.post(f"{server.url}/predict", json=row).status_code == 200
    server.process.terminate()
    assert server.process.wait(60) == 0
    reader.join()
    assert sum("expected a run directory" in line for line in lines) == 1
    assert not any("Traceback" in line for line in lines)


def options(*paths: Path, **values: Any) -> ServeOptions:
    return ServeOptions(paths=paths, **{"port": 0, **values})


def refused(error: type[Exception], *paths: Path, **values: Any) -> str:
    with pytest.raises(error) as caught:
        serve_models(options(*paths, **values), lambda _: None, lambda _: None)
    return str(caught.value)


def test_unusable_models_are_refused(tmp_path: Path, copied: Path) -> None:
    model = write_model(tmp_path / "a.onnx")
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    expected = (
        f"{tmp_path}/damaged.onnx: expected an ONNX file, found one that cannot be read (Protobuf"
    )
    assert expected in refused(RunError, tmp_path / "damaged.onnx")
    assert "no such path" in refused(RunError, tmp_path / "missing")
    assert "run directories" in refused(UsageError, model, monitor=True)
    assert "different names" in refused(UsageError, copied, copied)
    other = copied / "export" / "litert" / "model.tflite"
    other.parent.mkdir(parents=True)
    other.touch()
    assert f"trainer serve {copied}" in refused(UsageError, other)


def test_unusable_addresses_are_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "a.onnx")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert "another --port" in refused(UsageError, model, port=port)
    assert "--host" in refused(UsageError, model, host="no.such.host.invalid")
