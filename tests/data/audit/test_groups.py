from __future__ import annotations

import polars as pl
import pytest

from trainer.data.audit.groups import looks_hashed, names_things


@pytest.mark.parametrize(
    "name",
    ["id", "ID", "user_id", "patientId", "PatientID", "PATIENTID", "patient", "Subject no", "uuid",
     "customer_number", "household.key", "order_id", "group"],
)  # fmt: skip
def test_names_of_keys(name: str) -> None:
    assert names_things(name)


@pytest.mark.parametrize(
    "name",
    ["age", "patient_age", "user_rating", "household_size", "age_group", "width", "humid", "paid",
     "idle", "valid", "number_of_rooms", "Lot.Area", "", "é", "zip_code"],
)  # fmt: skip
def test_names_of_other_things(name: str) -> None:
    assert not names_things(name)


def test_hashes() -> None:
    assert looks_hashed(pl.Series(["d41d8cd98f00b204e9800998ecf8427e"] * 3))
    assert looks_hashed(pl.Series(["123e4567-e89b-12d3-a456-426614174000", None]))
    assert not looks_hashed(pl.Series(["red", "blue"]))
    assert not looks_hashed(pl.Series([1, 2]))
    assert not looks_hashed(pl.Series([None, None], dtype=pl.String))
