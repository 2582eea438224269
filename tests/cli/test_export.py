"""`trainer export` at the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.export.untrained import write_run
from trainer.config.dump import resolved_settings
from trainer.config.load import load_config
from trainer.engine import devices


@pytest.fixture
def untrained(folder: Path) -> Path:
    """A run of good.yaml with random weights."""
    devices.start("cpu", 1)
    return write_run(folder, resolved_settings(load_config(folder / "good.yaml").config))


def test_path_on_stdout_and_summary_on_stderr(untrained: Path, trainer: Callable) -> None:
    result = trainer("export", untrained)
    assert result.code == 0, result.err
    assert result.out == f"{untrained}/export/onnx/model.onnx\n"
    assert Path(result.out.strip()).is_file()
    for text in (
        "validation rows and",
        "at most (up to 1e-05 is accepted)",
        "rows/s",
        "MODEL_CARD.md",
    ):
        assert text in result.err
    again = trainer("export", untrained)
    assert again.code == 2
    assert "give another path with -o" in again.err


def test_json(untrained: Path, trainer: Callable, folder: Path) -> None:
    result = trainer("export", untrained, "--to", "onnx", "-o", "m.onnx", "--json", "-q")
    assert result.code == 0, result.err
    assert result.json["output"] == "m.onnx"
    assert result.json["bytes"] == (folder / "m.onnx").stat().st_size
    assert (
        0 < result.json["latency"]["p50_microseconds"] <= result.json["latency"]["p99_microseconds"]
    )
    assert result.json["difference"] <= result.json["tolerance"] == 1e-5
    assert result.err == ""


def test_refused(untrained: Path, refused: Callable, folder: Path) -> None:
    refused("export", untrained, "--to", "onx", mentions=["did you mean 'onnx'?"], kind="usage")
    refused("export", untrained, "-o", "m.txt", mentions=["a name ending in .onnx"], kind="usage")
    refused("export", folder / "table.csv", mentions=["table.csv"], kind="run")
