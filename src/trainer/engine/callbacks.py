"""User-defined Keras callbacks, called once per epoch.

Attributes that are numbers, strings, arrays, or lists and dictionaries of these are saved in checkpoints
and restored on resume. All others (open files, functions) keep the values set by `on_train_begin`.
`trainer.models.custom` imports the callbacks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from trainer.engine.state import State

_ARRAYS = "callbacks/"
# Attributes that Keras itself sets.
_KERAS = {"_model", "params", "validation_data"}

_BATCH_HOOKS = tuple(
    f"on_{phase}batch_{end}"
    for phase in ("", "train_", "test_", "predict_")
    for end in ("begin", "end")
)


def batch_hooks(callback: keras.callbacks.Callback) -> list[str]:
    """Return the batch-level hooks that a callback overrides.

    They are not supported: an epoch is one program.
    """
    return [
        name
        for name in _BATCH_HOOKS
        if getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name)
    ]


class Callbacks:
    """Callbacks of a training run; their `model` has the weights, the optimizer and `stop_training`."""

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], model: keras.Model) -> None:
        self._model = model
        self._model.stop_training = False
        self._callbacks = list(callbacks)
        self._list = keras.callbacks.CallbackList(list(callbacks), model=model)
        self._restored: list[dict[str, Any]] = []

    def on_train_begin(self) -> None:
        """Call `on_train_begin`, then restore saved attributes when training is resumed."""
        self._list.on_train_begin()
        for callback, attributes in zip(self._callbacks, self._restored, strict=False):
            for name, value in attributes.items():
                if _is_saved(getattr(callback, name, value)):
                    setattr(callback, name, value)

    def json_states(self) -> list[str]:
        """Return the JSON-serializable attributes of each callback, as JSON."""
        return [
            json.dumps(
                {name: _to_json(value) for name, value in _attributes(callback) if _is_json(value)}
            )
            for callback in self._callbacks
        ]

    def array_states(self) -> State:
        """Return the attributes of each callback that are arrays or lists of arrays."""
        state: State = {}
        for number, callback in enumerate(self._callbacks):
            for name, value in _attributes(callback):
                if isinstance(value, np.ndarray) and _arrays(value):
                    state[f"{_ARRAYS}{number}/{name}"] = value.copy()
                else:
                    for index, array in enumerate(_arrays(value)):
                        state[f"{_ARRAYS}{number}/{name}/{index:04d}"] = array.copy()
        return state

    def restore(self, json_states: Sequence[str], array_states: Mapping[str, Any]) -> None:
        """Restore saved attributes when training begins.

        Raises:
            ValueError: A state is not a JSON object.
            IndexError: An array belongs to a callback that does not exist.
        """
        self._restored = [dict(json.loads(text)) for text in json_states]
        for key, value in sorted(array_states.items()):
            if not key.startswith(_ARRAYS):
                continue
            number, name, *index = key.removeprefix(_ARRAYS).split("/")
            attributes = self._restored[int(number)]
            if index:
                attributes.setdefault(name, []).append(value)
            else:
                attributes[name] = value

    def unsaved_attributes(self) -> list[str]:
        """Return the attributes that are not saved, such as `EarlyStopping.monitor_op`."""
        return [
            f"{type(callback).__name__}.{name}"
            for callback in self._callbacks
            for name, value in _attributes(callback)
            if not _is_saved(value) and not callable(value)
        ]

    def on_epoch_begin(self, epoch: int) -> None:
        """Call `on_epoch_begin`; epochs are numbered from 1 here and from 0 in Keras."""
        self._list.on_epoch_begin(epoch - 1)

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> str | None:
        """Call `on_epoch_end` with these metrics; return a reason if a callback stops training."""
        self._list.on_epoch_end(epoch - 1, dict(metrics))
        return "a callback stopped training" if self._model.stop_training else None

    def on_train_end(self) -> None:
        """Call `on_train_end`."""
        self._list.on_train_end()


def _attributes(callback: keras.callbacks.Callback) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in vars(callback).items() if name not in _KERAS)


def _is_saved(value: Any) -> bool:
    return _is_json(value) or bool(_arrays(value))


def _is_json(value: Any) -> bool:
    match value:
        case None | bool() | int() | float() | str() | np.bool_() | np.integer() | np.floating():
            return True
        case list():
            return all(_is_json(item) for item in value)
        case dict():
            return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
        case _:
            return False


def _to_json(value: Any) -> Any:
    match value:
        case list():
            return [_to_json(item) for item in value]
        case dict():
            return {key: _to_json(item) for key, item in value.items()}
        case np.generic():
            return value.item()
        case _:
            return value


def _arrays(value: Any) -> list[Any]:
    """Return a numeric array, or a list of them, as a list; empty for any other value."""
    values = value if isinstance(value, list) else [value]
    numeric = all(isinstance(item, np.ndarray) and item.dtype.kind in "biuf" for item in values)
    return values if numeric else []
