"""A small run with checkpoints, and archives with any content."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from trainer.archive.format import END
from trainer.archive.reading import TRAILER_HEADER
from trainer.runs.checkpoints import write_checkpoint
from trainer.runs.directory import RunDirectory
from trainer.runs.manifest import new_manifest

NOW = datetime(2026, 11, 22, 14, 15, 30, tzinfo=UTC)
KEY = bytes(range(32))
LONG = "a" * 120
"""A name that does not fit into the header of a member."""


def make_run(root: Path, mode: int | None = None) -> Path:
    """Write a finished run named wine, without a network that could be loaded."""
    run = RunDirectory.create(root, "wine", "seed: 1\n", NOW, mode)
    run.write_config("seed: 1\n")
    manifest = new_manifest(name="wine", command=(), seed=1, config_directory=root, now=NOW)
    run.write_manifest(manifest.with_end("finished", NOW))
    for number, directory in enumerate((run.best, run.last, run.last)):
        model = f"model {number}".encode() * 500
        state = {"x": np.arange(number + 3.0)}
        write_checkpoint(
            directory, lambda path, model=model: path.write_bytes(model), state, {}, keep=2
        )
    run.packs.mkdir()
    (run.path / "notes ü, 日本").mkdir()
    (run.path / "notes ü, 日本" / f"{LONG}.txt").write_text("x" * 1024)
    (run.path / "empty.txt").touch()
    return run.path


@pytest.fixture
def wine(tmp_path: Path) -> Path:
    """A run, `runs/wine/20261122-141530-…`."""
    return make_run(tmp_path / "runs")


def contents(root: Path) -> dict[str, bytes | None]:
    """Return the content of all files below a directory; None for directories."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


FILES = {"config.yaml": b"seed: 1\n", "manifest.json": b"{}\n", "data/x.txt": b"x" * 700}
"""The files of `hostile` archives by default."""


def file_entries(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Return the entries of the index for some files."""
    return [
        {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in files.items()
    ]


def index_of(**changes: Any) -> dict[str, Any]:
    """Return an index of `FILES` with some changes."""
    return {
        "format": 1,
        "kind": "run",
        "name": "wine",
        "directory": "a",
        "mode": 0o755,
        "modified": 0,
        "files": file_entries(FILES),
        "empty_directories": [],
        **changes,
    }


def member(name: str, content: bytes = b"", **fields: Any) -> bytes:
    """Return a member of a tar file, with some fields of its header changed."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % 512)


def tar_of(index: object, members: Iterable[bytes] | None = None) -> bytes:
    """Return the tar file of an index and of members, by default those of `FILES`."""
    if members is None:
        members = [member(f"a/{path}", content) for path, content in FILES.items()]
    return b"".join([member("archive.json", json.dumps(index).encode()), *members, END])


def write_tar(path: Path, tar: bytes) -> Path:
    """Compress a tar file and add the hash, as `trainer archive` does."""
    content = zstandard.ZstdCompressor().compress(tar)
    path.write_bytes(content + TRAILER_HEADER + hashlib.sha256(content).digest())
    return path


@pytest.fixture
def hostile(tmp_path: Path) -> Callable[..., Path]:
    """Write an archive with any index and members."""

    def write(index: object = None, members: Iterable[bytes] | None = None) -> Path:
        tar = tar_of(index_of() if index is None else index, members)
        return write_tar(tmp_path / "hostile.tar.zst", tar)

    return write


def untar(content: bytes) -> dict[str, bytes]:
    """Return the files of an archive, as the standard library reads them."""
    tar = zstandard.ZstdDecompressor().decompressobj().decompress(content)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {
            info.name: file.read()
            for info in archive
            if (file := archive.extractfile(info)) is not None
        }
