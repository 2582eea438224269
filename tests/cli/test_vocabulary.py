"""Tokens of a vocabulary file, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import CommandResult
from tests.data.vocabularies import write_vocabulary
from trainer.data import token_pieces

pytest.importorskip("tokenizers")

TEXTS = [f"The book was {'great' if row % 2 else 'dull'}, number {row}!" for row in range(40)]


@pytest.fixture
def config(folder: Path) -> Path:
    labels = ["yes" if row % 2 else "no" for row in range(len(TEXTS))]
    pl.DataFrame({"review": TEXTS, "answer": labels}).write_csv("texts.csv")
    path = folder / "texts.yaml"
    path.write_text(
        "data:\n"
        "  source: texts.csv\n"
        "  target: answer\n"
        "  columns: {review: {kind: tokens}}\n"
        "  tokens: {vocabulary: bert base, length: 12, dimension: 4}\n"
        "model: {layers: [{conv1d: {filters: 4, kernel_size: 3}}, global_max_pool]}\n"
        "fit: {epochs: 2, batch_size: 12}\n"
        "evaluate: {report: false}\n"
    )
    return path


def test_a_missing_vocabulary_is_an_error_with_its_location(
    config: Path, refused: Callable[..., CommandResult]
) -> None:
    place = "texts.yaml:5:24 data.tokens.vocabulary: expected vocab.txt, tokenizer.json"
    for command in ("check", "fit"):
        refused(
            command, "texts.yaml", mentions=[place, "at bert base, found none", "copy vocab.txt"]
        )


def test_check_reports_unknown_and_truncated_tokens(
    config: Path, trainer: Callable[..., CommandResult]
) -> None:
    write_vocabulary(Path("bert base"))
    checked = trainer("check", "texts.yaml")
    assert checked.code == 0, checked.err
    assert "WordPiece with 18 tokens, 38% of the tokens of 24 training texts" in checked.err
    assert "warning: 38% of the tokens of 'review' are unknown: the vocabulary" in checked.err
    cut = trainer("check", "texts.yaml", "data.tokens.length=5")
    assert "24 texts are longer than 3, which cuts off" in cut.err


def test_without_the_package_the_message_has_the_command_that_installs_it(
    config: Path, refused: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_vocabulary(Path("bert base"))
    monkeypatch.setattr(token_pieces, "find_spec", lambda _: None)
    monkeypatch.setattr(token_pieces, "_BUILT", {})
    monkeypatch.setattr(token_pieces, "install_command", lambda extra: f"pip install .[{extra}]")
    refused("check", "texts.yaml", mentions=["expected tokenizers,", "pip install .[text]"])


@pytest.mark.slow
def test_a_run_needs_no_vocabulary_file(
    config: Path, trainer: Callable[..., CommandResult]
) -> None:
    vocabulary = write_vocabulary(Path("bert base"))
    fitted = trainer("fit", "texts.yaml", "--quiet")
    assert fitted.code == 0, fitted.err
    run = Path(fitted.out.strip())
    vocabulary.unlink()
    predicted = trainer("predict", run, "texts.csv", "-o", "out.csv")
    assert predicted.code == 0, predicted.err
    (column,) = json.loads((run / "preprocessing.json").read_text())["columns"]
    assert column["pieces"]["definition"]["model"]["vocab"]["book"] == 6
    assert trainer("eval", run, "--data", "texts.csv").code == 0


@pytest.mark.slow
def test_a_changed_vocabulary_is_refused_when_a_run_is_resumed(
    config: Path, trainer: Callable[..., CommandResult], refused: Callable[..., CommandResult]
) -> None:
    write_vocabulary(Path("bert base"))
    fitted = trainer("fit", "texts.yaml", "--quiet")
    run = Path(fitted.out.strip())
    write_vocabulary(Path("bert base"), "the", "book", "was", "dull", "great")
    refused("resume", run, "fit.epochs=+1", mentions=["preprocessing.json"])


def test_damaged_definitions_are_refused(
    config: Path,
    trainer: Callable[..., CommandResult],
    refused: Callable[..., CommandResult],
    keep: Callable,
) -> None:
    write_vocabulary(Path("bert base"))

    def train() -> Path:
        fitted = trainer("fit", "texts.yaml", "--quiet")
        assert fitted.code == 0, fitted.err
        return Path(fitted.out.strip())

    run = keep("runs", ("tokens",), train)
    path = run / "preprocessing.json"
    good = json.loads(path.read_text())
    for change in (
        {"definition": {}},
        {"definition": {"model": {"type": "WordPiece"}}},
        {"definition": {"model": [[[1]]]}},
        {"size": 3},
        {"prefix": [7]},
        {"pad_id": 10**6},
        {"unknown_id": None},
    ):
        column = good["columns"][0]
        changed = {**column, "pieces": {**column["pieces"], **change}}
        path.write_text(json.dumps({**good, "columns": [changed]}))
        refused("predict", run, "texts.csv", "-o", "out.csv", mentions=["preprocessing.json"])
