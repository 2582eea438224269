"""Expand paths, globs and lists of `data.source` to files, and determine the format of each."""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from trainer.config.data import Data, NamedSources
from trainer.config.file_formats import FORMAT_SUFFIXES, TEXT_FORMATS, FileFormat
from trainer.config.image_folders import is_image, is_image_folder
from trainer.data.compression import SUFFIXES, decompress_command, zip_member_name
from trainer.data.parallel_paths import bytes_of_path, parallel_files
from trainer.data.splits import TEST, TRAIN, VALIDATION
from trainer.errors import DataError, Problem, did_you_mean

_LARGE_BYTES = 5_000_000

_OTHER_COMPRESSED = {".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz", ".lz4", ".br"}


def expand_sources(sources: Sequence[str]) -> tuple[list[Path], list[Problem]]:
    """Return the files for paths and globs, globs sorted by name, and the problems with them."""
    paths: list[Path] = []
    problems: list[Problem] = []
    for source in sources:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source):
            fix = "download it first, and use the file"
            problems.append(Problem(source, "a file on this machine", "a URL", fix))
            continue
        if parallel_files(Path(source)):
            found = parallel_problems(Path(source))
            problems += found
            paths += [] if found else [Path(source)]
            continue
        is_glob = any(character in source for character in "*?[") and not Path(source).exists()
        matches = [Path(name) for name in sorted(glob.glob(source, recursive=True))]  # noqa: PTH207
        matches = [path for path in matches if not path.is_dir()] if is_glob else [Path(source)]
        if not matches:
            problems.append(
                Problem(source, "a pattern that matches files", "no file", _nearest(Path(source)))
            )
        for path in matches:
            problem = _file_problem(path)
            if problem is None:
                paths.append(path)
            else:
                problems.append(problem)
    return paths, problems


def files_by_split(source: str | Sequence[str] | NamedSources) -> list[tuple[int, list[str]]]:
    """Return the split code and paths of each part of a source; the default is training data."""
    if not isinstance(source, NamedSources):
        return [(TRAIN, [source] if isinstance(source, str) else list(source))]
    named = [(TRAIN, source.train), (VALIDATION, source.validation), (TEST, source.test)]
    return [
        (split, [names] if isinstance(names, str) else names)
        for split, names in named
        if names is not None
    ]


def is_large(data: Data) -> bool:
    """Return whether reading the files takes long enough to do other work meanwhile."""
    _, sources = files_by_split(data.source)[0]
    paths, _ = expand_sources(sources)
    sizes = (_LARGE_BYTES + 1 if path.is_dir() else bytes_of_path(path) for path in paths)
    return sum(sizes) > _LARGE_BYTES


def file_format(path: Path, explicit: Literal["auto"] | FileFormat) -> FileFormat:
    """Return the format of a file: the explicit one, otherwise that of its extension.

    Raises:
        DataError: If the extension is unknown, or the format cannot be read compressed.
    """
    is_parallel = bool(parallel_files(path))
    if is_parallel and explicit not in ("auto", "lines"):
        found, fix = "parallel files", "remove data.format, or list the files"
        raise DataError(Problem(str(path), f"one {explicit} file", found, fix, "data.format"))
    kind = explicit
    if kind == "auto":
        kind = "lines" if is_parallel else _format_of_extension(path)
    if kind not in (*TEXT_FORMATS, "folder") and path.suffix.lower() in SUFFIXES:
        fix = f"unpack it with {decompress_command(path)}, and use the unpacked file"
        expected = f"an uncompressed {kind} file (only CSV and NDJSON can be compressed)"
        raise DataError(Problem(str(path), expected, f"a compressed one ({path.suffix})", fix))
    return kind


def _format_of_extension(path: Path) -> FileFormat:
    if path.is_dir() or is_image(path.name):
        return "folder"
    suffix = inner_suffix(path)
    if suffix in FORMAT_SUFFIXES:
        return FORMAT_SUFFIXES[suffix]
    *others, last = dict.fromkeys(FORMAT_SUFFIXES.values())
    fix = f"set data.format to {', '.join(others)} or {last}"
    if suffix in (".xlsx", ".xls", ".ods"):
        fix = "save the sheet as CSV"
    if suffix == ".json":
        fix = "if it has one JSON object per line, set data.format to ndjson"
    if suffix in SUFFIXES:
        fix = f"unpack it with {decompress_command(path)}, and use the unpacked file"
    elif {suffix, path.suffix.lower()} & _OTHER_COMPRESSED:
        fix = "unpack it, and use the file in it (only .gz, .zip and .zst are read directly)"
    found = f"the extension '{suffix}'" if suffix else "no extension"
    known = ", ".join(dict.fromkeys(FORMAT_SUFFIXES))
    raise DataError(Problem(str(path), f"one of the extensions {known}", found, fix))


def inner_suffix(path: Path) -> str:
    """Return the lower-case extension without that of compression: `x.csv.gz` → ".csv".

    For a zip archive without another extension (`x.zip`) it is that of the file in it.

    Raises:
        DataError: If it is an archive that is damaged or does not contain exactly one file.
    """
    name = path.name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            inner = Path(name.removesuffix(suffix)).suffix
            if suffix == ".zip" and inner not in FORMAT_SUFFIXES and path.is_file():
                return PurePosixPath(zip_member_name(path).lower()).suffix
            return inner
    return Path(name).suffix


def parallel_problems(path: Path) -> list[Problem]:
    """Return the problems with parallel files: their names, their formats and missing files."""
    where, files = str(path), parallel_files(path)
    names = [name for name, _ in files]
    if len(names) < 2 or "" in names or len(set(names)) < len(names):
        expected, found = "two or more different names in braces", f"{{{','.join(names)}}}"
        return [Problem(where, expected, found, "write corpus.{en,fr}, for example")]
    suffixes = {inner_suffix(file) for _, file in files}
    tables = sorted(suffix for suffix in suffixes if suffix in FORMAT_SUFFIXES and suffix != ".txt")
    if tables:
        listed = ", ".join(str(file) for _, file in files)
        fix = f"list tables: [{listed}]"
        return [Problem(where, "parallel files of one text per line", f"{tables[0]} files", fix)]
    problems = [problem for _, file in files if (problem := _file_problem(file)) is not None]
    if problems and any(character in where for character in "*?["):
        fix = "list the pairs: [a.{en,fr}, b.{en,fr}]"
        return [Problem(where, "parallel files without wildcards", f"'{where}'", fix)]
    return problems


def is_lines(path: Path, data: Data) -> bool:
    """Return whether a new file for a run has one text per line, as the parallel files of the run.

    Args:
        path: The new file.
        data: The `data` section of the run.
    """
    if data.format != "auto":
        return data.format == "lines"
    first = Path(files_by_split(data.source)[0][1][0])
    is_table = path.is_dir() or FORMAT_SUFFIXES.keys() & {inner_suffix(path)} - {".txt"}
    return bool(parallel_files(first)) and not is_table


def _file_problem(path: Path) -> Problem | None:
    try:
        return _not_a_file(path)
    except OSError as error:
        if isinstance(error, PermissionError):
            fix = f"try chmod u+rx '{path.parent}'"
            return Problem(str(path), "a readable file", "no permission", fix)
        found = (error.strerror or str(error)).lower()
        return Problem(str(path), "a readable file", found)


def _not_a_file(path: Path) -> Problem | None:
    where = str(path)
    if is_image_folder(path):
        return None
    if path.is_dir():
        if not any(path.iterdir()):
            return Problem(where, "a file", "an empty directory", "put the files in it")
        fix = f"use the files in it: '{path}/*.csv'"
        return Problem(where, "a file", "a directory", fix)
    if not path.exists():
        return Problem(where, "a file", "no such file", _nearest(path))
    if not os.access(path, os.R_OK):
        return Problem(where, "a readable file", "no permission", f"try chmod u+r '{path}'")
    if not path.is_file():
        return Problem(where, "a file", "a device or a pipe", "write the rows to a file first")
    return None


def _nearest(path: Path) -> str:
    variable = re.search(r"\$([A-Za-z_]\w*)", str(path))
    if variable is not None:
        # Braces are required, so that file names can contain `$`.
        return f"write an environment variable as ${{{variable[1]}}}"
    folder = path.parent
    try:
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    except OSError:
        names = []
    if not folder.is_dir():
        return f"there is no directory {folder}"
    return did_you_mean(path.name, names, f"ls {shlex.quote(str(folder))} shows what is there")
