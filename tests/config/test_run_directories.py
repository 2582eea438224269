from __future__ import annotations

from pathlib import Path

import pytest

from trainer.config.dump import dump_config
from trainer.config.load import load_config
from trainer.errors import ConfigError

DATA = "data: {source: x.csv, target: y}\n"


@pytest.mark.parametrize(
    ("text", "expected"), [("0700", 0o700), ("700", 0o700), ("0755", 0o755), ("null", None)]
)
def test_permissions(tmp_path: Path, text: str, expected: int | None) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"{DATA}runs: {{mode: {text}}}\n")
    config = load_config(path).config
    assert config.runs.permissions == expected
    path.write_text(dump_config(config))
    assert load_config(path).config == config


@pytest.mark.parametrize("text", ["0600", "0o700", "0788", "07000", "70", "-700", "rwx", "true"])
def test_invalid_permissions(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"{DATA}runs: {{mode: {text}}}\n")
    with pytest.raises(
        ConfigError, match=r"runs\.mode: expected permissions of a directory, from 0700"
    ):
        load_config(path)
