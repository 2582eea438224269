"""Initial weights that follow from the training rows."""

import keras
import numpy as np
import pytest

from tests.workflows.conftest import run_fit, write_small
from trainer.config.load import load_config
from trainer.errors import ConfigError
from trainer.inputs import FEATURES
from trainer.workflows.networks import network_function
from trainer.workflows.plan import make_plan

LAYERS = "model.layers=[{principal_components: 3}, learned_scale, {dense: 4}]"


@pytest.fixture
def config(tmp_path):
    return write_small(tmp_path)


def test_components_of_the_training_rows(config, tmp_path):
    plan = make_plan(load_config(config, [LAYERS]))
    network = network_function(plan, allow_custom=False)()
    layer = network.get_layer("principal_components")
    outputs = np.asarray(layer(plan.samples("train").inputs[FEATURES]))
    np.testing.assert_allclose(outputs.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(outputs.std(axis=0), 1, atol=1e-4)
    run = run_fit(config, tmp_path / "runs", LAYERS).run
    trained = keras.models.load_model(run / "checkpoints" / "best" / "model.keras")
    for value, initial in zip(
        trained.get_layer("principal_components").get_weights(), layer.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(value, initial)


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["model.layers=[{dense: 4}, {principal_components: 3}]"], "layer 2"),
        ([LAYERS, "data.categorical.encode=embedding"], "the inputs categories, too"),
        (["model.layers=[{principal_components: 9}]"], "9"),
    ],
)
def test_misplaced_components(config, overrides, found):
    with pytest.raises(ConfigError) as raised:
        make_plan(load_config(config, overrides))
    (problem,) = raised.value.problems
    assert problem.found == found
    assert problem.fix
