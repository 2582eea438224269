"""Columns of text with anything that occurs in real files: what is read, refused and predicted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import CommandResult
from tests.marks import slow_except

CLEAN = [
    f"{'a great' if row % 2 else 'a dull'} book number {row % 7}, which I "
    f"{'liked' if row % 2 else 'left'}"
    for row in range(40)
]
DIRTY = {
    "emoji": "😀👩‍👩‍👧‍👦🏳️‍🌈 great",
    "right to left": "كتاب رائع \u202e great \u202c שלום",
    "combining marks": "great" + "\u0301\u0323" * 300 + " book",
    "many combining marks": "e" + "\u0301" * 20_000,
    "NUL": "gre\0at \0 book\x1b[31m",
    "one megabyte": "great book " * 100_000,
    "one word": "great" * 200_000,
    "one word of Chinese": "好书" * 100_000,
    "HTML": "<p class='x'>great&nbsp;<b>book</b></p><script>alert(1)</script>",
    "mixed encodings": "gre\ufffdt cafÃ© â€œbookâ€",
    "white space": " \t\r\n\u00a0\u2028\u3000 ",
    "empty": "",
    "special tokens": "[CLS] great [SEP] [PAD] [UNK] </s> <pad>",
    "quotes": "a \"great\", 'book'; with\nlines",
    "beyond the basic plane": "𝔤𝔯𝔢𝔞𝔱 𠀀𠀁 \U0010ffff",
    "formula": '=HYPERLINK("http://x")',
}
KINDS = {
    "text": "data.columns.review={kind: text, max_terms: 300}",
    "characters": "data.columns.review={kind: text, analyzer: characters, character_ngrams: [1, 2]}",
    "words": "data.columns.review={kind: tokens}",
    "wordpiece": "data.columns.review={kind: tokens}",
    "bpe": "data.columns.review={kind: tokens}",
}
LAYERS = "model.layers=[{conv1d: {filters: 4, kernel_size: 2, activation: relu}}, global_max_pool]"


def settings_of(kind: str) -> list[str]:
    if kind in ("wordpiece", "bpe") and find_spec("tokenizers") is None:
        pytest.skip("needs tokenizers")
    if "tokens" not in KINDS[kind]:
        return [KINDS[kind], "model.layers=[]"]
    return [
        KINDS[kind], LAYERS,
        f"data.tokens={{tokenizer: {kind}, length: 12, dimension: 4, max_tokens: 300}}",
    ]  # fmt: skip


def write_table(name: str, texts: Sequence[str | None]) -> None:
    labels = ["yes" if row % 2 else "no" for row in range(len(texts))]
    frame = pl.DataFrame(
        {"review": texts, "answer": labels}, schema_overrides={"review": pl.String}
    )
    frame.write_csv(name) if name.endswith(".csv") else frame.write_parquet(name)


def write_config() -> None:
    Path("texts.yaml").write_text(
        "data: {source: texts.parquet, target: answer, positive: 'yes',\n"
        "       split: {test: 0.2, validation: 0.2, by: random}}\n"
        "fit: {epochs: 2, batch_size: 16}\n"
        "evaluate: {report: false}\n"
    )


@pytest.fixture
def dirty_table(folder: Path) -> list[str]:
    """A table in which every dirty text is repeated, in all splits, and a config."""
    texts = [*CLEAN, *(text for text in DIRTY.values() for _ in range(2))]
    random.Random(3).shuffle(texts)
    write_table("texts.parquet", texts)
    write_config()
    return texts


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_dirty_texts_are_trained_on_and_predicted(
    kind: str, dirty_table: list[str], trainer: Callable[..., CommandResult]
) -> None:
    fitted = trainer("fit", "texts.yaml", *settings_of(kind), "--quiet")
    assert fitted.code == 0, fitted.err
    write_table("new.parquet", [*DIRTY.values(), None, "unheard 未曾 of"])
    predicted = trainer("predict", fitted.out.strip(), "new.parquet", "-o", "out.csv")
    assert predicted.code == 0, predicted.err
    frame = pl.read_csv("out.csv")
    assert frame.height == len(DIRTY) + 2
    assert frame["probability_yes"].is_between(0, 1).all()
    rows = dict(zip([*DIRTY, "missing", "unknown"], frame["probability_yes"], strict=True))
    # Texts without a word are like no text.
    assert rows["empty"] == rows["missing"] == rows["white space"]


@pytest.mark.parametrize("kind", slow_except(["words"], KINDS))
def test_dirty_texts_are_checked(
    kind: str, dirty_table: list[str], trainer: Callable[..., CommandResult]
) -> None:
    checked = trainer("check", "texts.yaml", *settings_of(kind), "--json")
    assert checked.code == 0, checked.err
    assert "\x1b[31m" not in checked.err


@pytest.mark.parametrize("text", slow_except(["emoji", "NUL", "one megabyte"], DIRTY))
def test_a_single_dirty_text_is_predicted(
    text: str, folder: Path, keep: Callable, trainer: Callable[..., CommandResult]
) -> None:
    write_table("texts.parquet", CLEAN)
    write_config()

    def train() -> Path:
        fitted = trainer("fit", "texts.yaml", *settings_of("text"), "--quiet")
        assert fitted.code == 0, fitted.err
        return Path(fitted.out.strip())

    run = keep("runs", ("clean texts",), train)
    write_table("new.parquet", [DIRTY[text]])
    assert trainer("predict", run, "new.parquet", "-o", "out.csv").code == 0
    assert pl.read_csv("out.csv").height == 1


def test_another_encoding_is_refused_with_the_setting(
    folder: Path, refused: Callable[..., CommandResult], trainer: Callable[..., CommandResult]
) -> None:
    write_config()
    rows = "".join(
        f"{text} – très bien,{'yes' if row % 2 else 'no'}\n" for row, text in enumerate(CLEAN)
    )
    rows = rows.replace(", which", " which")
    Path("texts.csv").write_bytes(f"review,answer\n{rows}".encode("windows-1252"))
    as_csv = ["data.source=texts.csv", *settings_of("text")]
    refused("check", "texts.yaml", *as_csv, mentions=["texts.csv", "data.csv.encoding"])
    fixed = trainer("check", "texts.yaml", *as_csv, "data.csv.encoding=windows-1252")
    assert fixed.code == 0, fixed.err


def test_lone_surrogates_are_replaced(folder: Path, trainer: Callable[..., CommandResult]) -> None:
    write_config()
    lines = [
        json.dumps({"review": f"{text} \ud800", "answer": "yes" if row % 2 else "no"})
        for row, text in enumerate(CLEAN)
    ]
    Path("texts.ndjson").write_text("\n".join(lines) + "\n")
    result = trainer("check", "texts.yaml", *settings_of("text"), "data.source=texts.ndjson")
    assert result.code == 0, result.err


def test_texts_that_are_all_missing_or_empty_are_refused(
    folder: Path, refused: Callable[..., CommandResult]
) -> None:
    write_config()
    for texts in ([None] * 30, [""] * 30, [" "] * 30):
        write_table("texts.parquet", texts)
        refused(
            "check",
            "texts.yaml",
            *settings_of("text"),
            mentions=["texts.parquet", "a feature that varies"],
        )


def test_dirty_texts_in_a_csv_file(
    folder: Path, trainer: Callable[..., CommandResult], refused: Callable[..., CommandResult]
) -> None:
    write_config()
    texts = [*CLEAN, *(text for text in DIRTY.values() for _ in range(2))]
    write_table("texts.csv", texts)
    as_csv = ["data.source=texts.csv", *settings_of("text")]
    refused("check", "texts.yaml", *as_csv, mentions=["texts.csv:", "binary data (a zero byte)"])
    write_table("texts.csv", [text.replace("\0", "") for text in texts])
    checked = trainer("check", "texts.yaml", *as_csv)
    assert checked.code == 0, checked.err
