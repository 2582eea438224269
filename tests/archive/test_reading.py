"""Damaged and hostile archives are rejected, and nothing of them is left behind."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.archive.conftest import (
    FILES,
    KEY,
    file_entries,
    index_of,
    member,
    tar_of,
    write_tar,
)
from trainer.archive import reading
from trainer.archive.format import END
from trainer.archive.reading import DiscardedFiles, read_archive
from trainer.archive.restoring import restore_archive
from trainer.archive.writing import write_archive
from trainer.errors import RunError

Hostile = Callable[..., Path]


def refused(archive: Path, match: str, key: bytes | None = None) -> None:
    """Check that an archive is rejected, and that no file is written anywhere near."""
    folder = archive.parent / "restored"
    folder.mkdir()
    before = sorted(archive.parent.rglob("*"))
    for target in (folder / "a", None):
        with pytest.raises(RunError, match=match):
            restore_archive(
                archive, target, {"run": folder / "runs", "sweep": folder / "sweeps"}, key
            )
        assert sorted(archive.parent.rglob("*")) == before


def test_archives_of_these_tests_are_otherwise_valid(hostile: Hostile, tmp_path: Path) -> None:
    restored = restore_archive(hostile(), tmp_path / "a", {})
    assert {name: (restored.path / name).read_bytes() for name in FILES} == FILES


OUTSIDE = (
    "../x",
    "/etc/x",
    "a/../../x",
    "..",
    ".",
    "",
    "a//b",
    "a/",
    "/",
    "x\0y",
    "n" * 256,
    "a/" * 70 + "b",
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_outside_the_run(hostile: Hostile, path: str) -> None:
    files = {**FILES, path: b"hostile"}
    members = [member(f"a/{name}", content) for name, content in files.items()]
    refused(hostile(index_of(files=file_entries(files)), members), "a path inside the run")


@pytest.mark.parametrize("path", OUTSIDE)
def test_directories_outside_the_run(hostile: Hostile, path: str) -> None:
    refused(hostile(index_of(empty_directories=[path])), "a path inside the run")


@pytest.mark.parametrize("name", ["..", "a/b", "/tmp", "", "x\0"])
@pytest.mark.parametrize("field", ["name", "directory"])
def test_names_that_are_paths(hostile: Hostile, field: str, name: str) -> None:
    refused(hostile(index_of(**{field: name})), "the name of a directory")


KINDS: dict[str, dict[str, Any]] = {
    "a symbolic link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "a hard link": {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"},
    "a device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
    "a pipe": {"type": tarfile.FIFOTYPE},
    "a regular file": {"type": tarfile.DIRTYPE},
    "the member": {"type": tarfile.GNUTYPE_LONGNAME},
}


@pytest.mark.parametrize("found", KINDS)
def test_members_that_are_not_files(hostile: Hostile, found: str) -> None:
    members = [member("a/config.yaml", FILES["config.yaml"], **KINDS[found])]
    refused(hostile(None, members), found if found != "the member" else "regular|member")


def test_other_members_than_in_the_index(hostile: Hostile) -> None:
    members = [member(f"a/{path}", content) for path, content in FILES.items()]
    for changed in (
        [*members[1:], members[0]],
        members[:-1],
        [*members, member("a/extra", b"x")],
        [*members, members[0]],
        [member("../config.yaml", FILES["config.yaml"]), *members[1:]],
        [member("a/config.yaml", b"seed: 2\n"), *members[1:]],
        [member("a/config.yaml", b"seed"), *members[1:]],
        [b"\xff" * 512, *members],
        [bytes(512), *members],
    ):
        archive = hostile(None, changed)
        with pytest.raises(RunError, match="hostile"):
            restore_archive(archive, archive.parent / "a", {})
        assert not (archive.parent / "a").exists()


def test_duplicate_paths(hostile: Hostile) -> None:
    entries = file_entries(FILES)
    refused(hostile(index_of(files=[*entries, entries[0]])), "'config.yaml' 2 times")


def test_file_that_is_also_a_directory(hostile: Hostile) -> None:
    entries = file_entries({**FILES, "config.yaml/x": b""})
    refused(hostile(index_of(files=entries)), "both 'config.yaml' and 'config.yaml/x'")


def test_more_bytes_than_the_disk_has(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [{**file_entries(FILES)[0], "bytes": 10**14}, *file_entries(FILES)[1:]]
    archive = hostile(index_of(files=files))
    refused(archive, "1,000 times the size")
    monkeypatch.setattr(reading, "_MAX_RATIO", 10**20)
    (archive.parent / "restored").rmdir()
    refused(archive, "the free space in .*100,000,000,000,703 bytes")


def test_zip_bomb(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_BOMB_BYTES", 1 << 20)
    files = {**FILES, "zeros": bytes(4 << 20)}
    members = [member(f"a/{name}", content) for name, content in files.items()]
    refused(hostile(index_of(files=file_entries(files)), members), "1,000 times the size")


def test_large_index(tmp_path: Path) -> None:
    header = member("archive.json", b"")[:512]
    info = tarfile.TarInfo("archive.json")
    info.size = 1 << 30
    assert len(info.tobuf()) == len(header)
    archive = write_tar(tmp_path / "x.tar.zst", info.tobuf(tarfile.PAX_FORMAT) + bytes(1 << 20))
    refused(archive, "at most 67,108,864 bytes of 'archive.json'")


@pytest.mark.parametrize("size", ["-1", "5", "9" * 25, "x"])
def test_extended_header_with_another_size(hostile: Hostile, size: str) -> None:
    extended = _as_extended(tarfile.TarInfo.create_pax_global_header({"size": size}))
    members = [extended + member("a/config.yaml", FILES["config.yaml"])]
    refused(hostile(None, members), "size|bytes")


def _as_extended(header: bytes) -> bytes:
    """Return a global extended header as that of one member, with a correct checksum."""
    changed = bytearray(header)
    changed[156:157] = tarfile.XHDTYPE
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed[:512])
    return bytes(changed)


INDEXES: dict[str, Any] = {
    "a list": [],
    "another format": index_of(format=2),
    "another kind": index_of(kind="model"),
    "no files": {name: value for name, value in index_of().items() if name != "files"},
    "negative size": index_of(files=[{**file_entries(FILES)[0], "bytes": -1}]),
    "not a hash": index_of(files=[{**file_entries(FILES)[0], "sha256": "0" * 63}]),
    "uppercase hash": index_of(files=[{**file_entries(FILES)[0], "sha256": "A" * 64}]),
    "mode": index_of(mode=0o4755),
    "a lone surrogate": index_of(files=[{**file_entries(FILES)[0], "path": "\ud800"}]),
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_invalid_index(hostile: Hostile, index: object) -> None:
    refused(hostile(index), "hostile")


def test_index_that_is_not_json(tmp_path: Path) -> None:
    for content in (b"{", b"[" * 100_000, b"\xff"):
        archive = write_tar(tmp_path / "x.tar.zst", member("archive.json", content) + END)
        with pytest.raises(RunError, match=r"JSON in 'archive\.json'"):
            read_archive(archive, None, DiscardedFiles())


def test_files_that_are_not_a_run(hostile: Hostile) -> None:
    members = [member("a/x", b"x")]
    refused(hostile(index_of(files=file_entries({"x": b"x"})), members), "the files of a run")


def test_content_after_the_end(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "x.tar.zst", tar_of(index_of()) + bytes(512))
    refused(archive, "more content")


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_every_truncation(wine: Path, tmp_path: Path, key: bytes | None) -> None:
    whole = tmp_path / "whole.tar.zst"
    write_archive(wine, whole, key)
    content = whole.read_bytes()
    cut = tmp_path / "cut.tar.zst"
    sizes = {*range(100), *range(100, len(content), 97), *range(len(content) - 60, len(content))}
    for size in sorted(sizes):
        cut.write_bytes(content[:size])
        with pytest.raises(RunError):
            read_archive(cut, key, DiscardedFiles())


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_changed_and_extended_archives(wine: Path, tmp_path: Path, key: bytes | None) -> None:
    whole = tmp_path / "whole.tar.zst"
    write_archive(wine, whole, key)
    content = bytearray(whole.read_bytes())
    changed = tmp_path / "changed.tar.zst"
    for position in range(0, len(content), 61):
        content[position] ^= 1
        changed.write_bytes(content)
        with pytest.raises(RunError):
            read_archive(changed, key, DiscardedFiles())
        content[position] ^= 1
    changed.write_bytes(content + b"x")
    with pytest.raises(RunError):
        read_archive(changed, key, DiscardedFiles())


def test_keys(wine: Path, tmp_path: Path) -> None:
    plain, encrypted = tmp_path / "plain", tmp_path / "encrypted"
    write_archive(wine, plain)
    write_archive(wine, encrypted, KEY)
    for archive, key, match in (
        (encrypted, bytes(32), "encrypted with this key, found another key"),
        (encrypted, None, "a key for an encrypted archive, found none.*--key KEYFILE"),
        (plain, KEY, "an encrypted archive, as there is a key"),
    ):
        with pytest.raises(RunError, match=match):
            read_archive(archive, key, DiscardedFiles())


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "an empty file"),
        (b"PK\x03\x04 a zip", "begins with"),
        (b"\x28\xb5\x2f\xfd", "cut off"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    refused(path, match)


def test_archive_of_another_tool(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(member("a/x", b"x") + END))
    refused(path, "SHA-256 of its content")
    refused_path = write_tar(tmp_path / "y.tar.zst", member("a/x", b"x") + END)
    with pytest.raises(RunError, match=r"the member 'archive\.json'"):
        read_archive(refused_path, None, DiscardedFiles())


def test_path_that_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, match in (
        (tmp_path, "a directory"),
        (tmp_path / "pipe", "a pipe"),
        (tmp_path / "pip", "no such file; did you mean 'pipe'"),
        (tmp_path / "no" / "x", "no such directory"),
    ):
        with pytest.raises(RunError, match=match):
            read_archive(path, None, DiscardedFiles())


def test_link_to_an_archive_is_followed(wine: Path, tmp_path: Path) -> None:
    written = write_archive(wine, tmp_path / "x.tar.zst")
    (tmp_path / "link").symlink_to(written.path)
    index = read_archive(tmp_path / "link", None, DiscardedFiles())
    assert index.bytes == written.bytes
