"""Compiled programs are cached and reused; the cache is limited in size and rejects truncated files."""

import json
import os
import subprocess
import sys

import pytest

from trainer.engine import program_cache

TRAIN = """
import sys, time
from trainer.engine import devices
devices.start("cpu", 1)
import numpy as np, tensorflow as tf
values = [tf.Variable(np.linspace(0, 1, n * n, dtype=np.float32).reshape(n, n)) for n in (7, 8)]

def make(value):
    @tf.function(jit_compile=True)
    def program():
        for _ in tf.range(50):
            value.assign(tf.tanh(tf.matmul(value, value) + 0.1))
    return program

for value in values:
    make(value)()
from trainer.engine.program_cache import cache_root, index_programs
index_programs(cache_root())
print([value.numpy().tobytes().hex() for value in values])
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    return program_cache.cache_root()


def train(folder):
    script = folder / "train.py"  # TensorFlow reads the source code of the function
    script.write_text(TRAIN)
    process = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def programs(root):
    return sorted(path for path in root.rglob("*") if path.suffix == ".pb")


@pytest.mark.slow
def test_cached_program_is_reused_and_truncated_one_replaced(home, tmp_path):
    output = train(tmp_path)
    intact, truncated = programs(home)
    written = intact.stat().st_mtime_ns
    # As after a process was killed while writing; TensorFlow itself would fail on it.
    truncated.write_bytes(truncated.read_bytes()[:1000])
    assert train(tmp_path) == output
    assert programs(home) == [intact, truncated]
    assert intact.stat().st_mtime_ns == written
    assert truncated.stat().st_size > 1000


def test_files_not_in_the_index_are_deleted(home, monkeypatch):
    program_cache.use_cache(home)
    (directory,) = home.iterdir()
    assert str(directory) in os.environ["TF_XLA_FLAGS"]
    (directory / "whole.pb").write_bytes(b"whole")
    program_cache.index_programs(home)
    (directory / "unknown.pb").write_bytes(b"half")
    (directory / "whole.pb").touch()
    program_cache.use_cache(home)
    assert [path.name for path in programs(home)] == ["whole.pb"]
    (directory / "index.json").write_text("not JSON")
    program_cache.use_cache(home)
    assert programs(home) == []


def test_oldest_files_are_deleted_beyond_the_size_limit(home, monkeypatch):
    monkeypatch.setattr(program_cache, "MAX_BYTES", 250)
    program_cache.use_cache(home)
    (directory,) = home.iterdir()
    for age, name in enumerate(["new", "old", "older"]):
        path = directory / f"{name}.pb"
        path.write_bytes(bytes(100))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    program_cache.index_programs(home)
    assert set(json.loads((directory / "index.json").read_text())) == {
        "new.pb",
        "old.pb",
        "older.pb",
    }
    program_cache.use_cache(home)
    assert [path.name for path in programs(home)] == ["new.pb", "old.pb"]


def test_cache_can_be_cleared(home):
    program_cache.use_cache(home)
    (directory,) = home.iterdir()
    (directory / "one.pb").write_bytes(bytes(100))
    assert program_cache.cache_bytes(home) == 100
    assert program_cache.clear_cache(home) == 100
    assert list(home.iterdir()) == []


def test_unwritable_directory_disables_the_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    (tmp_path / "file").write_text("")
    program_cache.use_cache(tmp_path / "file" / "below")
    assert "TF_XLA_FLAGS" not in os.environ
