"""Prepare a dataset on disk, for tests that compare it with one in memory."""

from trainer.config.schema import Config
from trainer.data.dataset import Dataset
from trainer.data.prepare import prepare


def prepare_streaming(config: Config) -> Dataset:
    """Prepare a dataset whose features stay on disk."""
    return prepare(config, streamed=True)
