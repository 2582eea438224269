"""Many networks of the same shape as one: their variables are stacked along a leading member axis.

A member's layers compute the same values as its network would, up to rounding: the arithmetic below is
Keras's with one more axis. Settings that differ between members (rates, penalties) are inputs of the
program (`hyperparameters`), not constants, so that one compiled program serves every pack of a shape.
`trainer.models.pack_compatibility` determines which networks can be stacked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config.layers.base import LayerKind
from trainer.config.layers.components import PrincipalComponents
from trainer.config.layers.dense import Dense
from trainer.config.layers.noise import Dropout, GaussianNoise
from trainer.config.layers.normalization import BatchNormalization, LayerNormalization
from trainer.config.layers.scaling import LearnedScale
from trainer.config.schema import Config
from trainer.config.weights import Constraint, MaxNorm, MinMaxNorm, Regularizer
from trainer.inputs import CATEGORIES, FEATURES, TERMS
from trainer.models.kernel_padding import crop_kernel, pad_kernel
from trainer.models.layers import TERM_TABLE, embedding_layers
from trainer.models.noise import stacked_normal, stacked_uniform
from trainer.models.summary import EMBEDDINGS, HEAD, layer_names


@dataclass(frozen=True, slots=True)
class StackMember:
    """One network of a stack.

    Attributes:
        config: The config of the network.
        network: Built of Keras's own layers; provides the initial weights and seeds.
    """

    config: Config
    network: keras.Model


@dataclass(frozen=True, slots=True)
class StackedOutput:
    """Result of a forward pass.

    Attributes:
        outputs: (members, rows, outputs).
        penalty: (members,), the regularization losses.
    """

    outputs: Any
    penalty: Any


class StackedNetwork:
    """Networks of the same shape, stacked along a leading axis.

    Attributes:
        size: Number of members.
        variables: Stacked variables, in the order of `keras.Model.variables`. Vectors and matrices
            have three axes, (members, 1 or rows, columns), so that one value per member broadcasts.
            Embedding tables have two, (members · levels, dimension): Keras's optimizers then update
            them by the rules of a single table. The first kernel, and the learned scales before it,
            have zeros for the features that only other members have.
        trainable: The trainable variables, in the order of `trainable_variables`.
        hyperparameters: The settings that differ between members, each (members,) float32.
        tables: The embedding layers of the first member.
        body: The hidden layers of the first member, each with its settings for every member.
        head: The last layer of the first member.
    """

    def __init__(self, members: Sequence[StackMember]) -> None:
        """Stack the networks.

        Args:
            members: At least one; all of the same shape.
        """
        self.size = len(members)
        first = members[0].network
        layers = {layer.name: layer for layer in first.layers}
        self.head = layers[HEAD]
        self.tables: list[Any] = []
        if EMBEDDINGS in layers:
            self.tables = embedding_layers(layers[EMBEDDINGS])
        self._embedded = sum(table.output_dim for table in self.tables)
        self.body: list[tuple[Any, list[LayerKind]]] = [
            (layers[name], [member.config.model.layers[index].settings for member in members])
            for index, name in enumerate(layer_names(members[0].config.model.layers))
        ]
        self._configs = [member.config for member in members]
        self._index = {id(variable): index for index, variable in enumerate(first.variables)}
        tables = {id(layer.embeddings) for layer in self.tables}
        values = [
            self.stacked([member.network.variables[index].numpy() for member in members])
            for index in range(len(first.variables))
        ]
        self.variables = [
            keras.Variable(
                value.reshape(-1, value.shape[-1]) if id(variable) in tables else value,
                trainable=variable.trainable,
                dtype=variable.dtype,
                name=variable.path.replace("/", "_"),
            )
            for variable, value in zip(first.variables, values, strict=True)
        ]
        self.trainable = [self.stacked_variable(variable) for variable in first.trainable_variables]
        self.hyperparameters: dict[str, NDArray[np.float32]] = {}
        self._add_layer_settings()

    def stacked(self, values: Sequence[Any]) -> NDArray[Any]:
        """Stack one variable of each member, in the layout of `variables`."""
        arrays = [np.asarray(value) for value in values]
        if len({array.shape for array in arrays}) > 1:
            rows = max(len(array) for array in arrays)
            arrays = [pad_kernel(array, rows, self._embedded) for array in arrays]
        if arrays[0].dtype.kind != "f" or arrays[0].ndim > 2:
            return np.stack(arrays)
        shape = (1,) * (2 - arrays[0].ndim) + arrays[0].shape
        return np.stack([array.reshape(shape) for array in arrays])

    def unpadded(self, value: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return a copy of a member's variable in its own shape, without the rows of `stacked`."""
        if value.shape == shape:
            return value.copy()
        return crop_kernel(value, shape[0], self._embedded)

    def __call__(
        self,
        x: Any,
        hyperparameters: Mapping[str, Any],
        *,
        training: bool,
        trainable: Any = None,
        mask: Any = None,
    ) -> StackedOutput:
        """Run the forward pass; for use in a `tf.function`.

        Args:
            x: (members, rows, columns) of the only input, or of each input by name.
            hyperparameters: The tensors of `self.hyperparameters`.
            training: Whether to apply dropout and noise and update normalization statistics and seeds.
            trainable: Values to use in place of the trainable variables, in their order, or None.
            mask: (members, rows), 1 for a row and 0 for padding; None without padding.
        """
        values = (
            {}
            if trainable is None
            else {
                id(variable): value
                for variable, value in zip(self.trainable, trainable, strict=True)
            }
        )
        return _ForwardPass(self, hyperparameters, training, values, mask).run(x)

    def constrain(self) -> None:
        """Apply the constraints after an update; for use in a `tf.function`."""
        for layer, settings in self._dense():
            dense = settings[0]
            assert isinstance(dense, Dense)
            if dense.kernel_constraint is not None:
                kernel = self.stacked_variable(layer.kernel)
                kernel.assign(_bounded(dense.kernel_constraint, kernel, 1))
            if dense.use_bias and dense.bias_constraint is not None:
                bias = self.stacked_variable(layer.bias)
                bias.assign(_bounded(dense.bias_constraint, bias, 2))

    def stacked_variable(self, variable: Any) -> Any:
        """Return the stacked variable for a variable of the first member."""
        return self.variables[self._index[id(variable)]]

    def _dense(self) -> list[tuple[Any, list[Dense]]]:
        return [
            (layer, [member for member in settings if isinstance(member, Dense)])
            for layer, settings in self.body
            if isinstance(settings[0], Dense)
        ]

    def _add_layer_settings(self) -> None:
        for layer, settings in self.body:
            numbers = [member.member_settings() for member in settings]
            for name in numbers[0]:
                self.hyperparameters[f"{layer.name}/{name}"] = _numbers(
                    [member[name] for member in numbers]
                )
        for layer, dense in self._dense():
            for part in ("kernel", "bias", "activity"):
                self._add_regularizers(
                    f"{layer.name}/{part}",
                    [getattr(member, f"{part}_regularizer") for member in dense],
                )
        self._add_regularizers(
            f"{self.head.name}/kernel", [config.model.head_regularizer for config in self._configs]
        )

    def _add_regularizers(self, name: str, regularizers: Sequence[Regularizer | None]) -> None:
        for kind in ("l1", "l2"):
            factors = [
                0.0 if regularizer is None else float(getattr(regularizer, kind))
                for regularizer in regularizers
            ]
            if any(factors):
                self.hyperparameters[f"{name}/{kind}"] = _numbers(factors)


class _ForwardPass:
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

    def run(self, x: Any) -> StackedOutput:
        stack = self._stack
        if stack.tables:
            x = self._embed(x)
        for layer, settings in stack.body:
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
        (weights,) = block.trainable_variables
        shape = (x.shape[0], *(1,) * (len(x.shape) - 2), x.shape[-1])
        product = x * tf.reshape(self._value(weights), shape)
        return x + self._setting(f"{block.name}/multiplier", x) * product


_PENALTIES = (("l1", tf.abs), ("l2", tf.square))


def _numbers(values: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _bounded(constraint: Constraint, values: Any, axis: int) -> Any:
    """Apply Keras's constraint along `axis`, which corresponds to a member's first axis."""
    match constraint:
        case "non_negative":
            return keras.constraints.NonNeg()(values)
        case "unit_norm":
            return keras.constraints.UnitNorm(axis)(values)
        case MaxNorm(max_norm=bound):
            return keras.constraints.MaxNorm(bound, axis)(values)
        case MinMaxNorm(min_max_norm=bounds):
            return keras.constraints.MinMaxNorm(bounds[0], bounds[1], axis=axis)(values)
        case _:
            assert_never(constraint)
