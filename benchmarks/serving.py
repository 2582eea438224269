"""Measure `trainer serve` over HTTP on loopback, against other servers of the same network.

    python -m benchmarks.serving [--requests 100000]

Trains a network on 30 numeric columns of breast cancer data, and sends JSON rows: one row on a single
connection, on 32 as fast as they go, and on 32 at a fixed rate; and 1,000 rows a request. The others are
a FastAPI application around Keras, in the environment .venv-bench, and MLflow's model server, if there
is an environment .venv-mlflow with the packages mlflow, keras and tensorflow. Prints a JSON object: the
50th and the 99th percentile of milliseconds at the client, requests a second, and failed requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter_ns, sleep
from typing import Any

import numpy as np
import polars as pl
import uvloop
from benchmarks import processes
from benchmarks.server_peers import Peer, Rows, fastapi_peer, mlflow_peer

CONFIG = processes.ROOT / "configs" / "breast_cancer.yaml"
TABLE = processes.ROOT / "configs" / "data" / "breast_cancer.csv"
MLFLOW = processes.ROOT / ".venv-mlflow" / "bin" / "python"
RATE, PEER_RATE = 1_000, 100
TRAINER = (sys.executable, "-c", "from trainer_cli.main import main; main()")


class Connection(asyncio.Protocol):
    """Sends requests on one connection, each after the response to the previous one."""

    def __init__(self, request: bytes, count: int, interval: float) -> None:
        self.request, self.left, self.interval = request, count, interval
        self.times: list[float] = []
        self.failed = 0
        self.done = asyncio.get_running_loop().create_future()
        self._content = b""
        self._next = perf_counter_ns()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._content += data
        head, blank, body = self._content.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head) if blank else None
        if length is None or len(body) < int(length[1]):
            return
        self.times.append((perf_counter_ns() - self._sent) / 1e6)
        self.failed += not head.startswith(b"HTTP/1.1 200")
        self._content = b""
        self.left -= 1
        if not self.left:
            self.done.set_result(None)
            self.transport.close()
            return
        self._next += int(self.interval * 1e9)
        wait = (self._next - perf_counter_ns()) / 1e9
        if wait <= 0:
            self._send()
        else:
            asyncio.get_running_loop().call_later(wait, self._send)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.failed += self.left
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent = perf_counter_ns()
        self.transport.write(self.request)


async def send(
    port: int, request: bytes, connections: int, count: int, rate: float
) -> list[Connection]:
    loop = asyncio.get_running_loop()
    interval = connections / rate if rate else 0.0
    opened = []
    for _ in range(connections):
        _, connection = await loop.create_connection(
            lambda: Connection(request, count // connections, interval), "127.0.0.1", port
        )
        opened.append(connection)
        if rate:
            await asyncio.sleep(1 / rate)
    for connection in opened:
        await connection.done
    return opened


def client(
    port: int, path: str, body: str, connections: int, count: int, rate: float = 0.0
) -> dict[str, float]:
    """Send requests on several connections, as fast as they go or `rate` a second in all."""
    data = body.encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: "
    request = f"{head}{len(data)}\r\n\r\n".encode() + data
    uvloop.run(send(port, request, 1, max(1, min(50, count // 20)), 0.0))
    start = perf_counter_ns()
    opened = uvloop.run(send(port, request, connections, count, rate))
    seconds = (perf_counter_ns() - start) / 1e9
    times = [time for connection in opened for time in connection.times]
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
        "requests_per_second": round(len(times) / seconds),
        "requests": len(times),
        "failed": sum(connection.failed for connection in opened),
    }


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(map(int, fields[11:13]))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, map(int, children)))


def measure(
    pid: int,
    port: int,
    path: str,
    body: Callable[[Rows], str],
    rows: Rows,
    requests: int,
    rate: int,
) -> dict[str, dict[str, float]]:
    """Measure a server with one row and with 1,000 rows a request."""
    many = (rows * (1000 // len(rows) + 1))[:1000]
    single = body(rows[:1])
    alone = client(port, path, single, 1, max(200, requests // 20))
    before = cpu_seconds(pid)
    full = client(port, path, single, 32, requests)
    full["cpu_microseconds"] = round(1e6 * (cpu_seconds(pid) - before) / full["requests"])
    return {
        "1 row, 1 connection": alone,
        "1 row, 32 connections": full,
        "1 row, fixed rate": {
            **client(port, path, single, 32, max(320, requests // 10), rate),
            "rate": rate,
        },
        "1,000 rows, 1 connection": client(port, path, body(many), 1, max(20, requests // 1000)),
    }


def wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            sleep(0.05)
        else:
            return
    raise RuntimeError("the server has ended")


def serve_trainer(run: str, rows: Rows, requests: int, workers: int) -> object:
    start = perf_counter_ns()
    server = subprocess.Popen(
        [*TRAINER, "serve", run, "--port", "0", "--workers", str(workers)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    port = int(server.stdout.readline().rsplit(":", 1)[1])
    started = (perf_counter_ns() - start) / 1e9
    try:
        figures = measure(server.pid, port, "/predict", json.dumps, rows, requests, RATE)
        return {"start_seconds": round(started, 2), **figures}
    finally:
        server.terminate()
        server.wait()


def serve_peer(start: Callable[[], Peer], rows: Rows, requests: int) -> object:
    begin = perf_counter_ns()
    peer = start()
    try:
        wait_until_open(peer.port, peer.process)
        started = (perf_counter_ns() - begin) / 1e9
        figures = measure(
            peer.process.pid, peer.port, peer.path, peer.body, rows, requests, PEER_RATE
        )
        return {"start_seconds": round(started, 2), **figures}
    finally:
        if peer.process.poll() is None:
            os.killpg(peer.process.pid, signal.SIGTERM)
            peer.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trained = subprocess.run(
            [*TRAINER, "fit", str(CONFIG), "evaluate.report=false", "--quiet"],
            cwd=folder, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        run = str(Path(folder, trained.stdout.strip()))
        names = [
            column["name"]
            for column in json.loads(Path(run, "preprocessing.json").read_text())["columns"]
        ]
        rows = pl.read_csv(TABLE).select(names).head(200).to_dicts()
        servers: dict[str, Any] = {
            f"trainer serve, {count} process{'es' * (count > 1)}": serve_trainer(
                run, rows, options.requests, count
            )
            for count in (1, 2)
        }
        peers = {
            "FastAPI and Keras": (fastapi_peer, processes.PEERS / "python"),
            "MLflow models serve": (mlflow_peer, MLFLOW),
        }
        for title, (start, python) in peers.items():
            if python.exists():
                few = max(640, options.requests // 20)
                servers[title] = serve_peer(partial(start, python, run, names), rows, few)
    print(json.dumps({"rate": RATE, "servers": servers}, indent=1))


if __name__ == "__main__":
    main()
