"""Settings as the flat lists that trackers keep: dotted key → value.

Owns: which settings are told and how they are flattened. The `track` section never is: an address can
hold a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.config.dump import resolved_settings
from trainer.config.nodes import join_key
from trainer.config.schema import Config
from trainer.config.yaml_writer import flow_text

Setting = bool | int | float | str

_NOT_LEARNT_WITH = {"name", "runtime", "sweep", "track"}


def all_settings(config: Config) -> dict[str, Setting]:
    """All settings that have a value, by their keys in overrides: `model.layers.0.dense.units`."""
    return dict(_flat(resolved_settings(config), ("track",)))


def hyperparameters(config: Config) -> dict[str, Setting]:
    """The settings that are not at their defaults, but for those that nothing is learnt with: name,
    runtime, sweep and track.
    """
    stated = config.model_dump(exclude_defaults=True, exclude=_NOT_LEARNT_WITH)
    return dict(_flat(stated, ()))


def _flat(
    settings: Any, left_out: tuple[str, ...], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, Setting]]:
    match settings:
        case dict():
            for key, value in settings.items():
                if path or key not in left_out:
                    yield from _flat(value, left_out, (*path, str(key)))
        case list() | tuple() if any(isinstance(item, dict) for item in settings):
            for index, item in enumerate(settings):
                yield from _flat(item, left_out, (*path, str(index)))
        case list() | tuple():
            yield join_key(path), flow_text(list(settings))
        case None:
            return
        case bool() | int() | float() | str():
            yield join_key(path), settings
