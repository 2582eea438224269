"""Archives have all files of a run, verified, and always the same bytes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.archive.conftest import KEY, contents, make_run, untar
from trainer.archive import writing
from trainer.archive.writing import write_archive
from trainer.errors import RunError, StorageError
from trainer.runs.lock import RunLock


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "wine.tar.zst"


def test_archive_has_all_files_of_the_run(wine: Path, out: Path) -> None:
    written = write_archive(wine, out)
    files = untar(out.read_bytes())
    index = json.loads(files.pop("archive.json"))
    expected = {
        f"{wine.name}/{name}": content
        for name, content in contents(wine).items()
        if content is not None
    }
    assert files == expected
    assert {entry["path"]: entry["sha256"] for entry in index["files"]} == {
        name.partition("/")[2]: hashlib.sha256(content).hexdigest()
        for name, content in files.items()
    }
    assert index["empty_directories"] == ["packs"]
    assert written.files == len(files)
    assert written.bytes == sum(map(len, files.values()))
    assert written.archive_bytes == out.stat().st_size
    assert written.sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


def test_the_same_run_gives_the_same_bytes(wine: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / wine.name
    for path in sorted(wine.rglob("*"), reverse=True):  # created in another order, at another time
        target = copy / path.relative_to(wine)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            os.utime(target, (1, 1))
    copy.chmod(wine.stat().st_mode)
    first, second = tmp_path / "first", tmp_path / "second"
    write_archive(wine, first)
    write_archive(copy, second)
    assert first.read_bytes() == second.read_bytes()


def test_encrypted_archive_reveals_nothing(wine: Path, out: Path) -> None:
    write_archive(wine, out, KEY)
    content = out.read_bytes()
    assert not any(
        text in content for text in (b"wine", b"seed", b"config.yaml", b"\x28\xb5\x2f\xfd")
    )


def test_locks_and_temporary_files_are_left_out(wine: Path, out: Path) -> None:
    for name in ("lock", ".config.yaml.0123abcd.new", "checkpoints/last.new/state.npz"):
        (wine / name).parent.mkdir(exist_ok=True)
        (wine / name).write_text("left behind")
    write_archive(wine, out)
    assert not [name for name in untar(out.read_bytes()) if "new" in name or "lock" in name]


@pytest.mark.parametrize("mode", [0o700, None])
def test_archive_of_a_private_run_is_private(tmp_path: Path, out: Path, mode: int | None) -> None:
    write_archive(make_run(tmp_path / "runs", mode), out)
    others = stat.S_IMODE(out.stat().st_mode) & 0o077
    assert others == (0 if mode else 0o666 & ~current_umask() & 0o077)


def current_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_run_that_is_being_written(wine: Path, out: Path) -> None:
    with (
        RunLock(wine / "lock"),
        pytest.raises(RunError, match=r"no other process.*found process \d+"),
    ):
        write_archive(wine, out)
    assert not out.exists()
    write_archive(wine, out)


def test_member_of_a_run_that_is_being_written(wine: Path, out: Path) -> None:
    member = make_run(wine / "members")
    member = member.rename(wine / "members" / "0001")
    shutil.rmtree(wine / "members" / "wine")
    with RunLock(wine / "lock"), pytest.raises(RunError, match="a run that no process is writing"):
        write_archive(member, out)
    with (
        RunLock(member / "lock"),
        pytest.raises(RunError, match="a run that no process is writing"),
    ):
        write_archive(wine, out)
    write_archive(wine, out)


def test_run_without_write_permission(wine: Path, out: Path) -> None:
    folders = [wine, *(path for path in wine.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        write_archive(wine, out)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert out.exists()


def test_existing_archive_is_kept(wine: Path, out: Path) -> None:
    out.write_text("another archive")
    with pytest.raises(RunError, match="a path that does not exist yet"):
        write_archive(wine, out)
    assert out.read_text() == "another archive"


def test_archive_in_the_run(wine: Path) -> None:
    before = contents(wine)
    with pytest.raises(RunError, match="a file outside"):
        write_archive(wine, wine / "checkpoints" / "wine.tar.zst")
    assert contents(wine) == before


def test_checkpoint_instead_of_a_run(wine: Path, out: Path) -> None:
    with pytest.raises(RunError, match=f"its checkpoint 'best'; archive {wine}"):
        write_archive(wine / "checkpoints" / "best", out)


@pytest.mark.parametrize("damage", ["changed", "missing", "metadata"])
def test_damaged_checkpoint(wine: Path, out: Path, damage: str) -> None:
    state = wine / "checkpoints" / "last" / "state.npz"
    match damage:
        case "changed":
            state.write_bytes(state.read_bytes()[:-1] + b"?")
        case "missing":
            state.unlink()
        case _:
            metadata = state.with_name("checkpoint.json")
            metadata.write_text(metadata.read_text().replace("sha256", "sha512", 1))
    with pytest.raises(RunError, match=r"checkpoints/last/(state\.npz|checkpoint\.json): expected"):
        write_archive(wine, out)
    assert not out.exists()


def test_links_and_pipes_are_all_reported(wine: Path, out: Path) -> None:
    (wine / "link").symlink_to("/etc/passwd")
    os.mkfifo(wine / "checkpoints" / "pipe")
    with pytest.raises(RunError) as caught:
        write_archive(wine, out)
    assert [problem.found for problem in caught.value.problems] == [
        "a link to /etc/passwd", "a pipe, a socket or a device",
    ]  # fmt: skip
    assert not out.exists()


def test_file_name_that_is_not_utf8(wine: Path, out: Path) -> None:
    Path(os.fsdecode(os.fsencode(wine) + b"/\xff")).touch()
    with pytest.raises(RunError, match="a name in UTF-8"):
        write_archive(wine, out)


def test_file_that_changes_meanwhile(
    wine: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changing(path: Path) -> str:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.name == "config.yaml":
            path.write_text("seed: 2\n")
        return digest

    monkeypatch.setattr(writing, "sha256_of", changing)
    with pytest.raises(RunError, match=r"config\.yaml: expected an unchanged file"):
        write_archive(wine, out)
    assert list(out.parent.iterdir()) == [wine.parent.parent]


def test_archive_that_cannot_be_read_back(
    wine: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that stores other bytes than were written is noticed."""
    fsync = os.fsync

    def damaging(descriptor: int) -> None:
        fsync(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").readlink().name.endswith(".new"):
            os.pwrite(descriptor, b"?", 2000)

    monkeypatch.setattr(os, "fsync", damaging)
    with pytest.raises(RunError, match="changed or cut off"):
        write_archive(wine, out)
    assert list(out.parent.iterdir()) == [wine.parent.parent]


def test_full_disk(wine: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"no space left on device.*df -h"):
        write_archive(wine, out)
    assert list(out.parent.iterdir()) == [wine.parent.parent]
