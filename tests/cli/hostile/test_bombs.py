"""Archives that hold more than they are long are told of, in bounded memory."""

from __future__ import annotations

import io
import re
import subprocess
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest

from tests.cli.hostile.attack import (
    GIGABYTE,
    READERS,
    SECONDS,
    SPARE_BYTES,
    checkpoints,
    reseal,
    zip_of,
)
from tests.cli.processes import COMMAND


def peak_bytes(*arguments: str) -> tuple[int, str, int]:
    """Exit code, stderr and the most memory of a command that may take four gigabytes at most."""
    limited = ("bash", "-c", f'ulimit -d {4 * GIGABYTE // 1024}; exec "$@"', "bash")
    with TemporaryFile("w+") as err:
        process = subprocess.Popen(
            [*limited, *COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=err
        )
        began, most = time.monotonic(), 0
        # What wait4 says of memory is that of the process that forked, if that was larger.
        while process.poll() is None:
            assert time.monotonic() - began < SECONDS, arguments
            most = max(most, resident_peak(process.pid))
            time.sleep(0.01)
        err.seek(0)
        return process.returncode, err.read(), most


def resident_peak(process: int) -> int:
    """The most bytes of memory that a process has taken; 0 where that cannot be known any more."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def npy_header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    content = io.BytesIO()
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(content, header)
    return content.getvalue()


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    """Archives of a megabyte or less that hold, or say they hold, a gigabyte or more."""
    large = npy_header((GIGABYTE,)) + bytes(GIGABYTE)
    return {
        "packed": zip_of({"age.npy": large}, zipfile.ZIP_DEFLATED),
        "declared": zip_of({"age.npy": npy_header((1 << 50,), "<f8") + b"12345678"}),
        "no bytes wide": zip_of({"age.npy": npy_header((1 << 40,), "|S0")}),
        "many": zip_of({f"{number}.npy": npy_header((0,)) for number in range(10_000)}),
    }


@pytest.fixture(scope="module")
def ordinary_bytes(sound: Path) -> int:
    """The most memory that evaluating the run takes as it was."""
    code, _, most = peak_bytes("eval", str(sound / "run"))
    assert code == 0
    return most


@pytest.mark.parametrize("kind", ["packed", "declared", "no bytes wide"])
@pytest.mark.parametrize("file", ["model.keras", "state.npz"])
def test_bombs_in_a_checkpoint(
    kind: str, file: str, run: Path, bombs: dict[str, bytes], ordinary_bytes: int
) -> None:
    content, packed = bombs[kind], kind == "packed"
    if file == "model.keras":
        with zipfile.ZipFile(run / "checkpoints/best/model.keras") as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members["model.weights.h5"] = bytes(GIGABYTE) if packed else bombs[kind]
        content = zip_of(members, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    for checkpoint in checkpoints(run):
        (checkpoint / file).write_bytes(content)
        reseal(checkpoint)
    for verb in ("eval", "resume"):
        code, err, most = peak_bytes(*READERS[verb])
        # To go on, weights that are no HDF5 file are not looked into.
        assert code == 2 or (verb, file, packed) == ("resume", "model.keras", False), (verb, err)
        assert "Traceback" not in err
        assert file in err or code == 0
        assert most < ordinary_bytes + SPARE_BYTES, (verb, most, ordinary_bytes)


@pytest.mark.parametrize("kind", ["declared", "no bytes wide", "many"])
def test_bombs_of_data(kind: str, run: Path, bombs: dict[str, bytes]) -> None:
    Path("bomb.npz").write_bytes(bombs[kind])
    for arguments in (
        ("check", "good.yaml", "data.source=bomb.npz"),
        ("predict", "run", "bomb.npz", "-o", "out.csv"),
        ("init", "bomb.npz", "--target", "age"),
    ):
        code, err, most = peak_bytes(*arguments)
        assert code == 2, (arguments, err)
        assert "Traceback" not in err
        assert most < 2 * GIGABYTE, (arguments, most)
