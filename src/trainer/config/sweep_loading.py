"""Load the config of `trainer sweep CONFIG key=value…`, and derive the configs of trials.

optimizer.learning_rate=3e-4          an override, as for all commands
optimizer.name=adam,sgd               searched; replaces the setting's entry in `sweep.space`
optimizer.learning_rate=log(1e-4, 1)  searched; also uniform(…) and int(…)
metrics=[accuracy,auc]  name="a,b"    overrides: a list, and quoted text
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.config.conflicts import find_conflicts
from trainer.config.domains import is_range, split_values
from trainer.config.load import InvalidConfigError, LoadedConfig, load_config
from trainer.config.nodes import join_key, parse_key, to_python, without_entry
from trainer.config.resolve import resolved_split_seed
from trainer.config.schema import Config
from trainer.config.sweeps import Sweep, sweep_dimensions
from trainer.config.trials import apply_settings
from trainer.config.yaml_writer import block_text, flow_text
from trainer.errors import ConfigError, Problem


def load_sweep(path: Path, arguments: Sequence[str] = ()) -> LoadedConfig:
    """Load a config with a sweep from a file and the arguments of the command line.

    Raises:
        ConfigError: The config has errors, or no setting is searched.
    """
    overrides = sweep_overrides(arguments)
    try:
        loaded = load_config(path, overrides)
    except InvalidConfigError as error:
        typed = dict(zip(overrides, arguments, strict=True))
        problems = [_as_typed(problem, typed) for problem in error.problems]
        raise InvalidConfigError(problems, error.valid_config, error.removed) from None
    sweep = loaded.config.sweep
    if sweep is None:
        fix = "write `sweep:` with a `space:`, or give values to try: optimizer.learning_rate=1e-3,1e-2"
        raise ConfigError(Problem(str(path), "settings to search", "no sweep section", fix))
    hidden = list(_hidden_overrides(sweep, arguments))
    if hidden:
        raise ConfigError(hidden)
    return loaded


def sweep_overrides(arguments: Sequence[str]) -> list[str]:
    """Return the arguments as overrides; those with values to try are overrides of `sweep.space`."""
    return [_override(argument) for argument in arguments]


def _override(argument: str) -> str:
    pair = _key_and_value(argument)
    if pair is None or pair[0][0] == "sweep":
        return argument
    steps, value = pair
    parts = split_values(value)
    space = join_key(("sweep", "space", join_key(steps)))
    if is_range(value):
        return f"{space}={value}"
    if len(parts) > 1 and all(parts):
        return f"{space}=[{', '.join(parts)}]"
    return argument


def _as_typed(problem: Problem, typed: Mapping[str, str]) -> Problem:
    """Return the problem with the argument as it was typed."""
    text = problem.where.removeprefix("override '").removesuffix("'")
    if text not in typed or typed[text] == text:
        return problem
    fix = _fix_as_typed(problem.fix, typed[text])
    return replace(problem, where=f"override '{typed[text]}'", fix=fix, key="")


def _fix_as_typed(fix: str, argument: str) -> str:
    """Return a fix for a file, `write model.layers.1: [{dense: {units: 8}}]`, as an argument with
    all values that were typed.
    """
    match = re.fullmatch(r"(.*write )(\S+): \[\{.*\}\]", fix)
    pair = _key_and_value(argument)
    if match is None or pair is None:
        return fix
    steps, value = pair
    parent = parse_key(match[2]) or ()
    rest = steps[len(parent) :]
    opening = "".join(f"{{{step}: " for step in rest)
    alternatives = [f"{opening}{part}{'}' * len(rest)}" for part in split_values(value)]
    if len(alternatives) < 2 or is_range(value):
        return fix
    return match[1] + shlex.quote(f"{match[2]}={','.join(alternatives)}")


def _key_and_value(argument: str) -> tuple[tuple[str, ...], str] | None:
    """Return key and value of `key=value`; None for other arguments."""
    if argument.startswith(("-", "+", "~")):
        return None
    for index, character in enumerate(argument):
        if character == "=":
            steps = parse_key(argument[:index])
            if steps is not None:
                return steps, argument[index + 1 :]
    return None


def _hidden_overrides(sweep: Sweep, arguments: Sequence[str]) -> list[Problem]:
    """Return the overrides of searched settings, which would have no effect."""
    keys = {parse_key(key): key for dimension in sweep_dimensions(sweep) for key in dimension.keys}
    problems = []
    for argument in arguments:
        pair = _key_and_value(argument)
        if pair is None or _override(argument) != argument or pair[0] not in keys:
            continue
        key = keys[pair[0]]
        expected = "a setting that the sweep does not search"
        if key in sweep.space:
            fix = f"write ~{join_key(('sweep', 'space', key))} too, to stop searching it"
        else:
            fix = "remove it from sweep.pairs"
        problems.append(Problem(f"override '{argument}'", expected, "a searched one", fix))
    return problems


def sweep_text(loaded: LoadedConfig) -> str:
    """Return the base config with its `sweep` section as YAML, for the sweep's directory.

    It has the settings of the file, of the files it extends and of the overrides, with absolute
    paths, but no defaults: some depend on searched settings, as those of an optimizer on its name.
    """
    root = to_python(loaded.root)
    assert isinstance(root, dict)
    return block_text(root)


def trial_config(loaded: LoadedConfig, settings: Mapping[str, Any]) -> Config:
    """Return the config of a trial: the base config with its settings, without the `sweep` section.

    The sweep's objective determines the best epoch. All trials have the same split, even if `seed` is
    searched.

    Raises:
        ConfigError: The settings conflict.
    """
    config, root = loaded.config, loaded.root
    if root.entries is not None and "sweep" in root.entries:
        root = without_entry(root, "sweep")
    changed = dict(settings)
    if config.sweep is not None and config.sweep.objective is not None:
        changed["fit.checkpoint.monitor"] = config.sweep.objective
    if "seed" in settings and "data.split.seed" not in settings:
        changed["data.split.seed"] = resolved_split_seed(config)
    result = apply_settings(root, changed, find_conflicts)
    if isinstance(result, Config):
        return result
    where = f"{loaded.path}, a trial with {flow_text(settings)}"
    raise ConfigError([problem.at(where) for problem in result])
