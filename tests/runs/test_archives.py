import copy
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.errors import RunError
from trainer.runs.archives import check_archive, read_arrays, write_arrays

WHERE = Path("state.npz")


def archive(
    members: dict[str, bytes], compression: int = zipfile.ZIP_STORED, change: Any = None
) -> bytes:
    """Return a zip archive; `change` can modify its central directory before it is written."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
        if change is not None:
            change(file.filelist)
    return buffer.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    length = len(text).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + length + text + data


def array(descr: str, shape: str, data: bytes = b"") -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}", data)


VALID = array("'<f4'", "(2,)", bytes(8))


def share_bytes(members: list[zipfile.ZipInfo]) -> None:
    twin = copy.copy(members[0])
    twin.filename = "twin.npy"
    members.append(twin)


def inflate_size(members: list[zipfile.ZipInfo]) -> None:
    members[0].file_size = members[0].compress_size = 10**12


def encrypt(members: list[zipfile.ZipInfo]) -> None:
    members[0].flag_bits |= 1


def test_unpack_hand_made_arrays() -> None:
    (read,) = read_arrays(io.BytesIO(archive({"a/b.npy": VALID})), WHERE).items()
    assert read[0] == "a/b"
    np.testing.assert_array_equal(read[1], np.zeros(2, np.float32))
    empty = io.BytesIO()
    write_arrays(empty, {})
    assert read_arrays(empty, WHERE) == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(archive({"a.npy": VALID}, zipfile.ZIP_DEFLATED), "compressed", id="deflated"),
        pytest.param(archive({"a.npy": VALID}, zipfile.ZIP_LZMA), "compressed", id="lzma"),
        pytest.param(archive({"a.npy": VALID}, change=encrypt), "encrypted", id="encrypted"),
        pytest.param(archive({"a.npy": VALID}, change=share_bytes), "declares", id="shared bytes"),
        pytest.param(
            archive({"a.npy": VALID}, change=inflate_size), "declares", id="declared size"
        ),
        pytest.param(
            archive(
                {"a.npy": VALID, "b.npy": VALID},
                change=lambda m: setattr(m[1], "filename", "a.npy"),
            ),
            "same name",
            id="one name twice",
        ),
        pytest.param(b"", "not a zip", id="empty"),
        pytest.param(archive({"a.npy": VALID})[:-1], "damage", id="truncated"),
    ],
)
def test_unsafe_archive_is_rejected(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(RunError, match=words) as raised:
        check_archive(path)
    (problem,) = raised.value.problems
    assert problem.where == str(path)
    assert problem.fix
    with pytest.raises(RunError, match=words):
        read_arrays(io.BytesIO(content), WHERE)


def test_valid_archive_passes(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(archive({"config.json": b"{}", "assets/a/b": b"", "model.weights.h5": b"x"}))
    check_archive(path)
    with pytest.raises(RunError, match="no such file"):
        check_archive(tmp_path / "gone")


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "a\\b", "C:a"])
def test_member_outside_the_archive_is_rejected(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(archive({name: b"x"}))
    with pytest.raises(RunError, match="points outside"):
        check_archive(path)
    # Names of arrays are not paths.
    assert list(read_arrays(io.BytesIO(archive({f"{name}.npy": VALID})), WHERE)) == [name]


class Dangerous:
    def __reduce__(self) -> Any:
        return pytest.fail, ("a pickle was read",)


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(array("'<f4'", "(3,)", bytes(8)), id="too few bytes"),
        pytest.param(array("'<f4'", "(1,)", bytes(8)), id="too many bytes"),
        pytest.param(array("'<f4'", "(10**15,)", bytes(8)), id="expression as size"),
        pytest.param(array("'<f4'", f"({10**15},)", bytes(8)), id="petabytes"),
        pytest.param(array("'<f4'", f"({2**62}, 4)"), id="overflowing product"),
        pytest.param(array("'<f4'", "(-2, -1)", bytes(8)), id="negative"),
        pytest.param(array("'<U0'", f"({10**15},)"), id="zero-width elements"),
        pytest.param(array("'|O'", "()", pickle.dumps(Dangerous())), id="pickle"),
        pytest.param(array("[('x', '|O')]", "()", pickle.dumps(Dangerous())), id="pickled field"),
        pytest.param(array("'|V8'", "()", bytes(8)), id="raw bytes"),
        pytest.param(npy("(" * 9000), id="deep brackets"),
        pytest.param(npy("-" * 9000 + "1"), id="deep signs"),
        pytest.param(npy("{'" + "x" * 60_000 + "': 1}"), id="long header"),
        pytest.param(npy("\\\n\t ?'"), id="no header"),
        pytest.param(npy("{}", version=b"\x03\x00"), id="version 3"),
        pytest.param(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", id="header of 4 GB"),
        pytest.param(b"", id="empty"),
        pytest.param(pickle.dumps(Dangerous()), id="bare pickle"),
    ],
)
def test_array_with_wrong_header_is_rejected(member: bytes) -> None:
    with pytest.raises(RunError, match="damage") as raised:
        read_arrays(io.BytesIO(archive({"a.npy": member})), WHERE)
    assert raised.value.problems[0].where == str(WHERE)


def test_objects_are_rejected() -> None:
    with pytest.raises(RunError, match="not an array"):
        read_arrays(io.BytesIO(archive({"a.pkl": pickle.dumps(Dangerous())})), WHERE)
    with pytest.raises(TypeError, match="object"):
        write_arrays(io.BytesIO(), {"a": np.array([object()])})
