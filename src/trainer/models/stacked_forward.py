"""The forward pass of stacked networks (`trainer.models.stacking`): Keras's arithmetic with one more
axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from trainer.config.layers.base import LayerKind
from trainer.config.layers.components import PrincipalComponents
from trainer.config.layers.dense import Dense
from trainer.config.layers.noise import Dropout, GaussianNoise
from trainer.config.layers.normalization import BatchNormalization, LayerNormalization
from trainer.config.layers.scaling import LearnedScale
from trainer.inputs import CATEGORIES, FEATURES, TERMS
from trainer.models.layers import TERM_TABLE
from trainer.models.noise import stacked_normal, stacked_uniform

if TYPE_CHECKING:
    from trainer.models.stacking import StackedNetwork


@dataclass(frozen=True, slots=True)
class StackedOutput:
    """Result of a forward pass.

    Attributes:
        outputs: (members, rows, outputs).
        penalty: (members,), the regularization losses.
    """

    outputs: Any
    penalty: Any


class ForwardPass:
    """A forward pass, while it is traced."""

    def __init__(
        self,
        stack: StackedNetwork,
        hyperparameters: Mapping[str, Any],
        training: bool,
        values: dict[int, Any],
        mask: Any,
    ) -> None:
        self._stack, self._hyperparameters, self._training = stack, hyperparameters, training
        self._values, self._mask = values, mask
        self._penalty = tf.zeros((stack.size,), tf.float32)
        # Factors (members, 1, columns) of the inputs of the next layer.
        self._scale: Any = None

    def run(self, x: Any) -> StackedOutput:
        stack = self._stack
        if stack.tables:
            x = self._embed(x)
        for index, (layer, settings) in enumerate(stack.body):
            if isinstance(settings[0], LearnedScale) and self._is_before_dense(index, x):
                self._scale = self._scale_factors(layer, x)
            else:
                x = self._hidden(layer, settings[0], x)
        head = stack.head
        outputs = self._product(head, x, use_bias=True)
        self._regularize(f"{head.name}/kernel", self._value(head.kernel))
        return StackedOutput(head.activation(outputs), self._penalty)

    def _embed(self, x: Any) -> Any:
        """Replace categories by their vectors, like the embedding block."""
        only = TERMS if self._stack.tables[0].name == TERM_TABLE else CATEGORIES
        inputs = x if isinstance(x, Mapping) else {only: x}
        parts = [inputs[FEATURES]] if FEATURES in inputs else []
        members = tf.range(self._stack.size)[:, None]
        for index, table in enumerate(self._stack.tables):
            if table.name == TERM_TABLE:
                parts.append(self._text_vector(table, inputs[TERMS], members[..., None]))
                continue
            ids = inputs[CATEGORIES][..., index] + members * table.input_dim
            parts.append(tf.gather(self._value(table.embeddings), ids))
        return tf.concat(parts, axis=-1)

    def _text_vector(self, table: Any, terms: Any, members: Any) -> Any:
        """Return the weighted sum of the vectors of terms (members, rows, slots, 2)."""
        ids = tf.cast(terms[..., 0], tf.int32) + members * table.input_dim
        vectors = tf.gather(self._value(table.embeddings), ids)
        return tf.squeeze(tf.matmul(terms[..., None, :, 1], vectors), axis=-2)

    def _hidden(self, layer: Any, settings: LayerKind, x: Any) -> Any:
        match settings:
            case Dense() | PrincipalComponents():
                return self._dense(layer, x, use_bias=layer.use_bias)
            case Dropout():
                return self._dropout(layer, x)
            case GaussianNoise():
                return self._gaussian_noise(layer, x)
            case BatchNormalization():
                return self._batch_normalization(layer, x)
            case LayerNormalization():
                return self._layer_normalization(layer, x)
            case LearnedScale():
                return self._learned_scale(layer, x)
            case _:
                assert settings.stacking == "rows", settings.kind
                outputs = layer.call(tf.reshape(x, (-1, *x.shape[2:])))
                return tf.reshape(outputs, (*x.shape[:2], *outputs.shape[1:]))

    def _dense(self, layer: Any, x: Any, *, use_bias: bool) -> Any:
        self._regularize(f"{layer.name}/kernel", self._value(layer.kernel))
        if use_bias:
            self._regularize(f"{layer.name}/bias", self._value(layer.bias))
        outputs = layer.activation(self._product(layer, x, use_bias=use_bias))
        self._regularize_activity(f"{layer.name}/activity", outputs)
        return outputs

    def _value(self, variable: Any) -> Any:
        stacked = self._stack.stacked_variable(variable)
        return self._values.get(id(stacked), stacked.value)

    def _setting(self, name: str, like: Any) -> Any:
        """Return a per-member setting, reshaped to broadcast with the tensor `like`."""
        return tf.reshape(self._hyperparameters[name], (-1, *(1,) * (len(like.shape) - 1)))

    def _product(self, layer: Any, x: Any, *, use_bias: bool) -> Any:
        kernel = self._value(layer.kernel)
        if self._scale is not None:
            kernel = kernel * tf.transpose(self._scale, (0, 2, 1))
            self._scale = None
        # Keras multiplies along the last axis of any input; here the axes in between are merged.
        rows = tf.reshape(x, (x.shape[0], -1, x.shape[-1]))
        product = tf.matmul(rows, kernel)
        if use_bias:
            product += self._value(layer.bias)
        return tf.reshape(product, (*x.shape[:-1], kernel.shape[-1]))

    def _regularize(self, name: str, values: Any) -> None:
        """Add l1 · Σ|v| + l2 · Σv² of each member."""
        for kind, function in _PENALTIES:
            if f"{name}/{kind}" in self._hyperparameters:
                axes = list(range(1, len(values.shape)))
                self._penalty += self._hyperparameters[f"{name}/{kind}"] * tf.reduce_sum(
                    function(values), axes
                )

    def _regularize_activity(self, name: str, outputs: Any) -> None:
        """Add the penalty of the outputs, averaged over the rows as in Keras."""
        for kind, function in _PENALTIES:
            if f"{name}/{kind}" in self._hyperparameters:
                per_row = tf.reduce_sum(function(outputs), list(range(2, len(outputs.shape))))
                mask = tf.ones_like(per_row) if self._mask is None else self._mask
                rows = tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)
                total = tf.reduce_sum(per_row * mask, axis=1)
                self._penalty += self._hyperparameters[f"{name}/{kind}"] * total / rows

    def _next_seeds(self, layer: Any) -> Any:
        """Return the seeds of a layer's next draw and advance its seed generators."""
        state = self._stack.stacked_variable(layer.seed_generator.state)
        seeds = tf.identity(state.value)
        state.assign(seeds + tf.constant([0, 1], seeds.dtype))
        return seeds

    def _dropout(self, layer: Any, x: Any) -> Any:
        if not self._training or layer.rate == 0:
            return x
        rate = self._setting(f"{layer.name}/rate", x)
        draw = stacked_uniform(x.shape[1:], self._next_seeds(layer))
        keep = self._setting(f"{layer.name}/keep", x)
        return tf.where(draw >= rate, x / keep, tf.zeros_like(x))

    def _gaussian_noise(self, layer: Any, x: Any) -> Any:
        if not self._training or layer.stddev == 0:
            return x
        draw = stacked_normal(x.shape[1:], self._next_seeds(layer))
        return x + self._setting(f"{layer.name}/stddev", x) * draw

    def _batch_normalization(self, layer: Any, x: Any) -> Any:
        width = x.shape[-1]
        shape = (x.shape[0], *(1,) * (len(x.shape) - 2), width)
        moving = [layer.moving_mean, layer.moving_variance]
        if self._training:
            moments = self._moments(x)
            for variable, moment in zip(moving, moments, strict=True):
                stacked = self._stack.stacked_variable(variable)
                batch_value = tf.reshape(moment, stacked.shape)
                stacked.assign(stacked * layer.momentum + batch_value * (1.0 - layer.momentum))
        else:
            moments = tuple(tf.reshape(self._value(variable), shape) for variable in moving)
        offset = tf.reshape(self._value(layer.beta), shape) if layer.center else None
        scale = tf.reshape(self._value(layer.gamma), shape) if layer.scale else None
        return tf.nn.batch_normalization(x, *moments, offset, scale, layer.epsilon)

    def _moments(self, x: Any) -> tuple[Any, Any]:
        """Return mean and variance of each member's columns over its rows, keeping the axes."""
        axes = list(range(1, len(x.shape) - 1))
        if self._mask is None:
            return tf.nn.moments(x, axes, keepdims=True)  # type: ignore[no-any-return]
        mask = tf.reshape(self._mask, (*x.shape[:2], *(1,) * (len(x.shape) - 2)))
        return tf.nn.weighted_moments(x, axes, mask, keepdims=True)  # type: ignore[no-any-return]

    def _layer_normalization(self, layer: Any, x: Any) -> Any:
        shape = (x.shape[0], *(1,) * (len(x.shape) - 2), x.shape[-1])
        outputs = keras.ops.layer_normalization(x, axis=-1, epsilon=layer.epsilon)
        if layer.scale:
            outputs *= tf.reshape(self._value(layer.gamma), shape)
        if layer.center:
            outputs += tf.reshape(self._value(layer.beta), shape)
        return outputs

    def _learned_scale(self, block: Any, x: Any) -> Any:
        return x * self._scale_factors(block, x)

    def _scale_factors(self, block: Any, x: Any) -> Any:
        """Return the factors of the columns of x."""
        (weights,) = block.trainable_variables
        shape = (x.shape[0], *(1,) * (len(x.shape) - 2), x.shape[-1])
        scale = tf.reshape(self._value(weights), shape)
        return 1.0 + self._setting(f"{block.name}/multiplier", x) * scale

    def _is_before_dense(self, index: int, x: Any) -> bool:
        """Return whether a dense layer follows, whose kernel can be scaled instead of its inputs.

        The inputs of the network then need no gradient, a fourth of the time of a step with many inputs.
        """
        following = self._stack.body[index + 1 : index + 2]
        return len(x.shape) == 3 and bool(following) and isinstance(following[0][1][0], Dense)


_PENALTIES = (("l1", tf.abs), ("l2", tf.square))
