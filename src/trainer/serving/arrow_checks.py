"""Checks of Arrow IPC bodies before they are read: compressed ones could need any amount of memory.

A stream is a sequence of messages, each a flatbuffer and a body; a file has a footer with the places of
its messages (https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from trainer.serving.problems import refuse

_MAGIC = b"ARROW1\0\0"
_CONTINUATION = 0xFFFFFFFF
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
# Fields of the tables Message, DictionaryBatch, RecordBatch and Footer, by the order of definition.
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3
_DATA, _COMPRESSION = 1, 3
_DICTIONARIES, _RECORD_BATCHES = 2, 3
_BLOCK_BYTES = 24


def check_arrow(body: bytes) -> None:
    """Check that the body of a request is Arrow IPC without compression.

    Raises:
        RequestError: It is not.
    """
    try:
        for kind, table in _messages(body):
            batch = table
            if kind == _DICTIONARY_BATCH:
                batch = _table(body, _required(body, table, _DATA))
            if kind in (_DICTIONARY_BATCH, _RECORD_BATCH) and _field(body, batch, _COMPRESSION):
                fix = "write it without compression"
                raise refuse(415, "Arrow IPC without compression", "compressed columns", fix)
    except (struct.error, ValueError):
        raise refuse(400, "an Arrow IPC stream or file", "a damaged one") from None


def _messages(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield the type and the place of the header of each message."""
    return _of_file(body) if body.startswith(_MAGIC) else _of_stream(body)


def _of_stream(body: bytes) -> Iterator[tuple[int, int]]:
    place = 0
    while place < len(body):
        mark, length = struct.unpack_from("<II", body, place)
        if mark != _CONTINUATION:
            raise ValueError("no continuation")
        if length == 0:
            break
        kind, header, size = _message(body, place + 8)
        yield kind, header
        place += 8 + length + size
    if not place or place > len(body):
        raise ValueError("no messages, or one that ends after the body")


def _of_file(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield the messages that the footer lists; readers of files read no others."""
    (length,) = struct.unpack_from("<i", body, len(body) - 10)
    start = len(body) - 10 - length
    if length <= 0 or start < len(_MAGIC):
        raise ValueError("no footer")
    footer = _table(body, start)
    for number in (_DICTIONARIES, _RECORD_BATCHES):
        field = _field(body, footer, number)
        if not field:
            continue
        blocks = _table(body, field)
        (count,) = struct.unpack_from("<I", body, blocks)
        for block in range(count):
            (place,) = struct.unpack_from("<q", body, blocks + 4 + _BLOCK_BYTES * block)
            if place < 0:
                raise ValueError("a block before the body")
            (mark,) = struct.unpack_from("<I", body, place)
            kind, header, _ = _message(body, place + (8 if mark == _CONTINUATION else 4))
            yield kind, header


def _message(body: bytes, place: int) -> tuple[int, int, int]:
    """Return the type of a message, the place of its header, and the size of its body."""
    message = _table(body, place)
    kind_place = _field(body, message, _HEADER_TYPE)
    header = _table(body, _required(body, message, _HEADER))
    body_place = _field(body, message, _BODY_LENGTH)
    (size,) = struct.unpack_from("<q", body, body_place) if body_place else (0,)
    if size < 0 or kind_place >= len(body):
        raise ValueError("a damaged message")
    return body[kind_place] if kind_place else 0, header, int(size)


def _table(body: bytes, place: int) -> int:
    """Return the place of the table that the offset at `place` refers to."""
    (offset,) = struct.unpack_from("<I", body, place)
    return place + int(offset)


def _field(body: bytes, table: int, number: int) -> int:
    """Return the place of a field of a table; 0 if it has the default value."""
    (back,) = struct.unpack_from("<i", body, table)
    vtable = table - back
    if vtable < 0:
        raise ValueError("a table outside the body")
    (size,) = struct.unpack_from("<H", body, vtable)
    entry = 4 + 2 * number
    if entry + 2 > size:
        return 0
    (offset,) = struct.unpack_from("<H", body, vtable + entry)
    return table + int(offset) if offset else 0


def _required(body: bytes, table: int, number: int) -> int:
    place = _field(body, table, number)
    if not place:
        raise ValueError("a table without a required field")
    return place
