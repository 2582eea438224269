"""Base class of everything that is fitted: immutable, and equal after a round trip through JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FittedBase(BaseModel):
    """Base class for the parts of `preprocessing.json`; rejects unknown keys and non-finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
