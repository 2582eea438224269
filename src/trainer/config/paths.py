"""Make the paths of a config absolute: relative to the file that contains them or, for overrides, to the
working directory. `${VARIABLE}` and `~` are expanded.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trainer.config.nodes import Entry, Node, join_key, list_node, mapping_node, to_node, with_entry
from trainer.config.pretrained import PRETRAINED_NAMES
from trainer.errors import Problem

_PATH_SETTINGS = (
    ("data", "source"),
    ("data", "pseudonym_key"),
    ("fit", "warm_start"),
    ("data", "tokens", "vocabulary"),
    ("data", "target_tokens", "vocabulary"),
    ("model", "pretrained", "file"),
    ("evaluate", "decisions_from"),
)
_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_CUSTOM_LISTS = (("model", "layers"), ("fit", "callbacks"))


class UnsetVariableError(Exception):
    """A variable in a path has no value; `problem` has no location."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def resolve_paths(root: Node, problems: list[Problem]) -> Node:
    """Return the tree with absolute paths and with the folder of every custom function, so that a
    copy of the config is equivalent.

    Args:
        root: The tree.
        problems: Variables that are not set are appended to it; their paths are not changed.
    """
    for path in _PATH_SETTINGS:
        root = _absolute_at(root, path, absolute_path, join_key(path), problems)
    uri = ("track", "mlflow", "uri")
    root = _absolute_at(root, uri, absolute_uri, join_key(uri), problems)
    root = _with_base_file(root, problems)
    for path in _CUSTOM_LISTS:
        root = _with_folders(root, path, join_key(path), problems)
    return root


def expand_path(text: str) -> str:
    """Expand each `${VARIABLE}` and `~` in a path.

    If the rest of the text is a glob pattern, the values of variables are escaped.

    Raises:
        UnsetVariableError: A variable is not set or is empty.
    """
    is_pattern = glob.has_magic(_VARIABLE.sub("", text))

    def value(match: re.Match[str]) -> str:
        name = match[1]
        content = os.environ.get(name, "")
        if not content:
            where = f"'{text}'"
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                expected = "the name of an environment variable in ${…}"
                raise UnsetVariableError(Problem("", expected, f"'{match[0]}' in {where}"))
            state = "is empty" if name in os.environ else "is not set"
            fix = f"set it before the command, with export {name}=…, or write the path out"
            expected = f"the environment variable {name} to have a value"
            raise UnsetVariableError(Problem("", expected, f"that it {state}, in {where}", fix))
        return glob.escape(content) if is_pattern else content

    expanded = _VARIABLE.sub(value, text)
    return os.path.expanduser(expanded)  # noqa: PTH111 (an unknown ~user is kept)


def absolute_path(text: str, directory: Path) -> str:
    """Return a path of a config, expanded and absolute; an address (`scheme://`) is only expanded.

    If the text is a glob pattern, the name of the directory is escaped.

    Raises:
        UnsetVariableError: A variable in it has no value.
    """
    text = expand_path(text)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        return text
    if os.path.isabs(text):  # noqa: PTH117 (a Path would drop `./`)
        return os.path.normpath(text)
    parent = str(directory)
    if glob.has_magic(text) and not os.path.lexists(directory / text):
        parent = glob.escape(parent)
    return os.path.normpath(os.path.join(parent, text))  # noqa: PTH118


def absolute_uri(text: str, directory: Path) -> str:
    """Return a tracking URI with an absolute file or folder: `sqlite:///mlflow.db`.

    Raises:
        UnsetVariableError: A variable in it has no value.
    """
    text = expand_path(text)
    scheme, separator, path = text.partition(":///")
    if separator and scheme.partition("+")[0] == "sqlite" and not path.startswith(("/", ":")):
        return f"{scheme}:///{directory / path}" if path else text
    if "://" in text:
        return text
    return os.path.normpath(directory / text)


def _absolute_at(
    node: Node,
    path: tuple[str, ...],
    absolute: Callable[[str, Path], str],
    key: str,
    problems: list[Problem],
) -> Node:
    if node.entries is not None:
        entries = {
            name: Entry(
                entry.location,
                _absolute_at(entry.node, path[1:], absolute, key, problems),
                entry.explicit,
            )
            if not path or name == path[0]
            else entry
            for name, entry in node.entries.items()
        }
        return mapping_node(entries, node.location)
    if path:
        return node
    if node.items is not None:
        items = tuple(_absolute_at(item, (), absolute, key, problems) for item in node.items)
        return list_node(items, node.location)
    if isinstance(node.content, str) and node.content:
        try:
            text = absolute(node.content, node.location.source.directory)
        except UnsetVariableError as error:
            problems.append(replace(error.problem, where=str(node.location), key=key))
            return node
        return Node(text, node.location, node.text)
    return node


def _with_base_file(root: Node, problems: list[Problem]) -> Node:
    """Return the tree with an absolute `model.pretrained`, if that is a file."""
    path = ("model", "pretrained")
    node: Node | None = root
    for name in path:
        entry = None if node is None or node.entries is None else node.entries.get(name)
        node = None if entry is None else entry.node
    if node is None or not isinstance(node.content, str) or node.content in PRETRAINED_NAMES:
        return root
    return _absolute_at(root, path, absolute_path, join_key(path), problems)


def _with_folders(node: Node, path: tuple[str, ...], key: str, problems: list[Problem]) -> Node:
    """Return the tree with the `folder` of each custom function in the list at `path`."""
    if path:
        if node.entries is None or path[0] not in node.entries:
            return node
        entry = node.entries[path[0]]
        below = _with_folders(entry.node, path[1:], key, problems)
        return with_entry(node, path[0], Entry(entry.location, below, entry.explicit))
    if node.items is None:
        return node
    items = [
        _with_folder(item, f"{key}.{index}", problems) for index, item in enumerate(node.items)
    ]
    return list_node(tuple(items), node.location)


def _with_folder(item: Node, key: str, problems: list[Problem]) -> Node:
    if item.entries is None or "custom" not in item.entries:
        return item
    entry = item.entries["custom"]
    custom, location = entry.node, entry.node.location
    if isinstance(custom.content, str):
        custom = mapping_node({"function": Entry(location, custom, explicit=False)}, location)
    if custom.entries is None:
        return item
    if "folder" in custom.entries:
        where = f"{key}.custom.folder"
        custom = _absolute_at(custom, ("folder",), absolute_path, where, problems)
    else:
        folder = to_node(os.path.normpath(location.source.directory), location)
        custom = with_entry(custom, "folder", Entry(location, folder, explicit=False))
    return with_entry(item, "custom", Entry(entry.location, custom, entry.explicit))
