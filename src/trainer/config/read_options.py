"""Settings of how a file is read, stated on the command line beside the file: `data.csv.skip=2`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.config.conflict import differs_from_default
from trainer.config.data import Data
from trainer.config.load import validate_tree
from trainer.config.nodes import Place, Source, to_node
from trainer.config.overrides import Override, apply_overrides, parse_override
from trainer.errors import ConfigError, Problem

_READING = (("data", "csv"), ("data", "format"))


def parse_read_options(texts: Sequence[str], command: str) -> list[Override]:
    """The settings, of which none is about anything but reading.

    Args:
        texts: As they were typed.
        command: The command that takes them, for messages.

    Raises:
        ConfigError: One is malformed, or is about something else.
    """
    parsed = [parse_override(text, Path.cwd()) for text in texts]
    problems = [one for one in parsed if isinstance(one, Problem)]
    overrides = [one for one in parsed if isinstance(one, Override)]
    expected = f"data.csv.… or data.format: {command} takes settings of how a file is read"
    for one in overrides:
        steps = one.steps
        if not any(steps[: len(known)] == known for known in _READING):
            fix = "write for example data.csv.separator=';'"
            problems.append(Problem(f"override '{one.text}'", expected, f"'{steps[0]}'", fix))
    if problems:
        raise ConfigError(problems)
    return overrides


def data_section(source: str, target: str | list[str], texts: Sequence[str]) -> Data:
    """A `data` section for a file, with settings of how it is read.

    Args:
        source: The file.
        target: The columns to predict.
        texts: The settings, as they were typed.

    Raises:
        ConfigError: One is wrong or is about something else, or they contradict each other.
    """
    overrides = parse_read_options(texts, "trainer init")
    command = Path("trainer init")
    place = Place(Source(str(command), Path.cwd()))
    root = to_node({"name": "init", "data": {"source": source, "target": target}}, place)
    root, problems = apply_overrides(root, overrides)
    config, found = validate_tree(root, command)
    problems += found
    if config is None or problems:
        raise ConfigError(problems)
    return config.data


def non_default_read_options(data: Data) -> dict[str, object]:
    """The settings of `data.csv` and `data.format` that are not their defaults, as they are written."""
    csv = data.csv
    stated = {
        name: getattr(csv, name)
        for name in type(csv).model_fields
        if differs_from_default(csv, name)
    }
    settings: dict[str, object] = {} if data.format == "auto" else {"format": data.format}
    return {**settings, **({"csv": stated} if stated else {})}
