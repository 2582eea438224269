"""Values as CSV, for a spreadsheet or a data frame.

Owns: how a value is written, quoted as RFC 4180 has it where commas, quotes or line ends are inside.
Does not own: which values, the ends of lines.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from trainer.report.settings import Value


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Value]]) -> Iterator[str]:
    """The heads, then a line for each row, numbers in full; what a row does not have is empty."""
    yield _line(columns)
    for row in rows:
        yield _line([_field(row[name]) if name in row else "" for name in columns])


def _line(fields: Sequence[str]) -> str:
    buffer = io.StringIO()
    # With another end of line, a lone carriage return in a field would go without its quotes.
    csv.writer(buffer, lineterminator="\r\n").writerow(fields)
    return buffer.getvalue().removesuffix("\r\n")


def _field(value: Value) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float():
            return repr(value)
        case _:
            return json.dumps(value, ensure_ascii=False)
