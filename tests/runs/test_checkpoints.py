import hashlib
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trainer.errors import RunError, StorageError
from trainer.runs.checkpoints import Checkpoint, read_checkpoint, write_checkpoint

STATE: dict[str, Any] = {
    "network/0000/sequential/dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "optimizer/0000/iterations": np.array(7, dtype=np.int64),
    "file": np.array([True, False]),
    "order": np.array("stratified"),
}


def model(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text)

    return write


def write(directory: Path, epoch: int) -> None:
    state = {**STATE, "epoch": np.array(epoch)}
    write_checkpoint(directory, model(f"model {epoch}"), state, {"epoch": epoch, "loss": 0.5})


def epoch_of(checkpoint: Checkpoint) -> int:
    epoch = int(checkpoint.state["epoch"])
    assert checkpoint.facts["epoch"] == epoch
    assert checkpoint.model.read_text() == f"model {epoch}"
    return epoch


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    directory = tmp_path / "last"
    write(directory, 3)
    checkpoint = read_checkpoint(directory)
    assert checkpoint.directory == directory
    assert checkpoint.facts["epoch"] == 3
    assert checkpoint.facts["loss"] == 0.5
    assert sorted(path.name for path in directory.iterdir()) == [
        "checkpoint.json",
        "model.keras",
        "state.npz",
    ]
    assert set(checkpoint.state) == {*STATE, "epoch"}
    for name, array in STATE.items():
        assert checkpoint.state[name].dtype == array.dtype
        np.testing.assert_array_equal(checkpoint.state[name], array)


def test_numpy_reads_the_state(tmp_path: Path) -> None:
    write(tmp_path / "last", 3)
    with np.load(tmp_path / "last" / "state.npz", allow_pickle=False) as archive:
        assert set(archive.files) == {*STATE, "epoch"}


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
def test_any_state_reads_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]
) -> None:
    directory = tmp_path_factory.mktemp("checkpoint") / "last"
    write_checkpoint(directory, model("x"), state, {})
    read = read_checkpoint(directory).state
    assert set(read) == set(state)
    for name, array in state.items():
        assert read[name].tobytes() == array.tobytes()
        assert read[name].shape == array.shape
        assert read[name].dtype == array.dtype


def test_equal_states_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, 3)
    for file in ("state.npz", "checkpoint.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_checkpoint_is_old_or_new_wherever_the_process_dies(
    tmp_path: Path, mortal: Callable[[int], Any]
) -> None:
    for steps in range(100):
        directory = tmp_path / str(steps) / "last"
        directory.parent.mkdir()
        write(directory, 1)
        process = mortal(steps)
        with process.life():
            state = {"epoch": np.array(2)}
            write_checkpoint(directory, model("model 2"), state, {"epoch": 2}, process.disk)
        seen = epoch_of(read_checkpoint(directory))
        assert seen in {1, 2}
        write(directory, 3)
        assert epoch_of(read_checkpoint(directory)) == 3
        if not process.died:
            assert seen == 2
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("name", ["model.keras", "state.npz"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "empty"])
def test_damage_is_told_by_the_name_of_the_file(tmp_path: Path, name: str, damage: str) -> None:
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
    with pytest.raises(RunError) as caught:
        read_checkpoint(directory)
    (problem,) = caught.value.problems
    assert problem.where == str(path)
    assert str(tmp_path / "best") in problem.fix


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (None, "no such file"),
        ("", "an empty file"),
        ("{", "damage"),
        ("[]", "the facts"),
        ('{"format": 1}', "the facts"),
        ('{"format": 2, "files": {}}', "another version"),
        ('{"format": 1, "files": {}}', "the hashes"),
        ('{"format": 1, "files": {"model.keras": 1, "state.npz": 2}}', "sha256 and bytes"),
    ],
)
def test_damaged_facts_are_told(tmp_path: Path, facts: str | None, words: str) -> None:
    directory = tmp_path / "last"
    write(directory, 3)
    path = directory / "checkpoint.json"
    path.unlink()
    if facts is not None:
        path.write_text(facts)
    with pytest.raises(RunError, match=words) as caught:
        read_checkpoint(directory)
    assert caught.value.problems[0].where == str(path)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", ".."])
def test_no_file_outside_the_checkpoint_is_read(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "last"
    write(directory, 3)
    path = directory / "checkpoint.json"
    facts = json.loads(path.read_text())
    facts["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    path.write_text(json.dumps(facts))
    with pytest.raises(RunError, match="file names"):
        read_checkpoint(directory)


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    directory = tmp_path / "last"
    with pytest.raises(TypeError, match="object"):
        write_checkpoint(directory, model("x"), {"a": np.array([object()])}, {})
    assert not directory.exists()

    def write_pickle(path: Path) -> None:
        path.write_text("x")

    write_checkpoint(directory, write_pickle, {}, {})
    np.savez(directory / "state.npz", a=np.array([{"x": 1}]))
    facts = json.loads((directory / "checkpoint.json").read_text())
    content = (directory / "state.npz").read_bytes()
    facts["files"]["state.npz"] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    (directory / "checkpoint.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="damage"):
        read_checkpoint(directory)


def test_no_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a checkpoint, found none"):
        read_checkpoint(tmp_path / "last")


def test_a_run_directory_that_vanished_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ENOENT"):
        write(tmp_path / "gone" / "checkpoints" / "last", 1)


def test_the_directory_of_checkpoints_is_made(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints" / "best", 1)
    assert epoch_of(read_checkpoint(tmp_path / "checkpoints" / "best")) == 1


def test_reserved_facts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="files"):
        write_checkpoint(tmp_path / "last", model("x"), {}, {"files": {}})


def test_a_reader_meets_whole_checkpoints_while_a_run_replaces_them(tmp_path: Path) -> None:
    directory = tmp_path / "last"
    write(directory, 0)
    done = threading.Event()

    def train() -> None:
        for epoch in range(1, 60):
            write(directory, epoch)
        done.set()

    thread = threading.Thread(target=train)
    thread.start()
    try:
        while not done.is_set():
            checkpoint = read_checkpoint(directory)
            assert int(checkpoint.state["epoch"]) == checkpoint.facts["epoch"]
    finally:
        thread.join()
    assert epoch_of(read_checkpoint(directory)) == 59


def test_a_checkpoint_set_aside_is_read_where_it_lies(tmp_path: Path) -> None:
    write(tmp_path / "last", 1)
    shutil.move(tmp_path / "last", tmp_path / "last.old")
    checkpoint = read_checkpoint(tmp_path / "last")
    assert checkpoint.directory == tmp_path / "last.old"
    assert epoch_of(checkpoint) == 1
