import subprocess
from pathlib import Path

import pytest

from trainer.errors import Problem
from trainer.keys import (
    key_file_warning,
    key_fingerprint,
    key_from_environment,
    new_key_command,
    read_key,
)

HEX = "00112233445566778899aabbccddeeff" * 2


def test_command_makes_a_key(tmp_path: Path) -> None:
    path = tmp_path / "it's a key"
    subprocess.run(["sh", "-c", new_key_command(path)], check=True)
    key = read_key(path)
    assert isinstance(key, bytes)
    assert len(key) == 32
    assert key_file_warning(path) is None
    path.chmod(0o640)
    assert "chmod 600" in (key_file_warning(path) or "")


@pytest.mark.parametrize("text", [HEX, HEX.upper() + "\n", f" {HEX}\r\n"])
def test_valid_keys(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(text)
    assert read_key(tmp_path / "key") == bytes.fromhex(HEX)
    monkeypatch.setenv("A_KEY", text)
    assert key_from_environment("A_KEY") == bytes.fromhex(HEX)


@pytest.mark.parametrize(
    "content", [b"", b"secret", HEX[:-1].encode(), b"g" * 64, bytes(range(32)), b"\xff" * 5000]
)
def test_invalid_keys_are_not_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    problem = read_key(path)
    assert isinstance(problem, Problem)
    assert "64 hexadecimal digits" in str(problem)
    assert "secret" not in problem.found
    assert "python3 -c" in problem.fix


def test_missing_key_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        assert isinstance(read_key(path), Problem)
        assert key_file_warning(path) is None


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    assert key_from_environment("A_KEY") is None
    monkeypatch.setenv("A_KEY", "abc")
    assert "the environment variable A_KEY" in str(key_from_environment("A_KEY"))


def test_fingerprints_differ_by_key_and_purpose() -> None:
    fingerprints = {key_fingerprint(key, purpose) for key in (b"a", b"b") for purpose in "xy"}
    assert len(fingerprints) == 4
    assert {len(fingerprint) for fingerprint in fingerprints} == {32}
