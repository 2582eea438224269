"""Folders of images as `data.source`: implied settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from trainer.config.images import FOLDER_LABEL, FOLDER_PATH, IMAGE_SUFFIXES
from trainer.config.nodes import Entry, Node, mapping_node, to_node, with_entry


def is_image(name: str) -> bool:
    """Return whether a file name has the extension of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 (a million names)


def is_image_folder(path: str | Path) -> bool:
    """Return whether a path is a folder with an image or a folder in it."""
    try:
        with os.scandir(path) as entries:
            visible = (entry for entry in entries if not entry.name.startswith("."))
            return any(is_image(entry.name) or _is_folder(entry) for entry in visible)
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def with_folder_settings(root: Node) -> Node:
    """Return the tree with the settings that a folder of images as `data.source` implies.

    The target is the label, whose values are classes even if they are numbers, and the path is a
    column of images.
    """
    data = None if root.entries is None else root.entries.get("data")
    source = None if data is None or data.node.entries is None else data.node.entries.get("source")
    if data is None or source is None or not any(map(is_image_folder, _paths(source.node))):
        return root
    section = data.node
    assert section.entries is not None
    if "target" not in section.entries:
        section = _with_default(section, "target", to_node(FOLDER_LABEL, source.location))
    assert section.entries is not None
    columns = section.entries.get("columns")
    node = mapping_node({}, source.location) if columns is None else columns.node
    for name, kind in ((FOLDER_PATH, "image"), (FOLDER_LABEL, "categorical")):
        if node.entries is None:
            return with_entry(root, "data", Entry(data.location, section, data.explicit))
        settings = node.entries.get(name)
        column = mapping_node({}, source.location) if settings is None else settings.node
        if column.entries is not None and "kind" not in column.entries:
            column = _with_default(column, "kind", to_node(kind, source.location))
            node = _with_default(node, name, column)
    section = _with_default(section, "columns", node)
    return with_entry(root, "data", Entry(data.location, section, data.explicit))


def _with_default(node: Node, key: str, value: Node) -> Node:
    return with_entry(node, key, Entry(value.location, value, explicit=False))


def _paths(source: Node) -> Iterator[str]:
    """Yield the paths of a source: one, a list, or those of each split."""
    if source.entries is not None:
        for entry in source.entries.values():
            yield from _paths(entry.node)
    elif source.items is not None:
        for item in source.items:
            yield from _paths(item)
    elif isinstance(source.content, str):
        yield source.content
