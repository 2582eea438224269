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
from trainer.runs.leases import Lease, end_without, withdraw
from trainer.runs.sweeps import SweepDirectory
from trainer.workflows.crew import ATTEMPTS, WAIT_SECONDS, Crew, Lost, Worker
from trainer.workflows.many import Task
from trainer.workflows.pack_events import MemberEnded, PackStarted
from trainer.workflows.plan import HandedTable, Tables
from trainer.workflows.ray_connection import Facts, differences, last_line, look_around, unfit
from trainer.workflows.task_talk import Answer, Done, serve

if TYPE_CHECKING:
    from trainer.workflows.pack_events import PackEvent


class RayWorkers(Crew["RayWorker"]):
    """Actors of the cluster that this process is connected to."""

    def __init__(
        self,
        jobs: int,
        directory: SweepDirectory,
        tables: Tables,
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
        self._actor = ray.remote(num_cpus=1, num_gpus=share, max_concurrency=4)(Trainer)
        try:
            for _ in range(jobs):
                self.all.append(self._started())
        except BaseException:
            self.close()
            raise

    def idle(self) -> RayWorker | None:
        """As in `Crew`.

        Raises:
            RunError: A node does not see the sweep's directory, or has other packages.
            ResourceError: Workers do not start.
        """
        for worker in [one for one in self.all if one.is_awaited and one.has_said(self._ray)]:
            self._welcome(worker)
        while len(self.all) < self.jobs:
            self.all.append(self._started())
        return next((one for one in self.all if one.task is None and not one.is_awaited), None)

    def heard(self, busy: Sequence[RayWorker]) -> list[tuple[RayWorker, PackEvent | Done | Lost]]:
        """As in `Crew`."""
        # With none at work, the first that is there is waited for.
        awaited = [worker.said for worker in busy or self.all]
        self._ray.wait(awaited, timeout=WAIT_SECONDS)
        ready, _ = self._ray.wait(awaited, num_returns=len(awaited), timeout=0)
        return [(one, one.hear(self._ray)) for one in busy if one.said in ready]

    def end(self, workers: Sequence[RayWorker]) -> None:
        """As in `Crew`."""
        writing = [worker for worker in workers if worker.task is not None]
        for worker in workers:
            # One that is gone already, or out of reach, which its lease is for.
            with suppress(Exception):
                self._ray.kill(worker.actor)
            if worker.task is None:
                worker.lease.drop()
        withdraw(
            [worker.lease for worker in writing],
            [
                RunDirectory(entrant.place).lock
                for worker in writing
                if worker.task is not None
                for entrant in worker.task.entrants
            ],
        )

    def close(self) -> None:
        """As in `Crew`."""
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
            facts: Facts = self._ray.get(worker.said)
        except self._ray.exceptions.RayError as wrong:
            self.all.remove(worker)
            self.end([worker])
            self._failures += 1
            if self._failures == ATTEMPTS:
                raise ResourceError(unfit("of a new worker", wrong)) from wrong
            return
        problems = list(differences(facts, self._directory.path))
        if problems:
            raise RunError(problems)
        self._failures = 0
        worker.lease.name(facts.process)
        worker.is_awaited = False

    def _handed(self, task: Task) -> dict[str, Any]:
        """References to the tables of a task, each put into the object store once."""
        keys = []
        for entrant in task.entrants:
            key, handed = self._tables.handed(entrant.loaded.config)
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

    def begin(self, task: Task) -> None:
        """As in `Worker`."""
        self.said = self.actor.begin.remote(task, self._handed(task))

    def answer(self, answer: Answer) -> None:
        """As in `Worker`."""
        if answer.is_reply:
            self.said = self.actor.go_on.remote(answer)
        else:
            self.actor.tell.remote(answer)

    def hear(self, ray: Any) -> PackEvent | Done | Lost:
        """What it says."""
        try:
            said: PackEvent | Done = ray.get(self.said)
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as gone:
            return Lost(last_line(gone))
        if isinstance(said, PackStarted | MemberEnded):
            self.said = self.actor.go_on.remote(None)
        return said


class Trainer:
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
        self._lease, self._tables = Lease(lease), Tables()
        self._line = _Queues()
        # Ray calls methods in threads that change; what TensorFlow and Keras keep is kept by thread.
        Thread(target=serve, args=(self._line, self._tables), daemon=True).start()

    def look(self) -> Facts:
        """Where it is; from now on it ends without its lease."""
        facts = look_around(self._lease.path)
        if facts.sees:
            end_without(self._lease)
        return facts

    def begin(self, task: Task, handed: dict[str, Any]) -> PackEvent | Done:
        """Begin a task, with references to its tables; the first that is said of it."""
        import ray

        for key, reference in handed.items():
            if not self._tables.has(key):
                table: HandedTable = ray.get(reference)
                self._tables.take(key, table)
        self._line.told.put(task)
        return self._line.said.get()

    def go_on(self, answer: Answer | None) -> PackEvent | Done:
        """The next that is said, after an answer to the one before if it asks for one."""
        if answer is not None:
            self._line.told.put(answer)
        return self._line.said.get()

    def tell(self, answer: Answer) -> None:
        """Say something in between."""
        self._line.told.put(answer)


class _Queues:
    """A line (`task_talk.Line`) within one process."""

    def __init__(self) -> None:
        self.said: SimpleQueue[PackEvent | Done] = SimpleQueue()
        self.told: SimpleQueue[Any] = SimpleQueue()

    def send(self, message: Any, /) -> None:
        self.said.put(message)

    def recv(self) -> Any:
        return self.told.get()

    def poll(self) -> bool:
        return not self.told.empty()
