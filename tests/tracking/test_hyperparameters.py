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


def test_only_what_is_not_at_its_default_is_a_hyperparameter() -> None:
    assert hyperparameters(config()) == {"data.source": "x.csv", "data.target": "y"}
    found = hyperparameters(config(TEXT))
    assert found == {
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


def test_every_setting_is_told_but_the_trackers_own() -> None:
    found = all_settings(config(TEXT))
    assert found["runtime.threads"] == 2
    assert found["fit.batch_size"] == 32
    assert found["name"] == "other"
    assert not [name for name in found if name.startswith("track")]
    assert "secret" not in str(found)
    assert None not in found.values()


@given(st.dictionaries(st.text(min_size=1), st.floats(0.1, 10), min_size=1))
def test_keys_are_those_of_overrides(weights: dict[str, float]) -> None:
    one = config()
    fit = one.fit.model_copy(update={"class_weight": weights})
    found = all_settings(one.model_copy(update={"fit": fit}))
    told = {name: value for name, value in found.items() if name.startswith("fit.class_weight.")}
    assert sorted(told.values()) == sorted(weights.values())
    assert len(told) == len(weights)
