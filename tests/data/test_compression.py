from __future__ import annotations

import gzip
import io
import stat
import struct
import subprocess
import zipfile
from pathlib import Path

import polars as pl
import pytest

from trainer.config.data import Csv, Data
from trainer.data import compression
from trainer.data.compression import read_chunks, read_lines
from trainer.data.csv_files import csv_line, read_csv, read_csv_blocks
from trainer.data.ndjson_files import ndjson_line, read_ndjson
from trainer.data.opening import open_table
from trainer.data.sources import file_format
from trainer.errors import DataError

TEXT = "a,y\n1,x\n\n2,ü\n"


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def zstd(path: Path, content: bytes) -> Path:
    """Return a zstd frame with one raw block, as `zstd` writes for incompressible data."""
    assert len(content) < 256
    block = struct.pack("<I", len(content) << 3 | 1)[:3]
    path.write_bytes(b"\x28\xb5\x2f\xfd\x20" + bytes([len(content)]) + block + content)
    return path


def packed(folder: Path, kind: str, name: str, content: str) -> Path:
    path = folder / f"{name}.{kind}"
    match kind:
        case "gz":
            path.write_bytes(gzip.compress(content.encode()))
        case "zip":
            zipped(path, **{name: content})
        case "zst":
            zstd(path, content.encode())
    return path


@pytest.mark.parametrize("kind", ["gz", "zip", "zst"])
def test_compressed_csv(tmp_path, kind):
    for name, text in (("x.csv", TEXT), ("x.TSV", TEXT.replace(",", "\t")), ("x.txt", TEXT)):
        path = packed(tmp_path, kind, name, text)
        frame = open_table(Data(source=str(path), target="y"), streamed=False).header.frame
        assert frame.to_dict(as_series=False) == {"a": ["1", "2"], "y": ["x", "ü"]}
        assert [block.height for block in read_csv_blocks(path, Csv(), ["y"])] == [2]
        assert csv_line(path, Csv(), 1) == 4


@pytest.mark.parametrize("kind", ["gz", "zip", "zst"])
def test_compressed_ndjson(tmp_path, kind):
    path = packed(tmp_path, kind, "x.ndjson", '{"a": 1}\n\n{"a": "ü"}')
    assert file_format(path, "auto") == "ndjson"
    assert read_ndjson(path)["a"].to_list() == ["1", "ü"]
    assert ndjson_line(path, 1) == 3


def test_archive_without_inner_extension(tmp_path):
    path = zipped(tmp_path / "download.zip", **{"sub/train.tsv": "a\ty\n1\tx\n"})
    assert file_format(path, "auto") == "csv"
    frame = open_table(Data(source=str(path), target="y"), streamed=False).header.frame
    assert frame.columns == ["a", "y"]


def test_hidden_files_in_archives_are_ignored(tmp_path):
    others = {"__MACOSX/._x.csv": "\0", ".DS_Store": "\0", "x.csv": TEXT}
    assert b"".join(read_chunks(zipped(tmp_path / "x.csv.zip", **others))) == TEXT.encode()


def test_compression_is_detected_from_content(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(gzip.compress(TEXT.encode()))
    assert read_csv(path, Csv())[0].height == 2
    zipped(path, **{"x.csv": TEXT})
    assert read_csv(path, Csv())[0].height == 2
    path.write_text(TEXT)
    assert read_csv(path.rename(tmp_path / "x.csv.gz"), Csv())[0].height == 2


def _encrypted(path: Path) -> Path:
    zipped(path, **{"x.csv": TEXT})
    data = bytearray(path.read_bytes())
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + flags] |= 1
    path.write_bytes(data)
    return path


def _link(path: Path) -> Path:
    info = zipfile.ZipInfo("x.csv")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return path


def _huge(path: Path) -> Path:
    """Write an archive with a stated size of 3 GB; a member never yields more than its stated size."""
    zipped(path, **{"x.csv": TEXT})
    data = bytearray(path.read_bytes())
    for magic, size in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(magic) + size
        data[at : at + 4] = struct.pack("<I", 3_000_000_000)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "found", "fix"),
    [
        (
            lambda path: zipped(path, **{"a.csv": TEXT, "b.csv": TEXT}),
            "2: 'a.csv', 'b.csv'",
            "unzip",
        ),
        (zipped, "none", "add one file to it"),
        (lambda path: zipped(path, **{"d/": ""}), "none", "add one file to it"),
        (lambda path: zipped(path, **{"../a.csv": TEXT}), "an unusual name, '../a.csv'", ""),
        (lambda path: zipped(path, **{"/etc/a.csv": TEXT}), "an unusual name, '/etc/a.csv'", ""),
        (lambda path: zipped(path, **{"a\x1b[2J.csv": TEXT}), "a\\x1b[2J.csv", ""),
        (lambda path: zipped(path, **{"xl/workbook.xml": ""}), "a spreadsheet", "as CSV"),
        (_encrypted, "an encrypted one", "unzip"),
        (_link, "a link", ""),
        (_huge, "3,000,000,000 bytes", "if you trust it"),
    ],
)
def test_invalid_archives_raise(tmp_path, make, found, fix):
    path = make(tmp_path / "x.csv.zip")
    with pytest.raises(DataError) as caught:
        read_csv(path, Csv())
    (problem,) = caught.value.problems
    assert problem.where == str(path)
    assert found in problem.found
    assert fix in problem.fix


@pytest.mark.parametrize("kind", ["gz", "zip", "zst"])
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_damaged_files(tmp_path, kind, share):
    path = packed(tmp_path, kind, "x.csv", TEXT * 8)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match="damaged"):
        read_csv(path, Csv())


def test_decompression_bomb_raises(tmp_path, monkeypatch):
    monkeypatch.setattr(compression, "_SAFE_BYTES", 1 << 24)
    path = tmp_path / "x.csv.gz"
    member = gzip.compress(b"1,2\n" * (1 << 20))
    with path.open("wb") as file:
        for _ in range(5):
            file.write(member)
    with pytest.raises(DataError, match=r"more than 16,777,216 bytes.*gunzip -k"):
        assert sum(map(len, read_chunks(path))) < 0


def test_other_encodings_in_zstd_raise_with_a_fix(tmp_path):
    path = zstd(tmp_path / "it's.csv.zst", "a,y\n1,ü\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"zstd -d .*, and use the unpacked file"):
        read_csv(path, Csv(encoding="latin-1"))


@pytest.mark.parametrize("name", ["x.parquet.gz", "x.arrow.zst", "x.npz.zip"])
def test_compressed_binary_formats_raise_with_a_fix(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"x"))
    with pytest.raises(DataError, match=r"unpack it with gunzip -k .*, and use the unpacked file"):
        file_format(path, "auto")


@pytest.mark.parametrize(("kind", "name"), [("gz", "it's 1.csv"), ("zip", "it's 1.csv")])
def test_decompress_command_works(tmp_path, kind, name):
    path = packed(tmp_path, kind, name, TEXT)
    path = path.rename(tmp_path / f"it's 2.parquet.{kind}")
    with pytest.raises(DataError) as caught:
        file_format(path, "auto")
    command = caught.value.problems[0].fix.removeprefix("unpack it with ").split(", and use")[0]
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    if done.returncode == 127:
        pytest.skip("the tool is not installed")
    unpacked = tmp_path / (name if kind == "zip" else "it's 2.parquet")
    assert unpacked.read_text() == TEXT


def test_lines_across_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.data.compression.CHUNK_BYTES", 3)
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"ab\n\ncdefgh\ni")
    assert list(read_lines(path)) == [b"ab\n", b"\n", b"cdefgh\n", b"i"]


def test_zstd_with_several_frames_and_lines(tmp_path):
    first = zstd(tmp_path / "a.zst", b"a,y\n1,x\r\n2,").read_bytes()
    path = zstd(tmp_path / "x.csv.zst", b"y\n\n3,z")
    path.write_bytes(first + path.read_bytes())
    frame, _ = read_csv(path, Csv())
    assert frame.equals(pl.read_csv(io.BytesIO(b"a,y\n1,x\n2,y\n3,z\n"), infer_schema=False))


def test_nested_compression_raises(tmp_path):
    inner = gzip.compress(TEXT.encode())
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(inner))
    with pytest.raises(DataError, match=r"found a gzip file in it; unpack it with gunzip -k"):
        read_csv(tmp_path / "x.csv.gz", Csv())
    outer = zipped(tmp_path / "x.zip", **{"y.csv.zip": "PK"})
    with pytest.raises(DataError, match=r"unpack it with unzip .*, and use the unpacked file"):
        file_format(outer, "auto")
    table = zipped(tmp_path / "z.csv.zip", **{"z.parquet": "PAR1"})
    with pytest.raises(DataError, match=r"found a Parquet file in it; unpack it with unzip"):
        read_csv(table, Csv())
    with pytest.raises(DataError, match=r"unpack it, and use the file in it"):
        file_format(tmp_path / "x.csv.bz2", "auto")
