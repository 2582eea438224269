from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from trainer.audit.checks import audit
from trainer.audit.findings import Finding
from trainer.audit.loading import read_audited_table
from trainer.config.load import load_config

Audit = Callable[..., list[Finding]]
ROWS = 1000


def clean_columns(seed: int = 0, rows: int = ROWS) -> dict[str, Any]:
    """Return six numeric, one categorical and one boolean column, and two targets that depend on them.

    `y` has two classes, `n` is a number.
    """
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(rows, 6))
    color = rng.choice(["red", "green", "blue", "black"], rows)
    score = numbers[:, 0] + 0.5 * numbers[:, 1] + (color == "red") + rng.normal(size=rows)
    return {
        **{f"x{i}": numbers[:, i].round(4) for i in range(5)},
        "age": (40 + 12 * numbers[:, 5]).round(),
        "color": color,
        "member": rng.choice(["yes", "no"], rows),
        "y": np.where(score > 0, "good", "bad"),
        "n": (20 + 3 * score).round(3),
    }


@pytest.fixture
def audit_columns(tmp_path: Path) -> Audit:
    """Return a function that audits columns as a CSV file, with settings of `data` as keywords."""

    def run(
        columns: Mapping[str, Any],
        *,
        target: Any = "y",
        overrides: Sequence[str] = (),
        **data: Any,
    ) -> list[Finding]:
        path = tmp_path / "table.csv"
        other = {"y": "n", "n": "y"}.get(str(target))
        frame = pl.DataFrame(dict(columns))
        if other is not None and other in frame.columns:
            frame = frame.drop(other)
        frame.write_csv(path)
        settings = {"data": {"source": str(path), "target": target, **data}}
        config_path = tmp_path / "config.yaml"
        config_path.write_text(yaml.safe_dump(settings))
        config = load_config(config_path, overrides).config
        _, audited = read_audited_table(config)
        return audit(audited, config)

    return run
