"""The Keras loss for the `loss` section of the config, and the loss of a pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config.losses import Loss


@keras.saving.register_keras_serializable("trainer")
class HalfSquaredError(keras.losses.Loss):  # type: ignore[misc]
    """½ (y - p)², averaged over the outputs of a row."""

    def __init__(self, name: str = "half_squared_error", **settings: Any) -> None:
        super().__init__(name=name, **settings)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return 0.5 * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


@keras.saving.register_keras_serializable("trainer")
class QuantileLoss(keras.losses.Loss):  # type: ignore[misc]
    """max(q (y - p), (q - 1) (y - p)), averaged over the outputs of a row.

    The outputs of a row are the quantiles of the first target column, then those of the next.
    """

    def __init__(
        self, quantiles: Sequence[float], name: str = "quantile_loss", **settings: Any
    ) -> None:
        super().__init__(name=name, **settings)
        self.quantiles = list(quantiles)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        columns = y_pred.shape[-1] // len(self.quantiles)
        quantiles = keras.ops.convert_to_tensor(self.quantiles * columns, y_pred.dtype)
        errors = y_true - y_pred
        losses = keras.ops.maximum(quantiles * errors, (quantiles - 1) * errors)
        return keras.ops.mean(losses, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantiles": self.quantiles}


@keras.saving.register_keras_serializable("trainer")
class MeanWithQuantilesLoss(QuantileLoss):
    """(y - m)² + Σ max(q (y - p), (q - 1) (y - p)), averaged over the target columns of a row.

    The outputs of a row are the mean m and the quantiles p of the first column, then those of the next.
    """

    def __init__(
        self, quantiles: Sequence[float], name: str = "mean_with_quantiles_loss", **settings: Any
    ) -> None:
        super().__init__(quantiles, name, **settings)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        columns = y_pred.shape[-1] // (1 + len(self.quantiles))
        quantiles = keras.ops.convert_to_tensor([0.0, *self.quantiles] * columns, y_pred.dtype)
        errors = y_true - y_pred
        losses = keras.ops.maximum(quantiles * errors, (quantiles - 1) * errors)
        losses = keras.ops.where(quantiles == 0, keras.ops.square(errors), losses)
        return keras.ops.sum(losses, axis=-1) / columns


_OWN_LOSSES = {
    kind.__name__: kind for kind in (HalfSquaredError, QuantileLoss, MeanWithQuantilesLoss)
}


def build_loss(loss: Loss) -> keras.losses.Loss:
    """Return the Keras loss: mean over rows of weight · loss, not divided by the sum of the weights.

    Args:
        loss: The `loss` section, after `auto` is resolved.
    """
    name = loss.kind.keras_loss
    assert name, "`auto` has to be resolved before the loss is built"
    kind = _OWN_LOSSES[name] if name in _OWN_LOSSES else getattr(keras.losses, name)
    return kind(**loss.keras_arguments())


class StackedLoss:
    """The loss of a pack, whose members can differ in their label smoothing.

    Attributes:
        hyperparameters: The settings that differ between members, each (members,) float32.
    """

    def __init__(self, losses: Sequence[Loss]) -> None:
        self._kind = losses[0].kind
        self._unsmoothed = build_loss(losses[0].model_copy(update={"label_smoothing": 0.0}))
        self.hyperparameters: dict[str, NDArray[np.float32]] = {}
        smoothing = [loss.label_smoothing for loss in losses]
        if any(smoothing):
            self.hyperparameters["loss/smoothing"] = np.asarray(smoothing, np.float32)

    def __call__(self, y: Any, outputs: Any, hyperparameters: Mapping[str, Any]) -> Any:
        """Return the (members, rows) losses; for use in a `tf.function`.

        Args:
            y: (members, rows, outputs) targets.
            outputs: (members, rows, outputs) predictions.
            hyperparameters: The tensors of `self.hyperparameters`, among others.
        """
        if "loss/smoothing" in hyperparameters:
            smoothing = tf.reshape(hyperparameters["loss/smoothing"], (-1, 1, 1))
            classes = 2 if self._kind.is_binary else int(y.shape[-1])
            y = y * (1.0 - smoothing) + smoothing / classes
        return self._unsmoothed.call(y, outputs)
