"""Packs that are stopped, killed, repacked or trained by workers end with the same bytes."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.conftest import write_table
from tests.workflows.folders import CONFIG, MEMBERS, SPLITS, Ends, Folder, assert_same
from trainer.engine import pack_fit
from trainer.errors import RunError
from trainer.workflows.pack_events import PackStarted
from trainer.workflows.pack_schedule import schedule_packs
from trainer.workflows.packs import read_pack_record
from trainer.workflows.plan import TableCache
from trainer.workflows.work_items import plan_work_items, read_ended_member
from trainer.workflows.worker_processes import run_in_process


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of all, beside its table."""
    folder = tmp_path_factory.mktemp("config")
    write_table(folder / "small.csv")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("undisturbed"), config)
    assert [one.status for one in folder.train()] == ["finished"] * len(MEMBERS)
    return folder


def test_a_pack_leaves_what_fit_leaves(undisturbed: Folder) -> None:
    run = undisturbed.run(0)
    assert {path.name for path in run.iterdir()} == {
        "config.yaml", "manifest.json", "preprocessing.json", "splits.parquet", "metrics.jsonl",
        "timing.jsonl", "checkpoints", "evaluation", "decisions.json", "predictions",
    }  # fmt: skip
    begun = read_pack_record(undisturbed.path / "packs" / "0001")
    assert begun is not None
    assert begun.is_done
    assert [path.name for path in (undisturbed.path / "packs" / "0001").iterdir()] == ["pack.json"]


def saved(folder: Folder) -> list[dict[str, Any]]:
    """What the checkpoint of a pack says of its members."""
    path = folder.path / "packs" / "0001" / "last" / "checkpoint.json"
    return list(json.loads(path.read_text())["members"])


@pytest.mark.parametrize("after", [2, 9])
def test_stopped_it_goes_on(tmp_path: Path, undisturbed: Folder, after: int) -> None:
    folder = Folder(tmp_path / "own", undisturbed.config)
    assert not any(one.status == "finished" for one in folder.train(after=after))
    assert (folder.path / "packs" / "0001" / "last").is_dir()
    folder.train(after=3)
    done = Folder(folder.path, undisturbed.config).train()
    assert [one.number for one in done] == list(range(len(MEMBERS)))
    # The first ended before the others, which went on.
    assert done[0].epochs == 2
    assert_same(folder, undisturbed)


def test_left_alone_it_goes_on_from_its_checkpoint(tmp_path: Path, undisturbed: Folder) -> None:
    folder = Folder(tmp_path / "own", undisturbed.config)
    folder.train(abandon=3)
    # As fit.checkpoint.every has it, after two epochs.
    assert [one["facts"]["epoch"] for one in saved(folder)] == [2] * len(MEMBERS)
    folder.train(abandon=4)
    # Killed while it wrote.
    for place in (folder.run(1), folder.run(2) / "evaluation", folder.path / "packs" / "0001"):
        place.mkdir(exist_ok=True)
        (place / ".file.json.01234567.new").touch()
    folder.train()
    assert not list(folder.path.rglob(".*.new"))
    assert_same(folder, undisturbed)


def test_left_alone_before_any_checkpoint_it_begins_anew(
    tmp_path: Path, undisturbed: Folder
) -> None:
    folder = Folder(tmp_path / "own", undisturbed.config)
    folder.train(abandon=2)
    assert not (folder.path / "packs" / "0001" / "last").exists()
    folder.train()
    assert_same(folder, undisturbed)


def test_other_rows_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "small.csv")
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    folder = Folder(tmp_path / "own", tmp_path / "config.yaml")
    folder.train(after=4)
    write_table(tmp_path / "small.csv", seed=1)
    with pytest.raises(RunError, match="the content it had"):
        folder.train()


def test_what_is_done_is_only_told(tmp_path: Path, undisturbed: Folder) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.path.rglob("*")}
    again = undisturbed.train()
    assert [one.number for one in again] == list(range(len(MEMBERS)))
    assert again[1].stopped_because.startswith("val_loss has not improved")
    assert again[1] == read_ended_member(undisturbed.spec(1))
    assert {path: path.stat().st_mtime_ns for path in undisturbed.path.rglob("*")} == before


def test_repacked_it_is_the_same_to_rounding_and_goes_on_exactly(
    tmp_path: Path, undisturbed: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_fit, "_COMPILE_SECONDS", 0.0)
    members = [
        ["seed=1"],
        MEMBERS[1],
        *([f"seed={seed}", "fit.early_stopping.patience=1"] for seed in (5, 6, 7)),
    ]
    whole = Folder(tmp_path / "whole", undisturbed.config, members)
    stopped = Folder(tmp_path / "stopped", undisturbed.config, members)
    sizes = []
    make = pack_fit.PackTraining.repack

    def repack(training: pack_fit.PackTraining) -> None:
        make(training)
        sizes.append(len(training.slots))

    monkeypatch.setattr(pack_fit.PackTraining, "repack", repack)
    ended = {one.number: one for one in whole.train()}
    assert sizes[0] == 5
    assert sizes[-1] < 5
    assert ended[0].epochs == 12
    assert ended[1].metrics["validation"] == pytest.approx(
        read_ended_member(undisturbed.spec(1)).metrics["validation"], rel=1e-3
    )
    stopped.train(abandon=sizes.index(sizes[-1]) + 2)
    stopped.train()
    assert_same(stopped, whole)


def test_members_are_ended_from_outside(tmp_path: Path, undisturbed: Folder) -> None:
    folder = Folder(tmp_path / "own", undisturbed.config)

    def ends(epoch: int) -> Ends:
        return {2: "eliminated", 3: "eliminated"} if epoch == 5 else {}

    ended = folder.train(ends=ends)
    assert [(one.epochs, one.stopped_because) for one in ended if one.number in (2, 3)] == [
        (5, "eliminated"),
        (5, "eliminated"),
    ]
    assert_same(folder, undisturbed, range(2))
    assert_same(folder, undisturbed, range(4, 5))


def test_a_member_that_diverges_takes_no_other_with_it(tmp_path: Path, config: Path) -> None:
    members = [["optimizer.schedule=null"], ["optimizer.learning_rate=1e30"]]
    folder = Folder(tmp_path / "own", config, members)
    first, second = folder.train()
    assert (first.status, first.epochs) == ("finished", 12)
    assert (second.status, second.problems[0].expected) == ("failed", "a finite loss")
    assert second.problems[0].where.startswith("epoch ")


def test_what_cannot_be_packed_is_trained_alone(tmp_path: Path, config: Path) -> None:
    members = [[], ["optimizer=lamb"], ["seed=9"], ["model.layers.0.dense.units=5"]]
    folder = Folder(tmp_path / "own", config, members)
    plan = schedule_packs([folder.spec(number) for number in range(4)], TableCache())
    assert [pack.numbers for pack in plan.packs] == [(0, 2), (1,), (3,)]
    reasons = "optimizer.name: lamb, no other network of this shape"
    assert str(plan) == f"4 networks in 3 programs (separate: {reasons})"
    folder.train(after=8)
    ended = folder.train()
    assert [one.status for one in ended] == ["finished"] * 4
    assert [one.epochs for one in ended] == [12] * 4


def test_workers_do_the_same(tmp_path: Path, undisturbed: Folder) -> None:
    folder = Folder(tmp_path / "own", undisturbed.config)
    ended = folder.train(jobs=1)
    assert [one.number for one in ended] == list(range(len(MEMBERS)))
    assert_same(folder, undisturbed)


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path, undisturbed: Folder) -> None:
    folder = Folder(tmp_path / "own", undisturbed.config)
    killed = []

    def ends(epoch: int) -> Ends:
        if epoch == 6 and not killed:
            (worker,) = children()
            killed.append(worker)
            os.kill(worker, signal.SIGKILL)
        return {}

    folder.train(jobs=1, ends=ends)
    assert killed
    assert_same(folder, undisturbed)
    assert children() == []


def test_workers_stop_when_they_are_told(tmp_path: Path, undisturbed: Folder) -> None:
    folder = Folder(tmp_path / "own", undisturbed.config)
    assert folder.train(jobs=1, after=3) == []
    assert children() == []
    folder.train()
    assert_same(folder, undisturbed)


def children() -> list[int]:
    """The worker processes of this one."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            status = (place / "stat").read_text().rsplit(")", 1)[1].split()
            words = (place / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if int(status[1]) == os.getpid() and status[0] != "Z" and b"spawn_main" in words:
            found.append(int(place.name))
    return found


@pytest.mark.parametrize("damage", ['{"members": ["x"], "done": false}', "[]", "{"])
def test_a_damaged_note_is_told(tmp_path: Path, damage: str) -> None:
    (tmp_path / "pack.json").write_text(damage)
    with pytest.raises(RunError, match=r"pack\.json"):
        read_pack_record(tmp_path)


def test_it_says_what_it_goes_on_from(tmp_path: Path, config: Path) -> None:
    folder = Folder(tmp_path / "own", config, MEMBERS[:2])
    folder.train(after=4)
    tables = TableCache()
    _, tasks, _ = plan_work_items(
        [folder.spec(1)],
        folder.path / "packs",
        tables,
        spec_of=folder.spec,
        jobs=1,
        threads=1,
        command=("trainer",),
        splits=SPLITS,
        allow_custom=False,
    )
    # A pack goes on with the members it had, whoever is asked for.
    assert [[one.number for one in task.specs] for task in tasks] == [[0, 1]]
    working = run_in_process(tasks, tables, lambda: None)
    started = next(event for event in working if isinstance(event, PackStarted))
    working.close()
    assert (started.numbers, started.epochs) == ((0, 1), 12)
    assert started.epoch > 0
