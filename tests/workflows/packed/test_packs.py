"""Packs that are interrupted, killed, repacked or trained by workers end with the same bytes."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.workflows.conftest import write_table
from tests.workflows.folders import CONFIG, MEMBERS, SPLITS, Ends, Folder, assert_same
from trainer.engine import pack_executor
from trainer.errors import RunError
from trainer.runs.directory import RunDirectory
from trainer.workflows.events import PackStarted
from trainer.workflows.existing_runs import read_ended_member
from trainer.workflows.packed.pack_schedule import read_pack_record, schedule_packs
from trainer.workflows.packed.work_items import (
    ItemSettings,
    plan_work_items,
    run_in_process,
)
from trainer.workflows.plan import TableCache

NUMBERS = list(range(len(MEMBERS)))


@pytest.fixture
def folder(tmp_path: Path, uninterrupted: Folder) -> Folder:
    """The runs of the uninterrupted pack, not yet trained."""
    return Folder(tmp_path / "runs", uninterrupted.config)


def pack_directory(folder: Folder) -> Path:
    return folder.path / "packs" / "0001"


def saved_epochs(folder: Folder) -> list[int]:
    """Return the epoch of each member in the checkpoint of the pack."""
    checkpoint = json.loads((pack_directory(folder) / "last" / "checkpoint.json").read_text())
    return [member["facts"]["epoch"] for member in checkpoint["members"]]


@pytest.mark.slow
def test_pack_writes_the_files_of_fit(uninterrupted: Folder) -> None:
    assert {path.name for path in uninterrupted.run(0).iterdir()} == {
        "config.yaml", "manifest.json", "preprocessing.json", "splits.parquet", "metrics.jsonl",
        "timing.jsonl", "checkpoints", "evaluation", "decisions.json", "predictions",
    }  # fmt: skip
    record = read_pack_record(pack_directory(uninterrupted))
    assert record is not None
    assert record.is_done
    assert [path.name for path in pack_directory(uninterrupted).iterdir()] == ["pack.json"]


@pytest.mark.slow
def test_finished_pack_is_not_trained_again(uninterrupted: Folder) -> None:
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.path.rglob("*")}
    members = uninterrupted.train()
    assert [member.number for member in members] == NUMBERS
    assert members[1].stopped_because.startswith("val_loss has not improved")
    assert members[1] == read_ended_member(1, RunDirectory(uninterrupted.run(1)))
    assert {path: path.stat().st_mtime_ns for path in uninterrupted.path.rglob("*")} == before


@pytest.mark.slow
def test_killed_pack_resumes_exactly(folder: Folder, uninterrupted: Folder) -> None:
    folder.train(abandon_after=3)
    # fit.checkpoint.every is 2 epochs.
    assert saved_epochs(folder) == [2] * len(MEMBERS)
    # As a kill during a write leaves it.
    for path in (folder.run(1), folder.run(2) / "evaluation", pack_directory(folder)):
        path.mkdir(exist_ok=True)
        (path / ".file.json.01234567.new").touch()

    with (
        changed(folder.config.parent / "small.csv"),
        pytest.raises(RunError, match="unchanged content"),
    ):
        folder.train()

    started = next(event for event in pack_events(folder) if isinstance(event, PackStarted))
    # A pack resumes with all its members, whichever of them are requested.
    assert (started.numbers, started.epoch, started.epochs) == (tuple(NUMBERS), 2, 12)

    members = folder.train()
    assert [member.number for member in members] == NUMBERS
    # The first ended while the others were training.
    assert members[0].epochs == 2
    assert not list(folder.path.rglob(".*.new"))
    assert_same(folder, uninterrupted)


@contextmanager
def changed(table: Path) -> Iterator[None]:
    """Context manager that replaces a table and puts it back."""
    content = table.read_bytes()
    write_table(table, seed=1)
    try:
        yield
    finally:
        table.write_bytes(content)


def pack_events(folder: Folder):
    """Yield the events of training member 1."""
    tables = TableCache()
    _, tasks, _ = plan_work_items(
        [folder.spec(1)],
        folder.path / "packs",
        tables,
        ItemSettings(("trainer",), SPLITS, allow_custom=False, threads=1),
        spec_of=folder.spec,
    )
    yield from run_in_process(tasks, tables, lambda: None)


@pytest.mark.slow
def test_pack_interrupted_twice_resumes_exactly(folder: Folder, uninterrupted: Folder) -> None:
    assert not any(member.status == "finished" for member in folder.train(stop_after=9))
    assert (pack_directory(folder) / "last").is_dir()
    folder.train(stop_after=3)
    folder.train()
    assert_same(folder, uninterrupted)


@pytest.mark.slow
def test_pack_killed_before_its_first_checkpoint_restarts(
    folder: Folder, uninterrupted: Folder
) -> None:
    folder.train(abandon_after=2)
    assert not (pack_directory(folder) / "last").exists()
    folder.train()
    assert_same(folder, uninterrupted)


@pytest.mark.slow
def test_repacked_members_are_equal_up_to_rounding_and_resume_exactly(
    tmp_path: Path, uninterrupted: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_executor, "_COMPILE_SECONDS", 0.0)
    members = [
        ["seed=1"],
        MEMBERS[1],
        *([f"seed={seed}", "fit.early_stopping.patience=1"] for seed in (5, 6, 7)),
    ]
    whole = Folder(tmp_path / "whole", uninterrupted.config, members)
    killed = Folder(tmp_path / "killed", uninterrupted.config, members)
    sizes = []
    original = pack_executor.PackExecutor.retain

    def retain(executor: pack_executor.PackExecutor, live: list[int], steps_left: int) -> None:
        original(executor, live, steps_left)
        sizes.append(len(executor.slots))

    monkeypatch.setattr(pack_executor.PackExecutor, "retain", retain)
    ended = {member.number: member for member in whole.train()}
    assert sizes[0] == 5
    assert sizes[-1] < 5
    assert ended[0].epochs == 12
    assert ended[1].metrics["validation"] == pytest.approx(
        read_ended_member(1, RunDirectory(uninterrupted.run(1))).metrics["validation"], rel=1e-3
    )
    killed.train(abandon_after=sizes.index(sizes[-1]) + 1)
    killed.train()
    assert_same(killed, whole)


def test_runs_that_cannot_be_packed_are_scheduled_singly(tmp_path: Path) -> None:
    write_table(tmp_path / "small.csv")
    (tmp_path / "config.yaml").write_text(CONFIG)
    members = [[], ["optimizer=lamb"], ["seed=9"], ["model.layers.0.dense.units=5"]]
    folder = Folder(tmp_path / "runs", tmp_path / "config.yaml", members)
    schedule = schedule_packs([folder.spec(number) for number in range(4)], TableCache())
    assert [pack.numbers for pack in schedule.packs] == [(0, 2), (1,), (3,)]
    reasons = "optimizer.name: lamb, no other network of this shape"
    assert str(schedule) == f"4 networks in 3 programs (separate: {reasons})"


@pytest.mark.slow
def test_packed_and_single_runs_resume(tmp_path: Path, uninterrupted: Folder) -> None:
    members = [[], ["optimizer=lamb"], ["seed=9"], ["model.layers.0.dense.units=5"]]
    folder = Folder(tmp_path / "runs", uninterrupted.config, members)
    folder.train(stop_after=8)
    ended = folder.train()
    assert [member.status for member in ended] == ["finished"] * 4
    assert [member.epochs for member in ended] == [12] * 4


@pytest.mark.slow
def test_worker_process_trains_the_same_and_ends_members_on_request(
    folder: Folder, uninterrupted: Folder
) -> None:
    def ends(epoch: int) -> Ends:
        return {2: "eliminated", 3: "eliminated"} if epoch == 5 else {}

    ended = folder.train(jobs=1, ends=ends)
    assert [member.number for member in ended] == NUMBERS
    for number in (2, 3):
        assert (ended[number].epochs, ended[number].stopped_because) == (5, "eliminated")
    assert_same(folder, uninterrupted, (0, 1, 4))
    assert child_processes() == []


@pytest.mark.slow
def test_killed_worker_process_is_replaced(folder: Folder, uninterrupted: Folder) -> None:
    killed = []

    def ends(epoch: int) -> Ends:
        if epoch == 6 and not killed:
            (worker,) = child_processes()
            killed.append(worker)
            os.kill(worker, signal.SIGKILL)
        return {}

    folder.train(jobs=1, ends=ends)
    assert killed
    assert_same(folder, uninterrupted)
    assert child_processes() == []


@pytest.mark.slow
def test_interrupted_worker_process_saves_a_checkpoint(
    folder: Folder, uninterrupted: Folder
) -> None:
    assert folder.train(jobs=1, stop_after=3) == []
    assert child_processes() == []
    folder.train()
    assert_same(folder, uninterrupted)


def child_processes() -> list[int]:
    """Return the worker processes of this process."""
    pids = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            status = (path / "stat").read_text().rsplit(")", 1)[1].split()
            command = (path / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if int(status[1]) == os.getpid() and status[0] != "Z" and b"spawn_main" in command:
            pids.append(int(path.name))
    return pids


@pytest.mark.parametrize("damage", ['{"members": ["x"], "done": false}', "[]", "{"])
def test_damaged_pack_record_is_reported(tmp_path: Path, damage: str) -> None:
    (tmp_path / "pack.json").write_text(damage)
    with pytest.raises(RunError, match=r"pack\.json"):
        read_pack_record(tmp_path)
