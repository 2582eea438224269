"""The settings of task: generate."""

from pathlib import Path

import pytest
import yaml

from trainer.config.dump import dump_config
from trainer.config.load import load_config
from trainer.config.sweep_loading import load_sweep, trial_config
from trainer.errors import ConfigError

TEXT = """\
data: {source: x.csv, task: generate}
networks:
  generator: {layers: [{dense: 4}]}
  discriminator: {layers: [{dense: 4}]}
"""


def load(tmp_path: Path, text: str = TEXT, *overrides: str):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides).config


def problems(tmp_path: Path, *overrides: str, text: str = TEXT):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    return [(problem.key, problem.where) for problem in caught.value.problems]


def test_no_target_is_needed_and_the_defaults_are_those_of_generation(tmp_path):
    config = load(tmp_path)
    assert config.data.target == []
    assert config.fit.checkpoint.monitor == "frechet_distance"
    assert config.networks.generator.optimizer.beta_1 == 0.5


def test_a_resolved_config_is_equal(tmp_path):
    config = load(tmp_path, TEXT, "fit.early_stopping=5", "generation.instance_noise=0.1")
    assert load(tmp_path, dump_config(config)) == config
    assert yaml.safe_load(dump_config(config))["data"]["task"] == "generate"


def test_early_stopping_monitors_the_measure(tmp_path):
    config = load(tmp_path, TEXT, "fit.early_stopping=5")
    assert config.fit.early_stopping.monitor == "frechet_distance"
    config = load(tmp_path, TEXT, "fit.early_stopping={monitor: diversity, patience: 5}")
    assert config.fit.checkpoint.monitor == "diversity"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.layers=[]", "model"),
        ("optimizer.learning_rate=0.1", "optimizer"),
        ("loss=huber", "loss"),
        ("metrics=[mae]", "metrics"),
        ("fit.folds=3", "fit.folds"),
        ("fit.class_weight=balanced", "fit.class_weight"),
        ("evaluate.calibrate=true", "evaluate.calibrate"),
        ("data.numeric.scale=minmax", "data.numeric"),
        ("runtime.engine=streaming", "runtime.engine"),
        ("runtime.precision=mixed_float16", "runtime.precision"),
        ("generation.condition=true", "generation.condition"),
        ("data.target=[a, b]", "data.target"),
        ("fit.early_stopping={monitor: accuracy}", "fit.early_stopping.monitor"),
        ("fit.checkpoint.monitor=val_loss2", "fit.checkpoint.monitor"),
        ("networks.generator.layers=[{custom: 'a:b'}]", "networks.generator.layers.0.custom"),
        (
            "networks.generator.optimizer.gradient_accumulation_steps=2",
            "networks.generator.optimizer.gradient_accumulation_steps",
        ),
        (
            "networks.generator.optimizer={name: sgd, nesterov: true}",
            "networks.generator.optimizer.nesterov",
        ),
    ],
)
def test_settings_that_do_not_apply_are_rejected_where_they_are(override, key, tmp_path):
    ((found, where),) = problems(tmp_path, override)
    assert (found or override.partition("=")[0]).startswith(key)
    assert "override" in where


def test_all_problems_are_reported_at_once(tmp_path):
    text = TEXT + "loss: huber\ngeneration: {loss: hinge, label_smoothing: 0.1}\n"
    found = problems(tmp_path, text=text + "fit: {epochs: 0}\n")
    assert {key for key, _ in found} == {"loss", "generation.label_smoothing", "fit.epochs"}
    assert all(where.split(":")[1].isdigit() for _, where in found)


def test_batch_normalization_and_the_gradient_penalty_exclude_each_other(tmp_path):
    text = TEXT.replace(
        "discriminator: {layers: [", "discriminator: {layers: [batch_normalization, "
    )
    load(tmp_path, text)
    ((key, _),) = problems(tmp_path, "generation.loss=wasserstein", text=text)
    assert key == "networks.discriminator.layers.0.batch_normalization"
    load(tmp_path, text, "generation.loss=wasserstein", "generation.gradient_penalty=0")


def test_missing_networks_and_misspelt_keys(tmp_path):
    text = "data: {source: x.csv, task: generate}\n"
    assert problems(tmp_path, text=text)[0][0] == "networks"
    with pytest.raises(ConfigError, match="did you mean 'latent'"):
        load(tmp_path, TEXT, "generation.latnet=3")
    with pytest.raises(ConfigError, match="discriminator"):
        load(tmp_path, text + "networks: {generator: {layers: []}}\n")


def test_networks_need_the_task(tmp_path):
    text = TEXT.replace("task: generate", "target: y") + "generation: {latent: 3}\n"
    assert [key for key, _ in problems(tmp_path, text=text)] == ["networks", "generation.latent"]


def test_other_tasks_need_a_target(tmp_path):
    ((key, where),) = problems(tmp_path, text="data: {source: x.csv}\n")
    assert (key, where.endswith(":1:7")) == ("data.target", True)
    ((key, _),) = problems(tmp_path, text="data: {source: x.csv, target: []}\n")
    assert key == "data.target"


def test_trials_of_a_sweep_have_the_monitor_too(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(TEXT, encoding="utf-8")
    loaded = load_sweep(path, ["generation.latent=2,3"])
    config = trial_config(loaded, {"generation.latent": 3})
    assert config.generation.latent == 3
    assert config.fit.checkpoint.monitor == "frechet_distance"
