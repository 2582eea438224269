"""Packs trained by the workers of a Ray cluster end with the same bytes, whatever becomes of these."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.workflows.conftest import write_table
from tests.workflows.folders import CONFIG, MEMBERS, Ends, Folder, assert_same
from trainer.errors import RunError, UsageError
from trainer.runs.process import is_alive, this_process
from trainer.runs.sweeps import SweepDirectory
from trainer.workflows import ray_connection
from trainer.workflows.ray_connection import Cluster, check_address, inspect_node, node_differences
from trainer.workflows.ray_workers import RayWorkerPool

NUMBERS = list(range(len(MEMBERS)))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(None) as started:
        started.start(2)
        yield started


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    place = tmp_path_factory.mktemp("undisturbed")
    write_table(place / "small.csv")
    (place / "config.yaml").write_text(CONFIG, encoding="utf-8")
    folder = Folder(place / "own", place / "config.yaml")
    folder.train()
    return folder


@pytest.fixture
def folder(tmp_path: Path, undisturbed: Folder) -> Folder:
    return Folder(tmp_path / "own", undisturbed.config)


class Crews:
    """The workers that a folder's networks were trained by, one crew after the other."""

    def __init__(self, folder: Folder, jobs: int = 1) -> None:
        self.folder, self.jobs = folder, jobs
        self.current: RayWorkerPool | None = None

    def __call__(self, tables) -> RayWorkerPool:
        self.current = RayWorkerPool(self.jobs, SweepDirectory(self.folder.path), tables, "cpu")
        return self.current


@pytest.mark.usefixtures("cluster")
def test_the_same_bytes_and_no_data_files_needed(folder: Folder, undisturbed: Folder) -> None:
    crews = Crews(folder)
    table = undisturbed.config.parent / "small.csv"
    hidden = table.with_suffix(".hidden")

    def crew(tables) -> RayWorkerPool:
        table.rename(hidden)
        return crews(tables)

    try:
        ended = folder.train(crew=crew)
    finally:
        hidden.rename(table)
    assert [(one.number, one.status) for one in ended] == [(one, "finished") for one in NUMBERS]
    assert_same(folder, undisturbed)
    assert not (folder.path / "workers").exists()


@pytest.mark.usefixtures("cluster")
def test_stopped_killed_and_without_a_lease_it_goes_on(folder: Folder, undisturbed: Folder) -> None:
    crews, trained, lost = Crews(folder), [], []

    def count(epoch: int) -> Ends:
        trained.append(epoch)
        return {}

    assert folder.train(crew=crews, ends=count, stop_if=lambda: len(trained) >= 3) == []
    # Told to stop, it has left a checkpoint, which the next ones go on from.
    assert (folder.path / "packs" / "0001" / "last").is_dir()
    stopped = len(trained)

    def ends(epoch: int) -> Ends:
        count(epoch)
        assert crews.current is not None
        (worker,) = crews.current.workers
        if len(lost) < 2 and epoch >= (8, 10)[len(lost)]:
            lost.append(worker.lease.holder)
            if len(lost) == 1:
                os.kill(lost[0].pid, signal.SIGKILL)
            else:
                worker.lease.delete()
        return {}

    ended = folder.train(crew=crews, ends=ends)
    # Each worker continues from a checkpoint: no epoch is left out, and none trains from the start.
    assert all(after <= before + 1 for before, after in pairwise(trained))
    assert min(trained[stopped:]) > 1
    assert len(set(lost)) == 2
    assert [is_alive(one, this_process()) for one in lost] == [False, False]
    assert [one.status for one in ended] == ["finished"] * len(NUMBERS)
    assert_same(folder, undisturbed)


@pytest.mark.usefixtures("cluster")
def test_a_node_that_does_not_see_the_directory_is_named(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    crews = Crews(folder)

    def crew(tables) -> RayWorkerPool:
        # What was granted is elsewhere, as seen from the worker.
        monkeypatch.setattr(Path, "absolute", lambda path: Path("/elsewhere") / path.name)
        return crews(tables)

    with pytest.raises(RunError, match="all nodes of the cluster see") as refused:
        folder.train(crew=crew)
    assert socket.gethostname() in refused.value.problems[0].found


def test_a_node_with_other_packages_is_named(tmp_path: Path, cluster: Cluster) -> None:
    (tmp_path / "token").touch()
    here = inspect_node(tmp_path / "token")
    assert list(node_differences(here, tmp_path)) == []
    other = replace(
        here, node="far", packages={**here.packages, "keras": "2.0"}, sees_directory=False
    )
    unseen, version = node_differences(other, tmp_path)
    assert "on node far" in unseen.found
    assert (version.where, version.found) == ("node far", "2.0")


@pytest.mark.parametrize("form", ["{}", "ray://{}"])
def test_an_address_where_nothing_listens_is_refused(form: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = form.format(f"127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(UsageError, match="Connection refused") as refused:
            check_address(address)
    (problem,) = refused.value.problems
    assert problem.where == f"--address {address}"
    assert "ray start --head" in problem.fix


def test_one_where_something_is_silent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_connection, "_REACH_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(UsageError, match="timed out"):
            check_address(f"127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("address", ["here", "10.0.0.1", "10.0.0.1:port", "[::1", ":6379", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        check_address(address)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="pip install 'ray"), Cluster("auto"):
        pass


def test_ray_is_not_imported_without_need() -> None:
    code = (
        "import sys, trainer_cli.sweep, trainer.workflows.sweep, trainer.workflows.ray_workers;"
        "assert not {'ray', 'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_handlers_of_signals_stay(cluster: Cluster) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    held: Callable = signal.pthread_sigmask
    assert not held(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}
