"""Requests and responses of the routes, in this process."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.serving.files import ROW, RUN, expected_probability, schema, write_faces, write_model
from trainer.config.pseudonyms import KEY_VARIABLE
from trainer.serving.application import Application
from trainer.serving.settings import Limits, ModelSource

JSON = {"content-type": "application/json"}
ROWS = [
    ROW,
    {"age": None, "colour": "blue", "member": None},
    {"age": 18, "colour": None, "member": False},
    {"age": 71.25, "colour": "green", "member": True},
]
EXPECTED = np.array([expected_probability(row) for row in ROWS])
UNSEEN = [False, False, False, True]


def errors(response: httpx.Response, status: int = 422) -> list[dict[str, Any]]:
    assert response.status_code == status, response.text
    content = response.json()
    assert content["count"] >= len(content["errors"]) > 0
    for error in content["errors"]:
        assert error["expected"]
        assert error["found"]
    found: list[dict[str, Any]] = content["errors"]
    return found


@pytest.mark.parametrize("write", [write_model, write_faces])
def test_a_run_whose_name_is_no_header_is_served_without_it(
    write: Callable[[Path, str], Path], make_client: Callable[..., TestClient], tmp_path: Path
) -> None:
    client = make_client(ModelSource("x", str(write(tmp_path / "x.onnx", "a\nb: c"))))
    response = client.post("/predict", json=ROW if write is write_model else {"seed": 1})
    assert response.status_code == 200
    assert "x-trainer-run" not in response.headers


def test_one_row_gets_one_object(client: TestClient) -> None:
    response = client.post("/predict", json=ROW)
    assert response.status_code == 200
    assert response.headers["x-trainer-run"] == RUN
    prediction = response.json()
    assert list(prediction) == ["label", "probability_no", "probability_yes", "unseen"]
    assert prediction["label"] == "yes"
    assert prediction["unseen"] is False
    assert prediction["probability_yes"] == pytest.approx(EXPECTED[0], abs=1e-6)
    # float32 numbers are written with the digits that they have.
    assert len(json.dumps(prediction["probability_yes"])) < 12


def test_rows_columns_csv_and_arrow_have_the_same_predictions(client: TestClient) -> None:
    rows = client.post("/predict", json=ROWS).json()
    assert [row["unseen"] for row in rows] == UNSEEN
    np.testing.assert_allclose([row["probability_yes"] for row in rows], EXPECTED, atol=1e-6)

    frame = pl.DataFrame(ROWS, strict=False)
    columns = client.post("/predict", json=frame.to_dict(as_series=False)).json()
    assert columns == pl.DataFrame(rows).to_dict(as_series=False)

    csv = client.post(
        "/predict", content=frame.write_csv(), headers={"content-type": "text/csv; charset=utf-8"}
    )
    assert csv.headers["content-type"].startswith("text/csv")
    assert pl.read_csv(csv.content).to_dicts() == rows

    for write in (frame.write_ipc, frame.write_ipc_stream):
        body = io.BytesIO()
        write(body)
        kind = "application/vnd.apache.arrow.stream"
        arrow = client.post("/predict", content=body.getvalue(), headers={"content-type": kind})
        assert arrow.status_code == 200, arrow.text
        predictions = pl.read_ipc_stream(arrow.content)
        np.testing.assert_allclose(predictions["probability_yes"], EXPECTED, atol=1e-6)


def test_accept_chooses_the_form_of_the_response(client: TestClient) -> None:
    csv = client.post("/predict", json=ROWS, headers={"accept": "text/csv"})
    assert csv.text.splitlines()[0] == "label,probability_no,probability_yes,unseen"
    table = pl.DataFrame(ROWS, strict=False).write_csv()
    headers = {"content-type": "text/csv", "accept": "application/json"}
    assert client.post("/predict", content=table, headers=headers).json()[0]["label"] == "yes"


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "age": st.none() | st.integers(-200, 200) | st.floats(-200, 200),
                "colour": st.none() | st.sampled_from(["red", "blue", " red ", "", "ré", "1"]),
                "member": st.none() | st.booleans(),
            }
        ),
        min_size=1,
        max_size=6,
    )
)
def test_forms_agree_for_any_rows(client: TestClient, rows: list[dict[str, Any]]) -> None:
    together = client.post("/predict", json=rows).json()
    alone = [client.post("/predict", json=row).json() for row in rows]
    assert [row["label"] for row in together] == [row["label"] for row in alone]
    columns = {name: [row[name] for row in rows] for name in ROW}
    by_column = client.post("/predict", json=columns).json()
    for name in ("label", "probability_yes", "unseen"):
        np.testing.assert_array_equal(by_column[name], [row[name] for row in together])


def test_common_and_parsed_values_agree(client: TestClient) -> None:
    plain = client.post("/predict", json={"age": 30, "colour": "red", "member": True}).json()
    for row in (
        {"age": "30", "colour": "red", "member": "yes"},
        {"age": "3e1", "colour": " red", "member": 1},
        {"age": 30.0, "colour": "red", "member": "TRUE"},
    ):
        assert client.post("/predict", json=row).json() == plain


def test_all_wrong_values_are_listed_at_once(client: TestClient) -> None:
    rows = [
        {"age": "abc", "colour": "red", "member": "perhaps"},
        {"age": True, "colour": ["red"], "member": False},
        {"age": 1, "colour": {"a": 1}, "member": None},
    ]
    found = {
        (error["row"], error["column"]): error["found"]
        for error in errors(client.post("/predict", json=rows))
    }
    assert found == {
        (0, "age"): "'abc'",
        (0, "member"): "'perhaps'",
        (1, "age"): "true",
        (1, "colour"): "a list",
        (2, "colour"): "an object",
    }


def test_missing_and_unknown_columns_suggest_the_meant_one(client: TestClient) -> None:
    found = errors(client.post("/predict", json={"agee": 1, "colour": "red", "id": 7}))
    by_column = {error["column"]: error for error in found}
    assert by_column.keys() == {"age", "member", "agee", "id"}
    assert "agee" in by_column["age"]["fix"]
    assert "age" in by_column["agee"]["fix"]
    assert "unknown=ignore" in by_column["id"]["fix"]


def test_unknown_columns_can_be_ignored(client: TestClient) -> None:
    row = {**ROW, "id": 7}
    assert client.post("/predict", json=row).status_code == 422
    assert client.post("/predict?unknown=ignore", json=row).json()["label"] == "yes"
    assert errors(client.post("/predict?unknown=perhaps", json=row))
    (misspelt,) = errors(client.post("/predict?unknwon=ignore", json=row))
    assert misspelt["found"] == "'unknwon'"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "JSON"),
        (b'{"age": NaN}', 400, "null"),
        (b'{"age": 1', 400, "JSON"),
        (b"\xff\xfe", 400, "JSON"),
        (b"[" * 100_000, 400, "JSON"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, "JSON"),
        (b"3", 422, "one row as an object"),
        (b"[]", 422, "one row or more"),
        (b"[1, 2]", 422, "an object of columns"),
        (b"{}", 422, "column"),
        (b'{"age": [1, 2], "colour": ["a"], "member": [true, true]}', 422, "2 values"),
        (b'{"age": [1], "colour": "red", "member": [true]}', 422, "list of values"),
        (b'[{"age": 1}, {"colour": "red"}]', 422, "columns of the first row"),
    ],
)
def test_damaged_json_is_refused(client: TestClient, body: bytes, status: int, text: str) -> None:
    response = client.post("/predict", content=body, headers=JSON)
    assert text in json.dumps(errors(response, status))
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    ("body", "kind", "status", "text"),
    [
        (b"age,colour\n1\n", "text/csv", 400, "line 2"),
        (b"age,age\n1,2\n", "text/csv", 400, "unique"),
        (b"", "text/csv", 400, "header"),
        (b"age,colour,member\nx,red,1\n", "text/csv", 422, "'x'"),
        (b"age,colour,member\ninf,red,1\n", "text/csv", 422, "'inf'"),
        (b"nonsense", "application/vnd.apache.arrow.stream", 400, "Arrow"),
        (b"", "application/vnd.apache.arrow.stream", 400, "Arrow"),
        (b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"\xff" * 64, "application/vnd.apache.arrow.file", 400,
         "Arrow"),
        (b"{}", "text/plain", 415, "text/plain"),
        (b"{}", "", 415, "content type"),
        (b"x", "image/png", 415, "JSON"),
    ],
)  # fmt: skip
def test_damaged_tables_and_other_types_are_refused(
    client: TestClient, body: bytes, kind: str, status: int, text: str
) -> None:
    response = client.post("/predict", content=body, headers={"content-type": kind})
    assert text in json.dumps(errors(response, status))
    assert "/tmp" not in response.text


def test_compressed_and_nested_arrow_is_refused(client: TestClient) -> None:
    kind = {"content-type": "application/vnd.apache.arrow.stream"}
    frame = pl.DataFrame(ROWS * 100, strict=False)
    body = io.BytesIO()
    frame.write_ipc_stream(body, compression="zstd")
    response = client.post("/predict", content=body.getvalue(), headers=kind)
    assert "without compression" in json.dumps(errors(response, 415))
    body = io.BytesIO()
    frame.with_columns(age=pl.concat_list("age")).write_ipc_stream(body)
    response = client.post("/predict", content=body.getvalue(), headers=kind)
    assert errors(response)[0]["column"] == "age"


def test_arrow_with_impossible_dates_is_refused(client: TestClient) -> None:
    days = pl.DataFrame({**ROW, "day": 1}).with_columns(pl.lit(2**31 - 1, pl.Int32).cast(pl.Date))
    body = io.BytesIO()
    days.rename({"literal": "other"}).write_ipc_stream(body)
    kind = {"content-type": "application/vnd.apache.arrow.stream"}
    response = client.post("/predict?unknown=ignore", content=body.getvalue(), headers=kind)
    assert errors(response, 400)


@pytest.mark.slow
def test_any_damage_of_arrow_is_refused(client: TestClient) -> None:
    bodies = []
    frame = pl.DataFrame([ROW] * 20).with_columns(pl.col("colour").cast(pl.Categorical))
    for write in (frame.write_ipc, frame.write_ipc_stream):
        body = io.BytesIO()
        write(body)
        bodies.append(body.getvalue())
    rng = random.Random(0)
    for _ in range(500):
        damaged = bytearray(rng.choice(bodies))
        for _ in range(rng.choice([1, 2, 5])):
            place = rng.randrange(len(damaged))
            damaged[place : place + rng.choice([1, 4])] = rng.choice(
                [b"", b"\0", b"\xff", b"\xff\xff\xff\x7f", rng.randbytes(4)]
            )
        kind = {"content-type": "application/vnd.apache.arrow.file"}
        response = client.post("/predict", content=bytes(damaged), headers=kind)
        assert response.status_code in (200, 400, 413, 415, 422), response.text


def test_limits_of_rows_and_bytes(make_client: Callable[..., TestClient]) -> None:
    client = make_client(max_rows=3, max_body_bytes=1000)
    assert client.post("/predict", json=ROWS[:3]).status_code == 200
    assert "--max-rows" in errors(client.post("/predict", json=ROWS), 413)[0]["fix"]
    row = {**ROW, "colour": "x" * 1000}
    assert "--max-body" in errors(client.post("/predict", json=row), 413)[0]["fix"]
    # Without a declared length.
    chunks = iter([b"x" * 600, b"x" * 600])
    assert errors(client.post("/predict", content=chunks, headers=JSON), 413)
    compressed = client.post("/predict", content=b"x", headers={**JSON, "content-encoding": "gzip"})
    assert errors(compressed, 415)


def test_limit_of_the_bytes_of_all_requests(make_client: Callable[..., TestClient]) -> None:
    client = make_client(max_body_bytes=1000)
    application = client.app
    assert isinstance(application, Application)
    limit = Limits(max_body_bytes=1000).max_bytes_in_flight
    application.bytes_in_flight = limit - 10
    refused = client.post("/predict", json=ROW)
    assert "at the same time" in errors(refused, 503)[0]["found"]
    assert refused.headers["retry-after"] == "1"
    application.bytes_in_flight = 0
    for row, status in ((ROW, 200), ({**ROW, "age": "x"}, 422), ({**ROW, "age": "x" * 1000}, 413)):
        assert client.post("/predict", json=row).status_code == status
        # Otherwise, a server refuses all requests after a while.
        assert application.bytes_in_flight == 0


def test_problems_of_many_rows_are_counted(client: TestClient) -> None:
    rows = [{"age": "x", "colour": "red", "member": True}] * 500
    response = client.post("/predict", json=rows)
    assert len(errors(response)) == 20
    assert response.json()["count"] == 500
    assert len(response.content) < 10_000


def test_token_is_needed_and_never_shown(
    make_client: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(token="s3cret-token")
    for headers in (
        {},
        {"authorization": "Bearer other"},
        {"authorization": "Basic s3cret-token"},
        {"authorization": "s3cret-token"},
    ):
        response = client.post("/predict", json=ROW, headers=headers)
        assert response.headers["www-authenticate"] == "Bearer"
        assert errors(response, 401)
        assert "s3cret" not in response.text
    for path in ("/schema", "/metrics", "/models", "/models/churn/schema", "/predict", "/x"):
        assert client.get(path).status_code == 401
    for path in ("/", "/health", "/ready"):
        assert client.get(path).status_code == 200
    allowed = client.post("/predict", json=ROW, headers={"authorization": "bearer s3cret-token"})
    assert allowed.status_code == 200
    assert "s3cret" not in caplog.text


def test_schema_describes_requests(client: TestClient) -> None:
    api = client.get("/schema").json()
    assert api["openapi"].startswith("3.1")
    components = api["components"]["schemas"]
    for component in components.values():
        jsonschema.Draft202012Validator.check_schema(component)
    jsonschema.validate(ROW, components["Row"])
    jsonschema.validate(client.post("/predict", json=ROW).json(), components["Prediction"])
    jsonschema.validate(client.post("/predict", json={}).json(), components["Error"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"age": 1}, components["Row"])
    age = next(entry for entry in api["x-trainer"]["inputs"] if entry["column"] == "age")
    assert (age["kind"], age["minimum"], age["maximum"]) == ("number", 18.0, 80.0)


def test_pseudonyms_are_not_described(
    make_client: Callable[..., TestClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "ab" * 32)
    inputs = schema()["inputs"]
    inputs[1] |= {"pseudonymized": True, "categories": ["ab12"], "typical": "ab12"}
    hidden = write_model(tmp_path / "hidden.onnx", inputs=inputs, example={**ROW, "colour": "ab12"})
    client = make_client(ModelSource("hidden", str(hidden)))
    assert "ab12" not in client.get("/schema").text
    assert client.post("/predict", json=ROW).json()["unseen"] is True
    effects = client.post("/explain", json=ROW).json()["effects"]
    assert {effect["column"]: effect["typical"] for effect in effects}["colour"] is None


def test_several_models(
    make_client: Callable[..., TestClient], model_file: Path, tmp_path: Path
) -> None:
    other = write_model(tmp_path / "other.onnx", "20260102-000000-bbbb", bias=-5.0)
    client = make_client(ModelSource("churn", str(model_file)), ModelSource("näme 2", str(other)))
    assert [model["name"] for model in client.get("/models").json()["models"]] == [
        "churn",
        "näme 2",
    ]
    first = client.post("/predict", json=ROW).json()
    assert client.post("/models/churn/predict", json=ROW).json() == first
    second = client.post("/models/näme 2/predict", json=ROW).json()
    assert second["probability_yes"] == pytest.approx(expected_probability(ROW, -5.0), abs=1e-6)
    missing = errors(client.post("/models/chrun/predict", json=ROW), 404)
    assert "churn" in missing[0]["fix"]
    paths = client.get("/schema").json()["paths"]
    assert "/models/churn/predict" in paths


def test_explanation_is_the_change_of_the_prediction(client: TestClient) -> None:
    content = client.post("/explain", json=ROW).json()
    assert content["prediction"] == client.post("/predict", json=ROW).json()
    assert content["score"] == "probability_yes"
    changes = {effect["column"]: effect["change"] for effect in content["effects"]}
    whole = expected_probability(ROW)
    typical = {"age": 40.0, "colour": "blue", "member": False}
    expected = {
        name: whole - expected_probability({**ROW, name: value}) for name, value in typical.items()
    }
    assert changes == pytest.approx(expected, abs=1e-6)
    sizes = [abs(effect["change"]) for effect in content["effects"]]
    assert sizes == sorted(sizes, reverse=True)
    assert errors(client.post("/explain", json=[ROW, ROW]))
    assert errors(client.post("/explain", json={**ROW, "age": "x"}))


def test_other_paths_and_methods(client: TestClient) -> None:
    assert errors(client.get("/nothing"), 404)
    response = client.get("/predict")
    assert errors(response, 405)
    assert response.headers["allow"] == "POST"
    assert client.get("/health").json() == {"status": "ok"}


def test_page_allows_only_its_own_script(client: TestClient) -> None:
    response = client.get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "{{" not in response.text
    assert 'id="token-form" hidden' in response.text


def test_metrics_count_requests_and_rows(client: TestClient) -> None:
    client.post("/predict", json=ROWS)
    client.post("/predict", json={})
    lines = client.get("/metrics").text.splitlines()
    assert 'trainer_requests_total{route="predict",status="200"} 1' in lines
    assert 'trainer_requests_total{route="predict",status="422"} 1' in lines
    assert 'trainer_rows_total{model="churn"} 4' in lines
    assert 'trainer_unseen_rows_total{model="churn"} 1' in lines
    assert "trainer_predict_seconds_count 2" in lines
    assert any(RUN in line for line in lines)
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_prometheus_can_parse_the_metrics(client: TestClient) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    client.post("/predict", json=ROW)
    families = {
        family.name: family
        for family in parser.text_string_to_metric_families(client.get("/metrics").text)
    }
    assert families["trainer_predict_seconds"].type == "histogram"
    assert families["trainer_requests"].samples


def test_bug_is_logged_but_not_shown(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    application: Any = client.app
    served = application.models.get(None)
    monkeypatch.setattr(served.model, "predict_inputs", lambda *_: {}["secret"])
    response = client.post("/predict", json=ROW)
    found = errors(response, 500)
    assert "bug" in found[0]["found"]
    assert "secret" not in response.text
    assert "Traceback" in caplog.text
