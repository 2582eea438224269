"""Load configs and report all problems at once: in the settings and, as far as the valid settings
allow, in the files and columns that they name. Does not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from trainer.config.data import Data, NamedSources
from trainer.config.load import InvalidConfigError, LoadedConfig, load_config
from trainer.config.nodes import join_key
from trainer.config.sweep_loading import load_sweep
from trainer.data.features import feature_columns
from trainer.data.opening import open_table
from trainer.data.sources import expand_sources, is_large
from trainer.errors import DataError, Problem


def load_checked(
    path: Path, overrides: Sequence[str] = (), text: str | None = None
) -> LoadedConfig:
    """Load the config in a file, or with the given text; see `load_config`.

    Raises:
        ConfigError: All problems, including those of its data.
    """
    return _checked(lambda: load_config(path, overrides, text))


def load_sweep_checked(path: Path, arguments: Sequence[str] = ()) -> LoadedConfig:
    """Load a config with a search space from a file and command-line arguments.

    Raises:
        ConfigError: All problems, as in `load_checked`, or that no setting is searched.
    """
    return _checked(lambda: load_sweep(path, arguments))


def missing_sources(data: Data) -> list[Problem]:
    """Return problems for files of `data.source` that do not exist or cannot be opened."""
    return [
        Problem("", problem.expected, f"{problem.found}: {problem.where}", problem.fix, key)
        for key, source in _sources(data)
        for problem in expand_sources([source])[1]
    ]


def _checked(load: Callable[[], LoadedConfig]) -> LoadedConfig:
    try:
        return load()
    except InvalidConfigError as error:
        from trainer.config.locations import with_relative_paths

        data_problems: list[Problem] = []
        if error.valid_config is not None:
            valid = error.valid_config
            problems = [
                problem for problem in _data_problems(error) if not error.is_removed(problem.key)
            ]
            data_problems = [with_relative_paths(valid.locate(problem)) for problem in problems]
        raise InvalidConfigError(
            dict.fromkeys((*error.problems, *data_problems)), error.valid_config, error.removed
        ) from None


def _data_problems(error: InvalidConfigError) -> list[Problem]:
    """Return problems of the data, as far as the valid settings specify them."""
    assert error.valid_config is not None
    data = error.valid_config.config.data
    if error.is_removed("data.source"):
        return []
    missing = missing_sources(data)
    reading_settings = ("data.csv", "data.format")
    if missing or any(error.is_removed(key) for key in reading_settings) or is_large(data):
        return missing
    try:
        _, problems = feature_columns(open_table(data, streamed=False).header, data)
    except DataError as data_error:
        return list(data_error.problems)
    return problems


def _sources(data: Data) -> Iterator[tuple[str, str]]:
    """Yield each source with its key."""
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
