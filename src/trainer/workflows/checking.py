"""Configs with everything that is wrong with them at once: the settings, and as far as these allow it
the files and columns that they name. No TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from trainer.config.data import Data, NamedSources
from trainer.config.load import InvalidConfigError, LoadedConfig, load_config
from trainer.config.nodes import dotted
from trainer.config.sweep_loading import load_sweep
from trainer.data.features import feature_columns
from trainer.data.sources import expand, is_large
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
        for wrong in expand([source])[1]
    ]


def _checked(load: Callable[[], LoadedConfig]) -> LoadedConfig:
    try:
        return load()
    except InvalidConfigError as wrong:
        from trainer.workflows.plan import as_typed

        more: list[Problem] = []
        if wrong.sound is not None:
            sound = wrong.sound
            found = [each for each in _data_problems(wrong) if not wrong.is_cut(each.key)]
            more = [as_typed(sound.locate(each)) for each in found]
        raise InvalidConfigError(
            dict.fromkeys((*wrong.problems, *more)), wrong.sound, wrong.cut
        ) from None


def _data_problems(wrong: InvalidConfigError) -> list[Problem]:
    """What is wrong with the data, as far as the valid settings say which they are."""
    assert wrong.sound is not None
    data = wrong.sound.config.data
    if wrong.is_cut("data.source"):
        return []
    missing = missing_sources(data)
    how = ("data.csv", "data.format")
    if missing or any(wrong.is_cut(key) for key in how) or is_large(data):
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
            yield dotted(path), files
        for index, file in enumerate([] if files is None or isinstance(files, str) else files):
            yield dotted((*path, index)), file
