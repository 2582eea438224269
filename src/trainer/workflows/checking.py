"""Configs with everything that is wrong with them at once: the settings, and as far as these allow it
the files and columns that they name. No TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from trainer.config.data import Data, NamedSources
from trainer.config.load import InvalidConfigError, LoadedConfig, load_config
from trainer.config.nodes import join_key
from trainer.config.sweep_loading import load_sweep
from trainer.data.features import feature_columns
from trainer.data.sources import expand_sources, is_large
from trainer.data.tables import read_table
from trainer.errors import DataError, Problem


def load_checked(path: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """The config in a file.

    Raises:
        ConfigError: With everything that is wrong, also with the data it names.
    """
    return _checked(lambda: load_config(path, overrides))


def load_sweep_checked(path: Path, words: Sequence[str] = ()) -> LoadedConfig:
    """A config to search, from a file and the words of the command line.

    Raises:
        ConfigError: As `load_checked`; also where nothing is searched.
    """
    return _checked(lambda: load_sweep(path, words))


def missing_sources(data: Data) -> list[Problem]:
    """The files of `data.source` that are not there or cannot be opened, by their keys."""
    return [
        Problem("", wrong.expected, f"{wrong.found}: {wrong.where}", wrong.fix, key)
        for key, source in _sources(data)
        for wrong in expand_sources([source])[1]
    ]


def _checked(load: Callable[[], LoadedConfig]) -> LoadedConfig:
    try:
        return load()
    except InvalidConfigError as wrong:
        from trainer.workflows.plan import with_relative_paths

        more: list[Problem] = []
        if wrong.valid_config is not None:
            valid_config = wrong.valid_config
            found = [each for each in _data_problems(wrong) if not wrong.is_removed(each.key)]
            more = [with_relative_paths(valid_config.locate(each)) for each in found]
        raise InvalidConfigError(
            dict.fromkeys((*wrong.problems, *more)), wrong.valid_config, wrong.removed
        ) from None


def _data_problems(wrong: InvalidConfigError) -> list[Problem]:
    """What is wrong with the data, as far as the valid settings say which they are."""
    assert wrong.valid_config is not None
    data = wrong.valid_config.config.data
    if wrong.is_removed("data.source"):
        return []
    missing = missing_sources(data)
    how = ("data.csv", "data.format")
    if missing or any(wrong.is_removed(key) for key in how) or is_large(data):
        return missing
    try:
        table = read_table(data.source, data)
        _, problems = feature_columns(table, data)
    except DataError as damaged:
        return list(damaged.problems)
    return problems


def _sources(data: Data) -> Iterator[tuple[str, str]]:
    """Each source with its key."""
    named = (
        {("data", "source", name): files for name, files in data.source}
        if isinstance(data.source, NamedSources)
        else {("data", "source"): data.source}
    )
    for path, files in named.items():
        if isinstance(files, str):
            yield join_key(path), files
        for index, file in enumerate([] if files is None or isinstance(files, str) else files):
            yield join_key((*path, index)), file
