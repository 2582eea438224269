"""Sources: paths, globs and lists → the files they name, and the format each is written in."""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from trainer.config.data import Data
from trainer.data.compression import SUFFIXES, decompress_command, zip_member_name
from trainer.errors import DataError, Problem, did_you_mean

Format = Literal["csv", "parquet", "ndjson", "arrow", "npz"]

_LARGE_BYTES = 5_000_000

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".data": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".npz": "npz",
}

_OTHER_PACKED = {".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz", ".lz4", ".br"}


def expand_sources(sources: Sequence[str]) -> tuple[list[Path], list[Problem]]:
    """The files that paths and globs name, globs sorted by name, and what is wrong with them."""
    paths: list[Path] = []
    problems: list[Problem] = []
    for source in sources:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source):
            fix = "download it first, and name the file"
            problems.append(Problem(source, "a file on this machine", "an address", fix))
            continue
        is_glob = any(sign in source for sign in "*?[") and not Path(source).exists()
        found = [Path(name) for name in sorted(glob.glob(source, recursive=True))]  # noqa: PTH207
        found = [path for path in found if not path.is_dir()] if is_glob else [Path(source)]
        if not found:
            problems.append(
                Problem(source, "a pattern that matches files", "no file", _nearest(Path(source)))
            )
        for path in found:
            problem = _unreadable(path)
            if problem is None:
                paths.append(path)
            else:
                problems.append(problem)
    return paths, problems


def is_large(data: Data) -> bool:
    """Whether reading the files takes long enough to do something else meanwhile."""
    match data.source:
        case str():
            sources = [data.source]
        case list():
            sources = data.source
        case _:
            sources = (
                [data.source.train] if isinstance(data.source.train, str) else data.source.train
            )
    paths, _ = expand_sources(sources)
    return sum(path.stat().st_size for path in paths if path.is_file()) > _LARGE_BYTES


def file_format(path: Path, stated: Literal["auto"] | Format) -> Format:
    """The format of a file: as stated, else by the end of its name, packed files looked into.

    Raises:
        DataError: The name says nothing, or the file is packed in a format that is not read so.
    """
    kind = stated if stated != "auto" else _named_format(path)
    if kind in ("parquet", "arrow", "npz") and path.suffix.lower() in SUFFIXES:
        fix = f"unpack it with {decompress_command(path)}, and name the unpacked file"
        words = {"parquet": "a Parquet file", "arrow": "an Arrow file", "npz": "an NPZ archive"}
        expected = f"{words[kind]} as it is (of packed files, CSV and NDJSON are read)"
        raise DataError(Problem(str(path), expected, f"a packed one ({path.suffix})", fix))
    return kind


def _named_format(path: Path) -> Format:
    suffix = inner_suffix(path)
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    fix = "set data.format to csv, parquet, ndjson, arrow or npz"
    if suffix in (".xlsx", ".xls", ".ods"):
        fix = "save the sheet as CSV"
    if suffix == ".json":
        fix = "One JSON object a line can be read: set data.format to ndjson."
    if suffix in SUFFIXES:
        fix = f"unpack it with {decompress_command(path)}, and name the unpacked file"
    elif {suffix, path.suffix.lower()} & _OTHER_PACKED:
        fix = "unpack it, and name the file in it (.gz, .zip and .zst are read as they are)"
    found = f"a name that ends in '{suffix}'" if suffix else "a name without an ending"
    known = ", ".join(dict.fromkeys(_SUFFIXES))
    raise DataError(Problem(str(path), f"a file name that ends in one of {known}", found, fix))


def inner_suffix(path: Path) -> str:
    """The lower-case end of the name without that of a packed file: `x.csv.gz` → ".csv".

    Of a zip archive whose own name says nothing (`x.zip`), that of the file in it.

    Raises:
        DataError: It is an archive that is damaged or does not hold just one file.
    """
    name = path.name.lower()
    for packed in SUFFIXES:
        if name.endswith(packed):
            inner = Path(name.removesuffix(packed)).suffix
            if packed == ".zip" and inner not in _SUFFIXES and path.is_file():
                return PurePosixPath(zip_member_name(path).lower()).suffix
            return inner
    return Path(name).suffix


def _unreadable(path: Path) -> Problem | None:
    try:
        return _not_a_file(path)
    except OSError as error:
        if isinstance(error, PermissionError):
            fix = f"try chmod u+rx '{path.parent}'"
            return Problem(str(path), "a file that can be read", "no permission", fix)
        found = (error.strerror or str(error)).lower()
        return Problem(str(path), "a file that can be read", found)


def _not_a_file(path: Path) -> Problem | None:
    where = str(path)
    if path.is_dir():
        fix = f"name the files in it: '{path}/*.csv'"
        return Problem(where, "a file", "a directory", fix)
    if not path.exists():
        return Problem(where, "a file", "nothing of that name", _nearest(path))
    if not os.access(path, os.R_OK):
        return Problem(where, "a file that can be read", "no permission", f"try chmod u+r '{path}'")
    if not path.is_file():
        return Problem(where, "a file", "a device or a pipe", "write the rows to a file first")
    return None


def _nearest(path: Path) -> str:
    variable = re.search(r"\$([A-Za-z_]\w*)", str(path))
    if variable is not None:
        # Braces, so that a file whose name has a `$` can be read too.
        return f"a variable of the environment is written ${{{variable[1]}}}"
    folder = path.parent
    try:
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    except OSError:
        names = []
    if not folder.is_dir():
        return f"there is no directory {folder}"
    return did_you_mean(path.name, names, f"ls {shlex.quote(str(folder))} shows what is there")
