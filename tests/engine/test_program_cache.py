"""Compiled programs are kept, reused to the same bytes, bounded, and never trusted when cut off."""

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
value = tf.Variable(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))

@tf.function(jit_compile=True)
def program():
    for _ in tf.range(50):
        value.assign(tf.tanh(tf.matmul(value, value) + 0.1))

program()
from trainer.engine.program_cache import cache_root, index_programs
index_programs(cache_root())
print(value.numpy().tobytes().hex())
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    return program_cache.cache_root()


def train(folder):
    script = folder / "train.py"  # TensorFlow reads the source of what it compiles
    script.write_text(TRAIN)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def programs(root):
    return sorted(path for path in root.rglob("*") if path.suffix == ".pb")


def test_a_program_is_kept_and_gives_the_same_bytes(home, tmp_path):
    first = train(tmp_path)
    (kept,) = programs(home)
    written = kept.stat().st_mtime_ns
    assert train(tmp_path) == first
    assert [path.stat().st_mtime_ns for path in programs(home)] == [written]
    # Cut off, as by a process killed in the writing: TensorFlow alone would fail on it.
    kept.write_bytes(kept.read_bytes()[:1000])
    assert train(tmp_path) == first
    assert kept.stat().st_size > 1000


def test_what_is_not_in_the_index_is_thrown_away(home, monkeypatch):
    program_cache.use_cache(home)
    (directory,) = home.iterdir()
    assert str(directory) in os.environ["TF_XLA_FLAGS"]
    (directory / "whole.pb").write_bytes(b"whole")
    program_cache.index_programs(home)
    (directory / "unknown.pb").write_bytes(b"half")
    (directory / "whole.pb").touch()
    program_cache.use_cache(home)
    assert [path.name for path in programs(home)] == ["whole.pb"]
    (directory / "index.json").write_text("no json")
    program_cache.use_cache(home)
    assert programs(home) == []


def test_it_is_bounded_oldest_first(home, monkeypatch):
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


def test_it_can_be_cleared(home):
    program_cache.use_cache(home)
    (directory,) = home.iterdir()
    (directory / "one.pb").write_bytes(bytes(100))
    assert program_cache.cache_bytes(home) == 100
    assert program_cache.clear_cache(home) == 100
    assert list(home.iterdir()) == []


def test_without_a_place_for_it_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    (tmp_path / "file").write_text("")
    program_cache.use_cache(tmp_path / "file" / "below")
    assert "TF_XLA_FLAGS" not in os.environ
