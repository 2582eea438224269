"""Good and hostile requests at full load: every good one is answered, and memory does not grow."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.serving.files import ROW, Server, expected_probability

SECONDS = float(os.environ.get("TRAINER_SOAK_SECONDS", "15"))
THREADS = 6
HOSTILE = (
    b"[" * 50_000,
    b'{"age": ' + b"9" * 5_000 + b"}",
    b'{"age": NaN}',
    b'[{"age": "x"}]',
    json.dumps({f"column {number}": number for number in range(2_000)}).encode(),
    json.dumps([{**ROW, "x" * 10_000: 1}] * 50).encode(),
    json.dumps([{**ROW, "age": [1]}] * 500).encode(),
    b"\x00" * 200_000,
    b"x" * 3_000_000,
)


class Load:
    """Threads that send requests, and what they saw."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.done = threading.Event()
        self.good = self.refused = self.interrupted = 0
        self.wrong: list[object] = []
        self.lock = threading.Lock()

    def send_good(self, seed: int) -> None:
        rng = random.Random(seed)
        with httpx.Client(base_url=self.server.url, timeout=30) as client:
            while not self.done.is_set():
                rows = [
                    {"age": rng.uniform(18, 80), "colour": rng.choice(["red", "blue"]),
                     "member": rng.random() < 0.5}
                    for _ in range(rng.choice([1, 1, 1, 20, 1000]))
                ]  # fmt: skip
                try:
                    response = client.post("/predict", json=rows)
                except httpx.HTTPError:
                    # Only the worker that is killed may drop a connection.
                    with self.lock:
                        self.interrupted += 1
                    continue
                self.check(rows, response)

    def check(self, rows: list[dict[str, object]], response: httpx.Response) -> None:
        if response.status_code != 200:
            self.wrong.append(response.text[:200])
            return
        for row, answer in zip(rows, response.json(), strict=True):
            if abs(answer["probability_yes"] - expected_probability(row)) > 1e-5:
                self.wrong.append((row, answer))
        with self.lock:
            self.good += len(rows)

    def send_hostile(self, seed: int) -> None:
        rng = random.Random(seed)
        kinds = ("application/json", "text/csv", "application/vnd.apache.arrow.stream", "image/png")
        while not self.done.is_set():
            with contextlib.suppress(httpx.HTTPError):
                response = httpx.post(
                    f"{self.server.url}/predict", content=rng.choice(HOSTILE),
                    headers={"content-type": rng.choice(kinds)},
                )  # fmt: skip
                if not 400 <= response.status_code < 500 or "Traceback" in response.text:
                    self.wrong.append((response.status_code, response.text[:200]))
                with self.lock:
                    self.refused += 1
            with contextlib.suppress(OSError):
                self.send_part(rng)

    def send_part(self, rng: random.Random) -> None:
        """Send a part of a request, or garbage, and leave without reading."""
        with socket.create_connection(("127.0.0.1", self.server.port)) as connection:
            head = b"POST /predict HTTP/1.1\r\ncontent-type: application/json\r\n"
            head += b"content-length: 50\r\n\r\n"
            connection.sendall(rng.choice([head + b'{"age"', head[:20], rng.randbytes(300)]))


def resident(pids: list[int]) -> int:
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in pids)


def least_resident(server: Server, seconds: float) -> int:
    """Return the smallest memory of the workers within some seconds: large requests come and go."""
    end = time.monotonic() + seconds
    found = []
    while time.monotonic() < end:
        found.append(resident(children(server.process.pid)))
        time.sleep(0.1)
    return min(found)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_soak(model_file: Path) -> None:
    """Load two workers, and kill one of them.

    TRAINER_SOAK_SECONDS sets how long it takes.
    """
    server = Server(model_file, "--workers", "2", "--timeout", "20", "--max-body", "2")
    load = Load(server)
    threads = [threading.Thread(target=load.send_good, args=[seed]) for seed in range(THREADS // 2)]
    threads += [
        threading.Thread(target=load.send_hostile, args=[seed]) for seed in range(THREADS // 2)
    ]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS / 6)
    os.kill(children(server.process.pid)[0], signal.SIGKILL)
    # Caches and allocators are full, and each worker has imported the readers of tables, after it has
    # answered all kinds of requests several times.
    time.sleep(SECONDS / 3)
    server.wait_until(lambda: load.refused >= 150)
    middle = least_resident(server, SECONDS / 6)
    time.sleep(SECONDS / 6)
    last = least_resident(server, SECONDS / 6)
    load.done.set()
    for thread in threads:
        thread.join()
    text = server.get("/metrics").text
    code, err = server.stop()
    print(
        f"{load.good:,} rows answered, {load.refused:,} hostile requests refused, "
        f"{load.interrupted} connections lost with the killed worker, "
        f"{middle / 1e6:.0f} → {last / 1e6:.0f} MB"
    )
    assert not load.wrong, load.wrong[:3]
    assert load.good > 0
    assert load.refused > 0
    assert load.interrupted <= THREADS
    assert last < 1.1 * middle + 10e6
    assert 'status="500"' not in text
    assert code == 0
    assert "Traceback" not in err
