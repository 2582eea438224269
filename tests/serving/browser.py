"""Chromium, controlled by its DevTools protocol over a websocket."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
_SECONDS = 120


class Browser:
    """A page in a headless browser."""

    def __init__(self, url: str, profile: Path) -> None:
        from websockets.sync.client import connect

        assert BROWSER is not None
        self._process = subprocess.Popen(
            [
                BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        port_file = profile / "DevToolsActivePort"
        end = time.monotonic() + _SECONDS
        while not (port_file.is_file() and "\n" in port_file.read_text()):
            assert time.monotonic() < end, "the browser does not start"
            time.sleep(0.1)
        port = port_file.read_text().splitlines()[0]
        pages = httpx.get(f"http://127.0.0.1:{port}/json").json()
        page = next(page for page in pages if page["type"] == "page")
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(
            connect(page["webSocketDebuggerUrl"], max_size=None)
        )
        self._number = 0
        self.messages: list[str] = []
        for domain in ("Runtime", "Page", "Log"):
            self._call(f"{domain}.enable")
        self._call("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression; of a promise, its result."""
        result = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Return the first true value of an expression."""
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            if value := self.evaluate(script):
                return value
            time.sleep(0.1)
        raise AssertionError(f"{script}: {self.evaluate('document.body.innerText')}")

    def picture(self, path: Path) -> None:
        """Write a picture of the page."""
        import base64

        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self._stack.close()
        self._process.terminate()
        self._process.wait()

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(_SECONDS))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.messages.append(json.dumps(message["params"]))
