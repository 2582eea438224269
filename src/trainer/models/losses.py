"""The Keras loss for the `loss` section of the config."""

from __future__ import annotations

from typing import Any, assert_never

import keras

from trainer.config.objectives import Loss, LossName


@keras.saving.register_keras_serializable("trainer")
class HalfSquaredError(keras.losses.Loss):  # type: ignore[misc]
    """½ (y - p)², averaged over the outputs of a row."""

    def __init__(self, name: str = "half_squared_error", **settings: Any) -> None:
        super().__init__(name=name, **settings)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return 0.5 * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def build_loss(loss: Loss, name: LossName) -> keras.losses.Loss:
    """Return the Keras loss: mean over rows of weight · loss, not divided by the sum of the weights.

    Args:
        loss: The `loss` section.
        name: Name of the loss after `auto` is resolved.
    """
    smoothing = loss.label_smoothing
    match name:
        case "auto":
            raise AssertionError("`auto` has to be resolved before the loss is built")
        case "binary_crossentropy":
            return keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
        case "binary_focal_crossentropy":
            return keras.losses.BinaryFocalCrossentropy(
                # Without this, Keras ignores alpha.
                apply_class_balancing=True,
                alpha=loss.alpha,
                gamma=loss.gamma,
                label_smoothing=smoothing,
            )
        case "categorical_crossentropy":
            return keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
        case "categorical_focal_crossentropy":
            return keras.losses.CategoricalFocalCrossentropy(
                alpha=loss.alpha, gamma=loss.gamma, label_smoothing=smoothing
            )
        case "kl_divergence":
            return keras.losses.KLDivergence()
        case "poisson":
            return keras.losses.Poisson()
        case "mean_squared_error":
            return keras.losses.MeanSquaredError()
        case "half_squared_error":
            return HalfSquaredError()
        case "mean_absolute_error":
            return keras.losses.MeanAbsoluteError()
        case "mean_absolute_percentage_error":
            return keras.losses.MeanAbsolutePercentageError()
        case "mean_squared_logarithmic_error":
            return keras.losses.MeanSquaredLogarithmicError()
        case "huber":
            return keras.losses.Huber(delta=loss.delta)
        case "log_cosh":
            return keras.losses.LogCosh()
        case _:
            assert_never(name)
