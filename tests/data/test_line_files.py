"""Parallel text files as a table: names, lines, faults of the files, and new files for a run."""

import gzip

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config.data import Csv, Data, NamedSources
from trainer.config.load import load_config
from trainer.data.line_files import read_line_blocks
from trainer.data.opening import open_table
from trainer.data.prepare import prepare
from trainer.data.size_estimate import table_size
from trainer.data.sources import is_lines
from trainer.data.table_files import table_file
from trainer.data.tables import SourceFile
from trainer.errors import DataError

EN = ["one cat", "NA", "two\u2028dogs\x85 \x0b three", "nul\0 in it", "", "a\rb"]
FR = ["un chat", "", "deux chiens", "nul", "", "é, \"'"]


def write(folder, en: bytes | list[str] = EN, fr: bytes | list[str] = FR, name="{}.txt"):
    """Write two files, and return the path of both."""
    for column, lines in (("en", en), ("fr", fr)):
        content = lines if isinstance(lines, bytes) else "\n".join([*lines, ""]).encode()
        (folder / name.format(column)).write_bytes(content)
    return folder / name.format("{en,fr}")


def read(path, **options) -> pl.DataFrame:
    data = Data(source=str(path), target="fr", **options)
    return open_table(data, streamed=False).header.frame


def problem(path, **options):
    with pytest.raises(DataError) as caught:
        read(path, **options)
    (found,) = caught.value.problems
    return found


@pytest.mark.parametrize("name", ["{}.txt", "corpus.{}", "{}/a.b", "my texts.{}.x"])
def test_a_row_is_a_line(tmp_path, name):
    for column in ("en", "fr"):
        (tmp_path / name.format(column)).parent.mkdir(exist_ok=True)
    frame = read(write(tmp_path, name=name))
    assert frame.to_dict(as_series=False) == {
        "en": [text or None for text in EN],
        "fr": [text or None for text in FR],
    }


@pytest.mark.parametrize(
    ("prefix", "end", "last", "encoding"),
    [(b"\xef\xbb\xbf", "\n", "\n", "utf-8"), (b"", "\r\n", "", "utf-8"), (b"", "\n", "", "utf-16"),
     (b"", "\r\n", "\r\n", "latin-1")],
)  # fmt: skip
def test_byte_order_marks_line_endings_and_encodings(tmp_path, prefix, end, last, encoding):
    lines = ["un été", "deux", "trois"]
    text = prefix + (end.join(lines) + last).encode(encoding)
    frame = read(write(tmp_path, text, text), csv=Csv(encoding=encoding))
    assert frame["en"].to_list() == frame["fr"].to_list() == lines


def test_compressed_files_are_read(tmp_path):
    content = gzip.compress(b"un\ndeux\n")
    assert read(write(tmp_path, content, content, "c.{}.gz"))["fr"].to_list() == ["un", "deux"]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\n")).map("<{}>".format)


@settings(max_examples=20)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=20), st.integers(1, 7))
def test_blocks_are_the_rows_read_as_a_whole(tmp_path_factory, pairs, rows):
    en, fr = map(list, zip(*pairs, strict=True))
    path = write(tmp_path_factory.mktemp("pairs"), en, fr)
    blocks = list(read_line_blocks(path, Csv(), ["fr"], rows))
    assert all(block.columns == ["fr"] for block in blocks)
    assert [block.height for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
    file = table_file(path, Data(source=str(path), target="fr"))
    whole, _ = file.read()
    assert pl.concat(blocks)["fr"].to_list() == whole["fr"].to_list()
    assert whole.schema == file.schema()[0]
    assert whole["en"].to_list() == en
    assert file.line(3) == 4


def test_lines_are_counted_across_blocks(tmp_path):
    with pytest.raises(DataError, match=r"expected 7 lines, as in .*, found 4"):
        list(read_line_blocks(write(tmp_path, ["a"] * 7, ["b"] * 4), Csv(), rows=2))


def test_pairs_without_a_translation_are_dropped(tmp_path):
    pytest.importorskip("tokenizers")
    text = f"""\
data:
  source: {write(tmp_path, ["a b", ""] * 30, ["c d", ""] * 30)}
  target: fr
  task: translate
  split: {{by: random}}
  tokens: {{length: 8, min_count: 1}}
model: {{encoder_decoder: {{width: 8}}}}
"""
    config = load_config(tmp_path / "c.yaml", (), text).config
    assert prepare(config).dropped == {"no target": 30}
    write(tmp_path, ["a b", ""] * 30, ["c d", " e"] * 30)
    with pytest.raises(
        DataError, match=r"\{en,fr\}.txt:2: expected a text in 'en', found none here and"
    ):
        prepare(config)


def test_splits_have_files_of_their_own(tmp_path):
    names = {"train": "a.{}", "validation": "b.{}", "test": "c.{}"}
    paths = {
        split: str(write(tmp_path, ["x"] * count, ["y"] * count, name))
        for count, (split, name) in enumerate(names.items(), start=1)
    }
    data = Data(source=NamedSources(**paths), target="fr")
    table = open_table(data, streamed=False).header
    assert table.source_splits.tolist() == [0, 1, 1, 2, 2, 2]
    assert [file.rows for file in table.files] == [1, 2, 3]
    assert table.where(4) == f"{paths['test']}:2"
    assert table_size(data).cells == 12


def test_names_can_be_replaced(tmp_path):
    frame = read(write(tmp_path), csv=Csv(names=["source", "fr"]))
    assert frame.columns == ["source", "fr"]


def test_a_changed_file_changes_the_fingerprint(tmp_path):
    path = write(tmp_path)
    before = SourceFile.from_path(path, 6)
    assert before.bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    for name in ("en", "fr"):
        write(tmp_path)
        with (tmp_path / f"{name}.txt").open("ab") as file:
            file.write(b"!")
        assert SourceFile.from_path(path, 6).sha256 != before.sha256


@pytest.mark.parametrize(
    ("en", "fr", "where", "expected", "found"),
    [
        (EN, FR[:-1], "fr.txt", "6 lines, as in ", "5"),
        (EN[:4], FR, "fr.txt", "4 lines, as in ", "6"),
        (EN, b"", "fr.txt", "rows", "an empty file"),
        (EN, b"\n\n", "fr.txt", "rows", "an empty file"),
        (EN, b"un\ndeux\ncaf\xe9\n", "fr.txt:3", "UTF-8 text", "byte 0xE9 at byte 4 of the line"),
        ("a\nb".encode("utf-16"), FR, "en.txt", "UTF-8 text", "UTF-16 text"),
        (b"PAR1", FR, "en.txt", "a text file", "a Parquet file"),
    ],
)  # fmt: skip
def test_faulty_files(tmp_path, en, fr, where, expected, found):
    actual = problem(write(tmp_path, en, fr))
    assert actual.where == str(tmp_path / where)
    assert expected in actual.expected
    assert actual.found == found


@pytest.mark.parametrize(
    ("path", "options", "expected", "fix"),
    [
        ("{en}.txt", {}, "two or more different names", "corpus.{en,fr}"),
        ("{en,}.txt", {}, "two or more different names", "corpus.{en,fr}"),
        ("{en,en}.txt", {}, "two or more different names", "corpus.{en,fr}"),
        ("{en,de}.txt", {}, "a file", "did you mean 'en.txt'?"),
        ("*.{en,fr}", {}, "without wildcards", "list the pairs: [a.{en,fr}, b.{en,fr}]"),
        ("{en,fr}.csv", {}, "one text per line", "list tables: ["),
        ("{en,fr}.txt", {"format": "csv"}, "one csv file", "remove data.format"),
        ("en.txt", {"format": "lines"}, "names of the columns in braces", "corpus.{en,fr}"),
        ("{en,fr}.txt", {"csv": Csv(names=["en"])}, "2 names in data.csv.names", ""),
    ],
)  # fmt: skip
def test_faulty_paths(tmp_path, path, options, expected, fix):
    write(tmp_path)
    write(tmp_path, name="{}.csv")
    actual = problem(tmp_path / path, **options)
    assert expected in actual.expected
    assert fix in actual.fix


def test_every_missing_file_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path / "x.{en,fr}")
    assert [one.where for one in caught.value.problems] == [
        str(tmp_path / name) for name in ("x.en", "x.fr")
    ]


def test_braces_in_the_name_of_a_file_are_kept(tmp_path):
    path = tmp_path / "x{a,b}.csv"
    path.write_text("en,fr\n1,2\n")
    assert read(path).height == 1


@pytest.mark.parametrize(
    ("source", "kind", "new", "expected"),
    [
        ("x.{en,fr}", "auto", "new.en", True),
        ("x.{en,fr}", "auto", "new.txt", True),
        ("x.{en,fr}", "auto", "new.en.gz", True),
        ("x.{en,fr}", "auto", "new.csv", False),
        ("x.{en,fr}", "csv", "new.en", False),
        ("x.csv", "auto", "new.txt", False),
        ("x.csv", "lines", "new.csv", True),
    ],
)
def test_new_files_of_a_run_that_has_read_lines(tmp_path, source, kind, new, expected):
    data = Data(source=source, target="fr", format=kind)
    assert is_lines(tmp_path / new, data) == expected
