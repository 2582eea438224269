"""Options for reading a file, given on the command line with the file: `data.csv.skip=2`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.config.conflict import differs_from_default
from trainer.config.data import Data
from trainer.config.load import validate_tree
from trainer.config.nodes import Location, Source, to_node, to_python
from trainer.config.overrides import Override, apply_overrides, parse_override
from trainer.config.task_rules import TEXT_TASKS
from trainer.errors import ConfigError, Problem

_READING = (("data", "csv"), ("data", "format"))
_TASK = ("data", "task")


def parse_read_options(
    texts: Sequence[str], command: str, *, with_task: bool = False
) -> list[Override]:
    """Parse overrides of the settings for reading files.

    Args:
        texts: The overrides as typed.
        command: The command that accepts them, for messages.
        with_task: Whether `data.task=translate` is accepted, too.

    Raises:
        ConfigError: An override is malformed or sets something else.
    """
    parsed = [parse_override(text, Path.cwd()) for text in texts]
    problems = [result for result in parsed if isinstance(result, Problem)]
    overrides = [result for result in parsed if isinstance(result, Override)]
    expected = f"data.csv.… or data.format, as {command} only accepts settings for reading the file"
    for override in overrides:
        steps = override.steps
        if not (_is_reading(override) or (with_task and _is_task(override))):
            fix = "write, for example, data.csv.separator=';'"
            problems.append(Problem(f"override '{override.text}'", expected, f"'{steps[0]}'", fix))
    if problems:
        raise ConfigError(problems)
    return overrides


def split_read_options(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate settings for reading files and text tasks from other overrides, as typed."""
    reading: list[str] = []
    others: list[str] = []
    for text in texts:
        override = parse_override(text, Path.cwd())
        is_reading = isinstance(override, Override) and (
            _is_reading(override) or _is_task(override)
        )
        (reading if is_reading else others).append(text)
    return reading, others


def _is_reading(override: Override) -> bool:
    return any(override.steps[: len(known)] == known for known in _READING)


def _is_task(override: Override) -> bool:
    value = None if override.value is None else to_python(override.value)
    return override.steps == _TASK and value in TEXT_TASKS


def data_section(source: str, target: str | list[str], texts: Sequence[str]) -> Data:
    """Return a `data` section for a file, with options for reading it.

    Args:
        source: The file.
        target: The target columns.
        texts: The overrides as typed.

    Raises:
        ConfigError: An override is invalid, conflicts with another one or sets something else.
    """
    overrides = parse_read_options(texts, "trainer init", with_task=True)
    command = Path("trainer init")
    location = Location(Source(str(command), Path.cwd()))
    root = to_node({"name": "init", "data": {"source": source, "target": target}}, location)
    root, problems = apply_overrides(root, overrides)
    config, config_problems = validate_tree(root, command)
    problems += config_problems
    if config is None or problems:
        raise ConfigError(problems)
    return config.data


def non_default_read_options(data: Data) -> dict[str, object]:
    """Return the settings of `data.csv` and `data.format` that differ from their defaults."""
    csv = data.csv
    options = {
        name: getattr(csv, name)
        for name in type(csv).model_fields
        if differs_from_default(csv, name)
    }
    settings: dict[str, object] = {} if data.format == "auto" else {"format": data.format}
    return {**settings, **({"csv": options} if options else {})}
