"""Arrays on disk: rows are read, and pages released from the process."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from trainer.data import scratch_arrays
from trainer.data.scratch_arrays import ScratchArray, release_pages, select_rows

ROWS, WIDTH = 100_000, 32


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    array = ScratchArray(ROWS, (WIDTH,))
    array.append(np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH))
    return array.mapped()


def mapped_bytes() -> int:
    """Return the bytes of files in the memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssFile"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssFile")


def test_selected_rows(mapped: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch_arrays, "_READ_BYTES", 1 << 16)
    rows = np.sort(np.random.default_rng(0).choice(ROWS, 1_000, replace=False))
    for given in (rows, rows[:0], np.array([0, ROWS - 1])):
        np.testing.assert_array_equal(select_rows(mapped[:], given), mapped[given])
        np.testing.assert_array_equal(select_rows(np.array(mapped), given), mapped[given])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_are_released(mapped: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    view, size = mapped[1:], mapped.nbytes
    before = mapped_bytes()
    expected = view.sum(dtype=np.float64)
    assert mapped_bytes() > before + 0.8 * size
    release_pages(view)
    assert mapped_bytes() < before + 0.2 * size
    assert view.sum(dtype=np.float64) == expected
    release_pages(view)
    monkeypatch.setattr(scratch_arrays, "_READ_BYTES", size // 8)
    select_rows(view, np.arange(0, ROWS - 1, 10))
    assert mapped_bytes() < before + 0.3 * size
