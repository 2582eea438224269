"""A pool of workers on a Ray cluster.

    driver ─ tables, once ─► object store ─ tables ─► worker
    driver ─ item ─► worker ─ event ─► driver ─ reply ─► worker …

The driver polls: it requests the next event of each worker and has one outstanding call per worker, so
that it can stop at any time; the reason to stop is sent by a second call. Workers write to a file
system that all nodes share, as long as their lease exists. Only the driver suggests trials and records
results in the journal; workers only train; they do not share an Optuna study. Ray is imported
when workers are started.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

from trainer.errors import ResourceError, RunError
from trainer.runs.sweeps import SweepDirectory
from trainer.workers.leases import Lease, exit_when_revoked, revoke
from trainer.workers.messages import (
    EpochEvent,
    Event,
    ItemDone,
    Reply,
    Runner,
    WorkItem,
    run_worker,
)
from trainer.workers.pool import ATTEMPTS, WAIT_SECONDS, Worker, WorkerLost, WorkerPool
from trainer.workers.ray_connection import (
    NodeInfo,
    error_summary,
    inspect_node,
    node_differences,
    node_problem,
)


class RayWorkerPool(WorkerPool["RayWorker"]):
    """Actors on the connected cluster."""

    def __init__(
        self,
        jobs: int,
        directory: SweepDirectory,
        runner: Runner,
        device: Literal["auto", "cpu", "gpu"],
    ) -> None:
        """Request the workers; each starts when a CPU is free.

        Args:
            jobs: The number of workers.
            directory: The directory of the sweep.
            runner: Its tables are sent to workers as needed; each worker creates its own runner.
            device: The device of the workers. On a cluster with GPUs each gets a share, unless it is
                "cpu".
        """
        super().__init__(jobs)
        import ray

        self._ray, self._directory, self._runner = ray, directory, runner
        self._references: dict[str, Any] = {}
        self._failed_starts = 0
        gpus = ray.cluster_resources().get("GPU", 0) if device != "cpu" else 0
        share = min(1.0, int(100 * gpus / jobs) / 100)
        self._actor = ray.remote(num_cpus=1, num_gpus=share, max_concurrency=4)(TrainingActor)
        try:
            for _ in range(jobs):
                self.workers.append(self._start())
        except BaseException:
            self.close()
            raise

    def idle_worker(self) -> RayWorker | None:
        """Return an idle worker, starting workers up to the limit; None if none is ready yet.

        Raises:
            RunError: A node does not see the directory of the sweep or has other packages.
            ResourceError: Workers do not start.
        """
        for worker in [
            worker
            for worker in self.workers
            if worker.is_starting and worker.has_message(self._ray)
        ]:
            self._accept(worker)
        while len(self.workers) < self.jobs:
            self.workers.append(self._start())
        return next(
            (worker for worker in self.workers if worker.item is None and not worker.is_starting),
            None,
        )

    def receive(
        self, busy: Sequence[RayWorker]
    ) -> list[tuple[RayWorker, Event | ItemDone | WorkerLost]]:
        """Return messages of workers as soon as one arrives; none after `WAIT_SECONDS`."""
        # If no worker is busy, wait for the first one to start.
        calls = [worker.next_call for worker in busy or self.workers]
        self._ray.wait(calls, timeout=WAIT_SECONDS)
        ready, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        return [(worker, worker.receive(self._ray)) for worker in busy if worker.next_call in ready]

    def kill(self, workers: Sequence[RayWorker]) -> None:
        """Kill workers and wait until they cannot write."""
        busy = [worker for worker in workers if worker.item is not None]
        for worker in workers:
            # It may be gone already or unreachable; then its lease ends it.
            with suppress(Exception):
                self._ray.kill(worker.actor)
            if worker.item is None:
                worker.lease.delete()
        revoke(
            [worker.lease for worker in busy],
            [lock for worker in busy if worker.item is not None for lock in worker.item.locks],
        )

    def close(self) -> None:
        """End all workers and remove the folder of leases."""
        super().close()
        with suppress(OSError):
            self._directory.workers.rmdir()

    def _start(self) -> RayWorker:
        lease = Lease.grant(self._directory.workers)
        actor = self._actor.remote(lease.path.absolute(), Path.cwd(), type(self._runner))
        return RayWorker(actor, lease, self._shared_tables)

    def _accept(self, worker: RayWorker) -> None:
        """Accept a worker that has reported its node, or has failed to."""
        try:
            node: NodeInfo = self._ray.get(worker.next_call)
        except self._ray.exceptions.RayError as error:
            self.workers.remove(worker)
            self.kill([worker])
            self._failed_starts += 1
            if self._failed_starts == ATTEMPTS:
                raise ResourceError(node_problem("of a new worker", error)) from error
            return
        problems = list(node_differences(node, self._directory.path))
        if problems:
            raise RunError(problems)
        self._failed_starts = 0
        worker.lease.set_holder(node.process)
        worker.is_starting = False

    def _shared_tables(self, item: WorkItem) -> dict[str, Any]:
        """Return references to the tables of a work item, each put into the object store once."""
        tables = self._runner.tables(item)
        for key, table in tables.items():
            if key not in self._references:
                self._references[key] = self._ray.put(table)
        return {key: self._references[key] for key in tables}


class RayWorker(Worker):
    """An actor, as seen by the driver.

    Attributes:
        actor: Its handle.
        lease: Its write lease.
        next_call: A reference to its next message.
        is_starting: Whether it has not reported its node yet.
    """

    def __init__(self, actor: Any, lease: Lease, shared_tables: Any) -> None:
        super().__init__()
        self.actor, self.lease, self._shared_tables = actor, lease, shared_tables
        self.is_starting = True
        self.next_call = actor.inspect.remote()

    def has_message(self, ray: Any) -> bool:
        """Return whether a message is ready."""
        return bool(ray.wait([self.next_call], timeout=0)[0])

    def start(self, item: WorkItem) -> None:
        """Send a work item."""
        self.next_call = self.actor.start.remote(item, self._shared_tables(item))

    def reply(self, reply: Reply) -> None:
        """Send a reply."""
        if reply.is_epoch_reply:
            self.next_call = self.actor.next_message.remote(reply)
        else:
            self.actor.send.remote(reply)

    def receive(self, ray: Any) -> Event | ItemDone | WorkerLost:
        """Return its next message."""
        try:
            message: Event | ItemDone = ray.get(self.next_call)
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:
            return WorkerLost(error_summary(error))
        if isinstance(message, Event) and not isinstance(message, EpochEvent):
            self.next_call = self.actor.next_message.remote(None)
        return message


class TrainingActor:
    """The actor in the worker process: trains in a separate thread and returns its messages."""

    def __init__(self, lease: Path, folder: Path, make_runner: Callable[[], Runner]) -> None:
        """Start the thread that trains.

        Args:
            lease: The write lease.
            folder: The working directory of the driver, for relative paths.
            make_runner: A class or module-level function.
        """
        # If the folder does not exist here, either all paths are absolute or the lease is missing too,
        # which `inspect` reports.
        with suppress(OSError):
            os.chdir(folder)
        self._lease, self._runner = Lease(lease), make_runner()
        self._channel = _Queues()
        # Ray calls methods from different threads, but TensorFlow and Keras have thread-local state.
        Thread(target=run_worker, args=(self._channel, self._runner), daemon=True).start()

    def inspect(self) -> NodeInfo:
        """Return information on the node; from now on the worker ends if its lease is revoked."""
        info = inspect_node(self._lease.path)
        if info.sees_directory:
            exit_when_revoked(self._lease)
        return info

    def start(self, item: WorkItem, references: dict[str, Any]) -> Event | ItemDone:
        """Start a work item, with references to its tables, and return the first message."""
        import ray

        for key, reference in references.items():
            if not self._runner.has_table(key):
                self._runner.add_table(key, ray.get(reference))
        self._channel.inbox.put(item)
        return self._channel.outbox.get()

    def next_message(self, reply: Reply | None) -> Event | ItemDone:
        """Send a reply to the last message, if it needs one, and return the next message."""
        if reply is not None:
            self._channel.inbox.put(reply)
        return self._channel.outbox.get()

    def send(self, reply: Reply) -> None:
        """Send a message that is not a reply."""
        self._channel.inbox.put(reply)


class _Queues:
    """A channel (`messages.Channel`) within one process."""

    def __init__(self) -> None:
        self.outbox: SimpleQueue[Event | ItemDone] = SimpleQueue()
        self.inbox: SimpleQueue[Any] = SimpleQueue()

    def send(self, message: Any, /) -> None:
        self.outbox.put(message)

    def recv(self) -> Any:
        return self.inbox.get()

    def poll(self) -> bool:
        return not self.inbox.empty()
