"""Read YAML into nodes with locations.

PyYAML parses the text into events (in C if available). The rest is done here: scalars by the core
schema of YAML 1.2, the location of every key and value, no duplicate keys, no tags, and limits on
size, depth and the expansion of aliases. Keys are always text, as written, because a column may be
named `null` and a class `1`. Merge keys (`<<: *anchor`) are supported.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from trainer.config.nodes import (
    Entry,
    Location,
    Node,
    Scalar,
    Source,
    Step,
    join_key,
    list_node,
    mapping_node,
)
from trainer.config.yaml_errors import syntax_problem
from trainer.errors import Problem, did_you_mean

MAX_BYTES = 1_000_000
"""Maximum size of a config file, in bytes."""
MAX_DEPTH = 100
"""Maximum depth of nesting."""
MAX_NODES = 100_000
"""Maximum number of keys and values, with aliases expanded."""

_Events: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INTEGER = re.compile(r"[-+]?[0-9]+")
_PREFIXED_INTEGER = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MAX_DIGITS = 4000  # Python does not parse integers of more than 4,300 digits
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Document:
    """The content of a YAML text, as far as it could be read.

    Attributes:
        root: The content; None if it is empty or invalid.
        problems: Errors of its YAML.
    """

    root: Node | None
    problems: tuple[Problem, ...] = ()


def parse_scalar(text: str) -> Scalar:
    """Parse a plain (unquoted) scalar by the core schema of YAML 1.2: `1e-3` is a number, `no` is text.

    Raises:
        ValueError: It is an integer of more than 4,000 digits.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise ValueError(f"{len(text):,} digits")
        return int(text)
    if _PREFIXED_INTEGER.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise ValueError(f"{len(text):,} digits")
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.lower().replace(".", ""))
    return text


def read_yaml(path: Path) -> Document:
    """Read a YAML file; problems show `path` as given."""
    data = _bytes_of(path)
    if isinstance(data, Problem):
        return Document(None, (data,))
    label = str(path)
    text = _text_of(data, label)
    if isinstance(text, Problem):
        return Document(None, (text,))
    return parse_yaml(text, Source(label, path.parent.absolute()))


def parse_yaml(text: str, source: Source) -> Document:
    """Parse a YAML text."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    unprintable = _UNPRINTABLE.search(text)
    if unprintable is not None:
        location = _location_of(source, text, unprintable.start())
        found = f"the control character U+{ord(unprintable[0]):04X}"
        fix = 'remove it, or write it as an escape in double quotes: "\\x1b"'
        return Document(None, (Problem(str(location), "printable text", found, fix),))
    composer = _Composer(source)
    loader = _Events(text)
    try:
        try:
            root = composer.compose(_events(loader))
        except yaml.MarkedYAMLError as error:
            problem = syntax_problem(error, text.split("\n"), source)
            return Document(None, (*composer.problems, problem))
        except _LimitError as error:
            return Document(None, (*composer.problems, error.problem))
    finally:
        loader.dispose()
    return Document(root, tuple(composer.problems))


def _events(loader: yaml.SafeLoader | yaml.CSafeLoader) -> Iterator[yaml.Event]:
    while loader.check_event():
        event: yaml.Event | None = loader.get_event()
        assert event is not None
        yield event


def _bytes_of(path: Path) -> bytes | Problem:
    where = str(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return Problem(where, "a YAML file", "a directory", _in_directory(path))
        if status.st_size > MAX_BYTES:
            return _too_large(where, f"{status.st_size:,} bytes")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # the size of a pipe is not known in advance
    except FileNotFoundError:
        fix = did_you_mean(path.name, _sibling_names(path), "check the path")
        if fix.startswith("did you mean '"):
            near = fix.removeprefix("did you mean '").removesuffix("'?")
            fix = f"did you mean '{path.parent / near}'?"
        return Problem(where, "a YAML file", "no such file", fix)
    except PermissionError:
        return Problem(where, "a readable file", "no permission to read it", f"chmod u+r {where}")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Problem(where, "a readable file", f"an error: {reason}", "check the path")
    return _too_large(where, f"more than {MAX_BYTES:,} bytes") if len(data) > MAX_BYTES else data


def _too_large(where: str, found: str) -> Problem:
    fix = "put data in the files of data.source, not in the config"
    return Problem(where, f"a config of at most {MAX_BYTES:,} bytes", found, fix)


def _sibling_names(path: Path) -> list[str]:
    try:
        return sorted(os.listdir(path.parent))  # noqa: PTH208 (names are needed, not paths)
    except OSError:
        return []


def _in_directory(path: Path) -> str:
    configs = [name for name in _sibling_names(path / "x") if name.endswith((".yaml", ".yml"))]
    return f"pass a file in it: {path / configs[0]}" if configs else "pass a file"


_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def _text_of(data: bytes, label: str) -> str | Problem:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            fix = f"save it as UTF-8: iconv -f {encoding} -t UTF-8 {label} > utf8.yaml"
            return Problem(label, "text in UTF-8", f"text in {encoding}", fix)
    if b"\0" in data:
        return Problem(label, "a YAML text", "binary data", "pass the config file, not a data file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        location = _location_of(Source(label, Path()), before, len(before))
        fix = f"save it as UTF-8: iconv -f WINDOWS-1252 -t UTF-8 {label} > utf8.yaml"
        return Problem(str(location), "text in UTF-8", f"the byte 0x{data[error.start]:02x}", fix)


def _location_of(source: Source, text: str, index: int) -> Location:
    before = text[:index]
    return Location(source, before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)


class _LimitError(Exception):
    """Parsing stops, because to continue could take unbounded time or memory."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass
class _OpenCollection:
    """A list or mapping that has not ended yet."""

    location: Location
    is_mapping: bool
    anchor: str | None
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    merge_entries: dict[str, Entry] = field(default_factory=dict)
    key: tuple[str, Location, bool] | None = None
    """The key whose value follows: its text, its location, whether it is a merge key."""


class _Composer:
    """Builds a node from events, with an explicit stack, so that nesting cannot exceed the recursion
    limit.
    """

    def __init__(self, source: Source) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._anchors: dict[str, Node | None] = {}
        self._stack: list[_OpenCollection] = []
        self._root: Node | None = None
        self._nodes = 0

    def compose(self, events: Iterator[yaml.Event]) -> Node | None:
        documents = 0
        for event in events:
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        fix = "put each config in a separate file"
                        self._reject(self._location(event), "one document", "a second one", fix)
                case yaml.AliasEvent():
                    self._add(self._alias(event))
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    self._open(event)
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    self._close()
        return self._root

    def _location(self, event: yaml.Event) -> Location:
        mark = event.start_mark
        assert mark is not None
        return Location(self._source, mark.line + 1, mark.column + 1)

    def _reject(self, location: Location, expected: str, found: str, fix: str) -> None:
        raise _LimitError(Problem(str(location), expected, found, fix))

    def _note(self, location: Location, expected: str, found: str, fix: str, key: str = "") -> None:
        self.problems.append(Problem(str(location), expected, found, fix, key))

    def _path(self, last: str) -> str:
        steps: list[Step] = [
            len(level.items) if level.key is None else level.key[0] for level in self._stack[:-1]
        ]
        return join_key((*steps, last))

    def _tagged(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None and event.tag != "!":
            name = re.sub(r"^tag:yaml\.org,2002:", "!!", event.tag)
            fix = "remove the tag; quote text that looks like a number"
            self._note(self._location(event), "a value without a tag", f"the tag {name}", fix)

    def _anchor(self, event: yaml.NodeEvent, node: Node | None) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        location = self._location(event)
        assert event.anchor is not None
        known = [name for name, node in self._anchors.items() if node is not None]
        node = self._anchors.get(event.anchor)
        if node is None:
            inside = event.anchor in self._anchors
            found = f"*{event.anchor} inside itself" if inside else f"*{event.anchor}"
            fix = did_you_mean(event.anchor, known, f"define it before with &{event.anchor}")
            self._note(location, "the name of an anchor above", found, fix)
            return Node(None, location)
        return Node(node.content, location, node.text, node.size, node.depth)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        location = self._location(event)
        self._tagged(event)
        text: str = event.value
        if "\0" in text or re.search("[\ud800-\udfff]", text):
            found = "an escape for NUL or for half of a surrogate pair"
            self._note(location, "text that can be written to a file", found, "remove the escape")
            text = ""
        value: Scalar = text
        if event.implicit[0]:
            try:
                value = parse_scalar(text)
            except ValueError as error:
                found = f"an integer of {error}"
                self._note(location, f"at most {_MAX_DIGITS:,} digits", found, "write it as 1e9")
                value = 0
        node = Node(value, location, text)
        self._anchor(event, node)
        parent = self._stack[-1] if self._stack else None
        if parent is not None and parent.is_mapping and parent.key is None:
            parent.key = (text, location, event.implicit[0] and text == "<<")
            if event.implicit[0] and not text:
                self._note(
                    location, "a key before the ':'", "none", "write a key, or remove the line"
                )
        else:
            self._add(node)

    def _open(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent) -> None:
        location = self._location(event)
        self._tagged(event)
        self._anchor(event, None)
        parent = self._stack[-1] if self._stack else None
        if parent is not None and parent.key is not None and not event.flow_style:
            location = parent.key[1]
        if len(self._stack) >= MAX_DEPTH:
            expected = f"at most {MAX_DEPTH} levels of nesting"
            self._reject(location, expected, "more", "flatten it: no setting is nested so deeply")
        if parent is not None and parent.is_mapping and parent.key is None:
            found = "a mapping or list"
            self._reject(location, "text as the key", found, "quote it, or write it after the ':'")
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self._stack.append(_OpenCollection(location, is_mapping, event.anchor))

    def _close(self) -> None:
        done = self._stack.pop()
        if done.is_mapping:
            missing = {
                key: entry for key, entry in done.merge_entries.items() if key not in done.entries
            }
            node = mapping_node({**done.entries, **missing}, done.location)
        else:
            node = list_node(tuple(done.items), done.location)
        if done.anchor is not None:
            self._anchors[done.anchor] = node
        self._add(node)

    def _add(self, node: Node) -> None:
        self._nodes += node.size if node.entries is None and node.items is None else 1
        parent = self._stack[-1] if self._stack else None
        if node.size > MAX_NODES or self._nodes > MAX_NODES:
            expected = f"at most {MAX_NODES:,} values, with aliases expanded"
            fix = "use fewer aliases, or put long lists in a data file"
            self._reject(node.location, expected, "more", fix)
        if node.depth + len(self._stack) > MAX_DEPTH:
            expected = f"at most {MAX_DEPTH} levels of nesting"
            self._reject(
                node.location, expected, "more", "flatten it: no setting is nested so deeply"
            )
        if parent is None:
            self._root = node
        elif not parent.is_mapping:
            parent.items.append(node)
        elif parent.key is None:
            found = "an alias"
            self._reject(node.location, "text as the key", found, "write the key without an alias")
        else:
            (key, location, merges), parent.key = parent.key, None
            if merges:
                self._merge(parent, node, location)
            elif key in parent.entries:
                first = parent.entries[key].location
                found = f"'{key}' again (first on line {first.line})"
                fix = "remove one of the two"
                self._note(location, "unique keys", found, fix, self._path(key))
            else:
                parent.entries[key] = Entry(location, node)

    def _merge(self, parent: _OpenCollection, node: Node, location: Location) -> None:
        sources = node.items if node.items is not None else (node,)
        for source in sources:
            if source.entries is None:
                fix = "write `<<: *anchor` with the anchor of a mapping"
                self._note(location, "a mapping to merge", "something else", fix)
                continue
            for key, entry in source.entries.items():
                parent.merge_entries.setdefault(key, entry)
