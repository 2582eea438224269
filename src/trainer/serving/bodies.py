"""The body of a request: JSON, CSV, Arrow or images → columns of raw values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from trainer.serving.arrow_checks import check_arrow
from trainer.serving.problems import RequestError, RequestProblem, refuse, shown
from trainer.serving.settings import Limits

Form = Literal["object", "objects", "columns", "csv", "arrow"]
Values = Any
"""A list, or a polars series."""

JSON_TYPE, CSV_TYPE = "application/json", "text/csv"
ARROW_TYPE, ARROW_FILE_TYPE = (
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.arrow.file",
)
ARROW_TYPES = (ARROW_TYPE, ARROW_FILE_TYPE)
MULTIPART_TYPE = "multipart/form-data"
_FORMATS = "JSON, CSV, Arrow, or images for a model of images"
_JSON_FORMS = "one row as an object, a list of objects, or an object of lists, one per column"
_SEVERAL_TEXTS = 8


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a request.

    Attributes:
        columns: Name → values, all of the same length; a polars series for CSV and Arrow, else a list.
            Missing values are None. Images are bytes.
        rows: The number of rows.
        form: The form of the request, and of the response.
    """

    columns: dict[str, Values]
    rows: int
    form: Form


def media_type(header: str) -> str:
    """Return the media type of a header Content-Type, without its parameters, in lower case."""
    return header.partition(";")[0].strip().lower()


def accepted_types(header: str) -> list[str]:
    """Return the media types of a header Accept."""
    return [media_type(part) for part in header.split(",")]


def is_json(kind: str) -> bool:
    """Return whether a media type is one of JSON."""
    return kind == JSON_TYPE or kind.endswith("+json")


def read_body(body: bytes, content_type: str, images: Sequence[str], limits: Limits) -> Table:
    """Return the rows of a body.

    Args:
        body: The body.
        content_type: Its media type, with parameters.
        images: The columns of images of the model.
        limits: The limits.

    Raises:
        RequestError: The body is damaged, has no or too many rows, or is of an unknown type.
    """
    kind = media_type(content_type)
    if is_json(kind):
        table = _json_table(body)
    elif kind == CSV_TYPE:
        table = _frame_table(body, "csv")
    elif kind in ARROW_TYPES:
        check_arrow(body)
        table = _frame_table(body, "arrow")
    elif images and (kind.startswith("image/") or kind == MULTIPART_TYPE):
        files = [body] if kind != MULTIPART_TYPE else multipart_files(body, content_type)
        form: Form = "object" if kind != MULTIPART_TYPE else "objects"
        table = Table({images[0]: [*files]}, len(files), form)
    else:
        found = f"the content type '{kind[:100]}'" if kind else "no content type"
        fix = f"set the header Content-Type, for example to {JSON_TYPE}"
        raise refuse(415, _FORMATS, found, fix)
    if not table.rows:
        raise refuse(422, "one row or more", "no rows")
    if table.rows > limits.max_rows:
        fix = "send them in parts, or start trainer serve with a larger --max-rows"
        raise refuse(413, f"at most {limits.max_rows:,} rows", f"{table.rows:,}", fix)
    return table


def _json_table(body: bytes) -> Table:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        fix = "use null for a missing value" if b"NaN" in body or b"Infinity" in body else ""
        raise refuse(400, "valid JSON", str(error), fix) from None
    if isinstance(value, list):
        return _objects_table(value)
    if not isinstance(value, dict):
        raise refuse(422, _JSON_FORMS, shown(value))
    lists = [name for name, cell in value.items() if isinstance(cell, list)]
    if not lists:
        return Table({name: [cell] for name, cell in value.items()}, 1, "object")
    problems = [
        RequestProblem("a list of values, as in other columns", shown(cell), "", name)
        for name, cell in value.items()
        if not isinstance(cell, list)
    ]
    if problems:
        raise RequestError(422, problems)
    lengths = {name: len(cell) for name, cell in value.items()}
    if len(set(lengths.values())) > 1:
        rows = lengths[lists[0]]
        raise RequestError(
            422,
            [
                RequestProblem(f"{rows:,} values, as in '{lists[0]}'", f"{length:,}", "", name)
                for name, length in lengths.items()
                if length != rows
            ],
        )
    return Table(value, lengths[lists[0]], "columns")


def _objects_table(rows: list[Any]) -> Table:
    wrong = [number for number, row in enumerate(rows) if type(row) is not dict]
    if wrong:
        raise RequestError(
            422,
            [
                RequestProblem("an object of columns and values", shown(rows[number]), row=number)
                for number in wrong
            ],
            len(wrong),
        )
    if not rows:
        return Table({}, 0, "objects")
    names = tuple(rows[0])
    if all(tuple(row) == names for row in rows):
        # The usual case, in which all rows have their columns in the same order, is faster.
        columns = zip(*[row.values() for row in rows], strict=True)
        return Table(dict(zip(names, map(list, columns), strict=True)), len(rows), "objects")
    if any(row.keys() != rows[0].keys() for row in rows):
        _check_names(rows)
    return Table({name: [row[name] for row in rows] for name in names}, len(rows), "objects")


def _check_names(rows: list[dict[str, Any]]) -> None:
    """Refuse rows that have other columns than the first, with each row and column."""
    names = rows[0].keys()
    problems: list[RequestProblem] = []
    count = 0
    for number, row in enumerate(rows):
        if row.keys() == names:
            continue
        missing = [name for name in names if name not in row]
        unknown = [name for name in row if name not in names]
        count += len(missing) + len(unknown)
        if len(problems) < _SEVERAL_TEXTS:
            problems += [
                RequestProblem(
                    "the columns of the first row",
                    "no such column",
                    "use null for a missing value",
                    name,
                    number,
                )
                for name in missing
            ]
            problems += [
                RequestProblem(
                    "the columns of the first row",
                    "another column",
                    "add it to each row or to none",
                    name,
                    number,
                )
                for name in unknown
            ]
    raise RequestError(422, problems, count)


def _frame_table(body: bytes, form: Literal["csv", "arrow"]) -> Table:
    # Polars is not needed for JSON, and takes a while to import.
    from trainer.serving.tables import read_table

    frame = read_table(body, form)
    return Table({series.name: series for series in frame}, frame.height, form)


def multipart_files(body: bytes, content_type: str) -> list[bytes]:
    """Return the contents of the files of a form, in their order (RFC 7578).

    Raises:
        RequestError: It is damaged or has no files.
    """
    from email.message import Message

    header = Message()
    header["content-type"] = content_type
    boundary = header.get_boundary()
    if boundary is None:
        raise refuse(400, "a form with files", "a content type without a boundary")
    # The first boundary has no line break before it.
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if len(parts) < 3 or not parts[-1].startswith(b"--"):
        raise refuse(400, "a form with files", "a body without its boundary")
    files = []
    for part in parts[1:-1]:
        head, blank, content = part.partition(b"\r\n\r\n")
        if blank and b"filename" in head:
            files.append(content)
    return files
