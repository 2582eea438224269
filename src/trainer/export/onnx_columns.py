"""The encoding of a table's columns as ONNX operators: raw cells in, the inputs of a network out.

It does in a graph what `Preprocessing.transform` does with a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.categorical import BooleanColumn, CategoricalColumn, ordinal_values
from trainer.data.datetimes import DatetimeColumn
from trainer.data.images import ImageColumn
from trainer.data.numeric import NumericColumn
from trainer.data.preprocessing import Preprocessing
from trainer.data.text_columns import TextColumn
from trainer.data.token_columns import TokenColumn
from trainer.export.levels import level_keys, number_codes, number_target_means
from trainer.export.onnx_dates import DateGraph, encode_calendar
from trainer.export.onnx_graph import ML, Graph
from trainer.export.onnx_numbers import Block, encode_numbers
from trainer.inputs import FEATURES

MAX_TABLE_WIDTH = 64
"""A column with more levels is one-hot encoded by an operator, a smaller one by a table."""


@dataclass(frozen=True, slots=True)
class CategoryIds:
    """The ids of a categorical column with an embedding.

    Attributes:
        index: (rows, 1), int64: the row of a table for each value.
        ids: The id of each row of a table.
    """

    index: str
    ids: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EncodedColumns:
    """The inputs of a network, as tensors of the graph.

    Attributes:
        features: (rows, columns), float32; None without such an input.
        categories: The columns with an embedding.
        texts: (rows, slots, 2), float32, of each column of text: ids from 1 in that column, and weights.
        tokens: (rows, length), int64; None without tokens.
        image: (rows, height, width, channels), uint8; None without images.
        unseen: (rows,), bool: whether a value did not occur in training, or is invalid.
    """

    features: str | None
    categories: tuple[CategoryIds, ...]
    texts: tuple[str, ...]
    tokens: str | None
    image: str | None
    unseen: str


def encode_columns(
    graph: Graph,
    preprocessing: Preprocessing,
    inputs: Mapping[str, str],
    missing: Mapping[str, str],
) -> EncodedColumns:
    """Add the encoding of the columns to a graph.

    Args:
        graph: The graph.
        preprocessing: The fitted columns.
        inputs: Column → the tensor of its raw cells (`trainer.export.schema`).
        missing: Column → the text of a missing value.
    """
    encoder = _Columns(graph, preprocessing, inputs, missing)
    encoder.put_numbers_and_dates()
    encoder.put_booleans()
    encoder.put_categories()
    return encoder.finish()


class _Columns:
    """Collects blocks of features and masks of unseen values."""

    def __init__(
        self,
        graph: Graph,
        preprocessing: Preprocessing,
        inputs: Mapping[str, str],
        missing: Mapping[str, str],
    ) -> None:
        self._graph = graph
        self._preprocessing = preprocessing
        self._inputs = inputs
        self._missing = missing
        self._starts = {
            name: place.columns.start for name, place in preprocessing.input_columns.items()
        }
        self._blocks: list[Block] = []
        self._unseen: list[str] = []
        self._categories: list[CategoryIds] = []

    def put_numbers_and_dates(self) -> None:
        graph, columns = self._graph, self._preprocessing.columns
        numeric = [column for column in columns if isinstance(column, NumericColumn)]
        dates = [column for column in columns if isinstance(column, DatetimeColumn)]
        fitted, starts, values = list(numeric), [self._starts[c.name] for c in numeric], list[str]()
        masks = []
        if numeric:
            raw = graph.concat([self._inputs[column.name] for column in numeric])
            infinite = graph.node("IsInf", raw)
            self._unseen.append(infinite)
            masks.append(graph.node("Or", infinite, graph.node("IsNaN", raw)))
            values.append(raw)
        if dates:
            raw = graph.concat([self._inputs[column.name] for column in dates])
            infinite = graph.node("IsInf", raw)
            self._unseen.append(infinite)
            clean = graph.node("Where", infinite, graph.constant(np.nan, "float64"), raw)
            for number, column in enumerate(dates):
                date = DateGraph(graph, graph.take(clean, [number], len(dates)))
                start = self._starts[column.name]
                for part in column.numbers:
                    is_elapsed = part is column.elapsed
                    values.append(date.elapsed(column) if is_elapsed else date.yearday())
                    masks.append(date.missing)
                    fitted.append(part)
                    starts.append(start)
                    start += len(part.features)
                self._blocks += encode_calendar(date, column, self._starts[column.name])
        if fitted:
            self._blocks += encode_numbers(
                graph, fitted, starts, graph.concat(values), graph.concat(masks)
            )

    def put_booleans(self) -> None:
        columns = [c for c in self._preprocessing.columns if isinstance(c, BooleanColumn)]
        if not columns:
            return
        graph = self._graph
        raw = graph.concat([self._inputs[column.name] for column in columns])
        yes, no = (graph.node("Equal", raw, graph.constant(value, "float64")) for value in (1, 0))
        missing = graph.node("Not", graph.node("Or", yes, no))
        self._unseen.append(graph.node("And", missing, graph.node("Not", graph.node("IsNaN", raw))))
        fill = [0.0 if column.has_missing_level else float(column.fill) for column in columns]
        filled = graph.node(
            "Where", missing, graph.constant([fill], "float32"), graph.cast(yes, "float32")
        )
        self._blocks.append(Block(filled, tuple(self._starts[c.name] for c in columns)))
        marked = [index for index, column in enumerate(columns) if column.has_missing_level]
        if marked:
            mask = graph.cast(graph.take(missing, marked, len(columns)), "float32")
            places = tuple(self._starts[columns[index].name] + 1 for index in marked)
            self._blocks.append(Block(mask, places))

    def put_categories(self) -> None:
        graph = self._graph
        tables: list[str] = []
        places: list[int] = []
        for column in self._preprocessing.columns:
            if not isinstance(column, CategoricalColumn):
                continue
            index = self._index(column)
            unseen = graph.constant(column.distinct_levels, "int64")
            self._unseen.append(graph.node("GreaterOrEqual", index, unseen))
            codes = number_codes(column)
            if column.encode == "embedding":
                self._categories.append(CategoryIds(index, codes + 1))
                continue
            start = self._starts[column.name]
            tables += self._encodings(column, index, codes)
            places += range(start, start + len(column.features))
        if tables:
            joined = graph.reshape(graph.concat(tables, axis=2), [len(places)])
            self._blocks.append(Block(joined, tuple(places)))

    def _encodings(
        self, column: CategoricalColumn, index: str, codes: NDArray[np.int64]
    ) -> Iterator[str]:
        """Yield the inputs of a column, float32 (rows, 1, inputs)."""
        graph = self._graph
        parts = []
        if column.encode == "ordinal":
            parts.append(ordinal_values(column, codes)[:, None])
        elif column.codes <= MAX_TABLE_WIDTH:
            parts.append((codes[:, None] == np.arange(column.codes)).astype(np.float64))
        else:
            # Values beyond the depth have no column.
            places = graph.constant(np.where(codes < 0, column.codes, codes), "int64")
            code = graph.node("Gather", places, index)
            depth, values = graph.constant(column.codes, "int64"), graph.constant([0, 1], "float32")
            yield graph.node("OneHot", code, depth, values, axis=-1)
        parts += number_target_means(column)
        if parts:
            table = np.concatenate(parts, axis=1).astype(np.float32)
            yield graph.node("Gather", graph.constant(table), index, axis=0)

    def _index(self, column: CategoricalColumn) -> str:
        """Return the number of the level of each cell, int64 (rows, 1)."""
        graph = self._graph
        cells = self._inputs[column.name]
        keys = level_keys(column, self._missing[column.name])
        if column.ignore_case:
            # With this locale, which every machine has, only ASCII letters become lower case.
            flat = graph.node("Reshape", cells, graph.constant([-1], "int64"))
            lower = graph.node(
                "StringNormalizer",
                flat,
                case_change_action="LOWER",
                is_case_sensitive=1,
                locale="C",
            )
            cells = graph.node("Reshape", lower, graph.constant([-1, 1], "int64"))
        return graph.node(
            "LabelEncoder", cells, domain=ML, keys_strings=list(keys),
            values_int64s=list(keys.values()), default_int64=column.distinct_levels,
        )  # fmt: skip

    def finish(self) -> EncodedColumns:
        """Return the inputs of the network."""
        graph, columns = self._graph, self._preprocessing.columns
        texts, tokens, image = [], None, None
        for column in columns:
            match column:
                case TextColumn():
                    texts.append(self._inputs[column.name])
                    self._unseen.append(self._unknown_text(texts[-1]))
                case TokenColumn():
                    tokens = self._tokens(graph.cast(self._inputs[column.name], "int64"))
                case ImageColumn():
                    image = self._inputs[column.name]
                case _:
                    pass
        return EncodedColumns(
            self._features(),
            tuple(self._categories),
            tuple(texts),
            tokens,
            image,
            self._any_unseen(),
        )

    def _features(self) -> str | None:
        specs = {spec.name: spec for spec in self._preprocessing.inputs}
        if not self._blocks or FEATURES not in specs:
            return None
        joined = self._graph.concat([block.tensor for block in self._blocks])
        order = [place for block in self._blocks for place in block.columns]
        assert len(order) == specs[FEATURES].shape[0], "every feature is encoded once"
        return self._graph.take(joined, np.argsort(order).tolist(), len(order))

    def _any_unseen(self) -> str:
        graph = self._graph
        if not self._unseen:
            (tensor,) = [self._inputs[column.name] for column in self._preprocessing.columns][:1]
            rows = graph.node("Shape", tensor, end=1)
            value = _false()
            return graph.node("ConstantOfShape", rows, value=value)
        marks = graph.cast(graph.concat(self._unseen), "float32")
        axes = graph.constant([1], "int64")
        return graph.cast(graph.node("ReduceMax", marks, axes, keepdims=0), "bool")

    def _unknown_text(self, pairs: str) -> str:
        """Return whether the first id of each row is -1, bool (rows, 1)."""
        graph = self._graph
        first = graph.node(
            "Slice", pairs, *(graph.constant(ends, "int64") for ends in ([0, 0], [1, 1], [1, 2]))
        )
        return graph.node("Less", graph.reshape(first, [1]), graph.constant(0.0, "float32"))

    def _tokens(self, ids: str) -> str:
        """Return the ids; a negative one, -1 - id, marks a text without a known token."""
        graph = self._graph
        negative = graph.node("Less", ids, graph.constant(0, "int64"))
        smallest = graph.node("ReduceMin", ids, graph.constant([1], "int64"), keepdims=1)
        self._unseen.append(graph.node("Less", smallest, graph.constant(0, "int64")))
        restored = graph.node("Sub", graph.constant(-1, "int64"), ids)
        return graph.node("Where", negative, restored, ids)


def _false() -> object:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array([False]))
