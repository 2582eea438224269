"""`trainer archive`: writes a run or a sweep to one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainer.errors import Problem, UsageError, pluralize
from trainer_cli import console
from trainer_cli.key_files import key_of
from trainer_cli.options import Json, Quiet, RunOrSweep


def command(
    run: RunOrSweep,
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The archive, for example wine.tar.zst."
        ),
    ],
    encrypt: Annotated[
        Path | None,
        typer.Option(
            "--encrypt",
            metavar="KEYFILE",
            show_default="not encrypted",
            help="Encrypt the archive with the key in this file: 64 hexadecimal digits.",
        ),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Archive a run or a sweep in one compressed file, with the SHA-256 of every file in it.

    The archive is read back before it gets its name. The data files are not in it. Without encryption,
    the same run always gives the same bytes.

    Example: trainer archive runs/wine/20261122-141530-9f3c -o wine.tar.zst

    Example: trainer archive runs/wine/20261122-141530-9f3c -o wine.tar.zst --encrypt archive.key
    """
    _check_output(out)
    key = None if encrypt is None else key_of(encrypt, "--encrypt")
    if encrypt is not None and encrypt.resolve().is_relative_to(run.resolve()):
        fix = "move it: it would be in the archive that it opens"
        raise UsageError(Problem("--encrypt", f"a file outside {run}", f"'{encrypt}'", fix))
    from trainer.archive.writing import write_archive
    from trainer.report.text import format_bytes

    written = write_archive(run, out, key)
    console.Console(quiet=quiet).print(
        f"{pluralize(written.files, 'file')}, {format_bytes(written.bytes)} → "
        f"{format_bytes(written.archive_bytes)}{'' if key is None else ', encrypted'}"
    )
    if json:
        console.json_result(
            {
                "archive": str(written.path),
                "run": str(written.source),
                "files": written.files,
                "bytes": written.bytes,
                "archive_bytes": written.archive_bytes,
                "sha256": written.sha256,
                "encrypted": key is not None,
            }
        )
    else:
        console.result(str(written.path))


def _check_output(out: Path) -> None:
    """Check the path of the archive before doing any work."""
    from trainer.runs.files import parent_problem

    if str(out) == "-":
        fix = "the archive is read back, which stdout does not allow"
        raise UsageError(Problem("--output", "a file", "'-'", fix))
    if (missing := parent_problem("--output", out)) is not None:
        raise UsageError(missing)
