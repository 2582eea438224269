"""The format litert agrees with `predict` for encoded rows."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import HealthCheck, given, settings

from tests.export.agreement import assert_agrees
from tests.export.cases import cases, table, write_case
from tests.export.test_tensorflow_exports import config
from tests.export.untrained import write_run, write_table
from trainer.errors import UsageError
from trainer.export.bundle import load_bundle
from trainer.export.formats import load_format
from trainer.export.litert_export import LitertFormat
from trainer.runs.decisions import Decisions
from trainer.workflows.export import export_run

EMBEDDED = {"categorical": {"encode": "embedding"}}
WIDTHS = Decisions(coverage=0.9, half_widths={"number": 0.7})
CASES: dict[str, tuple[dict[str, Any], int, bool, Decisions, int]] = {
    "folds with embeddings": (
        config("multiclass", data=EMBEDDED), 2, True, Decisions(temperature=1.7), 2
    ),
    "binary": (config("binary"), 1, False, Decisions(temperature=0.6, threshold=0.31), 1),
    "labels": (config("lists", data={"target_separator": "|"}), 1, False, Decisions(), 1),
    "intervals": (config("number"), 2, False, WIDTHS, 3),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "binary" else [pytest.mark.slow]) for name in CASES],
)
def test_agrees_with_predict(tmp_path: Path, name: str) -> None:
    run, rows = write_case(tmp_path, CASES[name])
    assert_agrees(LitertFormat(), run, rows, tmp_path / "model.tflite")


def _is_linear(case: Any) -> bool:
    """Return whether LiteRT can compute the target of a case."""
    config = case[0]
    scale = config["data"].get("target_scale", "none")
    return config.get("loss", "auto") == "auto" and scale in ("none", "standard")


@pytest.mark.slow
@settings(max_examples=2, suppress_health_check=list(HealthCheck))
@given(case=cases().filter(_is_linear))
def test_agrees_with_predict_for_random_configs(case: Any) -> None:
    with TemporaryDirectory() as folder:
        run, rows = write_case(Path(folder), case)
        assert_agrees(LitertFormat(), run, rows, Path(folder) / "model.tflite")


def test_targets_that_litert_cannot_compute(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", table(np.random.default_rng(0)))
    loss = {"name": "quantile", "quantiles": [0.1, 0.5, 0.9]}
    run = write_run(tmp_path, config("number", data={"target_scale": "log"}, loss=loss))
    found = [problem.found for problem in LitertFormat().problems(load_bundle(run))]
    assert found == ["quantiles", "data.target_scale: log or power"]


@pytest.mark.slow
def test_export_with_a_card(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", table(np.random.default_rng(0)))
    run = write_run(tmp_path, config("binary"))
    result = export_run(run, "litert", None, allow_custom=False)
    assert result.path == run / "export" / "litert" / "model.tflite"
    card = result.card.read_text()
    assert "known only to the encoding" in card
    assert "get_signature_runner" in card


@pytest.mark.slow
@pytest.mark.parametrize("quantize", ["dynamic", "int8"])
@pytest.mark.parametrize("name", ["binary", "intervals"])
def test_quantized_networks(tmp_path: Path, name: str, quantize: str) -> None:
    settings, *others = CASES[name]
    # Dynamic quantization leaves kernels of fewer than 1,024 weights as they are.
    layers = {"layers": [{"dense": 40}, {"dense": 40}]}
    # One network: the deviation between untrained ones is mostly rounding.
    case = ({**settings, "model": layers}, 1, *others[1:])
    run, _ = write_case(tmp_path, case)
    result = export_run(run, "litert", None, allow_custom=False, quantize=quantize)
    assert result.path == run / "export" / f"litert-{quantize}" / "model.tflite"
    check = result.check
    assert check.other_labels <= check.accepted_labels
    assert f"{check.accepted_labels:,} are accepted" in result.card.read_text() or name != "binary"
    details = Interpreter(model_path=str(result.path)).get_tensor_details()
    assert np.int8 in {detail["dtype"] for detail in details}


def test_quantization_that_does_not_exist() -> None:
    for name, quantize, expected in (
        ("onnx", "int8", "--to litert"),
        ("litert", "int4", "dynamic or int8"),
    ):
        with pytest.raises(UsageError) as caught:
            load_format(name, quantize)
        assert caught.value.problems[0].expected == expected
