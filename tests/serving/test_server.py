"""A server in a process of its own: connections, signals, workers and newer models."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.files import ROW, RUN, Server, expected_probability, write_model

REQUEST = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def server(model_file: Path) -> Iterator[Server]:
    server = Server(model_file, "--timeout", "1", "--max-connections", "20", "--max-body", "1")
    yield server
    code, err = server.stop()
    assert code == 0
    assert "Traceback" not in err


def connect(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.settimeout(60)
    return connection


def read_all(connection: socket.socket) -> bytes:
    content = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            content += part
    return content


def test_requests_are_answered(server: Server) -> None:
    prediction = server.predict(ROW).json()
    assert prediction["probability_yes"] == pytest.approx(expected_probability(ROW), abs=1e-6)
    assert server.get("/ready").status_code == 200


def test_many_requests_on_one_connection(server: Server) -> None:
    with httpx.Client(base_url=server.url) as client:
        for _ in range(50):
            assert client.post("/predict", json=ROW).status_code == 200
            assert client.post("/predict", json={}).status_code == 422
        # The connection is kept after a refused body, which is received and discarded.
        assert client.post("/predict", content=b"x" * 3_000_000).status_code == 413
        assert client.post("/predict", json=ROW).status_code == 200


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    body = b'{"age": 40.5, "colour": "red", "member": true}'
    request = REQUEST + b"content-length: %d\r\n\r\n" % len(body) + body
    with connect(server) as connection:
        connection.sendall(
            request * 3 + b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        content = read_all(connection)
    assert content.count(b"HTTP/1.1 200") == 4
    assert content.count(b"probability_yes") == 3
    assert content.rstrip().endswith(b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b"408"),
        (b"POST /pre", b"408"),
        (REQUEST + b"content-length: 100\r\n\r\n{", b"408"),
        (b"nonsense\r\n\r\n", b"400"),
        (REQUEST + b"x: " + b"y" * 2_000_000, b"431"),
        (b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 400_000, b"431"),
        (REQUEST + b"content-length: 99999999999\r\n\r\n", b"413"),
    ],
)
def test_slow_and_damaged_requests_end(server: Server, sent: bytes, status: bytes) -> None:
    with connect(server) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(sent)
        content = read_all(connection)
    assert content.startswith(b"HTTP/1.1 " + status), content[:100]
    assert server.predict(ROW).status_code == 200


def test_client_that_does_not_read_is_disconnected(server: Server) -> None:
    rows = b"[" + b",".join([b'{"age":1,"colour":"red","member":true}'] * 20_000) + b"]"
    with connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(REQUEST + b"content-length: %d\r\n\r\n" % len(rows) + rows)
        server.wait_until(lambda: _open_connections(server) <= 1)
    assert server.predict(ROW).status_code == 200


def _open_connections(server: Server) -> int:
    lines = server.get("/metrics").text.splitlines()
    name = "trainer_open_connections "
    return next(int(line.removeprefix(name)) for line in lines if line.startswith(name))


def test_too_many_connections_are_refused(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(40)]
        refused = 0
        for connection in connections[20:]:
            content = read_all(connection)
            refused += content.startswith(b"HTTP/1.1 503") and b"connections" in content
    assert refused >= 19
    server.wait_until(lambda: _accepts(server))


def _accepts(server: Server) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return server.predict(ROW).status_code == 200
    return False


def test_sigterm_finishes_requests(model_file: Path) -> None:
    server = Server(model_file)
    body = b'{"age": 40.5, "colour": "red", "member": true}'
    with connect(server) as connection:
        connection.sendall(REQUEST + b"content-length: %d\r\n\r\n" % len(body) + body[:5])
        server.wait_until(lambda: _open_connections(server) >= 1)
        server.process.terminate()
        connection.sendall(body[5:])
        content = read_all(connection)
    code, err = server.stop()
    assert content.startswith(b"HTTP/1.1 200")
    assert code == 0
    assert "error" not in err


@pytest.mark.slow
def test_ctrl_c_stops_the_server(model_file: Path) -> None:
    server = Server(model_file)
    assert httpx.post(f"{server.url}/predict", json=ROW).is_success
    # JSON does not need polars, whose import takes a third of the time to start.
    assert "polars" not in Path(f"/proc/{server.process.pid}/maps").read_text()
    code, err = server.stop(signal.SIGINT)
    assert code == 130
    assert "stopped by Ctrl-C" in err


@pytest.mark.slow
def test_newer_file_is_served_without_a_lost_request(tmp_path: Path) -> None:
    path = write_model(tmp_path / "a model.onnx")
    server = Server(path, "--reload")
    lost: list[object] = []
    runs: set[str] = set()
    done = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=server.url) as client:
            while not done.is_set():
                try:
                    response = client.post("/predict", json=ROW)
                except httpx.HTTPError as error:
                    lost.append(error)
                    continue
                if response.status_code != 200:
                    lost.append(response.text)
                runs.add(response.headers["x-trainer-run"])

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    server.wait_until(lambda: RUN in runs)
    newer = "20260102-000000-bbbb"
    write_model(path, newer, bias=-5.0)
    server.wait_until(lambda: newer in runs)
    # A model with other columns is refused, and the old one stays.
    write_model(path, "20260103-000000-cccc", columns=["label", "unseen"])
    done.wait(4)
    done.set()
    for thread in threads:
        thread.join()
    prediction = server.predict(ROW).json()
    code, err = server.stop()
    assert not lost
    assert runs == {RUN, newer}
    assert prediction["probability_yes"] == pytest.approx(expected_probability(ROW, -5.0), abs=1e-6)
    assert code == 0
    assert "other classes or predicted columns" in err


@pytest.mark.slow
def test_killed_worker_is_replaced(model_file: Path) -> None:
    server = Server(model_file, "--workers", "2")
    before = _workers(server)
    assert len(before) == 2
    for _ in range(10):
        assert server.predict(ROW).status_code == 200
    os.kill(before[0], signal.SIGKILL)
    server.wait_until(lambda: len(set(_workers(server)) - set(before)) == 1)
    server.wait_until(lambda: _accepts(server))
    text = server.get("/metrics").text
    assert "trainer_worker_restarts_total 1" in text
    # The counts of the killed worker are kept.
    counted = [line for line in text.splitlines() if line.startswith("trainer_rows_total")]
    assert int(counted[0].rsplit(" ", 1)[1]) >= 10
    code, err = server.stop()
    assert code == 0
    assert f"worker {before[0]} ended by signal 9" in err
    for worker in _children(server.process.pid):
        pytest.fail(f"worker {worker} is still running")


def _workers(server: Server) -> list[int]:
    return _children(server.process.pid)


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


@pytest.mark.slow
def test_workers_end_with_their_parent(model_file: Path) -> None:
    server = Server(model_file, "--workers", "2")
    workers = _workers(server)
    server.process.kill()
    server.process.communicate()
    server.wait_until(lambda: not any(_is_running(worker) for worker in workers))


def _is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


@pytest.mark.slow
def test_token_of_a_file(model_file: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("abc-123\n")
    token.chmod(stat.S_IRUSR | stat.S_IWUSR)
    server = Server(model_file, "--token-file", token)
    assert server.predict(ROW).status_code == 401
    headers = {"authorization": "Bearer abc-123"}
    assert server.predict(ROW, headers=headers).status_code == 200
    arguments = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    assert b"abc-123" not in arguments
    _, err = server.stop()
    assert "abc-123" not in err


def _request(body: bytes, *headers: bytes) -> bytes:
    lines = [b"%b\r\n" % header for header in headers]
    return REQUEST + b"".join(lines) + b"content-length: %d\r\n\r\n" % len(body) + body


def _response(connection: socket.socket) -> tuple[bytes, set[bytes], bytes]:
    """Return the status line, the headers but the date, and the body of the next response."""
    content = b""
    while b"\r\n\r\n" not in content:
        content += connection.recv(65536)
    head, _, body = content.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    length = next(line for line in headers if line.startswith(b"content-length: "))
    while len(body) < int(length.partition(b": ")[2]):
        body += connection.recv(65536)
    return status, {line for line in headers if not line.startswith(b"date: ")}, body


# A header with which a task answers the request.
TASK = b"accept: application/json, text/plain"
GOOD = b'{"age": 40.5, "colour": "red", "member": true}'


@pytest.mark.parametrize(
    "body", [GOOD, b"[%b, %b]" % (GOOD, GOOD), b"", b"[", b"{}", b"[]", b'{"age": "x"}']
)
def test_requests_that_are_answered_at_once_have_the_same_responses(
    server: Server, body: bytes
) -> None:
    with connect(server) as connection:
        responses = []
        for headers in ((), (TASK,), (), (TASK,)):
            connection.sendall(_request(body, *headers))
            responses.append(_response(connection))
    assert responses[0][0].startswith(b"HTTP/1.1 200" if b"red" in body else b"HTTP/1.1 4")
    assert all(response == responses[0] for response in responses)


def test_body_in_pieces(server: Server) -> None:
    request = _request(GOOD)
    with connect(server) as connection:
        connection.sendall(request)
        expected = _response(connection)
        for place in (10, len(request) - len(GOOD), len(request) - 5):
            connection.sendall(request[:place])
            server.wait_until(lambda: _open_connections(server) >= 1)
            connection.sendall(request[place:])
            assert _response(connection) == expected


def test_request_that_stops_after_an_answer_times_out(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(_request(GOOD))
        _response(connection)
        connection.sendall(_request(GOOD)[:-5])
        assert _response(connection)[0] == b"HTTP/1.1 408 Request Timeout"


def test_pipelined_requests_of_both_kinds_are_answered_in_order(server: Server) -> None:
    older = GOOD.replace(b"40.5", b"70")
    with connect(server) as connection:
        connection.sendall(_request(GOOD) + _request(older, TASK) + _request(GOOD) + _request(b"["))
        content = b""
        while content.count(b"HTTP/1.1 ") < 4 or not content.rstrip().endswith(b"}"):
            content += connection.recv(65536)
    answers = content.split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200", b"200", b"400"]
    predictions = [answer.partition(b"\r\n\r\n")[2] for answer in answers[:3]]
    assert predictions[0] == predictions[2] != predictions[1]
