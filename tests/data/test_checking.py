"""Invalid settings, missing files and unknown columns are reported together, each with its location."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainer.config.load import load_config
from trainer.data.checking import load_checked, load_sweep_checked
from trainer.errors import ConfigError, DataError
from trainer.workflows.plan import make_plan

LAYERS = "model: {layers: [dense: 64, relu]}\n"


@pytest.fixture(autouse=True)
def _table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("a,b,y\n1,2,x\n2,3,z\n", encoding="utf-8")


def problems_of(text: str, *overrides: str) -> list[str]:
    """Return the location, key and found value of every problem of a config."""
    Path("c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_checked(Path("c.yaml"), overrides)
    return [f"{problem.where} {problem.key}: {problem.found}" for problem in caught.value.problems]


def test_invalid_target_and_settings_are_reported_together() -> None:
    text = "data: {source: t.csv, target: Y2}\nfit: {epoch: 3}\n"
    assert problems_of(text + LAYERS) == [
        "c.yaml:2:7 fit.epoch: 'epoch'",
        "c.yaml:3:29 model.layers.1: 'relu'",
        "c.yaml:1:31 data.target: 'Y2'",
    ]


def test_missing_files_and_invalid_settings_are_reported_together() -> None:
    text = "data: {source: {train: [t.csv, no.csv], test: 'x*.csv'}, target: y}\n"
    assert problems_of(text + "fit: {epochs: 3, steps: 3}\n") == [
        "c.yaml:2:25 fit.steps: epochs: 3 and steps: 3",
        "c.yaml:1:32 data.source.train.1: no such file: no.csv",
        "c.yaml:1:47 data.source.test: no file: x*.csv",
    ]


def test_unknown_columns_and_invalid_settings_are_reported_together() -> None:
    text = (
        "data:\n  source: t.csv\n  target: yy\n  weight: w\n  features: {include: [a, cc]}\n"
        "  split: {by: time, column: when}\n  columns: {q: {kind: numeric}}\n"
    )
    locations = {line.rpartition(":")[0] for line in problems_of(text + LAYERS)}
    columns = {
        "c.yaml:3:11 data.target",
        "c.yaml:4:11 data.weight",
        "c.yaml:5:27 data.features.include.1",
        "c.yaml:6:29 data.split.column",
        "c.yaml:7:16 data.columns.q",
    }
    assert locations == {*columns, "c.yaml:8:29 model.layers.1"}
    # The same without an invalid setting.
    Path("c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        make_plan(load_config(Path("c.yaml")))
    assert {f"{problem.where} {problem.key}" for problem in caught.value.problems} == columns


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        # Consequences of an invalid setting are not reported.
        ("data: {source: 3, target: yy}\n", ["data.source"]),
        ("data: {source: t.csv, target: 3}\n", ["data.target"]),
        ("data: {source: t.csv, target: yy, csv: {separator: 3}}\n", ["data.csv.separator"]),
        ("data: {target: yy}\n", ["data.source"]),
        ("data: {source: t.csv, target: y, weight: [w], columns: {b: {knd: numeric}, q: {}}}\n",
         ["data.weight", "data.columns.b.knd", "data.columns.q"]),
        # An empty table.
        ("data: {source: empty.csv, target: y}\nfit: {epoch: 3}\n", ["fit.epoch", ""]),
    ],
)  # fmt: skip
def test_consequences_of_an_invalid_setting_are_not_reported(text: str, keys: list[str]) -> None:
    Path("empty.csv").write_text("", encoding="utf-8")
    assert [line.split(" ")[1].rstrip(":") for line in problems_of(text)] == keys


def test_overrides_and_sweeps_are_checked(tmp_path: Path) -> None:
    text = "data: {source: t.csv, target: yy}\n"
    assert problems_of(text, "fit.epoch=3", "data.source=no.csv") == [
        "override 'fit.epoch=3' : 'epoch'",
        "override 'data.source=no.csv' : no such file: no.csv",
    ]
    with pytest.raises(ConfigError) as caught:
        load_sweep_checked(Path("c.yaml"), ["optimizer.learning_rate=-1,1"])
    assert [problem.where for problem in caught.value.problems] == [
        "override 'optimizer.learning_rate=-1,1'",
        "c.yaml:1:31",
    ]
    os.chdir(tmp_path.parent)
    with pytest.raises(ConfigError, match=r"no\.csv"):
        load_checked(tmp_path / "c.yaml", ["fit.epoch=3", "data.source=no.csv"])
