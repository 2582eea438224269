from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.audit.conftest import clean_columns
from trainer.audit.checks import audit
from trainer.audit.loading import SAMPLED_ROWS, read_audited_table, sampled_rows
from trainer.config.schema import Config


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_streamed_table_has_the_same_findings(tmp_path, file_format):
    columns = clean_columns(1)
    columns["copy"] = np.where(columns.pop("y") == "good", "A", "B")
    columns["target"] = np.where(columns["copy"] == "A", "yes", "no")
    columns["patient_id"] = np.arange(1000) % 200
    frame = pl.DataFrame(columns)
    path = tmp_path / f"t.{file_format}"
    getattr(frame, f"write_{file_format}")(path)
    config = Config.model_validate({"data": {"source": str(path), "target": "target"}})
    expected = audit(read_audited_table(config)[1], config)
    split_table, audited = read_audited_table(config, streamed=True)
    assert audit(audited, config) == expected
    assert {finding.kind for finding in expected} == {"target_leakage", "group_leak"}
    assert split_table.rows("train") == 600


def test_rows_are_sampled_by_a_hash():
    assignment = (np.arange(300_000) % 5 - 1).astype(np.int8)
    rows = sampled_rows(assignment, 10, seed=3)
    assert len(rows) == SAMPLED_ROWS
    assert (np.diff(rows) > 0).all()
    assert (assignment[rows] >= 0).all()
    assert np.array_equal(rows, sampled_rows(assignment, 10, seed=3))
    assert not np.array_equal(rows, sampled_rows(assignment, 10, seed=4))
    fractions = np.bincount(assignment[rows]) / len(rows)
    assert fractions == pytest.approx(0.25, abs=0.01)
    assert len(sampled_rows(assignment, 1000, seed=3)) == 20_000
    assert len(sampled_rows(assignment[:50], 1000, seed=3)) == 40
