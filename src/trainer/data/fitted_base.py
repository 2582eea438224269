"""The shape of everything that is fitted: frozen, complete, and equal after a round trip by JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FittedBase(BaseModel):
    """A piece of `preprocessing.json`: unknown keys and numbers that are not finite are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
