"""A restored run has the same files; nothing is overwritten or left behind."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.archive.conftest import KEY, contents, make_run
from trainer.archive.restoring import restore_archive
from trainer.archive.writing import write_archive
from trainer.errors import RunError, StorageError
from trainer.runs.checkpoints import read_newest_checkpoint
from trainer.runs.files import sha256_of


@pytest.fixture
def archive(wine: Path, tmp_path: Path) -> Path:
    return write_archive(wine, tmp_path / "wine.tar.zst").path


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_restored_run_is_the_same(wine: Path, tmp_path: Path, key: bytes | None) -> None:
    archive = write_archive(wine, tmp_path / "wine.tar.zst", key).path
    target = tmp_path / "deep ü" / "er" / "copy"
    restored = restore_archive(archive, target, {}, key)
    assert restored.path == target
    assert contents(target) == contents(wine)
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(wine.stat().st_mode)
    checkpoint, _ = read_newest_checkpoint(target / "checkpoints" / "last", with_model=False)
    assert checkpoint.state["x"].tolist() == [0, 1, 2, 3, 4]
    assert sorted(path.name for path in target.parent.iterdir()) == ["copy"]


def test_restored_run_has_the_same_archive(wine: Path, archive: Path, tmp_path: Path) -> None:
    restored = restore_archive(archive, None, {"run": tmp_path / "other"}).path
    assert restored == tmp_path / "other" / "wine" / wine.name
    again = write_archive(restored, tmp_path / "again.tar.zst")
    assert again.sha256 == sha256_of(archive)


def test_sweep(wine: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweeps" / "wine" / "s1"
    (sweep / "trials").mkdir(parents=True)
    (sweep / "sweep.yaml").write_text("name: wine\n")
    wine.rename(sweep / "trials" / "1")
    archive = write_archive(sweep, tmp_path / "sweep.tar.zst").path
    restored = restore_archive(archive, None, {"sweep": tmp_path / "other"}).path
    assert restored == tmp_path / "other" / "wine" / "s1"
    assert contents(restored) == contents(sweep)


def test_private_run_stays_private(tmp_path: Path) -> None:
    wine = make_run(tmp_path / "runs", 0o700)
    archive = write_archive(wine, tmp_path / "x").path
    umask = os.umask(0)
    try:
        restored = restore_archive(archive, tmp_path / "copy", {}).path
    finally:
        os.umask(umask)
    assert stat.S_IMODE(restored.stat().st_mode) == 0o700


def test_permissions_are_at_most_those_of_new_files(wine: Path, tmp_path: Path) -> None:
    wine.chmod(0o777)
    archive = write_archive(wine, tmp_path / "x").path
    umask = os.umask(0o077)
    try:
        restored = restore_archive(archive, tmp_path / "copy", {}).path
    finally:
        os.umask(umask)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (restored, *restored.rglob("*"))}
    assert modes == {0o700, 0o600}


@pytest.mark.parametrize("kind", ["run", "file", "empty directory", "dangling link"])
def test_existing_path_is_kept(wine: Path, archive: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    match kind:
        case "run":
            target = wine
        case "file":
            target.write_text("x")
        case "empty directory":
            target.mkdir()
        case _:
            target.symlink_to(tmp_path / "nowhere")
    before = contents(tmp_path)
    with pytest.raises(RunError, match="a directory that does not exist yet"):
        restore_archive(archive, target, {})
    assert contents(tmp_path) == before


def test_checkpoint_with_other_hashes(wine: Path, tmp_path: Path) -> None:
    """An archive that is consistent in itself, of a run that was changed."""
    from trainer.archive import writing

    (wine / "checkpoints" / "best" / "model.keras").write_bytes(b"changed")
    archive = tmp_path / "x.tar.zst"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "check_recorded_hashes", lambda *_: None)
        write_archive(wine, archive)
    with pytest.raises(
        RunError, match=r"x\.tar\.zst: checkpoints/best/model\.keras: expected the content"
    ):
        restore_archive(archive, tmp_path / "deep" / "copy", {})
    assert not (tmp_path / "deep").exists()


def test_full_disk(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"copy/.*no space left on device.*df -h"):
        restore_archive(archive, tmp_path / "deep" / "copy", {})
    assert not (tmp_path / "deep").exists()


def test_folder_without_write_permission(archive: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root can write everywhere")
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    with pytest.raises(StorageError, match="permission"):
        restore_archive(archive, folder / "copy", {})
