from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.conftest import config
from trainer.tracking.hyperparameters import all_settings, hyperparameters

TEXT = """
name: other
seed: 3
model: {layers: [{dense: {units: 8, activation: relu}}, {dropout: 0.1}]}
optimizer: {name: sgd, learning_rate: 0.1}
metrics: [accuracy, auc]
runtime: {threads: 2}
track: {mlflow: {uri: 'http://me:secret@host'}}
"""


def test_hyperparameters_are_non_default_settings() -> None:
    assert hyperparameters(config()) == {"data.source": "x.csv", "data.target": "y"}
    settings = hyperparameters(config(TEXT))
    assert settings == {
        "data.source": "x.csv",
        "data.target": "y",
        "seed": 3,
        "model.layers.0.dense.units": 8,
        "model.layers.0.dense.activation": "relu",
        "model.layers.1.dropout.rate": 0.1,
        "optimizer.name": "sgd",
        "optimizer.learning_rate": 0.1,
        "metrics": "[accuracy, auc]",
    }


def test_all_settings_exclude_the_track_section() -> None:
    settings = all_settings(config(TEXT))
    assert settings["runtime.threads"] == 2
    assert settings["fit.batch_size"] == 32
    assert settings["name"] == "other"
    assert not [name for name in settings if name.startswith("track")]
    assert "secret" not in str(settings)
    assert None not in settings.values()


@given(st.dictionaries(st.text(min_size=1), st.floats(0.1, 10), min_size=1))
def test_every_class_weight_has_its_own_key(weights: dict[str, float]) -> None:
    base = config()
    fit = base.fit.model_copy(update={"class_weight": weights})
    settings = all_settings(base.model_copy(update={"fit": fit}))
    class_weights = {
        name: value for name, value in settings.items() if name.startswith("fit.class_weight.")
    }
    assert sorted(class_weights.values()) == sorted(weights.values())
    assert len(class_weights) == len(weights)
