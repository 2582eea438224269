"""The text of a CSV file as it is parsed: UTF-8, with plain line ends, without what is to be skipped.

Lines that are skipped are left as blank lines, so that line numbers stay those of the file. A character
after `data.csv.escape` is replaced by a sign that no text holds (a Unicode noncharacter), so that no
parser takes it for a quote or a separator; `unescaped` puts it back into the cells.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from trainer.config.data import Csv
from trainer.data.compression import decompress_command, detect_compression, read_chunks
from trainer.data.sources import inner_suffix
from trainer.errors import DataError, Problem

_FIRST_SIGN = 0xFDD0
ESCAPED_LINE_END = chr(_FIRST_SIGN)
ESCAPED_N = chr(_FIRST_SIGN + 1)
"""What `\\N` is where `\\` escapes: the sign for a missing value of several databases."""

_MAGIC = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF",
}
_SLICE = 1 << 24
_PROBED = 1 << 20

Cells = np.ndarray[tuple[int], np.dtype[np.uint8]]


def separator_of(path: Path, csv: Csv) -> str:
    """The character between the fields of a file."""
    tabbed = csv.separator == "," and inner_suffix(path) in (".tsv", ".tab")
    return "\t" if tabbed else csv.separator


def whole_text(path: Path, csv: Csv) -> bytes:
    """All text of a file.

    Raises:
        DataError: It is empty, is no text or is in another encoding.
    """
    # Of one piece the join is no copy.
    return b"".join(text_pieces(path, csv, whole=True))


def text_pieces(path: Path, csv: Csv, *, whole: bool = False) -> Iterator[bytes]:
    """The text of a file in pieces of any length.

    Args:
        path: The file.
        csv: How it is written.
        whole: In one piece.

    Raises:
        DataError: As `whole_text`.
    """
    raw = read_chunks(path)
    if whole:
        raw = iter((b"".join(raw),))
    text = _with_newlines(_decoded(path, csv, raw))
    if csv.skip:
        text = _without_first(text, csv.skip)
    if csv.escape is not None:
        text = _escaped(text, csv.escape, _signs(csv, separator_of(path, csv)))
    if csv.comment is not None:
        text = _without_comments(text, csv.comment.encode(), csv.quote.encode())
    return text


def _decoded(path: Path, csv: Csv, raw: Iterator[bytes]) -> Iterator[bytes]:
    """The text as UTF-8, without a byte order mark."""
    where = str(path)
    decoder = codecs.getincrementaldecoder(csv.encoding)() if csv.encoding != "utf-8" else None
    first = True
    try:
        for data in raw:
            if first:
                _check_start(path, csv, data)
            if decoder is None:
                text = data.removeprefix(b"\xef\xbb\xbf") if first else data
            else:
                text = decoder.decode(data).removeprefix("\ufeff" * first).encode()
            first = False
            yield text
        if decoder is not None:
            decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise _wrong_encoding(path, csv, error) from error
    if first:
        raise DataError(Problem(where, "a header line and rows", "an empty file"))


def _check_start(path: Path, csv: Csv, data: bytes) -> None:
    where = str(path)
    if not data or data.isspace():
        raise DataError(Problem(where, "a header line and rows", "an empty file"))
    for magic, meaning in _MAGIC.items():
        if data.startswith(magic):
            found, fix = meaning, "name it by its format, set data.format, or save it as CSV"
            if detect_compression(path) is not None:
                found, fix = f"{meaning} in it", f"unpack it with {decompress_command(path)}"
            raise DataError(Problem(where, "a CSV file", found, fix))
    key = "data.csv.encoding"
    if csv.encoding != "utf-16" and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        expected, fix = f"{csv.encoding} text", "set data.csv.encoding: utf-16"
        expected = "UTF-8 text" if csv.encoding == "utf-8" else expected
        raise DataError(Problem(where, expected, "UTF-16 text", fix, key))
    if csv.encoding in ("latin-1", "windows-1252") and _is_utf8(data):
        fix = "set data.csv.encoding: utf-8"
        raise DataError(Problem(where, f"{csv.encoding} text", "UTF-8 text", fix, key))


def _is_utf8(data: bytes) -> bool:
    """Whether text has letters beyond ASCII and all of them are UTF-8, which is no accident."""
    try:
        # What is cut off at the end is left out.
        return not codecs.getincrementaldecoder("utf-8")().decode(data[:_PROBED]).isascii()
    except UnicodeDecodeError:
        return False


def _wrong_encoding(path: Path, csv: Csv, error: UnicodeError) -> DataError:
    found = f"other bytes ({error})"
    fix = "set data.csv.encoding to what the file is in, utf-8 or windows-1252 for instance"
    if csv.encoding == "utf-16":
        fix = "set data.csv.encoding: utf-8"
    return DataError(Problem(str(path), f"{csv.encoding} text", found, fix, "data.csv.encoding"))


def _with_newlines(text: Iterator[bytes]) -> Iterator[bytes]:
    r"""With `\n` in place of the `\r` that ends the lines of old files."""
    old = None
    for data in text:
        if old is None:
            old = b"\n" not in data and b"\r" in data
        yield data.replace(b"\r", b"\n") if old else data


def _without_first(text: Iterator[bytes], lines: int) -> Iterator[bytes]:
    """With the first lines blank."""
    for data in text:
        at = 0
        while lines and at < len(data):
            end = data.find(b"\n", at)
            if end < 0:
                at = len(data)
                break
            at = end + 1
            lines -= 1
            yield b"\n"
        yield data[at:] if at else data


def _signs(csv: Csv, separator: str) -> dict[str, str]:
    """The sign for each character that, escaped, is not what it is otherwise."""
    assert csv.escape is not None
    known = ["\n", "N", "\r", csv.escape, csv.quote, separator, *(csv.comment or "")[:1], " ", "\t"]
    return {sign: chr(_FIRST_SIGN + at) for at, sign in enumerate(dict.fromkeys(known))}


def _escaped(text: Iterator[bytes], escape: str, signs: dict[str, str]) -> Iterator[bytes]:
    """With a sign of `signs` for an escaped character; of any other the escape character is dropped."""
    sign = escape.encode()
    codes = {one.encode(): code.encode() for one, code in signs.items()}
    codes[b"\r\n"] = codes[b"\n"]
    ordered = sorted(codes, key=len, reverse=True)
    one_of = b"|".join(re.escape(one) for one in ordered)
    pattern = re.compile(re.escape(sign) + b"(" + one_of + b")?")

    def put(match: re.Match[bytes]) -> bytes:
        return codes.get(match[1], b"")

    rest = b""
    for data in text:
        whole = rest + data if rest else data
        # What may be half of an escape waits for the rest of it.
        cut = len(whole)
        last = whole.rfind(sign, max(0, cut - 8))
        while last >= 0:
            cut = last
            last = cut - len(sign) if whole.endswith(sign, 0, cut) else -1
        rest = whole[cut:]
        yield pattern.sub(put, whole[:cut])
    if rest:
        yield pattern.sub(put, rest)


def unescaped(cells: pl.Expr, csv: Csv, separator: str) -> pl.Expr:
    """Cells with the characters that were escaped, and null where a cell is an escaped N."""
    signs = _signs(csv, separator)
    missing = cells == ESCAPED_N
    put = cells.str.replace_many(list(signs.values()), list(signs))
    return pl.when(~missing).then(put)


def unescaped_name(name: str, csv: Csv, separator: str) -> str:
    """A column's name with the characters that were escaped."""
    if csv.escape is not None:
        for sign, code in _signs(csv, separator).items():
            name = name.replace(code, sign)
    return name


def _without_comments(text: Iterator[bytes], sign: bytes, quote: bytes) -> Iterator[bytes]:
    """With blank lines in place of those that begin with `sign`, outside quotes."""
    rest, inside = b"", 0
    for data in text:
        whole = rest + data if rest else data
        end = whole.rfind(b"\n") + 1
        rest = whole[end:]
        if end:
            clean, inside = _uncommented(whole[:end], sign, quote, inside)
            yield clean
    if rest:
        yield _uncommented(rest, sign, quote, inside)[0]


def _uncommented(data: bytes, sign: bytes, quote: bytes, inside: int) -> tuple[bytes, int]:
    """Whole lines without comments; `inside` is 1 where they begin in a quoted field."""
    data, mark = b"\n" + data, b"\n" + sign
    kept: list[bytes] = []
    done, at = 0, data.find(mark)
    while at >= 0:
        part = data[done : at + 1]
        kept.append(part)
        inside ^= part.count(quote) & 1
        done = at + 1
        if not inside:
            end = data.find(b"\n", at + 1)
            done = len(data) if end < 0 else end
        at = data.find(mark, done)
    kept.append(data[done:])
    return b"".join(kept)[1:], inside ^ (data.count(quote, done) & 1)


def between_blanks(data: bytes, quote: str) -> bytes:
    """Lines with one blank for each run of blanks and tabs between two fields, and none at their ends.

    Args:
        data: Text that begins and ends where records do.
        quote: The character around fields whose blanks are kept.
    """
    parts, start, inside = [], 0, 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + _SLICE) + 1
        end = end or data.find(b"\n", start) + 1 or len(data)
        cells = np.frombuffer(data, dtype=np.uint8, count=end - start, offset=start)
        part, inside = _squeezed(cells, quote.encode()[-1], inside)
        parts.append(part)
        start = end
    return b"".join(parts)


def _squeezed(cells: Cells, quote: int, inside: int) -> tuple[bytes, int]:
    """Whole lines; `inside` is 1 where they begin in a quoted field."""
    blank = (cells == 32) | (cells == 9)
    quotes = cells == quote
    if inside or quotes.any():
        quoted = (np.cumsum(quotes, dtype=np.uint8) + np.uint8(inside)) & 1
        inside = int(quoted[-1])
        blank &= quoted == 0
    ends = (cells == 10) | (cells == 13)
    first = np.zeros_like(blank)
    np.logical_not(blank[:-1] | ends[:-1], out=first[1:])
    keep = ~blank | first
    cells, blank, ends = cells[keep], blank[keep], ends[keep]
    last = np.ones_like(blank)
    last[:-1] = ends[1:]
    keep = ~(blank & last)
    return np.where(blank, np.uint8(32), cells)[keep].tobytes(), inside


def encoding_advice(path: Path) -> str:
    """What to do about text that is not UTF-8."""
    if path.suffix.lower() == ".zst":
        return f"unpack it with {decompress_command(path)}, and set data.csv.encoding"
    return "set data.csv.encoding, for instance to windows-1252 or latin-1"
