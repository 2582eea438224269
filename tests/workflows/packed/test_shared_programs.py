"""Networks that are trained one by one with the programs of the first."""

import json

import pytest

from tests.data.images import make_images
from tests.workflows.conftest import run_fit, run_members
from trainer.config.load import load_config
from trainer.workflows.building import ExecutionConfig
from trainer.workflows.plan import make_plan
from trainer.workflows.shared_programs import program_key

CONFIG = """\
name: photos
data:
  source: photos
  image: {size: 12}
  split: {validation: 0.2, test: 0.2}
model:
  layers:
    - conv2d: {filters: 4, kernel_size: 3, activation: relu}
    - batch_normalization
    - dropout: 0.3
    - global_average_pool
optimizer: {name: adam, learning_rate: 0.01, ema: 0.9, schedule: cosine}
fit: {epochs: 2, batch_size: 8, early_stopping: 5}
evaluate: {report: false}
"""
EXECUTION = ExecutionConfig(compiled=False, steps_per_execution=1, epochs_per_execution=1)


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "photos", count=30, size=12)
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return path


def manifest(run):
    return json.loads((run / "manifest.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides", [("fit.repeats=2",), ("fit.folds=2", "model.augment=[flip, {noise: 0.1}]")]
)
def test_members_equal_single_runs_and_are_traced_once(overrides, config, tmp_path):
    members = run_members(config, tmp_path / "runs", *overrides).members
    first, second = (manifest(member.run) for member in members)
    assert first["timings"]["trace"] > 0
    assert second["timings"]["trace"] == second["timings"]["compile"] == 0
    single = run_fit(members[1].run / "config.yaml", tmp_path / "single")
    assert single.weights_sha256 == second["weights_sha256"] != first["weights_sha256"]
    assert single.metrics["test"] == pytest.approx(
        json.loads((members[1].run / "evaluation/test.json").read_text())["metrics"], rel=1e-6
    )


@pytest.mark.parametrize(
    ("override", "is_shared"),
    [
        ("seed=2", True),
        ("data.split.seed=3", True),
        ("data.image.scale=standardize", False),
        ("optimizer.learning_rate=0.02", False),
        ("model.layers.2.dropout.rate=0.4", False),
        ("fit.batch_size=7", False),
        ("data.image.size=10", False),
    ],
)
def test_programs_of_networks_that_differ(override, is_shared, config):
    plans = [make_plan(load_config(config, overrides)) for overrides in ([], [override])]
    keys = {program_key(plan, EXECUTION) for plan in plans}
    assert (len(keys) == 1) == is_shared


def test_programs_that_are_not_shared(config):
    changed = "model.augment=[flip]"
    first, second = (
        program_key(make_plan(load_config(config, [changed, seed])), EXECUTION)
        for seed in ("seed=1", "seed=2")
    )
    assert first != second
    large = make_plan(load_config(config, ["model.layers=[flatten, {dense: 30000}]"]))
    assert program_key(large, EXECUTION) == ""
