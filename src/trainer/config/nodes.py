"""A config as a tree of nodes that remember where they were written.

Files and overrides become such trees; they are merged, changed and checked as trees, so that every
value can still be traced to its line when it turns out to be wrong.

Owns: nodes, places, key paths. Does not own: reading YAML, the schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Scalar = str | int | float | bool | None
Step = str | int
KeyPath = tuple[Step, ...]
"""The way from the root to a node: keys of mappings, indices of lists."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text that settings were read from: a file, or one override.

    Attributes:
        label: The file as the user named it, or `override 'key=value'`.
        directory: What relative paths in it are relative to.
        override: The key path that an override names, dotted; None for a file.
    """

    label: str
    directory: Path
    override: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; lines and columns count from 1. Prints as the user would open it."""

    source: Source
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        if self.source.override is not None:
            return self.source.label
        return f"{self.source.label}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping and its value.

    Attributes:
        place: Where the key stands.
        written: False for a key that a shorthand stands for (`units` in `dense: 64`).
    """

    place: Place
    node: Node
    written: bool = True


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar, a list or a mapping.

    Attributes:
        content: The scalar, the items, or the entries by key. Never changed in place.
        place: Where the value starts; for a block of lines, where its key stands.
        text: A scalar as it was written.
        size: Nodes in the tree below, itself included, aliases counted each time.
        depth: Levels of the tree below, itself included.
    """

    content: Scalar | tuple[Node, ...] | Mapping[str, Entry]
    place: Place
    text: str = ""
    size: int = field(default=1, compare=False)
    depth: int = field(default=1, compare=False)

    @property
    def entries(self) -> Mapping[str, Entry] | None:
        """The entries of a mapping, else None."""
        return self.content if isinstance(self.content, Mapping) else None

    @property
    def items(self) -> tuple[Node, ...] | None:
        """The items of a list, else None."""
        return self.content if isinstance(self.content, tuple) else None


def mapping_node(entries: Mapping[str, Entry], place: Place) -> Node:
    """A mapping with its size and depth."""
    nodes = [entry.node for entry in entries.values()]
    return Node(entries, place, "", _size(nodes), _depth(nodes))


def list_node(items: tuple[Node, ...], place: Place) -> Node:
    """A list with its size and depth."""
    return Node(items, place, "", _size(items), _depth(items))


def _size(nodes: list[Node] | tuple[Node, ...]) -> int:
    return 1 + sum(node.size for node in nodes)


def _depth(nodes: list[Node] | tuple[Node, ...]) -> int:
    return 1 + max((node.depth for node in nodes), default=0)


def to_node(value: object, place: Place, written: bool = False) -> Node:
    """A tree of plain values as nodes that all stand at one place.

    Args:
        value: Mappings, lists and scalars.
        place: The place of all of it.
        written: Whether the keys of its mappings count as written there.
    """
    match value:
        case Mapping():
            entries = {
                str(key): Entry(place, to_node(item, place, written), written)
                for key, item in value.items()
            }
            return mapping_node(entries, place)
        case list() | tuple():
            return list_node(tuple(to_node(item, place, written) for item in value), place)
        case str() | bool() | int() | float() | None:
            return Node(value, place, "" if value is None else str(value))
        case _:
            raise TypeError(f"a config holds no {type(value).__name__}")


def to_python(node: Node) -> object:
    """The tree as dicts, lists and scalars."""
    if node.entries is not None:
        return {key: to_python(entry.node) for key, entry in node.entries.items()}
    if node.items is not None:
        return [to_python(item) for item in node.items]
    return node.content


def with_entry(node: Node, key: str, entry: Entry) -> Node:
    """The mapping with one entry set; its other entries keep their order."""
    assert node.entries is not None
    return mapping_node({**node.entries, key: entry}, node.place)


def without_entry(node: Node, key: str) -> Node:
    """The mapping without one entry."""
    assert node.entries is not None
    rest = {name: entry for name, entry in node.entries.items() if name != key}
    return mapping_node(rest, node.place)


def with_item(node: Node, index: int, item: Node) -> Node:
    """The list with one item set; the index after the last appends."""
    assert node.items is not None
    return list_node((*node.items[:index], item, *node.items[index + 1 :]), node.place)


def without_item(node: Node, index: int) -> Node:
    """The list without one item."""
    assert node.items is not None
    return list_node((*node.items[:index], *node.items[index + 1 :]), node.place)


_BARE = re.compile(r"[^\s.\"'=~]+")


def join_key(path: KeyPath) -> str:
    """A key path as it is shown and typed: `model.layers.0`, `data.columns."my column".kind`."""
    return ".".join(_segment(step) for step in path)


def column_key(name: str) -> str:
    """The settings of a column as they are typed: `data.columns.age`, `data.columns."a.b"`."""
    return join_key(("data", "columns", name))


def _segment(step: Step) -> str:
    text = str(step)
    if _BARE.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_PART = re.compile(r""""((?:[^"\\]|\\.)*)"|'([^']*)'|([^."']+)""")


def parse_key(text: str) -> tuple[str, ...] | None:
    """The steps of a dotted key; a step with dots in it stands in quotes. None when malformed."""
    steps: list[str] = []
    position = 0
    while True:
        match = _PART.match(text, position)
        if match is None:
            return None
        double, single, bare = match.groups()
        if double is not None:
            steps.append(re.sub(r"\\(.)", r"\1", double))
        else:
            steps.append(single if single is not None else bare)
        position = match.end()
        if position == len(text):
            return tuple(steps)
        if text[position] != ".":
            return None
        position += 1


def find_place(root: Node, key: str) -> Place | None:
    """Where a dotted key is written, or else its nearest ancestor; None when nothing of it is.

    Keys of the file may hold dots themselves: at each mapping the longest key that fits is taken.
    """
    place: Place | None = None
    node, rest = root, key
    while rest:
        if node.entries is not None:
            step = _longest(node.entries, rest)
            if step is None:
                return place
            name, rest = step
            entry = node.entries[name]
            node = entry.node
            place = node.place if entry.written else place
        elif node.items is not None:
            head, _, rest = rest.partition(".")
            if not head.isdecimal() or int(head) >= len(node.items):
                return place
            node = node.items[int(head)]
            place = node.place
        else:
            return place
    return place


def _longest(entries: Mapping[str, Entry], rest: str) -> tuple[str, str] | None:
    found: tuple[int, str, str] | None = None
    for name in entries:
        for spelling in {name, _segment(name)}:
            if rest == spelling or rest.startswith(spelling + "."):
                candidate = (len(spelling), name, rest[len(spelling) + 1 :])
                found = candidate if found is None else max(found, candidate)
    return None if found is None else found[1:]


def leaves(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
    """Every scalar below, with its path."""
    if node.entries is not None:
        for key, entry in node.entries.items():
            yield from leaves(entry.node, (*path, key))
    elif node.items is not None:
        for index, item in enumerate(node.items):
            yield from leaves(item, (*path, index))
    else:
        yield path, node
