"""The words of `trainer sweep CONFIG key=value…` and a config to search; a trial's own config.

    optimizer.learning_rate=3e-4          an override, as everywhere
    optimizer.name=adam,sgd               searched: over what the file's `sweep.space` says of it
    optimizer.learning_rate=log(1e-4, 1)  searched; as are uniform(…) and int(…)
    metrics=[accuracy,auc]  name="a,b"    overrides: a list, and a text in quotes

Owns: which words are searched, the base config of a sweep as text. Does not own: overrides
(`overrides`), what lists and ranges mean (`domains`).
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


def load_sweep(path: Path, words: Sequence[str] = ()) -> LoadedConfig:
    """A config to search, from a file and the words of the command line.

    Raises:
        ConfigError: With everything that is wrong; also where nothing is searched.
    """
    overrides = sweep_overrides(words)
    try:
        loaded = load_config(path, overrides)
    except InvalidConfigError as error:
        typed = dict(zip(overrides, words, strict=True))
        problems = [_as_typed(problem, typed) for problem in error.problems]
        raise InvalidConfigError(problems, error.valid_config, error.removed) from None
    sweep = loaded.config.sweep
    if sweep is None:
        fix = (
            "write `sweep:` with a `space:`, or say what to try: optimizer.learning_rate=1e-3,1e-2"
        )
        raise ConfigError(Problem(str(path), "settings to search", "no sweep section", fix))
    hidden = list(_hidden_overrides(sweep, words))
    if hidden:
        raise ConfigError(hidden)
    return loaded


def sweep_overrides(words: Sequence[str]) -> list[str]:
    """The words as overrides: those with values to try as ones of `sweep.space`."""
    return [_override(word) for word in words]


def _override(word: str) -> str:
    halves = _halves(word)
    if halves is None or halves[0][0] == "sweep":
        return word
    steps, value = halves
    parts = split_values(value)
    space = join_key(("sweep", "space", join_key(steps)))
    if is_range(value):
        return f"{space}={value}"
    if len(parts) > 1 and all(parts):
        return f"{space}=[{', '.join(parts)}]"
    return word


def _as_typed(problem: Problem, typed: Mapping[str, str]) -> Problem:
    """The problem with the word that its override was made of."""
    text = problem.where.removeprefix("override '").removesuffix("'")
    if text not in typed or typed[text] == text:
        return problem
    fix = _fix_as_typed(problem.fix, typed[text])
    return replace(problem, where=f"override '{typed[text]}'", fix=fix, key="")


def _fix_as_typed(fix: str, word: str) -> str:
    """A fix of the file's form, `write model.layers.1: [{dense: {units: 8}}]`, as a word with all the
    values that were typed.
    """
    match = re.fullmatch(r"(.*write )(\S+): \[\{.*\}\]", fix)
    halves = _halves(word)
    if match is None or halves is None:
        return fix
    steps, value = halves
    above = parse_key(match[2]) or ()
    rest = steps[len(above) :]
    opening = "".join(f"{{{step}: " for step in rest)
    whole = [f"{opening}{part}{'}' * len(rest)}" for part in split_values(value)]
    if len(whole) < 2 or is_range(value):
        return fix
    return match[1] + shlex.quote(f"{match[2]}={','.join(whole)}")


def _halves(word: str) -> tuple[tuple[str, ...], str] | None:
    """Key and value of `key=value`; None for other words."""
    if word.startswith(("-", "+", "~")):
        return None
    for index, character in enumerate(word):
        if character == "=":
            steps = parse_key(word[:index])
            if steps is not None:
                return steps, word[index + 1 :]
    return None


def _hidden_overrides(sweep: Sweep, words: Sequence[str]) -> list[Problem]:
    """Overrides that no trial would show, as the setting is searched."""
    searched = {parse_key(key): key for each in sweep_dimensions(sweep) for key in each.keys}
    found = []
    for word in words:
        halves = _halves(word)
        if halves is None or _override(word) != word or halves[0] not in searched:
            continue
        key = searched[halves[0]]
        expected = "a setting that the sweep does not search"
        if key in sweep.space:
            fix = f"write ~{join_key(('sweep', 'space', key))} too, to search it no more"
        else:
            fix = "take it out of sweep.pairs"
        found.append(Problem(f"override '{word}'", expected, "one that it does", fix))
    return found


def sweep_text(loaded: LoadedConfig) -> str:
    """The base config with its `sweep` section as YAML, for the sweep's directory.

    What the file, those that it extends, and the overrides state, with absolute paths; not the
    defaults: some depend on other settings, as those of an optimizer on its name, and another one is
    to bring its own.
    """
    root = to_python(loaded.root)
    assert isinstance(root, dict)
    return block_text(root)


def trial_config(loaded: LoadedConfig, settings: Mapping[str, Any]) -> Config:
    """The config of one trial: the base config with its settings, without the `sweep` section.

    The sweep's objective says which epoch is best, and all trials have the same split, also where
    `seed` is searched.

    Raises:
        ConfigError: The settings do not go together.
    """
    config, root = loaded.config, loaded.root
    if root.entries is not None and "sweep" in root.entries:
        root = without_entry(root, "sweep")
    changed = dict(settings)
    if config.sweep is not None and config.sweep.objective is not None:
        changed["fit.checkpoint.monitor"] = config.sweep.objective
    if "seed" in settings and "data.split.seed" not in settings:
        changed["data.split.seed"] = resolved_split_seed(config)
    made = apply_settings(root, changed, find_conflicts)
    if isinstance(made, Config):
        return made
    where = f"{loaded.path}, a trial with {flow_text(settings)}"
    raise ConfigError([problem.at(where) for problem in made])
