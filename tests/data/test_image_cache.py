import errno
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tests.data.images import make_images
from trainer.data import image_cache
from trainer.data.decoding_progress import progress
from trainer.data.image_cache import (
    cache_bytes,
    cache_root,
    clear_cache,
    load_images,
)
from trainer.data.image_decoding import Geometry, decode_image
from trainer.errors import StorageError

SQUARE = Geometry(6, 6, None, 3)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def paths(tmp_path):
    folder = make_images(tmp_path / "photos", count=4)
    return pl.Series("path", sorted(map(str, folder.rglob("*.*"))))


def entries():
    return sorted(path.name for path in cache_root().iterdir()) if cache_root().is_dir() else []


def test_images_are_decoded_once(paths, monkeypatch):
    images = load_images(paths, SQUARE)
    expected = np.stack([decode_image(path, SQUARE).pixels for path in paths])
    assert (images.shape, images.dtype, len(images)) == ((8, 6, 6, 3), np.uint8, 8)
    assert np.array_equal(images[:], expected)
    assert np.array_equal(images[np.array([5, 0])], expected[[5, 0]])
    assert np.array_equal(images.select(np.array([7, 2, 3]))[1:], expected[[2, 3]])
    sums = expected.reshape(8, -1, 3).astype(float)
    assert np.array_equal(images.files.sums[:, 0], sums.sum(axis=1))
    assert np.array_equal(images.files.sums[:, 1], np.square(sums).sum(axis=1))
    monkeypatch.setattr(image_cache, "_fill", None)
    assert np.array_equal(load_images(paths, SQUARE)[:], expected)


def test_contiguous_rows_are_not_copied(paths):
    images = load_images(paths, SQUARE)
    assert np.shares_memory(images[2:5], images.files.pixels)
    assert not np.shares_memory(images[np.array([3, 1])], images.files.pixels)


def test_the_center_can_be_cut_out(paths):
    whole = load_images(paths, SQUARE)
    images = replace(whole, crop=(3, 4)).select(np.array([4, 1, 2]))
    assert images.shape == (3, 3, 4, 3)
    assert np.array_equal(images[:], whole[np.array([4, 1, 2])][:, 1:4, 1:5])
    assert np.array_equal(images[1:], whole[1:3][:, 1:4, 1:5])


def test_a_changed_file_or_setting_makes_another_entry(paths):
    load_images(paths, SQUARE)
    load_images(paths, Geometry(6, 6, None, 1))
    Image.new("RGB", (9, 9)).save(paths[0])
    assert (load_images(paths, SQUARE)[:1] == 0).all()
    assert len(entries()) == 3


def test_repeated_and_missing_paths(paths):
    column = pl.Series([paths[1], None, paths[0], paths[1], "nowhere.png"])
    images = load_images(column, SQUARE)
    assert images.rows.tolist() == [0, 1, 2, 0, 3]
    assert images.broken_mask().tolist() == [False, True, False, False, True]
    assert images.broken[3] == "no such file or directory"
    assert (images[1:2] == 0).all()


def test_processes_decode_the_same(tmp_path, monkeypatch):
    folder = make_images(tmp_path / "many", count=60)
    (folder / "cat" / "0.png").write_bytes(b"broken")
    paths = pl.Series(sorted(map(str, folder.rglob("*.*"))))
    alone = load_images(paths, SQUARE)
    clear_cache()
    monkeypatch.setattr(image_cache, "_cores", lambda: 2)
    monkeypatch.setattr(image_cache, "_IMAGES_PER_PROCESS", 50)
    seen = []
    token = progress.set(lambda done, total: seen.append((done, total)))
    together = load_images(paths, SQUARE)
    progress.reset(token)
    assert np.array_equal(alone[:], together[:])
    assert np.array_equal(alone.files.content, together.files.content)
    assert np.array_equal(alone.files.look, together.files.look)
    assert alone.broken == together.broken == {0: "not an image that Pillow can read"}
    assert seen[-1] == (120, 120)
    assert sorted(seen) == seen


def test_a_crash_of_the_decoder_breaks_one_image(paths, tmp_path, monkeypatch):
    class Crashing(image_cache._Workers):
        def _send(self, first, names):
            if paths[5] in names:
                if self._idle:
                    self._idle.pop().kill()
                return None
            return super()._send(first, names)

    monkeypatch.setattr(image_cache, "_Workers", Crashing)
    monkeypatch.setattr(image_cache, "_cores", lambda: 2)
    monkeypatch.setattr(image_cache, "_IMAGES_PER_PROCESS", 4)
    images = load_images(paths, SQUARE)
    assert images.broken == {5: "the decoder crashed"}
    assert np.array_equal(images[4:5][0], decode_image(paths[4], SQUARE).pixels)


def test_a_damaged_entry_is_replaced(paths):
    expected = load_images(paths, SQUARE)[:].copy()
    (name,) = entries()
    pixels = cache_root() / name / "pixels.npy"
    os.truncate(pixels, pixels.stat().st_size // 2)
    assert np.array_equal(load_images(paths, SQUARE)[:], expected)
    (cache_root() / name / "broken.json").unlink()
    assert np.array_equal(load_images(paths, SQUARE)[:], expected)


PROGRAM = """
import sys, time
import polars as pl
from trainer.data import image_cache
from trainer.data.decoding_progress import progress
from trainer.data.image_decoding import Geometry
def show(done, total):
    print(done, flush=True)
    time.sleep(float(sys.argv[1]))
image_cache._CHUNK = 2
progress.set(show)
print("sum", image_cache.load_images(pl.Series(sys.argv[2:]), Geometry(6, 6, None, 3))[:].sum())
"""


def start(paths, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(seconds), *paths],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_killed_process_leaves_nothing_that_is_used(paths):
    process = start(paths, 60)
    assert process.stdout.readline() == "2\n"
    assert [name[32:] for name in entries()] == [".lock", ".partial"]
    assert clear_cache() == 0
    process.kill()
    process.communicate()
    images = load_images(paths, SQUARE)
    assert np.array_equal(images[7:][0], decode_image(paths[7], SQUARE).pixels)
    assert len(entries()) == 1


@pytest.mark.slow
def test_leftovers_of_other_settings_are_removed(paths):
    process = start(paths, 60)
    process.stdout.readline()
    process.kill()
    process.communicate()
    load_images(paths, Geometry(5, 5, None, 3))
    assert [name for name in entries() if "." in name] == []


@pytest.mark.slow
def test_two_processes_decode_once(paths):
    first = start(paths, 0.3)
    first.stdout.readline()
    second = start(paths, 0)
    output = first.communicate()[0].splitlines()
    assert second.communicate()[0].splitlines() == [output[-1]]
    assert (first.returncode, second.returncode, len(entries())) == (0, 0, 1)


def test_the_least_recently_used_entries_are_removed(paths, monkeypatch):
    sides = (10, 11, 12)
    for side in sides:
        load_images(paths, Geometry(side, side, None, 3))
        time.sleep(0.01)
    size = cache_bytes()
    load_images(paths, Geometry(10, 10, None, 3))
    monkeypatch.setenv("TRAINER_IMAGE_CACHE_GB", str(size / 1e9))
    oldest = min(cache_root().iterdir(), key=lambda path: path.stat().st_mtime)
    load_images(paths, Geometry(13, 13, None, 3))
    assert cache_bytes() <= size + 2000
    assert not oldest.exists()


def test_images_beyond_the_limit_are_not_cached(paths, monkeypatch):
    monkeypatch.setenv("TRAINER_IMAGE_CACHE_GB", "0")
    images = load_images(paths, SQUARE)
    assert np.array_equal(images[3:4][0], decode_image(paths[3], SQUARE).pixels)
    assert entries() == []


def test_a_full_disk(paths, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match="free disk space for the decoded images"):
        load_images(paths, SQUARE)
    assert not any(name.endswith(".partial") for name in entries())


@pytest.mark.parametrize("limit", [None, "0"])
def test_a_disk_that_fills_up_while_images_are_decoded(paths, monkeypatch, limit):
    if limit is not None:
        monkeypatch.setenv("TRAINER_IMAGE_CACHE_GB", limit)

    def fill_up(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_cache, "sync_files", fill_up)
    with pytest.raises(StorageError, match="to write the decoded images, found no space left"):
        load_images(paths, SQUARE)
    assert entries() == []


def test_clearing(paths):
    load_images(paths, SQUARE)
    size = cache_bytes()
    assert size > 8 * 6 * 6 * 3
    assert (clear_cache(), cache_bytes(), entries()) == (size, 0, [])
