"""Keras callbacks of the user's own, called at epoch grain.

Of what they remember, numbers, texts, lists and dictionaries of them and arrays are kept over a restart;
the rest (open files, functions) is as `on_train_begin` leaves it.

Owns: when they are called, what they see, what is kept of them, which are refused. Does not own: their
making (`trainer.models.custom`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from trainer.engine.batches import TrainStep
from trainer.engine.state import State

_ARRAYS = "callbacks/"
# What Keras sets, and sets again.
_KERAS = {"_model", "params", "validation_data"}

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

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], model: TrainStep) -> None:
        self._model = model
        self._model.stop_training = False
        self._own = list(callbacks)
        self._all = keras.callbacks.CallbackList(list(callbacks), model=model)
        self._former: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Training begins, or goes on: then they remember what they did."""
        self._all.on_train_begin()
        for callback, former in zip(self._own, self._former, strict=False):
            for name, value in former.items():
                if _is_kept(getattr(callback, name, value)):
                    setattr(callback, name, value)

    def json_states(self) -> list[str]:
        """What each of them remembers in numbers, texts, lists and dictionaries, as JSON."""
        return [
            json.dumps({name: _plain(value) for name, value in _values(one) if _is_plain(value)})
            for one in self._own
        ]

    def arrays(self) -> State:
        """What each of them remembers in arrays and lists of arrays."""
        kept: State = {}
        for number, one in enumerate(self._own):
            for name, value in _values(one):
                if isinstance(value, np.ndarray) and _arrays(value):
                    kept[f"{_ARRAYS}{number}/{name}"] = value.copy()
                else:
                    for place, array in enumerate(_arrays(value)):
                        kept[f"{_ARRAYS}{number}/{name}/{place:04d}"] = array.copy()
        return kept

    def restore(self, json_states: Sequence[str], arrays: Mapping[str, Any]) -> None:
        """Let them go on with what they remembered, once training has begun.

        Raises:
            ValueError: A text is no JSON object.
            IndexError: An array is of a callback that there is not.
        """
        self._former = [dict(json.loads(text)) for text in json_states]
        for key, value in sorted(arrays.items()):
            if not key.startswith(_ARRAYS):
                continue
            number, name, *place = key.removeprefix(_ARRAYS).split("/")
            former = self._former[int(number)]
            if place:
                former.setdefault(name, []).append(value)
            else:
                former[name] = value

    def unsaved_attributes(self) -> list[str]:
        """What each of them remembers besides, and begins anew with: `EarlyStopping.monitor_op`."""
        return [
            f"{type(one).__name__}.{name}"
            for one in self._own
            for name, value in _values(one)
            if not _is_kept(value) and not callable(value)
        ]

    def epoch_begin(self, epoch: int) -> None:
        """An epoch (numbered from 1; Keras counts from 0) begins."""
        self._all.on_epoch_begin(epoch - 1)

    def epoch_end(self, epoch: int, metrics: dict[str, float]) -> str | None:
        """An epoch has ended with these measures; why training should stop, if a callback says so."""
        self._all.on_epoch_end(epoch - 1, dict(metrics))
        return "a callback stopped training" if self._model.stop_training else None

    def end(self) -> None:
        """Training has ended."""
        self._all.on_train_end()


def _values(callback: keras.callbacks.Callback) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in vars(callback).items() if name not in _KERAS)


def _is_kept(value: Any) -> bool:
    return _is_plain(value) or bool(_arrays(value))


def _is_plain(value: Any) -> bool:
    match value:
        case None | bool() | int() | float() | str() | np.bool_() | np.integer() | np.floating():
            return True
        case list():
            return all(_is_plain(one) for one in value)
        case dict():
            return all(isinstance(name, str) and _is_plain(one) for name, one in value.items())
        case _:
            return False


def _plain(value: Any) -> Any:
    match value:
        case list():
            return [_plain(one) for one in value]
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case np.generic():
            return value.item()
        case _:
            return value


def _arrays(value: Any) -> list[Any]:
    """The arrays of an array of numbers, or of a list of such; else none."""
    values = value if isinstance(value, list) else [value]
    numbers = all(isinstance(one, np.ndarray) and one.dtype.kind in "biuf" for one in values)
    return values if numbers else []
