"""Values as CSV (RFC 4180), for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from trainer.report.settings import Value


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Value]]) -> Iterator[str]:
    """Yield the header, then a line per row with full precision; missing values are empty."""
    yield _line(columns)
    for row in rows:
        yield _line([_field(row[name]) if name in row else "" for name in columns])


def _line(fields: Sequence[str]) -> str:
    buffer = io.StringIO()
    # With another line terminator, a lone carriage return in a field would not be quoted.
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
