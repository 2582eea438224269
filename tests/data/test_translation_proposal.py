"""`trainer init` for texts and their translations."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from trainer.config.load import LoadedConfig, load_config
from trainer.data.config_proposal import propose_config
from trainer.data.proposals import Proposal
from trainer.errors import ConfigError, DataError
from trainer.workflows.plan import make_plan

TASK = ("data.task=translate",)


def pairs(count: int = 120) -> list[tuple[str, str]]:
    return [
        (f"the {size} {thing} has number {number}", f"{chose} {taille} a le numéro {number}")
        for number in range(count // 6)
        for size, taille in (("small", "petit"), ("large", "grand"), ("odd", "bizarre"))
        for thing, chose in (("cat", "le chat"), ("dog", "le chien"))
    ]


def write(path: Path, rows: list[tuple[str, ...]], names: list[str]) -> Path:
    pl.DataFrame(rows, names, orient="row").write_csv(path)
    return path


def proposed(
    table: Path, *settings: str, effort: str = "balanced"
) -> tuple[LoadedConfig, Proposal]:
    config = table.parent / "c.yaml"
    proposal = propose_config(table, ("fr",), config, settings, effort)  # type: ignore[arg-type]
    config.write_text(proposal.text, encoding="utf-8")
    return load_config(config), proposal


def test_a_table_of_pairs(tmp_path: Path) -> None:
    table = write(tmp_path / "my pairs: ü.csv", pairs(), ["en", "fr"])
    loaded, proposal = proposed(table, *TASK)
    config = loaded.config
    assert (proposal.findings.task, proposal.findings.rows) == ("translate", 120)
    assert config.data.task == "translate"
    assert config.data.shared_vocabulary
    assert config.model.encoder_decoder.width == 64
    assert config.fit.early_stopping.monitor == "val_bleu"
    plan = make_plan(loaded)
    # The longest text determines the length; no text is cut off.
    assert plan.dataset.preprocessing.tokens.counts.truncated == 0
    assert config.data.tokens.length >= plan.dataset.preprocessing.tokens.length
    assert plan.dataset.rows("validation")
    assert plan.dataset.rows("test")


def test_sentences_need_no_task(tmp_path: Path) -> None:
    table = write(tmp_path / "pairs.csv", pairs(), ["en", "fr"])
    proposal = proposed(table)[1]
    assert proposal.findings.task == "translate"
    assert "from 'en' to 'fr'" in proposal.findings.reason
    assert proposal.text == proposed(table, *TASK)[1].text


def test_few_classes_and_short_values_are_still_classes(tmp_path: Path) -> None:
    rows = [(text, "yes" if index % 3 else "no") for index, (text, _) in enumerate(pairs())]
    table = write(tmp_path / "classes.csv", rows, ["en", "fr"])
    assert proposed(table)[1].findings.task == "binary"
    rows = [(text, f"id {index}") for index, (text, _) in enumerate(pairs())]
    table = write(tmp_path / "ids.csv", rows, ["en", "fr"])
    assert proposed(table)[1].findings.task == "multiclass"
    assert proposed(table, *TASK)[0].config.data.task == "translate"


def test_parallel_text_files_need_no_task(tmp_path: Path) -> None:
    path = tmp_path / "pairs.{en,fr}"
    for fr, task in (
        ([f"id {index}" for index in range(60)], "translate"),
        (["a", "b"] * 30, "binary"),
    ):
        for name, texts in (("en", [f"text {index}" for index in range(60)]), ("fr", fr)):
            (tmp_path / f"pairs.{name}").write_text("\n".join(texts), encoding="utf-8")
        loaded, proposal = proposed(path)
        assert proposal.findings.task == task
        assert loaded.config.data.source == str(path)


def test_other_columns_are_left_out(tmp_path: Path) -> None:
    rows = [(index, "x", english, french) for index, (english, french) in enumerate(pairs())]
    table = write(tmp_path / "pairs.csv", rows, ["id", "note[1]*", "text *", "fr"])
    loaded, proposal = proposed(table, *TASK)
    assert [column.name for column in proposal.findings.columns] == ["id", "note[1]*"]
    assert [column.name for column in make_plan(loaded).dataset.preprocessing.columns] == ["text *"]


def test_texts_that_are_read_as_missing(tmp_path: Path) -> None:
    rows = [*pairs(), ("None", "aucun"), ("one", "NA")]
    table = write(tmp_path / "pairs.csv", rows, ["en", "fr"])
    loaded, proposal = proposed(table, *TASK)
    assert "null_values: []" in proposal.text
    assert make_plan(loaded).dataset.source.header.frame.columns == ["en", "fr"]
    assert proposal.findings.rows == len(rows)
    (tmp_path / "pairs.csv").write_text("en,fr\ncat,chat\n,chien\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"pairs.csv:3: .*a text in 'en'"):
        proposed(table, *TASK)


def test_other_scripts_and_efforts(tmp_path: Path) -> None:
    rows = [
        (f"number {index} is {size}", f"数字{index}很{chosen}")
        for index in range(50)
        for size, chosen in (("big", "大"), ("small", "小"))
    ]
    table = write(tmp_path / "pairs.csv", rows, ["en", "fr"])
    config = proposed(table, *TASK)[0].config
    assert not config.data.shared_vocabulary
    assert config.fit.early_stopping.monitor == "val_chrf"
    quick = proposed(table, *TASK, effort="quick")[0].config
    best = proposed(table, *TASK, effort="best")[0].config
    assert quick.fit.epochs < config.fit.epochs
    assert quick.model.encoder_decoder.width < best.model.encoder_decoder.width
    assert best.model.encoder_decoder.layers == 3


def test_problems(tmp_path: Path) -> None:
    rows = [(index, french) for index, (_, french) in enumerate(pairs())]
    table = write(tmp_path / "pairs.csv", rows, ["number", "fr"])
    with pytest.raises(DataError, match="a column of texts besides 'fr'"):
        proposed(table, *TASK)
    with pytest.raises(ConfigError, match="only accepts settings for reading"):
        proposed(table, "data.task=regression")
    with pytest.raises(ConfigError, match="one target column"):
        propose_config(table, ("fr", "number"), None, TASK)
