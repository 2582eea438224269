"""Measure `trainer serve` over HTTP on loopback, against a FastAPI application around Keras.

    python benchmarks/serving.py [--requests 100000] [--peer .venv-bench/bin/python]

Trains a network on 30 numeric columns of breast cancer data, and sends JSON rows: one row on a single
connection, on 32 as fast as they go, and on 32 at a fixed rate; and 1,000 rows a request. The peer is a
FastAPI application that checks rows with pydantic, standardizes them with NumPy and calls the same
network in a `tf.function`; it runs in an environment with FastAPI and Keras. Prints a JSON object: the
50th and the 99th percentile of milliseconds at the client, requests a second, and failed requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from time import perf_counter_ns, sleep

import numpy as np
import polars as pl
import uvloop

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "breast_cancer.yaml"
TABLE = ROOT / "configs" / "data" / "breast_cancer.csv"
TRAINER = (sys.executable, "-c", "from trainer_cli.main import main; main()")
PEER = """
import sys
import keras, numpy as np, tensorflow as tf, uvicorn
from fastapi import FastAPI
from pydantic import create_model

preprocessing, model_file, port = sys.argv[1:]
import json
columns = json.load(open(preprocessing))["columns"]
model = keras.models.load_model(model_file)
Row = create_model("Row", **{f"c{i}": (float | None, None) for i in range(len(columns))})
fill = np.array([column["fill"] for column in columns])
spec = tf.TensorSpec([None, len(columns)], tf.float32)
predict_rows = tf.function(model, input_signature=[spec])
center = np.array([column["center"] for column in columns])
divisor = np.array([column["divisor"] for column in columns])
app = FastAPI()

@app.post("/predict")
def predict(rows: list[Row]):
    x = np.array([list(row.model_dump().values()) for row in rows], np.float64)
    x = (np.where(np.isnan(x), fill, x) - center) / divisor
    p = predict_rows(tf.constant(x, tf.float32)).numpy()[:, 0]
    return [{"label": "MB"[int(value < 0.5)], "probability": float(value)} for value in p]

predict_rows(tf.zeros([1, len(columns)]))
uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error")
"""


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
    port: int, body: str, connections: int, count: int, rate: float = 0.0
) -> dict[str, float]:
    """Send requests on several connections, as fast as they go or `rate` a second in all."""
    data = body.encode()
    head = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: "
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


def measure(
    port: int, rows: list[dict[str, float]], requests: int, rate: int
) -> dict[str, dict[str, float]]:
    """Measure a server with one row and with 1,000 rows a request."""
    many = (rows * (1000 // len(rows) + 1))[:1000]
    single = json.dumps(rows[:1])
    return {
        "1 row, 1 connection": client(port, single, 1, max(200, requests // 20)),
        "1 row, 32 connections": client(port, single, 32, requests),
        f"1 row, 32 connections, {rate} a second": client(
            port, single, 32, max(320, requests // 10), rate
        ),
        "1,000 rows, 1 connection": client(port, json.dumps(many), 1, max(20, requests // 1000)),
    }


def wait_until_open(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            sleep(0.05)
        else:
            return


def serve_trainer(run: str, rows: list[dict[str, float]], requests: int, workers: int) -> object:
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
        return {"start_seconds": round(started, 2), **measure(port, rows, requests, 1000)}
    finally:
        server.terminate()
        server.wait()


def serve_peer(python: str, run: str, rows: list[dict[str, float]], requests: int) -> object:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = [f"{run}/preprocessing.json", f"{run}/checkpoints/best/model.keras"]
    start = perf_counter_ns()
    server = subprocess.Popen([python, "-c", textwrap.dedent(PEER), *files, str(port)])
    wait_until_open(port)
    started = (perf_counter_ns() - start) / 1e9
    named = [{f"c{index}": value for index, value in enumerate(row.values())} for row in rows]
    try:
        return {"start_seconds": round(started, 2), **measure(port, named, requests // 20, 100)}
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--peer", help="a Python with FastAPI, uvicorn and Keras")
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
        results = {
            f"trainer serve, {workers} worker{'s' * (workers > 1)}": serve_trainer(
                run, rows, options.requests, workers
            )
            for workers in (1, 2)
        }
        if options.peer:
            results["FastAPI and Keras"] = serve_peer(options.peer, run, rows, options.requests)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
