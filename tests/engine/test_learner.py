"""A learner of two networks with two optimizers trains as a plain Keras loop does, and is saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.engine.adversarial import (
    AdversarialLearner,
    build_networks,
    build_optimizers,
    update,
)
from tests.engine.networks import BATCH, executor_for, on_disk, samples, train_epoch
from tests.marks import slow_except
from trainer.engine.rows import ResidentRows
from trainer.engine.streaming import StreamedRows
from trainer.runs.checkpoints import read_newest_checkpoint, write_checkpoint

EPOCHS = 2


@pytest.mark.parametrize("kind", slow_except([ResidentRows], [ResidentRows, StreamedRows]))
def test_weights_match_a_plain_loop(kind):
    train = samples() if kind is ResidentRows else on_disk(samples())
    learner = AdversarialLearner()
    executor = executor_for(learner, train, kind=kind)
    outputs = [train_epoch(executor, epoch) for epoch in range(1, EPOCHS + 1)]

    networks, optimizers = build_networks(), build_optimizers()
    for name, optimizer in optimizers.items():
        optimizer.build(networks[name].trainable_variables)
    for output in outputs:
        x = train.inputs["features"][output.rows]
        mean = keras.metrics.Mean()
        for first in range(0, len(x), BATCH):
            batch = tf.constant(x[first : first + BATCH])
            scores, loss = update(networks, optimizers, batch)
            mean.update_state(loss, sample_weight=len(batch))
            np.testing.assert_allclose(
                output.predictions[first : first + BATCH], scores, rtol=1e-3, atol=1e-5
            )
        assert output.loss == pytest.approx(float(mean.result()), rel=1e-4)
    for name, network in networks.items():
        for weight, expected in zip(learner.networks[name].weights, network.weights, strict=True):
            np.testing.assert_allclose(weight.numpy(), expected.numpy(), rtol=2e-4, atol=2e-5)


@pytest.fixture(scope="module")
def trained():
    """A learner after one epoch."""
    learner = AdversarialLearner()
    train_epoch(executor_for(learner, samples()), 1)
    return learner


def test_averages_replace_the_weights_of_their_own_network(trained):
    learner = trained
    weights = [weight.numpy() for weight in learner.weights]
    averaged = learner.evaluation_weights()
    of_generator = len(learner.networks["generator"].weights)
    assert any((a != b).any() for a, b in zip(averaged[:of_generator], weights, strict=False))
    for average, weight in zip(averaged[of_generator:], weights[of_generator:], strict=True):
        np.testing.assert_array_equal(average, weight)
    for weight, expected in zip(learner.weights, weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected)


def test_rates_of_all_optimizers_are_lowered():
    learner = AdversarialLearner()
    learner.lower_learning_rates(0.5)
    rates = [float(optimizer.learning_rate) for optimizer in learner.optimizers.values()]
    assert rates == pytest.approx([0.005, 0.025])
    assert float(learner.learning_rate) == pytest.approx(0.005)


def test_checkpoint_has_the_variables_of_all_networks_and_optimizers_by_name(trained, tmp_path):
    learner = trained
    state = learner.state()
    assert len(state) == sum(
        len(owner.variables) for owner in (*learner.networks.values(), *learner.optimizers.values())
    )
    owners = {"/".join(name.split("/")[:2]) for name in state}
    assert owners == {
        f"{kind}/{name}" for kind in ("network", "optimizer") for name in learner.networks
    }
    write_checkpoint(tmp_path / "last", None, state, {}, keep=1)
    checkpoint, _ = read_newest_checkpoint(tmp_path / "last", with_model=False)
    other = AdversarialLearner()
    other.restore(checkpoint.state)
    for name, value in other.state().items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)
