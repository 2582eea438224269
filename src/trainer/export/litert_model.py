"""The networks of a run as one Keras model in float32, from encoded rows. Imports TensorFlow."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.config.model import POSITIVE_HEADS
from trainer.export.bundle import Bundle
from trainer.export.schema import Schema
from trainer.inputs import keras_inputs
from trainer.prediction.trained_runs import load_network
from trainer.tasks.task import Task

_FLOAT32 = np.finfo(np.float32)


def build_model(bundle: Bundle, schema: Schema) -> keras.Model:
    """Return the model, with a dict of inputs and a dict of outputs.

    Raises:
        ConfigError: A network has custom layers.
    """
    tensors = {
        field.name: keras.Input(field.shape, dtype=field.dtype, name=field.name)
        for field in schema.inputs
    }
    names = iter(schema.inputs)
    encoded = [
        {spec.name: tensors[next(names).name] for spec in preprocessing.inputs}
        for preprocessing in bundle.encoders
    ]
    decoded = []
    for index, member in enumerate(bundle.members):
        network = load_network(member.trained, allow_custom=False)
        network.name = f"network_{index}"
        outputs = network(keras_inputs(encoded[member.encoder]), training=False)
        decoded.append(_decoded(member.trained.task, outputs))
    mean = decoded[0]
    if len(decoded) > 1:
        mean = sum(decoded[1:], decoded[0]) / float(len(decoded))
    rules = bundle.task.kind.rules
    if not rules.has_classes:
        found: dict[str, Any] = {"predicted": mean}
    elif rules.has_positive_class:
        found = {"probabilities": ops.concatenate([1.0 - mean, mean], axis=1)}
    else:
        found = {"probabilities": mean}
    if len(decoded) > 1:
        squares = [ops.square(part - mean) for part in decoded]
        found["std"] = ops.sqrt(sum(squares[1:], squares[0]) / float(len(decoded) - 1))
    return keras.Model(tensors, found, name="predictor")


def _decoded(task: Task, outputs: Any) -> Any:
    """Return probabilities, or numbers in the unit of the target; see `Task.decode_outputs`."""
    if task.head in POSITIVE_HEADS:
        outputs = ops.clip(outputs, float(_FLOAT32.tiny), float(_FLOAT32.max))
    if not task.kind.rules.has_classes:
        target = task.target
        scale, offset = (np.array([part], np.float32) for part in (target.scale, target.offset))
        return outputs * scale + offset
    if task.kind.rules.has_positive_class and task.outputs == 2:
        outputs = ops.take(outputs, [1], axis=1)
    if task.temperature == 1.0:
        return outputs
    epsilon = float(_FLOAT32.eps)
    p = ops.clip(outputs, epsilon, 1 - epsilon)
    if task.kind.rules.predicts_most_likely:
        return ops.softmax(ops.log(p) / task.temperature, axis=-1)
    return ops.sigmoid((ops.log(p) - ops.log(1.0 - p)) / task.temperature)
