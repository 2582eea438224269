"""Packs trained by Ray workers end with the same bytes, even if the workers are interrupted or lost."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.workflows.folders import MEMBERS, Ends, Folder, assert_same
from trainer.errors import RunError, UsageError
from trainer.runs.process import is_alive, this_process
from trainer.runs.sweeps import SweepDirectory
from trainer.workers import ray_connection
from trainer.workers.ray_connection import Cluster, check_address, inspect_node, node_differences
from trainer.workers.ray_workers import RayWorkerPool
from trainer.workflows.packed.work_items import ItemRunner

NUMBERS = list(range(len(MEMBERS)))
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    handlers = [signal.getsignal(number) for number in SIGNALS]
    with Cluster(None) as started:
        started.start(2)
        assert [signal.getsignal(number) for number in SIGNALS] == handlers
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS)
        yield started


@pytest.fixture
def folder(tmp_path: Path, uninterrupted: Folder) -> Folder:
    return Folder(tmp_path / "runs", uninterrupted.config)


class Pools:
    """Makes Ray worker pools for a folder and keeps the latest."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.latest: RayWorkerPool | None = None

    def __call__(self, tables) -> RayWorkerPool:
        self.latest = RayWorkerPool(1, SweepDirectory(self.folder.path), ItemRunner(tables), "cpu")
        return self.latest


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_ray_workers_train_the_same_without_the_data_files(
    folder: Folder, uninterrupted: Folder
) -> None:
    table = uninterrupted.config.parent / "small.csv"
    hidden = table.with_suffix(".hidden")

    def pool(tables) -> RayWorkerPool:
        table.rename(hidden)
        return Pools(folder)(tables)

    try:
        ended = folder.train(pool=pool)
    finally:
        hidden.rename(table)
    assert [(member.number, member.status) for member in ended] == [
        (number, "finished") for number in NUMBERS
    ]
    assert_same(folder, uninterrupted)
    assert not (folder.path / "workers").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_training_resumes_after_an_interrupt_a_kill_and_a_lost_lease(
    folder: Folder, uninterrupted: Folder
) -> None:
    pools, trained, lost = Pools(folder), [], []

    def record(epoch: int) -> Ends:
        trained.append(epoch)
        return {}

    assert folder.train(pool=pools, ends=record, stop_if=lambda: len(trained) >= 3) == []
    # An interrupted worker writes a checkpoint, from which the next one resumes.
    assert (folder.path / "packs" / "0001" / "last").is_dir()
    interrupted_at = len(trained)

    def lose_worker(epoch: int) -> Ends:
        record(epoch)
        assert pools.latest is not None
        (worker,) = pools.latest.workers
        if len(lost) < 2 and epoch >= (8, 10)[len(lost)]:
            lost.append(worker.lease.holder)
            if len(lost) == 1:
                os.kill(lost[0].pid, signal.SIGKILL)
            else:
                worker.lease.delete()
        return {}

    ended = folder.train(pool=pools, ends=lose_worker)
    # Each worker resumes from a checkpoint: it neither skips an epoch nor restarts.
    assert all(after <= before + 1 for before, after in pairwise(trained))
    assert min(trained[interrupted_at:]) > 1
    assert len(set(lost)) == 2
    assert [is_alive(holder, this_process()) for holder in lost] == [False, False]
    assert [member.status for member in ended] == ["finished"] * len(NUMBERS)
    assert_same(folder, uninterrupted)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_node_that_does_not_see_the_directory_is_named(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pool(tables) -> RayWorkerPool:
        # The worker looks for its lease in another directory.
        monkeypatch.setattr(Path, "absolute", lambda path: Path("/elsewhere") / path.name)
        return Pools(folder)(tables)

    with pytest.raises(RunError, match="all nodes of the cluster see") as refused:
        folder.train(pool=pool)
    assert socket.gethostname() in refused.value.problems[0].found


@pytest.mark.slow
def test_node_with_other_packages_is_named(tmp_path: Path, cluster: Cluster) -> None:
    (tmp_path / "token").touch()
    node = inspect_node(tmp_path / "token")
    assert list(node_differences(node, tmp_path)) == []
    other = replace(
        node, node="far", packages={**node.packages, "keras": "2.0"}, sees_directory=False
    )
    unseen, version = node_differences(other, tmp_path)
    assert "on node far" in unseen.found
    assert (version.where, version.found) == ("node far", "keras 2.0")


@pytest.mark.parametrize("form", ["{}", "ray://{}"])
def test_unreachable_address_is_refused(form: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = form.format(f"127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(UsageError, match="Connection refused") as refused:
            check_address(address)
    (problem,) = refused.value.problems
    assert problem.where == f"--address {address}"
    assert "ray start --head" in problem.fix


def test_address_that_does_not_respond_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_connection, "_REACH_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(UsageError, match="timed out"):
            check_address(f"127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("address", ["here", "10.0.0.1", "10.0.0.1:port", "[::1", ":6379", ""])
def test_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        check_address(address)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="pip install 'ray"), Cluster("auto"):
        pass


def test_ray_and_tensorflow_are_imported_only_if_used() -> None:
    code = (
        "import sys, trainer_cli.sweep, trainer.workflows.sweeps.sweep, trainer.workers.ray_workers;"
        "assert not {'ray', 'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
