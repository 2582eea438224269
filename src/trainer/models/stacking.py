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
from numpy.typing import NDArray

from trainer.config.layers.base import LayerKind
from trainer.config.layers.dense import Dense
from trainer.config.schema import Config
from trainer.config.weights import Constraint, MaxNorm, MinMaxNorm, Regularizer
from trainer.models.kernel_padding import crop_kernel, pad_kernel
from trainer.models.layers import embedding_layers
from trainer.models.stacked_forward import ForwardPass, StackedOutput
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
        return ForwardPass(self, hyperparameters, training, values, mask).run(x)

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
