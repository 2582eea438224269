"""A run that streams is the resident run, said and recorded as what it is."""

import json

import pytest

from tests.workflows.conftest import run_fit, write_table
from trainer.config.load import load_config
from trainer.errors import ConfigError
from trainer.workflows import engines
from trainer.workflows.evaluate import evaluate

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


def test_it_gives_what_the_resident_run_gives(config, tmp_path):
    found = {}
    for engine in ("resident", "streaming"):
        done = run_fit(config, tmp_path / engine, f"runtime.engine={engine}")
        manifest = json.loads((done.run / "manifest.json").read_text())
        assert manifest["engine"].startswith(engine)
        found[engine] = done
    one, other = found.values()
    assert one.best_epoch == other.best_epoch
    for split, measures in one.metrics.items():
        assert other.metrics[split] == pytest.approx(measures, rel=1e-5)
    for name in ("splits.parquet", "metrics.jsonl"):
        assert (other.run / name).exists()
    assert (one.run / "splits.parquet").read_bytes() == (other.run / "splits.parquet").read_bytes()


def test_a_streamed_run_can_be_evaluated(config, tmp_path):
    done = run_fit(config, tmp_path / "runs", "runtime.engine=streaming")
    again = evaluate(done.run, splits=("test",), data=None, device="cpu", allow_custom=False)
    assert again.results[0].metrics == pytest.approx(done.metrics["test"], rel=1e-6)


def test_what_cannot_be_streamed_is_refused_with_its_place(config):
    overrides = ("runtime.engine=streaming", "data.clean.duplicates=drop", "data.split.by=hash")
    with pytest.raises(ConfigError) as caught:
        load_config(config, overrides)
    places = [str(problem) for problem in caught.value.problems]
    assert any("data.clean.duplicates=drop" in place for place in places)
    assert any("data.split.by=hash" in place for place in places)


def test_the_engine_is_chosen_by_what_is_free(config, monkeypatch):
    def choice(*overrides):
        return engines.choose_engine(load_config(config, overrides).config)

    assert choice().engine == "resident"
    assert "are free" in choice().reason
    assert str(choice("runtime.engine=streaming")) == "streaming: set by runtime.engine"
    monkeypatch.setattr(engines, "available_memory", lambda: 10_000)
    assert choice().engine == "streaming"
    assert "GB" in choice().reason or "MB" in choice().reason
    kept = choice("data.clean.duplicates=drop")
    assert kept.engine == "resident"
    assert "data.clean.duplicates" in kept.reason
    assert choice("data.source=nowhere.csv").engine == "resident"
    monkeypatch.setattr(engines, "available_memory", lambda: None)
    assert choice().engine == "resident"


def test_a_gpu_that_is_too_small(config, monkeypatch):
    size = engines.table_size(load_config(config, ()).config.data)
    large = type(size)(cells=1 << 28, memory=size.memory)
    monkeypatch.setattr(engines, "table_size", lambda data: large)
    monkeypatch.setattr(engines, "free_gpu_memory", lambda: 1 << 30)
    loaded = load_config(config, ())
    assert engines.choose_engine(loaded.config).engine == "streaming"
    cpu = load_config(config, ("runtime.device=cpu",))
    assert engines.choose_engine(cpu.config).engine == "resident"
