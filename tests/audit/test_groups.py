from __future__ import annotations

import polars as pl
import pytest

from trainer.audit.groups import is_key_name, looks_like_hashes


@pytest.mark.parametrize(
    "name",
    ["id", "ID", "user_id", "patientId", "PatientID", "PATIENTID", "patient", "Subject no", "uuid",
     "customer_number", "household.key", "order_id", "group"],
)  # fmt: skip
def test_key_names(name: str) -> None:
    assert is_key_name(name)


@pytest.mark.parametrize(
    "name",
    ["age", "patient_age", "user_rating", "household_size", "age_group", "width", "humid", "paid",
     "idle", "valid", "number_of_rooms", "Lot.Area", "", "é", "zip_code"],
)  # fmt: skip
def test_other_names(name: str) -> None:
    assert not is_key_name(name)


def test_hashes() -> None:
    assert looks_like_hashes(pl.Series(["d41d8cd98f00b204e9800998ecf8427e"] * 3))
    assert looks_like_hashes(pl.Series(["123e4567-e89b-12d3-a456-426614174000", None]))
    assert not looks_like_hashes(pl.Series(["red", "blue"]))
    assert not looks_like_hashes(pl.Series([1, 2]))
    assert not looks_like_hashes(pl.Series([None, None], dtype=pl.String))
