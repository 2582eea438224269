from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.config.conflicts import find_conflicts
from trainer.config.load import load_config
from trainer.config.schema import Config


def problems(**data: Any) -> list[str]:
    config = Config.model_validate({"data": {"source": "x.csv", "target": "y", **data}})
    return [f"{found.problem.key}: {found.problem.expected}" for found in find_conflicts(config)]


ID = {"pseudonymize": ["id"]}
CONFLICTS: list[tuple[dict[str, Any], str]] = [
    ({"pseudonymize": ["id", "id"]}, "data.pseudonymize.1: unique columns"),
    ({"pseudonymize": ["y"]}, "data.pseudonymize.0: a column other than the target"),
    ({**ID, "weight": "id"}, "data.pseudonymize.0: a column other than the weight column"),
    ({**ID, "split": {"by": "time", "column": "id"}},
     "data.pseudonymize.0: a column other than the split column of by: time"),
    ({**ID, "columns": {"id": {"kind": "text"}}},
     "data.columns.id.kind: kind: categorical for a pseudonymized column"),
    ({**ID, "columns": {"id": {"levels": ["a", "b"]}}},
     "data.columns.id.levels: settings of a pseudonymized column"),
    ({**ID, "columns": {"id": {"scale": "robust"}}},
     "data.columns.id.scale: settings of a pseudonymized column"),
    ({"pseudonym_key": "key"}, "data.pseudonym_key: a key only with data.pseudonymize"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), CONFLICTS)
def test_conflicts(data: dict[str, Any], expected: str) -> None:
    assert problems(**data) == [expected]


def test_valid_settings() -> None:
    columns = {"id": {"kind": "categorical", "encode": "embedding", "dimension": 4, "min_count": 2}}
    assert problems(**ID, columns=columns, split={"by": "group", "column": "id"}) == []


def test_key_file_is_relative_to_the_config(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "data: {source: x.csv, target: y, pseudonymize: [id], pseudonym_key: keys/a.key}"
    )
    assert load_config(path).config.data.pseudonym_key == str(tmp_path / "keys" / "a.key")
