"""The YAML of a run's `config.yaml`: all defaults written out, without shorthands."""

from __future__ import annotations

from typing import Any

from trainer.config.schema import Config
from trainer.config.yaml_writer import block_text


def dump_config(config: Config) -> str:
    """Return the config as YAML; loading it gives an equal config."""
    return block_text(resolved_settings(config))


def resolved_settings(config: Config) -> dict[str, Any]:
    """Return all settings as plain values, but only the explicit settings of individual columns."""
    settings = config.model_dump(mode="python")
    settings["data"]["columns"] = {
        name: {key: value for key, value in column.items() if value is not None}
        for name, column in settings["data"]["columns"].items()
    }
    return settings
