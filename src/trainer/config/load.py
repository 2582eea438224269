"""Load a config file with overrides into a valid `Config`, or report all problems at once.

Precedence, low to high: defaults, the file in `extends`, the file itself, overrides. Relative paths are
made absolute here, relative to the file that contains them (for overrides, to the working directory).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from trainer.config.conflict import Conflict
from trainer.config.conflicts import find_conflicts
from trainer.config.file_formats import FORMAT_SUFFIXES
from trainer.config.generation import with_generation_defaults
from trainer.config.image_folders import with_folder_settings
from trainer.config.implied import with_implied_settings
from trainer.config.issues import ValidationIssue
from trainer.config.matching import EXTENDS
from trainer.config.merging import merge_nodes
from trainer.config.nodes import (
    Entry,
    KeyPath,
    Node,
    Source,
    find_location,
    mapping_node,
    parse_key,
    to_node,
    to_python,
    with_entry,
    without_entry,
)
from trainer.config.overrides import Override, apply_overrides, parse_override
from trainer.config.paths import UnsetVariableError, expand_path, resolve_paths
from trainer.config.schema import Config
from trainer.config.validation import MAX_PROBLEMS, issues_from_pydantic, validation_issues
from trainer.config.value_fixes import format_value
from trainer.config.yaml_reader import parse_yaml, read_yaml
from trainer.errors import ConfigError, Problem, command_text

TABLE_SUFFIXES = frozenset({".gz", ".zip", ".zst", *FORMAT_SUFFIXES})
"""The extensions of tables, compressed ones included."""
_MAX_CHAIN = 20


@dataclass(frozen=True)
class LoadedConfig:
    """A valid config with the source of its settings.

    Attributes:
        config: The config; its paths are absolute.
        path: The file, as given by the user.
        root: The config as a tree of nodes.
        text: The content of the file, of a config that is not in a file; its run keeps it.
    """

    config: Config
    path: Path
    root: Node = field(repr=False, compare=False)
    text: str | None = field(default=None, repr=False, compare=False)

    def locate(self, problem: Problem) -> Problem:
        """Return the problem with the location of its key: `file:line:column`, or the override.

        A key that is not in the file gets the location of its nearest ancestor, else the file. A problem
        that already has a location keeps it.
        """
        return _with_location(problem, self.root, self.path)


class InvalidConfigError(ConfigError):
    """A config with errors, some settings of which are usable.

    Attributes:
        valid_config: The config of the valid settings, with a placeholder for a missing or invalid
            source or target; None if there is none.
        removed: The settings that were removed from it.
    """

    def __init__(
        self,
        problems: Iterable[Problem],
        valid_config: LoadedConfig | None = None,
        removed: frozenset[KeyPath] = frozenset(),
    ) -> None:
        super().__init__(problems)
        self.valid_config, self.removed = valid_config, removed

    def is_removed(self, key: str) -> bool:
        """Return whether a setting, its section or a part of it was removed from the valid settings.

        Problems of the data have no key, and nothing is removed for them.
        """
        steps = parse_key(key)
        return steps is not None and any(_overlap(path, steps) for path in self.removed)


def _with_location(problem: Problem, root: Node, path: Path) -> Problem:
    if problem.where:
        return problem
    location = find_location(root, problem.key) if problem.key else None
    return _without_repeated_key(problem.at(str(path if location is None else location)))


def _without_repeated_key(problem: Problem) -> Problem:
    """Return the problem without its key if its location is an override of the same key."""
    if problem.key and problem.where.startswith(
        (f"override '{problem.key}=", f"override '~{problem.key}'")
    ):
        return replace(problem, key="")
    return problem


def load_config(path: Path, overrides: Sequence[str] = (), text: str | None = None) -> LoadedConfig:
    """Load a config file with the file it extends and overrides.

    Args:
        path: The file.
        overrides: The overrides, as typed.
        text: The content of a config that is not in a file; problems refer to it as `path`.

    Raises:
        InvalidConfigError: The config has errors; all of them are reported, in the order of the files.
    """
    problems: list[Problem] = []
    parsed: list[Override] = []
    for given in overrides:
        override = parse_override(given, Path.cwd())
        if isinstance(override, Problem):
            problems.append(override)
        else:
            parsed.append(override)
    root = _read(path, (), problems, text)
    if root is None:
        raise ConfigError(problems)
    root, override_problems = apply_overrides(root, parsed)
    problems += override_problems
    root = with_generation_defaults(with_folder_settings(resolve_paths(root, problems)))
    assert root.entries is not None
    if "name" not in root.entries:
        name = to_node(name_from_path(path), root.location)
        root = with_entry(root, "name", Entry(root.location, name, explicit=False))
    config, config_problems = validate_tree(root, path)
    problems += config_problems
    if config is None or problems:
        part, removed = (config, frozenset[KeyPath]()) if config is not None else valid_part(root)
        valid_config = None if part is None else LoadedConfig(part, path, root)
        raise InvalidConfigError(
            [_without_repeated_key(problem) for problem in problems], valid_config, removed
        )
    return LoadedConfig(config, path, root, text)


def name_from_path(path: Path) -> str:
    """Return a file's name as the name of an experiment: without suffix, with invalid characters
    replaced.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-")[:100]
    return stem or "run"


def _read(
    path: Path, chain: tuple[Path, ...], problems: list[Problem], text: str | None = None
) -> Node | None:
    """Return the content of a file merged with the file it extends; None if it cannot be used."""
    document = read_yaml(path) if text is None else parse_yaml(text, Source(str(path), Path.cwd()))
    problems += document.problems
    root = document.root
    if root is None or root.entries is None:
        if not document.problems:
            problems.append(_not_a_mapping(path, root))
        return None
    entry = root.entries.get(EXTENDS)
    if entry is None:
        return root
    root = without_entry(root, EXTENDS)
    base = _base_of(entry, path, (*chain, path.resolve()), problems)
    return root if base is None else merge_nodes(base, root)


def _not_a_mapping(path: Path, root: Node | None) -> Problem:
    expected = "a mapping with at least data.source and data.target"
    if path.suffix in TABLE_SUFFIXES:
        fix = (
            f"a table is not a config; write one with: {command_text('init', path)} --target COLUMN"
        )
    else:
        fix = "write one with: trainer init DATA --target COLUMN"
    if root is None:
        return Problem(str(path), expected, "an empty file", fix)
    return Problem(str(root.location), expected, format_value(to_python(root), root.text), fix)


def _base_of(
    entry: Entry, path: Path, chain: tuple[Path, ...], problems: list[Problem]
) -> Node | None:
    name = entry.node.content
    where = str(entry.node.location)
    if not isinstance(name, str) or not name:
        found = format_value(to_python(entry.node), entry.node.text)
        fix = "write `extends: other.yaml`"
        problems.append(Problem(where, "the path of one other config", found, fix, EXTENDS))
        return None
    try:
        base = path.parent / expand_path(name)
    except UnsetVariableError as error:
        problems.append(replace(error.problem, where=where, key=EXTENDS))
        return None
    if base.resolve() in chain:
        found = f"'{name}', which extends {path}"
        fix = "remove one `extends` of the cycle"
        problems.append(
            Problem(where, "a config that does not extend this one", found, fix, EXTENDS)
        )
        return None
    if len(chain) > _MAX_CHAIN:
        expected = f"at most {_MAX_CHAIN} configs that extend each other"
        problems.append(Problem(where, expected, "more", "merge some of them", EXTENDS))
        return None
    before = len(problems)
    root = _read(base, chain, problems)
    for index, problem in enumerate(problems[before:], before):
        if problem.where == str(base):  # the file itself, not a value in it
            found = f"'{name}': {problem.found}"
            problems[index] = Problem(where, problem.expected, found, problem.fix, EXTENDS)
    return root


def validate_tree(root: Node, path: Path) -> tuple[Config | None, list[Problem]]:
    """Return the config of a tree, None if it is not valid, and all its problems."""
    issues = validation_issues(root)
    config: Config | None = None
    try:
        config = with_implied_settings(Config.model_validate(to_python(root)))
    except ValidationError as error:
        issues = issues or issues_from_pydantic(error, str(path))
    problems = [issue.problem for issue in issues]
    if config is not None and not issues:
        conflicts = find_conflicts(config)
    else:
        conflicts = _conflicts_of_valid_part(root, issues)
    problems += [_with_location(conflict.problem, root, path) for conflict in conflicts]
    return (config if not problems else None), problems


def _conflicts_of_valid_part(root: Node, issues: Sequence[ValidationIssue]) -> list[Conflict]:
    """Return conflicts between the valid settings of a config with invalid ones."""
    if len(issues) > MAX_PROBLEMS:
        return []
    config, removed = valid_part(root)
    if config is None:
        return []
    return [
        conflict
        for conflict in find_conflicts(config)
        if not any(
            _overlap(path, (parse_key(key) or ())) for path in removed for key in conflict.keys
        )
    ]


def valid_part(root: Node) -> tuple[Config | None, frozenset[KeyPath]]:
    """Return the config of the valid settings of a tree, and the settings that were removed."""
    issues = validation_issues(root)
    removed: set[KeyPath] = set()
    valid_config = root
    for _ in range(10):
        if not issues:
            break
        paths = {_before_list(issue.path) for issue in issues}
        paths = {path[:-1] if path in removed else path for path in paths}
        removed |= paths
        for path in paths:
            valid_config = _without(valid_config, path)
        valid_config = _with_required(valid_config, removed)
        issues = validation_issues(valid_config)
    try:
        return Config.model_validate(to_python(valid_config)), frozenset(removed)
    except ValidationError:
        return None, frozenset(removed)


def _before_list(path: KeyPath) -> KeyPath:
    """Return a path up to the first list, from which single items are not removed."""
    for index, step in enumerate(path):
        if isinstance(step, int):
            return path[:index]
    return path


def _without(node: Node, path: KeyPath) -> Node:
    if not path or node.entries is None or path[0] not in node.entries:
        return node
    key = str(path[0])
    if len(path) == 1:
        return without_entry(node, key)
    entry = node.entries[key]
    return with_entry(
        node, key, Entry(entry.location, _without(entry.node, path[1:]), entry.explicit)
    )


def _with_required(root: Node, removed: set[KeyPath]) -> Node:
    """Return the tree with placeholders for `data.source` and `data.target`, which have no defaults."""
    assert root.entries is not None
    data = root.entries["data"].node if "data" in root.entries else None
    if data is None or data.entries is None:
        data = mapping_node({}, root.location)
        removed.add(("data",))
    for key in ("source", "target"):
        if key not in (data.entries or {}):
            data = with_entry(data, key, Entry(data.location, to_node("x", data.location)))
            removed.add(("data", key))
    return with_entry(root, "data", Entry(data.location, data))


def _overlap(path: KeyPath, key: tuple[str, ...]) -> bool:
    length = min(len(path), len(key))
    return path[:length] == key[:length]
