"""Settings that follow from others, in a valid config."""

from __future__ import annotations

from trainer.config.encoders import with_encoder_vocabulary
from trainer.config.generation import with_generation_monitor
from trainer.config.schema import Config
from trainer.config.translation import with_translation_tokens


def with_implied_settings(config: Config) -> Config:
    """Return a config with the settings that its task and its encoder imply."""
    return with_generation_monitor(with_translation_tokens(with_encoder_vocabulary(config)))
