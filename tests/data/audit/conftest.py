from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from trainer.config.load import load_config
from trainer.data.audit.checks import audit
from trainer.data.audit.findings import Finding
from trainer.data.audit.loading import read_audited_table

Audit = Callable[..., list[Finding]]
ROWS = 1000


def clean_columns(seed: int = 0, rows: int = ROWS) -> dict[str, Any]:
    """Six numbers, a category, a yes/no column, and two targets that depend on some of them: `y`, two
    classes, and `n`, a number.
    """
    draw = np.random.default_rng(seed)
    numbers = draw.normal(size=(rows, 6))
    colour = draw.choice(["red", "green", "blue", "black"], rows)
    line = numbers[:, 0] + 0.5 * numbers[:, 1] + (colour == "red") + draw.normal(size=rows)
    return {
        **{f"x{place}": numbers[:, place].round(4) for place in range(5)},
        "age": (40 + 12 * numbers[:, 5]).round(),
        "colour": colour,
        "member": draw.choice(["yes", "no"], rows),
        "y": np.where(line > 0, "good", "bad"),
        "n": (20 + 3 * line).round(3),
    }


@pytest.fixture
def audited(tmp_path: Path) -> Audit:
    """The findings of columns written as CSV; `target`, settings of `data` and overrides as keywords."""

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
        place = tmp_path / "config.yaml"
        place.write_text(yaml.safe_dump(settings))
        config = load_config(place, overrides).config
        _, audited = read_audited_table(config)
        return audit(audited, config)

    return run
