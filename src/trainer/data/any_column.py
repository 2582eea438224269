"""The type of a fitted column of any kind."""

from __future__ import annotations

from trainer.data.categorical import BooleanColumn, CategoricalColumn
from trainer.data.datetimes import DatetimeColumn
from trainer.data.images import ImageColumn
from trainer.data.numeric import NumericColumn
from trainer.data.text_columns import TextColumn
from trainer.data.token_columns import TokenColumn

AnyColumn = (
    NumericColumn
    | CategoricalColumn
    | BooleanColumn
    | DatetimeColumn
    | ImageColumn
    | TextColumn
    | TokenColumn
)
