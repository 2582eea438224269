"""Output and errors of `trainer explain`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture
def run(finished: Path) -> str:
    return str(finished)


def test_output_and_refusals(
    run: str, folder: Path, trainer: Callable, refused: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = trainer("explain", run)
    assert result.code == 0, result.err
    assert result.out == f"{run}/explanation\n"
    first, *lines = result.err.splitlines()
    assert first == f"reading {run}, loading TensorFlow (takes a few seconds) …"
    assert lines[0] == f"{run}, checkpoint best"
    assert lines[1].startswith("auc 0")
    assert lines[1].endswith(" on 12 validation rows; each column shuffled 5 times")
    assert lines[3].split() == ["column", "drop", "95%", "interval"]
    assert {line.split()[0] for line in lines[4:]} == {"age", "income", "city"}
    assert any(line.endswith("not significant") for line in lines[4:])

    result = trainer("explain", run, "--json", "--quiet", "--split", "test", "--repeats", "2")
    assert result.err == ""
    output = json.loads(result.out)
    assert output["files"] == ["importance.json", "partial_dependence.json"]
    assert (output["importance"]["split"], output["importance"]["repeats"]) == ("test", 2)

    refused("explain", run, "--split", "train", mentions=["validation or test"], kind="usage")
    refused("explain", run, "--repeats", "0", mentions=["a number of at least 1"], kind="usage")
    refused("explain", run, "--rows", "0", mentions=["1 to 10,000 rows"], kind="usage")
    refused("explain", run, "--columns", "agee", mentions=["'agee'", "did you mean 'age'?"])
    refused("explain", "nothing", mentions=["a run directory"], kind="run")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "shap", None)
        before = sorted(Path(run).rglob("*"))
        refused("explain", run, "--rows", "5", mentions=["pip install 'numba", "'shap"])
        assert sorted(Path(run).rglob("*")) == before
    if find_spec("shap") is None:
        pytest.skip("needs shap")
    refused("explain", run, "--rows", "missing.csv", mentions=["missing.csv"], kind="data")
    result = trainer("explain", run, "--rows", "table.csv")
    assert "SHAP values for 60 rows; with the base value, they sum to" in result.err
    assert (folder / run / "explanation" / "shap.parquet").is_file()
    (folder / "table.csv").unlink()
    refused("explain", run, mentions=["table.csv"], kind="data")


def test_shap_suggests_explain(refused: Callable) -> None:
    refused("shap", "run", mentions=["did you mean 'explain'?"])
