"""Keras callbacks of the user's own, called at epoch grain.

Owns: when they are called, what they see, which are refused. Does not own: their making
(`trainer.models.custom`).
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from trainer.engine.batches import Stepper

_BATCH_HOOKS = tuple(
    f"on_{phase}batch_{end}"
    for phase in ("", "train_", "test_", "predict_")
    for end in ("begin", "end")
)


def batch_hooks(callback: keras.callbacks.Callback) -> list[str]:
    """The hooks of a callback that ask for batches, of which there are none: an epoch is one program."""
    return [
        name
        for name in _BATCH_HOOKS
        if getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name)
    ]


class Callbacks:
    """Callbacks in training; their `model` has the weights, the optimizer and `stop_training`."""

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], model: Stepper) -> None:
        self._model = model
        self._model.stop_training = False
        self._all = keras.callbacks.CallbackList(list(callbacks), model=model)

    def begin(self) -> None:
        """Training begins."""
        self._all.on_train_begin()

    def epoch_begin(self, epoch: int) -> None:
        """An epoch (numbered from 1; Keras counts from 0) begins."""
        self._all.on_epoch_begin(epoch - 1)

    def epoch_end(self, epoch: int, measures: dict[str, float]) -> str | None:
        """An epoch has ended with these measures; why training should stop, if a callback says so."""
        self._all.on_epoch_end(epoch - 1, dict(measures))
        return "a callback stopped training" if self._model.stop_training else None

    def end(self) -> None:
        """Training has ended."""
        self._all.on_train_end()
