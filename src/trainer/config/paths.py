"""Paths in a config made absolute: each relative to the file it stands in, or, of an override, to the
working directory.

Owns: which settings are paths, and where functions of the user's own are looked for. Does not own: what
is at a path.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from pathlib import Path

from trainer.config.nodes import Entry, Node, list_node, mapping_node, node_of, with_entry

_PATH_SETTINGS = (
    ("data", "source"),
    ("fit", "warm_start"),
    ("evaluate", "decisions_from"),
)
_CUSTOM_LISTS = (("model", "layers"), ("fit", "callbacks"))


def with_absolute_paths(root: Node) -> Node:
    """The config's tree with absolute paths, and with the folder of every custom function written out,
    so that the config means the same wherever it is copied to.
    """
    for path in _PATH_SETTINGS:
        root = _absolute_at(root, path, absolute_path)
    root = _absolute_at(root, ("track", "mlflow", "uri"), absolute_store)
    for path in _CUSTOM_LISTS:
        root = _with_folders(root, path)
    return root


def absolute_path(text: str, directory: Path) -> str:
    """A path as written in a config made absolute. `~` is understood, addresses are left alone.

    Where the text is a pattern, brackets and stars of the directory's own name are escaped.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        return text
    expanded = os.path.expanduser(text)  # noqa: PTH111 (an unknown ~user is left alone)
    if os.path.isabs(expanded):  # noqa: PTH117 (text in, text out: a Path would take `./` off)
        return os.path.normpath(expanded)
    parent = str(directory)
    if glob.has_magic(text) and not os.path.lexists(directory / text):
        parent = glob.escape(parent)
    return os.path.normpath(os.path.join(parent, expanded))  # noqa: PTH118


def absolute_store(text: str, directory: Path) -> str:
    """The address of a store with the file or folder in it made absolute: `sqlite:///mlflow.db`."""
    scheme, separator, place = text.partition(":///")
    if separator and scheme.partition("+")[0] == "sqlite" and not place.startswith(("/", ":")):
        return f"{scheme}:///{directory / place}" if place else text
    if "://" in text:
        return text
    return os.path.normpath(directory / os.path.expanduser(text))  # noqa: PTH111 (as above)


def _absolute_at(node: Node, path: tuple[str, ...], absolute: Callable[[str, Path], str]) -> Node:
    if node.entries is not None:
        entries = {
            key: Entry(entry.place, _absolute_at(entry.node, path[1:], absolute), entry.written)
            if not path or key == path[0]
            else entry
            for key, entry in node.entries.items()
        }
        return mapping_node(entries, node.place)
    if path:
        return node
    if node.items is not None:
        return list_node(tuple(_absolute_at(item, (), absolute) for item in node.items), node.place)
    if isinstance(node.content, str) and node.content:
        text = absolute(node.content, node.place.source.directory)
        return Node(text, node.place, node.text)
    return node


def _with_folders(node: Node, path: tuple[str, ...]) -> Node:
    """What is custom in the list at `path` with its `folder`."""
    if path:
        if node.entries is None or path[0] not in node.entries:
            return node
        entry = node.entries[path[0]]
        below = _with_folders(entry.node, path[1:])
        return with_entry(node, path[0], Entry(entry.place, below, entry.written))
    if node.items is None:
        return node
    return list_node(tuple(_with_folder(item) for item in node.items), node.place)


def _with_folder(item: Node) -> Node:
    if item.entries is None or "custom" not in item.entries:
        return item
    entry = item.entries["custom"]
    custom, place = entry.node, entry.node.place
    if isinstance(custom.content, str):
        custom = mapping_node({"function": Entry(place, custom, written=False)}, place)
    if custom.entries is None:
        return item
    if "folder" in custom.entries:
        custom = _absolute_at(custom, ("folder",), absolute_path)
    else:
        folder = node_of(os.path.normpath(place.source.directory), place)
        custom = with_entry(custom, "folder", Entry(place, folder, written=False))
    return with_entry(item, "custom", Entry(entry.place, custom, entry.written))
