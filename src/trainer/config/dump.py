"""A config → the YAML of a run's `config.yaml`: every default written out, no shorthands.

Owns: what is written. Does not own: how values are written (`yaml_writer`), where to (`runs`).
"""

from __future__ import annotations

from typing import Any

from trainer.config.schema import Config
from trainer.config.yaml_writer import block_text


def dump_config(config: Config) -> str:
    """The config as YAML; loading it gives an equal config."""
    return block_text(resolved_settings(config))


def resolved_settings(config: Config) -> dict[str, Any]:
    """Every setting as plain values; of single columns only what is set."""
    settings = config.model_dump(mode="python")
    settings["data"]["columns"] = {
        name: {key: value for key, value in column.items() if value is not None}
        for name, column in settings["data"]["columns"].items()
    }
    return settings
