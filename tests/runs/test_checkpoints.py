import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.marks import slow_except
from tests.runs.conftest import UNSYNCED
from trainer.errors import RunError, StorageError
from trainer.runs.checkpoints import (
    Checkpoint,
    read_checkpoint,
    read_newest_checkpoint,
    write_checkpoint,
)
from trainer.runs.files import DISK, FileSystem

MakeProcess = Callable[..., Any]

STATE: dict[str, Any] = {
    "network/0000/sequential/dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "optimizer/0000/iterations": np.array(7, dtype=np.int64),
    "file": np.array([True, False]),
    "order": np.array("stratified"),
}


def archive(text: str, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr("config.json", text)
    return buffer.getvalue()


def write(directory: Path, epoch: int, keep: int = 1, disk: FileSystem = DISK) -> None:
    content = archive(f"model {epoch}")
    state = {**STATE, "epoch": np.array(epoch)}
    metadata = {"epoch": epoch, "loss": 0.5}
    write_checkpoint(directory, lambda path: disk.write(path, content), state, metadata, disk, keep)


def epoch_of(checkpoint: Checkpoint) -> int:
    epoch = int(checkpoint.state["epoch"])
    assert checkpoint.metadata["epoch"] == epoch
    with zipfile.ZipFile(checkpoint.model) as file:
        assert file.read("config.json") == f"model {epoch}".encode()
    return epoch


def sealed(metadata: dict[str, Any]) -> bytes:
    """Return the content of checkpoint.json; its last key is the hash of all bytes before it."""
    head = json.dumps({key: metadata[key] for key in metadata if key != "sha256"}, indent=2)
    head = head.removesuffix("\n}")
    digest = hashlib.sha256(head.encode()).hexdigest()
    return f'{head},\n  "sha256": "{digest}"\n}}\n'.encode()


def forge(directory: Path, **files: bytes) -> None:
    """Write a malicious checkpoint with correct hashes."""
    directory.mkdir(parents=True)
    metadata: dict[str, Any] = {"format": 2, "files": {}}
    for name, content in {
        "model.keras": files["model"] if "model" in files else archive("x"),
        "state.npz": files["state"] if "state" in files else archive_of_arrays(),
    }.items():
        (directory / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        metadata["files"][name] = {"sha256": digest, "bytes": len(content)}
    (directory / "checkpoint.json").write_bytes(sealed(metadata))


def archive_of_arrays(**values: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **values)
    return buffer.getvalue()


def test_written_checkpoint_is_read_back(tmp_path: Path) -> None:
    directory = tmp_path / "last"
    write(directory, 3)
    checkpoint = read_checkpoint(directory)
    assert checkpoint.directory == directory
    assert checkpoint.metadata["epoch"] == 3
    assert checkpoint.metadata["loss"] == 0.5
    assert sorted(path.name for path in directory.iterdir()) == [
        "checkpoint.json",
        "model.keras",
        "state.npz",
    ]
    assert set(checkpoint.state) == {*STATE, "epoch"}
    for name, array in STATE.items():
        assert checkpoint.state[name].dtype == array.dtype
        np.testing.assert_array_equal(checkpoint.state[name], array)


def test_numpy_loads_the_state(tmp_path: Path) -> None:
    write(tmp_path / "last", 3)
    with np.load(tmp_path / "last" / "state.npz", allow_pickle=False) as archive:
        assert set(archive.files) == {*STATE, "epoch"}


@settings(deadline=None)  # disks can be slow
@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]+(/[a-z0-9_]+){0,3}", fullmatch=True),
        arrays.arrays(
            st.sampled_from(["f4", "f8", "i8", "u4", "?", "f2"]),
            arrays.array_shapes(min_dims=0, min_side=0),
        ),
        max_size=5,
    )
)
def test_any_state_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]
) -> None:
    directory = tmp_path_factory.mktemp("checkpoint") / "last"
    model = archive("x")
    write_checkpoint(directory, lambda path: UNSYNCED.write(path, model), state, {}, UNSYNCED)
    read = read_checkpoint(directory).state
    assert set(read) == set(state)
    for name, array in state.items():
        assert read[name].tobytes() == array.tobytes()
        assert read[name].shape == array.shape
        assert read[name].dtype == array.dtype


def test_equal_states_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, 3)
    for file in ("state.npz", "checkpoint.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("keep", [1, 2, 3])
@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO, errno.EACCES, "death", "torn"])
def test_failure_at_any_step_leaves_the_old_or_the_new_checkpoint(
    tmp_path: Path, failing_process: MakeProcess, fault: Any, keep: int
) -> None:
    names = ["last", *(f"last-{number}" for number in range(1, keep))]
    for epoch in range(1, 5):
        write(tmp_path / "before" / "last", epoch, keep)
    for steps in range(100):
        directory = tmp_path / str(steps) / "last"
        shutil.copytree(tmp_path / "before", directory.parent)
        process = failing_process(steps, fault)
        with process.running():
            write(directory, 5, keep, process.disk)
        checkpoint, skipped = read_newest_checkpoint(directory)
        epoch_read = epoch_of(checkpoint)
        assert epoch_read in {4, 5}
        assert epoch_of(read_checkpoint(directory)) == epoch_read
        assert [problem.where for problem in skipped] in ([], [str(directory)])
        assert bool(skipped) == (checkpoint.directory.name != "last")
        # The next process writes as if nothing had happened.
        write(directory, 6, keep)
        assert sorted(path.name for path in directory.parent.iterdir()) == names
        epochs = [epoch_of(read_checkpoint(directory.with_name(name))) for name in names]
        assert epochs[:2] == [6, epoch_read][:keep]
        assert epochs == sorted(epochs, reverse=True)
        if not process.failed:
            assert epoch_read == 5
            return
    pytest.fail("the process never finished")


def test_read_newest_skips_damaged_checkpoints(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoints" / "last"
    for epoch in range(1, 5):
        write(directory, epoch, keep=3)
    checkpoint, skipped = read_newest_checkpoint(directory)
    assert (epoch_of(checkpoint), checkpoint.directory, skipped) == (4, directory, ())
    (directory / "state.npz").unlink()
    checkpoint, skipped = read_newest_checkpoint(directory)
    assert (epoch_of(checkpoint), checkpoint.directory.name) == (3, "last-1")
    assert [problem.where for problem in skipped] == [str(directory / "state.npz")]
    shutil.rmtree(directory)
    (directory.with_name("last-1") / "model.keras").write_bytes(b"")
    checkpoint, skipped = read_newest_checkpoint(directory)
    assert (epoch_of(checkpoint), checkpoint.directory.name) == (2, "last-2")
    assert [problem.where for problem in skipped] == [
        str(directory),
        str(directory.with_name("last-1") / "model.keras"),
    ]
    (directory.with_name("last-2") / "checkpoint.json").unlink()
    with pytest.raises(RunError) as raised:
        read_newest_checkpoint(directory)
    assert len(raised.value.problems) == 3
    assert all("trainer fit" in problem.fix for problem in raised.value.problems)


def test_read_newest_without_checkpoints(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoints" / "last"
    with pytest.raises(RunError, match=r"nothing to resume from.*trainer fit"):
        read_newest_checkpoint(directory)
    write(directory.with_name("best"), 1)
    write(directory.with_name("last.new"), 1)
    write(directory.with_name("last-x"), 1)
    with pytest.raises(RunError, match="nothing to resume from"):
        read_newest_checkpoint(directory)


def test_keep_can_change(tmp_path: Path) -> None:
    directory = tmp_path / "last"
    kept = []
    for epoch, keep in enumerate([1, 3, 3, 3, 3, 2, 1, 2], start=1):
        write(directory, epoch, keep)
        kept.append(len(list(tmp_path.iterdir())))
    assert kept == [1, 2, 3, 3, 3, 2, 1, 2]
    with pytest.raises(ValueError, match="keep"):
        write(directory, 9, keep=0)


@pytest.mark.parametrize("name", ["model.keras", "state.npz"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "empty"])
def test_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    directory = tmp_path / "last"
    write(directory, 3)
    path = directory / name
    content = path.read_bytes()
    match damage:
        case "flip":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "cut":
            path.write_bytes(content[:-1])
        case "empty":
            path.write_bytes(b"")
        case _:
            path.unlink()
    with pytest.raises(RunError) as raised:
        read_checkpoint(directory)
    (problem,) = raised.value.problems
    assert problem.where == str(path)
    assert str(tmp_path / "best") in problem.fix


@pytest.mark.parametrize("name", ["checkpoint.json", "model.keras", "state.npz"])
def test_any_changed_byte_or_truncation_is_detected(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "last"
    write(directory, 3)
    path = directory / name
    content = path.read_bytes()
    rng = np.random.default_rng(7)
    positions = rng.permutation(len(content))[:300]
    for position, change in zip(positions, rng.integers(1, 256, len(positions)), strict=True):
        damaged = bytearray(content)
        damaged[position] ^= change
        path.write_bytes(damaged)
        with pytest.raises(RunError):
            read_checkpoint(directory)
    for length in rng.permutation(len(content))[:300]:
        path.write_bytes(content[:length])
        with pytest.raises(RunError):
            read_checkpoint(directory)
    path.write_bytes(content)
    assert epoch_of(read_checkpoint(directory)) == 3


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "no such file"),
        (b"", "an empty file"),
        (b"{", "damage"),
        (b"[" * 100_000, "damage"),
        (b"[]", "the metadata"),
        (b'{"format": 2}', "the metadata"),
        (b'{"format": 1, "files": {}}', "use the version of trainer"),
        (
            b'{"format": ' + b"[" * 900 + b"]" * 900 + b', "files": {}}',
            "use the version of trainer",
        ),
        (b'{"format": 2, "files": {}}', "unchanged metadata"),
        (sealed({"format": 2, "files": []}), "the hashes"),
        (sealed({"format": 2, "files": {}}), "the hashes"),
        (sealed({"format": 2, "files": {"model.keras": 1, "state.npz": 2}}), "sha256 and bytes"),
    ],
)
def test_damaged_metadata(tmp_path: Path, metadata: bytes | None, words: str) -> None:
    directory = tmp_path / "last"
    write(directory, 3)
    path = directory / "checkpoint.json"
    path.unlink()
    if metadata is not None:
        path.write_bytes(metadata)
    with pytest.raises(RunError, match=words) as raised:
        read_checkpoint(directory)
    assert raised.value.problems[0].where == str(path)


def test_huge_metadata_is_rejected(tmp_path: Path) -> None:
    directory = tmp_path / "last"
    write(directory, 3)
    os.truncate(directory / "checkpoint.json", 1 << 36)
    with pytest.raises(RunError, match="at most 16777216 bytes"):
        read_checkpoint(directory)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", ".."])
def test_file_names_outside_the_checkpoint_are_rejected(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "last"
    write(directory, 3)
    path = directory / "checkpoint.json"
    metadata = json.loads(path.read_text())
    metadata["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    path.write_bytes(sealed(metadata))
    with pytest.raises(RunError, match="file names"):
        read_checkpoint(directory)


@pytest.mark.parametrize("name", ["checkpoint.json", "model.keras", "state.npz"])
def test_links_out_of_the_checkpoint_are_rejected(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "checkpoints" / "last"
    write(directory, 3)
    path = directory / name
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(RunError, match="a link to") as raised:
        read_checkpoint(directory)
    assert raised.value.problems[0].where == str(path)


def test_links_out_of_the_run_are_rejected(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", 3)
    directory = tmp_path / "run" / "checkpoints" / "last"
    directory.parent.mkdir(parents=True)
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="a link to"):
        read_checkpoint(directory)
    directory.unlink()
    write(directory, 4)
    (tmp_path / "latest").symlink_to(tmp_path / "run")
    assert epoch_of(read_checkpoint(tmp_path / "latest" / "checkpoints" / "last")) == 4


@pytest.mark.parametrize("name", ["checkpoint.json", "model.keras", "state.npz"])
def test_pipes_are_rejected(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "last"
    write(directory, 3)
    (directory / name).unlink()
    os.mkfifo(directory / name)
    with pytest.raises(RunError, match="a pipe"):
        read_checkpoint(directory)


def test_forged_checkpoint_is_read_only_if_harmless(tmp_path: Path) -> None:
    forge(tmp_path / "a" / "last", state=archive_of_arrays(a=np.arange(3)))
    assert list(read_checkpoint(tmp_path / "a" / "last").state) == ["a"]
    forge(tmp_path / "b" / "last", state=archive_of_arrays(a=np.array([{"x": 1}])))
    forge(tmp_path / "c" / "last", state=archive("x" * 10_000_000, zipfile.ZIP_DEFLATED))
    forge(tmp_path / "d" / "last", model=archive("x" * 10_000_000, zipfile.ZIP_DEFLATED))
    for name, words in (("b", "damage"), ("c", "compressed"), ("d", "compressed")):
        with pytest.raises(RunError, match=words):
            read_checkpoint(tmp_path / name / "last")


def test_file_that_does_not_fit_in_memory(tmp_path: Path) -> None:
    forge(tmp_path / "last")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 33)
    code = """
import resource, sys
from pathlib import Path
from tests.runs.conftest import UNSYNCED
from trainer.errors import RunError
from trainer.runs.files import read_bytes
resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
try:
    read_bytes(Path(sys.argv[1]))
except RunError as error:
    print(error)
"""
    completed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "large")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "a file that fits in memory" in completed.stdout


def test_objects_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="object"):
        write_checkpoint(tmp_path / "last", Path.touch, {"a": np.array([object()])}, {})
    assert not (tmp_path / "last").exists()


def test_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a checkpoint, found none"):
        read_checkpoint(tmp_path / "last")


def test_missing_run_directory_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ENOENT"):
        write(tmp_path / "gone" / "checkpoints" / "last", 1)


def test_checkpoints_directory_is_created(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints" / "best", 1)
    assert epoch_of(read_checkpoint(tmp_path / "checkpoints" / "best")) == 1


def test_reserved_metadata_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="files"):
        write_checkpoint(tmp_path / "last", Path.touch, {}, {"files": {}})


@pytest.mark.parametrize(
    ("name", "keep"),
    slow_except(
        [("last", 1), ("last-1", 2)],
        [("last", 1), ("last", 2), ("last", 3), ("last-1", 2), ("last-1", 3)],
    ),
)
def test_concurrent_reader_sees_complete_checkpoints(tmp_path: Path, name: str, keep: int) -> None:
    directory = tmp_path / "last"
    for epoch in range(-2, 1):
        write(directory, epoch, keep=3)
    done = threading.Event()

    def train() -> None:
        for epoch in range(1, 40):
            write(directory, epoch, keep)
        done.set()

    thread = threading.Thread(target=train)
    thread.start()
    try:
        while not done.is_set():
            checkpoint = read_checkpoint(tmp_path / name)
            assert int(checkpoint.state["epoch"]) == checkpoint.metadata["epoch"]
    finally:
        thread.join()
    assert epoch_of(read_checkpoint(directory)) == 39


def test_checkpoint_is_read_while_it_is_being_replaced(tmp_path: Path) -> None:
    write(tmp_path / "last", 1)
    shutil.move(tmp_path / "last", tmp_path / "last-1")
    checkpoint = read_checkpoint(tmp_path / "last")
    assert checkpoint.directory == tmp_path / "last-1"
    assert epoch_of(checkpoint) == 1


def test_unfinished_checkpoint_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "last", 1)
    shutil.move(tmp_path / "last", tmp_path / "last.new")
    for read in (read_checkpoint, read_newest_checkpoint):
        with pytest.raises(RunError, match=r"found no(ne|thing)"):
            read(tmp_path / "last")
