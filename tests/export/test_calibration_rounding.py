"""High temperatures magnify the rounding of probabilities close to 1, which no export can avoid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.export.cases import table
from tests.export.untrained import write_run, write_table
from trainer.errors import RunError
from trainer.export.bundle import load_bundle
from trainer.export.calibration_rounding import calibration_rounding
from trainer.export.onnx_export import OnnxFormat
from trainer.metrics.activations import apply_temperature
from trainer.runs.decisions import Decisions
from trainer.workflows.export import export_run

pytestmark = pytest.mark.slow
TEMPERATURE = 20.0
CERTAIN = (1 - np.arange(1, 60) * np.finfo(np.float32).epsneg).astype(np.float32)[:, None]
"""The greatest float32 probabilities below 1."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose probabilities are close to 0 and 1 for rows with large numbers."""
    folder = tmp_path_factory.mktemp("certain")
    write_table(folder / "table.csv", table(np.random.default_rng(0)))
    settings: dict[str, Any] = {
        "data": {
            "source": "table.csv", "target": "binary", "numeric": {"scale": "none"},
            "features": {"include": ["size", "colour"]},
        },
        "model": {"layers": [{"dense": 4}]},
    }  # fmt: skip
    return write_run(folder, settings, decisions=Decisions(temperature=TEMPERATURE))


@pytest.fixture(scope="module")
def task(run: Path) -> Any:
    return load_bundle(run).task


def test_a_certain_network_with_a_high_temperature_is_exported(run: Path, tmp_path: Path) -> None:
    result = export_run(run, "onnx", tmp_path / "model.onnx", allow_custom=False)
    assert result.check.difference <= result.check.tolerance
    (note,) = result.check.notes
    assert "a temperature above 1 magnifies rounding" in note
    assert note in result.card.read_text(encoding="utf-8")


def test_another_temperature_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = OnnxFormat.write

    def changed(self: Any, bundle: Any, schema: Any, path: Path) -> None:
        (member,) = bundle.members
        trained = replace(member.trained, task=replace(bundle.task, temperature=TEMPERATURE + 0.01))
        write(self, replace(bundle, members=(replace(member, trained=trained),)), schema, path)

    monkeypatch.setattr(OnnxFormat, "write", changed)
    with pytest.raises(RunError, match="within 1e-05 of those of trainer predict"):
        export_run(run, "onnx", tmp_path / "model.onnx", allow_custom=False)


@pytest.mark.parametrize("temperature", [1.5, 2.0, 5.0, TEMPERATURE])
def test_it_is_what_the_last_digits_change(task: Any, temperature: float) -> None:
    calibrated = apply_temperature("binary", CERTAIN, temperature).astype(np.float32)
    rounding = calibration_rounding(
        [replace(task, temperature=temperature)], [calibrated], ["no", "yes"]
    )
    np.testing.assert_array_equal(rounding["no"], rounding["yes"])
    others = apply_temperature("binary", np.nextafter(CERTAIN, np.float32(0)), temperature)
    change = np.abs(others - calibrated)[:, 0]
    # The last digit below 1 is half the resolution of float32.
    assert np.all(change <= rounding["yes"])
    assert np.all(rounding["yes"][20:] <= 6 * change[20:])


def test_of_members_it_bounds_the_changes_of_mean_and_std(task: Any) -> None:
    rng = np.random.default_rng(0)
    tasks = [replace(task, temperature=temperature) for temperature in (3.0, 8.0, TEMPERATURE)]
    uncalibrated = [CERTAIN, CERTAIN[::-1], rng.random(CERTAIN.shape).astype(np.float32)]

    def calibrated(noise: float) -> list[Any]:
        eps = np.finfo(np.float32).eps
        noisy = [
            np.clip(p + noise * eps * rng.choice([-1, 1], p.shape), 0, 1).astype(np.float32)
            for p in uncalibrated
        ]
        return [
            apply_temperature("binary", p, part.temperature)
            for part, p in zip(tasks, noisy, strict=True)
        ]

    before = calibrated(0)
    rounding = calibration_rounding(tasks, before, ["p", "p_std"])["p"]
    for _ in range(20):
        after = calibrated(1.9)
        for measure in (np.mean, lambda parts, axis: np.std(parts, axis, ddof=1)):
            changes = np.abs(measure(after, 0) - measure(before, 0))[:, 0]
            assert np.all(changes <= rounding)


def test_none_is_explained_without_a_high_temperature(task: Any) -> None:
    for temperature in (0.05, 1.0):
        tasks = [replace(task, temperature=temperature)]
        assert calibration_rounding(tasks, [CERTAIN], ["no", "yes"]) == {}
