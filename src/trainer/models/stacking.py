"""Many networks of one shape as one: their variables stacked over a leading axis of members.

Each member has the variables of a network of its own, and what its layers compute is what that network
computes alone, to rounding: the arithmetic below is Keras's, over one axis more. Numbers that may
differ from member to member (rates, penalties) are no constants of a program but come in as
`hyperparameters`, so that one compiled program serves every pack of a shape.

Owns: the stacked variables, the forward pass, penalties, constraints. Does not own: which networks
have one shape (`trainer.models.shapes`), the loss, the optimizer, training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config.layers import (
    ActivationLayer,
    AnyLayer,
    BatchNormalizationLayer,
    Constraint,
    CustomLayer,
    Dense,
    DenseLayer,
    DropoutLayer,
    FlattenLayer,
    GaussianNoiseLayer,
    LayerNormalizationLayer,
    MaxNorm,
    MinMaxNorm,
    Regularizer,
    ReshapeLayer,
)
from trainer.config.schema import Config
from trainer.models.noise import stacked_normal, stacked_uniform

Knobs = Mapping[str, NDArray[np.float32]]
"""Numbers by name, each (members,) float32."""


@dataclass(frozen=True, slots=True)
class StackMember:
    """One network of a stack.

    Attributes:
        config: Its experiment.
        network: Built of Keras's own layers; the stack begins with its weights and seeds.
    """

    config: Config
    network: keras.Sequential


@dataclass(frozen=True, slots=True)
class StackedOutput:
    """What a forward pass gives.

    Attributes:
        outputs: (members, rows, outputs).
        penalty: (members,), what regularisers add to the loss.
    """

    outputs: Any
    penalty: Any


class StackedNetwork:
    """Networks of one shape over a leading axis.

    Attributes:
        size: How many.
        variables: Stacked, in the order of `keras.Sequential.variables`; vectors and matrices have three
            axes, (members, 1 or rows, columns), so that one number a member fits all of them.
        trainable: Those that are trained, in the order of `trainable_variables`.
        hyperparameters: The numbers that differ from member to member.
        body: The hidden layers of the first member, each with its settings in each member.
        head: The last layer of the first member.
    """

    def __init__(self, members: Sequence[StackMember]) -> None:
        """Stack them.

        Args:
            members: At least one; of one shape.
        """
        self.size = len(members)
        first = members[0].network
        *hidden, self.head = first.layers
        self.body: list[tuple[Any, list[AnyLayer]]] = [
            (layer, [member.config.model.layers[place] for member in members])
            for place, layer in enumerate(hidden)
        ]
        self._configs = [member.config for member in members]
        self._place = {id(variable): place for place, variable in enumerate(first.variables)}
        self.variables = [
            keras.Variable(
                self.stacked([member.network.variables[place].numpy() for member in members]),
                trainable=variable.trainable,
                dtype=variable.dtype,
                name=variable.path.replace("/", "_"),
            )
            for place, variable in enumerate(first.variables)
        ]
        self.trainable = [self.of(variable) for variable in first.trainable_variables]
        self.hyperparameters: dict[str, NDArray[np.float32]] = {}
        self._learn_knobs()

    @staticmethod
    def stacked(values: Sequence[Any]) -> NDArray[Any]:
        """One variable of each member, as `variables` has them."""
        arrays = [np.asarray(value) for value in values]
        if arrays[0].dtype.kind != "f" or arrays[0].ndim > 2:
            return np.stack(arrays)
        shape = (1,) * (2 - arrays[0].ndim) + arrays[0].shape
        return np.stack([array.reshape(shape) for array in arrays])

    def __call__(
        self,
        x: Any,
        hyperparameters: Mapping[str, Any],
        *,
        training: bool,
        trained: Any = None,
        counted: Any = None,
    ) -> StackedOutput:
        """Inside a program: the forward pass.

        Args:
            x: (members, rows, width).
            hyperparameters: The tensors of `self.hyperparameters`.
            training: With dropout and noise; statistics of normalisation and seeds move on.
            trained: In place of the trainable variables, in their order; None for themselves.
            counted: (members, rows), 1 for a row and 0 for one that only fills up; None for rows alone.
        """
        values = (
            {}
            if trained is None
            else {id(v): t for v, t in zip(self.trainable, trained, strict=True)}
        )
        return _ForwardPass(self, hyperparameters, training, values, counted).through(x)

    def constrain(self) -> None:
        """Inside a program: let constrained variables obey their bounds, after an update."""
        for layer, settings in self._dense():
            dense = settings[0]
            assert isinstance(dense, Dense)
            if dense.kernel_constraint is not None:
                kernel = self.of(layer.kernel)
                kernel.assign(_bounded(dense.kernel_constraint, kernel, 1))
            if dense.use_bias and dense.bias_constraint is not None:
                bias = self.of(layer.bias)
                bias.assign(_bounded(dense.bias_constraint, bias, 2))

    def of(self, variable: Any) -> Any:
        """The stacked variable that holds this variable of the first member."""
        return self.variables[self._place[id(variable)]]

    def _dense(self) -> list[tuple[Any, list[Dense]]]:
        return [
            (layer, [one.dense for one in settings if isinstance(one, DenseLayer)])
            for layer, settings in self.body
            if isinstance(settings[0], DenseLayer)
        ]

    def _learn_knobs(self) -> None:
        for layer, settings in self.body:
            match settings[0]:
                case DropoutLayer():
                    rates = [one.dropout.rate for one in settings if isinstance(one, DropoutLayer)]
                    self.hyperparameters[f"{layer.name}/rate"] = _numbers(rates)
                    self.hyperparameters[f"{layer.name}/kept"] = _numbers(
                        [1 - rate for rate in rates]
                    )
                case GaussianNoiseLayer():
                    self.hyperparameters[f"{layer.name}/stddev"] = _numbers(
                        [
                            one.gaussian_noise.stddev
                            for one in settings
                            if isinstance(one, GaussianNoiseLayer)
                        ]
                    )
                case _:
                    pass
        for layer, dense in self._dense():
            for part in ("kernel", "bias", "activity"):
                self._learn_penalty(
                    f"{layer.name}/{part}", [getattr(one, f"{part}_regularizer") for one in dense]
                )
        self._learn_penalty(
            f"{self.head.name}/kernel", [config.model.head_regularizer for config in self._configs]
        )

    def _learn_penalty(self, name: str, penalties: Sequence[Regularizer | None]) -> None:
        for kind in ("l1", "l2"):
            factors = [0.0 if one is None else float(getattr(one, kind)) for one in penalties]
            if any(factors):
                self.hyperparameters[f"{name}/{kind}"] = _numbers(factors)


class _ForwardPass:
    """One forward pass while it is traced."""

    def __init__(
        self,
        stack: StackedNetwork,
        hyperparameters: Mapping[str, Any],
        training: bool,
        values: dict[int, Any],
        counted: Any,
    ) -> None:
        self._stack, self._knobs, self._training = stack, hyperparameters, training
        self._values, self._counted = values, counted
        self._penalty = tf.zeros((stack.size,), tf.float32)

    def through(self, x: Any) -> StackedOutput:
        stack = self._stack
        for layer, settings in stack.body:
            x = self._hidden(layer, settings[0], x)
        head = stack.head
        outputs = self._product(head, x, use_bias=True)
        self._penalise(f"{head.name}/kernel", self._value(head.kernel))
        return StackedOutput(head.activation(outputs), self._penalty)

    # AutoGraph cannot convert `match`, and would warn of it.
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _hidden(self, layer: Any, settings: AnyLayer, x: Any) -> Any:
        match settings:
            case DenseLayer(dense=dense):
                self._penalise(f"{layer.name}/kernel", self._value(layer.kernel))
                if dense.use_bias:
                    self._penalise(f"{layer.name}/bias", self._value(layer.bias))
                outputs = layer.activation(self._product(layer, x, use_bias=dense.use_bias))
                self._penalise_outputs(f"{layer.name}/activity", outputs)
                return outputs
            case ActivationLayer():
                return layer.activation(x)
            case DropoutLayer():
                return self._dropped(layer, x)
            case GaussianNoiseLayer():
                return self._noisy(layer, x)
            case BatchNormalizationLayer():
                return self._batch_normalised(layer, x)
            case LayerNormalizationLayer():
                return self._layer_normalised(layer, x)
            case FlattenLayer():
                return tf.reshape(x, (*x.shape[:2], -1))
            case ReshapeLayer():
                return tf.reshape(x, (*x.shape[:2], *layer.output.shape[1:]))
            case CustomLayer():
                raise AssertionError("a layer of the user's own is not stacked")
            case _:
                assert_never(settings)

    def _value(self, variable: Any) -> Any:
        stacked = self._stack.of(variable)
        return self._values.get(id(stacked), stacked.value)

    def _knob(self, name: str, like: Any) -> Any:
        """A knob with as many axes as a tensor."""
        return tf.reshape(self._knobs[name], (-1, *(1,) * (len(like.shape) - 1)))

    def _product(self, layer: Any, x: Any, *, use_bias: bool) -> Any:
        kernel = self._value(layer.kernel)
        # Keras multiplies the last axis of whatever there is; here the axes between are one.
        rows = tf.reshape(x, (x.shape[0], -1, x.shape[-1]))
        product = tf.matmul(rows, kernel)
        if use_bias:
            product += self._value(layer.bias)
        return tf.reshape(product, (*x.shape[:-1], kernel.shape[-1]))

    def _penalise(self, name: str, values: Any) -> None:
        """Adds l1 · Σ|v| + l2 · Σv² of each member."""
        for kind, measure in _PENALTIES:
            if f"{name}/{kind}" in self._knobs:
                axes = list(range(1, len(values.shape)))
                self._penalty += self._knobs[f"{name}/{kind}"] * tf.reduce_sum(
                    measure(values), axes
                )

    def _penalise_outputs(self, name: str, outputs: Any) -> None:
        """The same of outputs, as Keras has it: a row's, averaged over the rows."""
        for kind, measure in _PENALTIES:
            if f"{name}/{kind}" in self._knobs:
                each = tf.reduce_sum(measure(outputs), list(range(2, len(outputs.shape))))
                counted = tf.ones_like(each) if self._counted is None else self._counted
                rows = tf.maximum(tf.reduce_sum(counted, axis=1), 1.0)
                total = tf.reduce_sum(each * counted, axis=1)
                self._penalty += self._knobs[f"{name}/{kind}"] * total / rows

    def _drawn(self, layer: Any) -> Any:
        """The seeds of a layer's next draw, which are counted on."""
        state = self._stack.of(layer.seed_generator.state)
        seeds = tf.identity(state.value)
        state.assign(seeds + tf.constant([0, 1], seeds.dtype))
        return seeds

    def _dropped(self, layer: Any, x: Any) -> Any:
        if not self._training or layer.rate == 0:
            return x
        rate = self._knob(f"{layer.name}/rate", x)
        draw = stacked_uniform(x.shape[1:], self._drawn(layer))
        kept = self._knob(f"{layer.name}/kept", x)
        return tf.where(draw >= rate, x / kept, tf.zeros_like(x))

    def _noisy(self, layer: Any, x: Any) -> Any:
        if not self._training or layer.stddev == 0:
            return x
        draw = stacked_normal(x.shape[1:], self._drawn(layer))
        return x + self._knob(f"{layer.name}/stddev", x) * draw

    def _batch_normalised(self, layer: Any, x: Any) -> Any:
        width = x.shape[-1]
        shape = (x.shape[0], *(1,) * (len(x.shape) - 2), width)
        moving = [layer.moving_mean, layer.moving_variance]
        if self._training:
            moments = tf.nn.moments(x, list(range(1, len(x.shape) - 1)), keepdims=True)
            for variable, moment in zip(moving, moments, strict=True):
                stacked = self._stack.of(variable)
                one = tf.reshape(moment, stacked.shape)
                stacked.assign(stacked * layer.momentum + one * (1.0 - layer.momentum))
        else:
            moments = tuple(tf.reshape(self._value(variable), shape) for variable in moving)
        offset = tf.reshape(self._value(layer.beta), shape) if layer.center else None
        scale = tf.reshape(self._value(layer.gamma), shape) if layer.scale else None
        return tf.nn.batch_normalization(x, *moments, offset, scale, layer.epsilon)

    def _layer_normalised(self, layer: Any, x: Any) -> Any:
        shape = (x.shape[0], *(1,) * (len(x.shape) - 2), x.shape[-1])
        outputs = keras.ops.layer_normalization(x, axis=-1, epsilon=layer.epsilon)
        if layer.scale:
            outputs *= tf.reshape(self._value(layer.gamma), shape)
        if layer.center:
            outputs += tf.reshape(self._value(layer.beta), shape)
        return outputs


_PENALTIES = (("l1", tf.abs), ("l2", tf.square))


def _numbers(values: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _bounded(constraint: Constraint, values: Any, axis: int) -> Any:
    """Keras's constraint, over the axis that takes the place of the first one of a member."""
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
