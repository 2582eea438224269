"""The streaming engine, and when it is chosen."""

import json

import pytest

from tests.workflows.conftest import run_fit, write_table
from trainer.config.load import load_config
from trainer.engine import selection
from trainer.errors import ConfigError

CONFIG = """\
name: streamed
seed: 3
data: {source: small.csv, target: label, features: {exclude: [id]}}
model: {layers: [{dense: 6}, {dropout: 0.1}]}
optimizer: {name: adam, learning_rate: 0.01}
fit: {epochs: 3, batch_size: 16}
"""


@pytest.fixture
def config(tmp_path):
    write_table(tmp_path / "small.csv")
    path = tmp_path / "streamed.yaml"
    path.write_text(CONFIG)
    return path


def test_streamed_run_equals_a_resident_run(config, tmp_path):
    results = {}
    for engine in ("resident", "streaming"):
        results[engine] = run_fit(config, tmp_path / engine, f"runtime.engine={engine}")
        manifest = json.loads((results[engine].run / "manifest.json").read_text())
        assert manifest["engine"].startswith(engine)
    resident, streamed = results.values()
    assert streamed.best_epoch == resident.best_epoch
    for split, metrics in resident.metrics.items():
        assert streamed.metrics[split] == pytest.approx(metrics, rel=1e-5)
    assert (streamed.run / "metrics.jsonl").exists()
    splits = [(result.run / "splits.parquet").read_bytes() for result in (resident, streamed)]
    assert splits[0] == splits[1]


def test_settings_that_cannot_be_streamed_are_refused(config):
    overrides = ("runtime.engine=streaming", "data.clean.duplicates=drop", "data.split.by=hash")
    with pytest.raises(ConfigError) as caught:
        load_config(config, overrides)
    problems = [str(problem) for problem in caught.value.problems]
    assert any("data.clean.duplicates=drop" in problem for problem in problems)
    assert any("data.split.by=hash" in problem for problem in problems)


def test_engine_depends_on_the_available_memory(config, monkeypatch):
    def choice(*overrides):
        return selection.choose_engine(load_config(config, overrides).config)

    assert choice().engine == "resident"
    assert " GB free" in choice().reason
    assert str(choice("runtime.engine=streaming")) == "streaming: set by runtime.engine"
    monkeypatch.setattr(selection, "available_memory", lambda: 10_000)
    assert choice().engine == "streaming"
    assert "GB" in choice().reason or "MB" in choice().reason
    kept = choice("data.clean.duplicates=drop")
    assert kept.engine == "resident"
    assert "data.clean.duplicates" in kept.reason
    assert choice("data.source=nowhere.csv").engine == "resident"
    monkeypatch.setattr(selection, "available_memory", lambda: None)
    assert choice().engine == "resident"


def test_engine_depends_on_the_gpu_memory(config, monkeypatch):
    size = selection.table_size(load_config(config, ()).config.data)
    large = type(size)(cells=1 << 28, memory=size.memory)
    monkeypatch.setattr(selection, "table_size", lambda data: large)
    monkeypatch.setattr(selection, "free_gpu_memory", lambda: 1 << 30)
    loaded = load_config(config, ())
    assert selection.choose_engine(loaded.config).engine == "streaming"
    cpu = load_config(config, ("runtime.device=cpu",))
    assert selection.choose_engine(cpu.config).engine == "resident"
