"""Settings flattened for trackers: dotted key → value.

The `track` section is never included, because a URI can contain a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.config.dump import resolved_settings
from trainer.config.nodes import join_key
from trainer.config.schema import Config
from trainer.config.yaml_writer import flow_text

Setting = bool | int | float | str

_NOT_HYPERPARAMETERS = {"name", "runtime", "sweep", "track"}


def all_settings(config: Config) -> dict[str, Setting]:
    """Return all settings with a value, by their override keys: `model.layers.0.dense.units`."""
    return dict(_flat(resolved_settings(config), ("track",)))


def hyperparameters(config: Config) -> dict[str, Setting]:
    """Return the non-default settings, without those that do not affect training: name, runtime, sweep
    and track.
    """
    changed = config.model_dump(exclude_defaults=True, exclude=_NOT_HYPERPARAMETERS)
    return dict(_flat(changed, ()))


def _flat(
    settings: Any, excluded: tuple[str, ...], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, Setting]]:
    match settings:
        case dict():
            for key, value in settings.items():
                if path or key not in excluded:
                    yield from _flat(value, excluded, (*path, str(key)))
        case list() | tuple() if any(isinstance(item, dict) for item in settings):
            for index, item in enumerate(settings):
                yield from _flat(item, excluded, (*path, str(index)))
        case list() | tuple():
            yield join_key(path), flow_text(list(settings))
        case None:
            return
        case bool() | int() | float() | str():
            yield join_key(path), settings
