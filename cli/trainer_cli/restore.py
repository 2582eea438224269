"""`trainer restore`: restores a run or a sweep from an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainer.errors import pluralize
from trainer_cli import console
from trainer_cli.key_files import key_of
from trainer_cli.options import DEFAULT_RUNS, DEFAULT_SWEEPS, Json, Quiet, Runs, Sweeps


def command(
    archive: Annotated[
        Path, typer.Argument(metavar="FILE", help="An archive written by trainer archive.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            show_default="as when it was archived, in --runs or --sweeps",
            help="The directory to restore, which must not exist.",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="KEYFILE", help="The key file of an encrypted archive."),
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    sweeps: Sweeps = DEFAULT_SWEEPS,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Restore a run or a sweep from an archive and print its directory.

    The SHA-256 of every file is verified, also against those that the run itself recorded. If the
    archive is damaged, nothing is left behind.

    Example: trainer restore wine.tar.zst

    Example: trainer restore wine.tar.zst --key archive.key -o restored
    """
    opened = None if key is None else key_of(key, "--key")
    from trainer.archive.restoring import restore_archive
    from trainer.report.text import format_bytes

    restored = restore_archive(archive, out, {"run": runs, "sweep": sweeps}, opened)
    console.Console(quiet=quiet).print(
        f"{pluralize(restored.files, 'file')}, {format_bytes(restored.bytes)}, verified"
    )
    if json:
        console.json_result(
            {
                "run": str(restored.path),
                "archive": str(archive),
                "files": restored.files,
                "bytes": restored.bytes,
            }
        )
    else:
        console.result(str(restored.path))
