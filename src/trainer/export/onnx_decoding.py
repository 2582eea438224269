"""Greedy and beam search of a translation as a loop of ONNX operators.

The search is that of `trainer.models.translation.decoding`: of equal values, the first one is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.config.translation import Decoding
from trainer.export.onnx_graph import Graph
from trainer.export.onnx_translation import MASKED, TranslationGraph


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts as tensors of a graph.

    Attributes:
        ids: (rows, target length) int64, padded after the end of a text.
        log_probability: (rows,) float32, the logarithms of their probabilities.
    """

    ids: str
    log_probability: str


def add_decoding(network: TranslationGraph, decoding: Decoding, tokens: str) -> Texts:
    """Add the loop that writes a text for each source.

    Args:
        network: Encoder and decoder.
        decoding: How tokens are chosen.
        tokens: Ids of the sources, (rows, source length) int64.
    """
    if decoding.beam == 1:
        return _add_greedy(network, tokens)
    return _Beams(network, decoding).add(tokens)


def _add_greedy(network: TranslationGraph, tokens: str) -> Texts:
    """Take the most likely token at each position."""
    graph, shape = network.graph, network.shape
    source, rows = network.encode(tokens), graph.node("Shape", tokens, end=1)
    pad = graph.constant(shape.target_pad, "int64")

    def step(position: str, states: Sequence[str]) -> tuple[str, list[str]]:
        ids, total, done, token, *cache = states
        logits, cache = network.step(source, cache, token, position, 1)
        known = network.log_probabilities(logits)
        best = graph.node("ReduceMax", known, graph.constant([-1], "int64"), keepdims=0)
        gain = graph.node("Where", done, graph.constant(0.0, "float32"), best)
        token = graph.node("ArgMax", known, axis=-1, keepdims=0)
        token = graph.node("Where", done, pad, token)
        ids = _put(graph, ids, token, position, shape.target_length)
        done = graph.node("Or", done, graph.node("Equal", token, _integer(graph, shape.end)))
        all_done = graph.node("ReduceMin", graph.cast(done, "int32"), keepdims=0)
        total = graph.node("Add", total, gain)
        return graph.node("Not", graph.cast(all_done, "bool")), [ids, total, done, token, *cache]

    length = graph.constant([shape.target_length], "int64")
    first = [
        (_filled(graph, graph.concat([rows, length], 0), shape.target_pad, "int64"), "int64"),
        (_filled(graph, rows, 0.0, "float32"), "float32"),
        (_filled(graph, rows, False, "bool"), "bool"),
        (_filled(graph, rows, shape.start, "int64"), "int64"),
        *((tensor, "float32") for tensor in network.empty_cache(rows)),
    ]
    ids, total, *_ = graph.loop(shape.target_length, first, step)
    return Texts(ids, total)


class _Beams:
    """Continues the most likely texts of each row, and returns the best of those that have ended.

    Of the 2 · beam best continuations, `beam` at least do not end. A row is complete when none of its
    open texts can become better than the worst of `beam` ended ones. A text without an end at the last
    position is returned only if none has ended.
    """

    def __init__(self, network: TranslationGraph, decoding: Decoding) -> None:
        self._network, self._graph, self._shape = network, network.graph, network.shape
        self._beam, self._power = decoding.beam, decoding.length_penalty

    def add(self, tokens: str) -> Texts:
        """Add the search for sources of ids, (rows, source length) int64."""
        graph, shape, beam = self._graph, self._shape, self._beam
        rows = graph.node("Shape", tokens, end=1)
        source = self._network.encode(tokens)
        # The first of the beam texts of each row.
        ends = [graph.constant(0, "int64"), graph.node("Squeeze", rows), _integer(graph, 1)]
        firsts = graph.node("Mul", graph.node("Range", *ends), _integer(graph, beam))
        firsts = self._with_axis(firsts, 1)

        def step(position: str, states: Sequence[str]) -> tuple[str, list[str]]:
            cache: Sequence[str]
            open_ids, open_logs, token, ids, scores, logs, *cache = states
            flat = graph.node("Reshape", token, graph.constant([-1], "int64"))
            logits, cache = self._network.step(source, cache, flat, position, beam)
            best, parents, token = self._continued(logits, open_logs)
            texts = self._chosen_texts(open_ids, parents)
            texts = _put(graph, texts, token, position, shape.target_length)
            is_end = graph.node("Equal", token, _integer(graph, shape.end))
            ended = self._ended(position, is_end, best)
            # Texts that end compete with those that have ended.
            scores, kept = self._best(graph.concat([scores, ended]), beam)
            ids = self._chosen_texts(graph.concat([ids, texts]), kept)
            logs = self._chosen(graph.concat([logs, best]), kept)
            masked = graph.constant(MASKED, "float32")
            open_logs, kept = self._best(graph.node("Where", is_end, masked, best), beam)
            open_ids, token = self._chosen_texts(texts, kept), self._chosen(token, kept)
            places = graph.node("Add", self._chosen(parents, kept), firsts)
            places = graph.node("Reshape", places, graph.constant([-1], "int64"))
            cache = [graph.node("Gather", part, places, axis=0) for part in cache]
            continues = self._can_improve(open_logs, scores)
            return continues, [open_ids, open_logs, token, ids, scores, logs, *cache]

        open_ids, open_logs, _, ids, scores, logs, *_ = graph.loop(
            shape.target_length, self._first(rows), step
        )
        return self._result(open_ids, open_logs, ids, scores, logs)

    def _first(self, rows: str) -> list[tuple[str, str]]:
        """Return the initial states: one open text without tokens for each row, no ended one."""
        graph, shape, beam = self._graph, self._shape, self._beam
        counts = graph.concat([rows, _integers(graph, [beam])], 0)
        sizes = graph.concat([counts, _integers(graph, [shape.target_length])], 0)
        empty = _filled(graph, sizes, shape.target_pad, "int64")
        masked = _filled(graph, counts, MASKED, "float32")
        first = np.full((1, beam), MASKED, np.float32)
        first[0, 0] = 0.0
        texts = graph.node("Mul", rows, _integer(graph, beam))
        return [
            (empty, "int64"),
            (graph.node("Expand", graph.constant(first), counts), "float32"),
            (_filled(graph, counts, shape.start, "int64"), "int64"),
            (empty, "int64"),
            (masked, "float32"),
            (masked, "float32"),
            *((tensor, "float32") for tensor in self._network.empty_cache(texts)),
        ]

    def _continued(self, logits: str, open_logs: str) -> tuple[str, str, str]:
        """Return the best continuations of the texts of each row, (rows, 2 · beam) each.

        These are the logarithms of their probabilities, the texts that they continue, and their tokens.
        """
        graph, beam, ids = self._graph, self._beam, self._shape.target_ids
        shape = _integers(graph, [-1, beam, ids])
        known = graph.node("Reshape", self._network.log_probabilities(logits), shape)
        totals = graph.node("Add", self._with_axis(open_logs, 2), known)
        totals = graph.node("Reshape", totals, _integers(graph, [-1, beam * ids]))
        best, picks = self._best(totals, 2 * beam)
        count = _integer(graph, ids)
        return best, graph.node("Div", picks, count), graph.node("Mod", picks, count)

    def _ended(self, position: str, is_end: str, best: str) -> str:
        """Return the score of each continuation that ends; MASKED of others."""
        graph = self._graph
        length = graph.cast(graph.node("Add", position, _integer(graph, 6)), "float32")
        ratio = graph.node("Div", length, graph.constant(6.0, "float32"))
        penalty = graph.node("Pow", ratio, graph.constant(self._power, "float32"))
        scores = graph.node("Div", best, penalty)
        return graph.node("Where", is_end, scores, graph.constant(MASKED, "float32"))

    def _can_improve(self, open_logs: str, scores: str) -> str:
        """Return whether an open text can become better than an ended one; bool scalar."""
        graph = self._graph
        longest = ((5.0 + self._shape.target_length) / 6.0) ** self._power
        reachable = graph.node(
            "Div", self._column(open_logs, 0), graph.constant(longest, "float32")
        )
        can = graph.node("Greater", reachable, self._column(scores, self._beam - 1))
        return graph.cast(graph.node("ReduceMax", graph.cast(can, "int32"), keepdims=0), "bool")

    def _result(self, open_ids: str, open_logs: str, ids: str, scores: str, logs: str) -> Texts:
        graph = self._graph
        half = graph.constant(MASKED / 2, "float32")
        has_ended = graph.node("Greater", self._column(scores, 0), half)
        log = graph.node("Where", has_ended, self._column(logs, 0), self._column(open_logs, 0))
        texts = [self._column(ids, 0), self._column(open_ids, 0)]
        return Texts(graph.node("Where", self._with_axis(has_ended, 1), *texts), log)

    def _best(self, values: str, count: int) -> tuple[str, str]:
        """Return the greatest values of each row in descending order, and their places."""
        best, places = self._graph.nodes("TopK", [values, _integers(self._graph, [count])], 2)
        return best, places

    def _chosen(self, values: str, picks: str) -> str:
        """Return some values of each row, (rows, picks)."""
        return self._graph.node("GatherElements", values, picks, axis=1)

    def _chosen_texts(self, texts: str, picks: str) -> str:
        """Return some texts of each row, (rows, picks, length)."""
        return self._graph.node("GatherND", texts, self._with_axis(picks, 2), batch_dims=1)

    def _column(self, tensor: str, index: int) -> str:
        return self._graph.node("Gather", tensor, _integer(self._graph, index), axis=1)

    def _with_axis(self, tensor: str, axis: int) -> str:
        return self._graph.node("Unsqueeze", tensor, _integers(self._graph, [axis]))


def _put(graph: Graph, ids: str, token: str, position: str, length: int) -> str:
    """Return ids (…, length) with a token (…) at a position."""
    is_here = graph.node("Equal", graph.constant(np.arange(length), "int64"), position)
    return graph.node("Where", is_here, graph.node("Unsqueeze", token, _integers(graph, [-1])), ids)


def _filled(graph: Graph, shape: str, value: float, dtype: str) -> str:
    """Return a tensor of a shape, int64 (axes,), with the same value everywhere."""
    return graph.node("Expand", graph.constant(value, dtype), shape)


def _integer(graph: Graph, value: int) -> str:
    return graph.constant(value, "int64")


def _integers(graph: Graph, values: Sequence[int]) -> str:
    return graph.constant(list(values), "int64")
