"""A config as a tree of nodes with their locations, and key paths into it.

Files and overrides are parsed into such trees, then merged, changed and checked, so that errors can name
the line of every value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Scalar = str | int | float | bool | None
Step = str | int
KeyPath = tuple[Step, ...]
"""Path from the root to a node: keys of mappings, indices of lists."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file or an override from which settings are read.

    Attributes:
        label: The file as given by the user, or `override 'key=value'`.
        directory: The directory that paths are relative to.
        override: The dotted key of an override; None for a file.
    """

    label: str
    directory: Path
    override: str | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """A location, with lines and columns from 1; its string form can be opened in editors."""

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
        location: Location of the key.
        explicit: False for a key that is implied by a shorthand (`units` in `dense: 64`).
    """

    location: Location
    node: Node
    explicit: bool = True


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar, a list or a mapping.

    Attributes:
        content: The scalar, the items, or the entries by key; never modified in place.
        location: Location of the value; for an indented block, of its key.
        text: A scalar as it was written.
        size: Number of nodes in the subtree, including this one; aliases count each time.
        depth: Number of levels of the subtree, including this one.
    """

    content: Scalar | tuple[Node, ...] | Mapping[str, Entry]
    location: Location
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


def mapping_node(entries: Mapping[str, Entry], location: Location) -> Node:
    """Return a mapping with its size and depth."""
    nodes = [entry.node for entry in entries.values()]
    return Node(entries, location, "", _size(nodes), _depth(nodes))


def list_node(items: tuple[Node, ...], location: Location) -> Node:
    """Return a list with its size and depth."""
    return Node(items, location, "", _size(items), _depth(items))


def _size(nodes: list[Node] | tuple[Node, ...]) -> int:
    return 1 + sum(node.size for node in nodes)


def _depth(nodes: list[Node] | tuple[Node, ...]) -> int:
    return 1 + max((node.depth for node in nodes), default=0)


def to_node(value: object, location: Location, explicit: bool = False) -> Node:
    """Convert plain values to a tree of nodes with the same location.

    Args:
        value: Mappings, lists and scalars.
        location: Location of all nodes.
        explicit: Whether the keys of mappings count as explicit rather than implied.
    """
    match value:
        case Mapping():
            entries = {
                str(key): Entry(location, to_node(item, location, explicit), explicit)
                for key, item in value.items()
            }
            return mapping_node(entries, location)
        case list() | tuple():
            return list_node(tuple(to_node(item, location, explicit) for item in value), location)
        case str() | bool() | int() | float() | None:
            return Node(value, location, "" if value is None else str(value))
        case _:
            raise TypeError(f"a config cannot contain {type(value).__name__}")


def to_python(node: Node) -> object:
    """Return the tree as dicts, lists and scalars."""
    if node.entries is not None:
        return {key: to_python(entry.node) for key, entry in node.entries.items()}
    if node.items is not None:
        return [to_python(item) for item in node.items]
    return node.content


def with_entry(node: Node, key: str, entry: Entry) -> Node:
    """Return the mapping with one entry set; the order of the others does not change."""
    assert node.entries is not None
    return mapping_node({**node.entries, key: entry}, node.location)


def without_entry(node: Node, key: str) -> Node:
    """Return the mapping without one entry."""
    assert node.entries is not None
    rest = {name: entry for name, entry in node.entries.items() if name != key}
    return mapping_node(rest, node.location)


def with_item(node: Node, index: int, item: Node) -> Node:
    """Return the list with one item set; the index after the last one appends."""
    assert node.items is not None
    return list_node((*node.items[:index], item, *node.items[index + 1 :]), node.location)


def without_item(node: Node, index: int) -> Node:
    """Return the list without one item."""
    assert node.items is not None
    return list_node((*node.items[:index], *node.items[index + 1 :]), node.location)


_BARE = re.compile(r"[^\s.\"'=~]+")


def join_key(path: KeyPath) -> str:
    """Return a key path as a dotted key: `model.layers.0`, `data.columns."my column".kind`."""
    return ".".join(_segment(step) for step in path)


def column_key(name: str) -> str:
    """Return the dotted key of a column's settings: `data.columns.age`, `data.columns."a.b"`."""
    return join_key(("data", "columns", name))


def _segment(step: Step) -> str:
    text = str(step)
    if _BARE.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_PART = re.compile(r""""((?:[^"\\]|\\.)*)"|'([^']*)'|([^."']+)""")


def parse_key(text: str) -> tuple[str, ...] | None:
    """Return the steps of a dotted key, in which steps with dots are quoted; None if malformed."""
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


def find_location(root: Node, key: str) -> Location | None:
    """Return the location of a dotted key or its nearest ancestor; None if neither is in the tree.

    Keys of the file may contain dots: in each mapping the longest matching key is used.
    """
    location: Location | None = None
    node, rest = root, key
    while rest:
        if node.entries is not None:
            step = _longest(node.entries, rest)
            if step is None:
                return location
            name, rest = step
            entry = node.entries[name]
            node = entry.node
            location = node.location if entry.explicit else location
        elif node.items is not None:
            head, _, rest = rest.partition(".")
            if not head.isdecimal() or int(head) >= len(node.items):
                return location
            node = node.items[int(head)]
            location = node.location
        else:
            return location
    return location


def _longest(entries: Mapping[str, Entry], rest: str) -> tuple[str, str] | None:
    longest: tuple[int, str, str] | None = None
    for name in entries:
        for spelling in {name, _segment(name)}:
            if rest == spelling or rest.startswith(spelling + "."):
                candidate = (len(spelling), name, rest[len(spelling) + 1 :])
                longest = candidate if longest is None else max(longest, candidate)
    return None if longest is None else longest[1:]


def leaves(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
    """Yield every scalar of the tree with its path."""
    if node.entries is not None:
        for key, entry in node.entries.items():
            yield from leaves(entry.node, (*path, key))
    elif node.items is not None:
        for index, item in enumerate(node.items):
            yield from leaves(item, (*path, index))
    else:
        yield path, node
