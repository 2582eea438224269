r"""Read parallel text files, in which a row is a line: `corpus.{en,fr}` has the columns `en` and `fr`.

Only `\n` and `\r\n` end a line, unlike other separators of Unicode (U+2028). As in CSV, lines are
stripped, and an empty one is a missing value; words such as NA are texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import polars as pl

from trainer.config.data import Csv
from trainer.data.column_names import check_names
from trainer.data.compression import lines_of
from trainer.data.csv_text import encoding_advice, text_chunks
from trainer.data.parallel_paths import files_of_path, parallel_files
from trainer.errors import DataError, Problem, pluralize

_ROWS = 50_000


def line_columns(path: Path, csv: Csv) -> list[str]:
    """Return the names of the columns: those in braces, or `data.csv.names`.

    Raises:
        DataError: A single file has no name, or there are other numbers of names and files.
    """
    names = [name for name, _ in parallel_files(path)] if csv.names is None else list(csv.names)
    files = files_of_path(path)
    if not names:
        expected = "parallel files, with the names of the columns in braces"
        raise DataError(
            Problem(str(path), expected, "one file", "write corpus.{en,fr}, for example")
        )
    if len(names) != len(files):
        expected = f"{pluralize(len(files), 'name')} in data.csv.names, one per file"
        raise DataError(Problem(str(path), expected, f"{len(names)}", "", "data.csv.names"))
    check_names(path, names, is_csv=True)
    return names


def read_line_blocks(
    path: Path, csv: Csv, columns: Sequence[str] | None = None, rows: int = _ROWS
) -> Iterator[pl.DataFrame]:
    """Yield some columns of all rows, `rows` rows at a time.

    Args:
        path: The path of a file or of parallel files.
        csv: The CSV settings, of which encoding and names are used.
        columns: The columns; None for all.
        rows: Maximum number of rows of a block.

    Raises:
        DataError: A file is empty, not text, in another encoding, or has fewer lines than another.
    """
    names, files = line_columns(path, csv), files_of_path(path)
    readers = [_lines(file, csv) for file in files]
    start = 0
    while True:
        blocks = [list(islice(reader, rows)) for reader in readers]
        counts = [len(block) for block in blocks]
        if len(set(counts)) > 1:
            totals = [
                start + count + sum(1 for _ in reader)
                for count, reader in zip(counts, readers, strict=True)
            ]
            raise _different_lengths(files, totals)
        if not counts[0]:
            return
        frame = pl.DataFrame(
            dict(zip(names, blocks, strict=True)), schema_overrides=dict.fromkeys(names, pl.String)
        )
        cells = pl.all().str.strip_chars()
        yield frame.select(columns or names).select(pl.when(cells != "").then(cells))
        start += counts[0]


def _lines(path: Path, csv: Csv) -> Iterator[str]:
    settings = Csv(encoding=csv.encoding, header=False)
    for number, line in enumerate(lines_of(text_chunks(path, settings)), start=1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            found = f"byte 0x{line[error.start]:02X} at byte {error.start + 1} of the line"
            fix, key = encoding_advice(path), "data.csv.encoding"
            raise DataError(Problem(f"{path}:{number}", "UTF-8 text", found, fix, key)) from error


def _different_lengths(files: Sequence[Path], counts: Sequence[int]) -> DataError:
    first = counts[0]
    fix = "restore the missing lines, or remove the additional ones: equal line numbers belong together"
    return DataError(
        Problem(str(file), f"{pluralize(first, 'line')}, as in {files[0]}", f"{count:,}", fix)
        for file, count in zip(files, counts, strict=True)
        if count != first
    )
