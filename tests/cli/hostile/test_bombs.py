"""Archives that are small on disk and huge when read are refused, in bounded memory."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.hostile.attack import READERS, check_readers, checkpoints, reseal, zip_of
from tests.marks import slow_except

GIGABYTE = 1 << 30
SPARE_BYTES = 500_000_000
"""Memory that reading a bomb may take in addition to that of reading the unchanged run."""
KINDS = ("packed", "declared", "zero width", "many")
RUN_EACH = """
import json, re, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from trainer.engine import devices
from trainer_cli.main import run

devices.usable_cores = lambda: 1  # as in the tests: the run has one thread
for words in json.loads(sys.argv[1]):
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(words)
    peak = 1024 * int(re.search(r"^VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text(), re.M)[1])
    print(json.dumps([code, err.getvalue(), peak]))
"""


def run_each(commands: list[tuple[str, ...]]) -> list[tuple[int, str, int]]:
    """Run commands in one process of at most four gigabytes.

    Returns:
        For each command: the exit code, stderr, and the most memory that the process has had so far.
    """
    limited = ("bash", "-c", f'ulimit -d {4 * GIGABYTE // 1024}; exec "$@"', "bash")
    done = subprocess.run(
        [*limited, sys.executable, "-c", RUN_EACH, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def npy_header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    content = io.BytesIO()
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(content, header)
    return content.getvalue()


def bomb(kind: str) -> bytes:
    """An NPZ archive of a few megabytes that holds, or claims to hold, a gigabyte or more."""
    match kind:
        case "packed":
            large = npy_header((GIGABYTE,)) + bytes(GIGABYTE)
            return zip_of({"age.npy": large}, zipfile.ZIP_DEFLATED)
        case "declared":
            return zip_of({"age.npy": npy_header((1 << 50,), "<f8") + b"12345678"})
        case "zero width":
            return zip_of({"age.npy": npy_header((1 << 40,), "|S0")})
        case _:
            return zip_of({f"{number}.npy": npy_header((0,)) for number in range(10_000)})


def plant(kind: str, file: str, run: Path) -> None:
    """Put a bomb into each checkpoint of a run."""
    content = bomb(kind) if file == "state.npz" or kind != "packed" else b""
    if file == "model.keras":
        with zipfile.ZipFile(run / "checkpoints/best/model.keras") as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        packed = kind == "packed"
        members["model.weights.h5"] = bytes(GIGABYTE) if packed else content
        content = zip_of(members, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    for checkpoint in checkpoints(run):
        (checkpoint / file).write_bytes(content)
        reseal(checkpoint)


def expected_codes(kind: str, file: str) -> dict[str, int]:
    # To resume, weights that are not an HDF5 file are not read.
    is_read = file == "state.npz" or kind == "packed"
    return {"eval": 2, "resume": 2 if is_read else 0}


@pytest.mark.parametrize("kind", ["declared", "zero width"])
@pytest.mark.parametrize("file", ["model.keras", "state.npz"])
def test_bombs_in_a_checkpoint(kind: str, file: str, run: Path, trainer: Callable) -> None:
    plant(kind, file, run)
    expected = expected_codes(kind, file)
    check_readers(
        trainer, {command: {code} for command, code in expected.items()}, only=(*expected,)
    )


@pytest.mark.parametrize("kind", slow_except(["declared"], ["declared", "zero width", "many"]))
def test_bombs_as_data(kind: str, run: Path, refused: Callable) -> None:
    Path("bomb.npz").write_bytes(bomb(kind))
    refused("check", "good.yaml", "data.source=bomb.npz", mentions=["bomb.npz"])
    refused("predict", "run", "bomb.npz", "-o", "out.csv", mentions=["bomb.npz"])
    refused("init", "bomb.npz", "--target", "age", mentions=["bomb.npz"])


@pytest.mark.slow
def test_bombs_are_refused_in_bounded_memory(run: Path) -> None:
    commands, expected = [("eval", "run")], [(0, "")]
    for kind in ("declared", "zero width", "packed"):
        for file in ("model.keras", "state.npz"):
            other = Path(f"run {kind} {file}")
            shutil.copytree(run, other)
            plant(kind, file, other)
            for command, code in expected_codes(kind, file).items():
                commands.append(tuple(word.replace("run", str(other)) for word in READERS[command]))
                expected.append((code, file if code else ""))
    for kind in ("declared", "zero width", "many"):
        name = f"{kind}.npz"
        Path(name).write_bytes(bomb(kind))
        commands += [
            ("check", "good.yaml", f"data.source={name}"),
            ("predict", "run", name, "-o", "out.csv"),
            ("init", name, "--target", "age"),
        ]
        expected += [(2, name)] * 3
    results = run_each(commands)
    _, _, baseline = results[0]
    for command, (code, text), (exit_code, err, peak) in zip(
        commands, expected, results, strict=True
    ):
        assert exit_code == code, (command, err)
        assert "Traceback" not in err
        assert text in err
        assert peak < baseline + SPARE_BYTES, (command, peak, baseline)
