"""Tasks done by the workers of a Ray cluster.

    driver ─ tables, once ─► object store ─► worker: task ─ event ─► driver ─ answer ─► worker …

A worker is pulled: the driver asks each for its next event and has one answer of each outstanding, so
that it can stop at any time; why to stop is told it on a second way. What it writes lies on a file
system that all nodes share; it may write as long as its lease is there. One process asks for trials and
tells of them, whose journal is the truth, and workers only train: no study is shared by several.

Owns: Ray's actors and what is handed to them. Does not own: what is said (`task_talk`), who does what
(`crew`), the connection (`ray_connection`). Ray is imported when workers are started.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

from trainer.errors import ResourceError, RunError
from trainer.runs.directory import RunDirectory
from trainer.runs.leases import Lease, exit_when_revoked, revoke
from trainer.runs.sweeps import SweepDirectory
from trainer.workflows.pack_events import MemberEnded, PackStarted
from trainer.workflows.plan import SharedTable, TableCache
from trainer.workflows.ray_connection import (
    NodeInfo,
    error_summary,
    inspect_node,
    node_differences,
    node_problem,
)
from trainer.workflows.work_items import WorkItem
from trainer.workflows.worker_messages import ItemDone, Reply, run_worker
from trainer.workflows.worker_pool import ATTEMPTS, WAIT_SECONDS, Worker, WorkerLost, WorkerPool

if TYPE_CHECKING:
    from trainer.workflows.pack_events import PackEvent


class RayWorkerPool(WorkerPool["RayWorker"]):
    """Actors of the cluster that this process is connected to."""

    def __init__(
        self,
        jobs: int,
        directory: SweepDirectory,
        tables: TableCache,
        device: Literal["auto", "cpu", "gpu"],
    ) -> None:
        """Ask for them; each begins when there is a CPU for it.

        Args:
            jobs: So many work at a time.
            directory: What they write in.
            tables: What was read; handed to them as they need it.
            device: What they train on. Of a cluster with GPUs each gets its share unless it is "cpu".
        """
        super().__init__(jobs)
        import ray

        self._ray, self._directory, self._tables = ray, directory, tables
        self._put: dict[str, Any] = {}
        self._failures = 0
        gpus = ray.cluster_resources().get("GPU", 0) if device != "cpu" else 0
        share = min(1.0, int(100 * gpus / jobs) / 100)
        self._actor = ray.remote(num_cpus=1, num_gpus=share, max_concurrency=4)(TrainingActor)
        try:
            for _ in range(jobs):
                self.all.append(self._started())
        except BaseException:
            self.close()
            raise

    def idle_worker(self) -> RayWorker | None:
        """As in `WorkerPool`.

        Raises:
            RunError: A node does not see the sweep's directory, or has other packages.
            ResourceError: Workers do not start.
        """
        for worker in [one for one in self.all if one.is_awaited and one.has_said(self._ray)]:
            self._welcome(worker)
        while len(self.all) < self.jobs:
            self.all.append(self._started())
        return next((one for one in self.all if one.item is None and not one.is_awaited), None)

    def receive(
        self, busy: Sequence[RayWorker]
    ) -> list[tuple[RayWorker, PackEvent | ItemDone | WorkerLost]]:
        """As in `WorkerPool`."""
        # With none at work, the first that is there is waited for.
        awaited = [worker.said for worker in busy or self.all]
        self._ray.wait(awaited, timeout=WAIT_SECONDS)
        ready, _ = self._ray.wait(awaited, num_returns=len(awaited), timeout=0)
        return [(one, one.receive(self._ray)) for one in busy if one.said in ready]

    def end(self, workers: Sequence[RayWorker]) -> None:
        """As in `WorkerPool`."""
        writing = [worker for worker in workers if worker.item is not None]
        for worker in workers:
            # One that is gone already, or out of reach, which its lease is for.
            with suppress(Exception):
                self._ray.kill(worker.actor)
            if worker.item is None:
                worker.lease.delete()
        revoke(
            [worker.lease for worker in writing],
            [
                RunDirectory(spec.place).lock
                for worker in writing
                if worker.item is not None
                for spec in worker.item.specs
            ],
        )

    def close(self) -> None:
        """As in `WorkerPool`."""
        super().close()
        with suppress(OSError):
            self._directory.workers.rmdir()

    def _started(self) -> RayWorker:
        lease = Lease.grant(self._directory.workers)
        actor = self._actor.remote(lease.path.absolute(), Path.cwd())
        return RayWorker(actor, lease, self._handed)

    def _welcome(self, worker: RayWorker) -> None:
        """Take one in that has said where it is, or has failed to."""
        try:
            facts: NodeInfo = self._ray.get(worker.said)
        except self._ray.exceptions.RayError as wrong:
            self.all.remove(worker)
            self.end([worker])
            self._failures += 1
            if self._failures == ATTEMPTS:
                raise ResourceError(node_problem("of a new worker", wrong)) from wrong
            return
        problems = list(node_differences(facts, self._directory.path))
        if problems:
            raise RunError(problems)
        self._failures = 0
        worker.lease.set_holder(facts.process)
        worker.is_awaited = False

    def _handed(self, item: WorkItem) -> dict[str, Any]:
        """References to the tables of a task, each put into the object store once."""
        keys = []
        for spec in item.specs:
            key, handed = self._tables.handed(spec.loaded.config)
            keys.append(key)
            if handed is not None and key not in self._put:
                self._put[key] = self._ray.put(handed)
        return {key: self._put[key] for key in keys if key in self._put}


class RayWorker(Worker):
    """An actor, seen from the driver.

    Attributes:
        actor: Its handle.
        lease: Its leave to write.
        said: A reference to what it says next.
        is_awaited: It has not said yet where it is.
    """

    def __init__(self, actor: Any, lease: Lease, handed: Any) -> None:
        super().__init__()
        self.actor, self.lease, self._handed = actor, lease, handed
        self.is_awaited = True
        self.said = actor.look.remote()

    def has_said(self, ray: Any) -> bool:
        """Whether there is something to hear."""
        return bool(ray.wait([self.said], timeout=0)[0])

    def begin(self, item: WorkItem) -> None:
        """As in `Worker`."""
        self.said = self.actor.begin.remote(item, self._handed(item))

    def reply(self, reply: Reply) -> None:
        """As in `Worker`."""
        if reply.is_epoch_reply:
            self.said = self.actor.go_on.remote(reply)
        else:
            self.actor.tell.remote(reply)

    def receive(self, ray: Any) -> PackEvent | ItemDone | WorkerLost:
        """What it says."""
        try:
            said: PackEvent | ItemDone = ray.get(self.said)
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as gone:
            return WorkerLost(error_summary(gone))
        if isinstance(said, PackStarted | MemberEnded):
            self.said = self.actor.go_on.remote(None)
        return said


class TrainingActor:
    """In the worker: trains in a thread of its own, and hands over what that says."""

    def __init__(self, lease: Path, folder: Path) -> None:
        """Begin to load TensorFlow.

        Args:
            lease: Leave to write.
            folder: The working directory of the driver, which paths are relative to.
        """
        # Where it is not there, paths are absolute, or the lease is not seen either.
        with suppress(OSError):
            os.chdir(folder)
        self._lease, self._tables = Lease(lease), TableCache()
        self._line = _Queues()
        # Ray calls methods in threads that change; what TensorFlow and Keras keep is kept by thread.
        Thread(target=run_worker, args=(self._line, self._tables), daemon=True).start()

    def look(self) -> NodeInfo:
        """Where it is; from now on it ends without its lease."""
        facts = inspect_node(self._lease.path)
        if facts.sees:
            exit_when_revoked(self._lease)
        return facts

    def begin(self, item: WorkItem, handed: dict[str, Any]) -> PackEvent | ItemDone:
        """Begin a task, with references to its tables; the first that is said of it."""
        import ray

        for key, reference in handed.items():
            if not self._tables.has(key):
                table: SharedTable = ray.get(reference)
                self._tables.take(key, table)
        self._line.told.put(item)
        return self._line.said.get()

    def go_on(self, reply: Reply | None) -> PackEvent | ItemDone:
        """The next that is said, after an answer to the one before if it asks for one."""
        if reply is not None:
            self._line.told.put(reply)
        return self._line.said.get()

    def tell(self, reply: Reply) -> None:
        """Say something in between."""
        self._line.told.put(reply)


class _Queues:
    """A line (`task_talk.Channel`) within one process."""

    def __init__(self) -> None:
        self.said: SimpleQueue[PackEvent | ItemDone] = SimpleQueue()
        self.told: SimpleQueue[Any] = SimpleQueue()

    def send(self, message: Any, /) -> None:
        self.said.put(message)

    def recv(self) -> Any:
        return self.told.get()

    def poll(self) -> bool:
        return not self.told.empty()
