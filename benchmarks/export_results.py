"""Render the measurements of exported models and of servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.markdown import figure, met_text, table

MAX_MICROSECONDS = 30
MAX_MILLISECONDS, MIN_RATIO = 0.5, 3

_PROGRAMS = {
    "onnx_bound": "onnx: ONNX Runtime, inputs bound to memory",
    "onnx": "onnx: ONNX Runtime, `session.run`",
    "numpy": "numpy: the generated module",
    "litert": "litert: LiteRT, encoded rows",
    "saved_model": "saved_model: its signature",
    "keras": "keras: the loaded model in a `tf.function`",
    "saved_model_of_network": "SavedModel that Keras exports, encoded rows",
    "sklearn": "scikit-learn, pipeline with MLPClassifier",
    "model_predict": "Keras `model.predict`, encoded rows",
}
_RUNS = {
    "numbers": "breast_cancer.yaml: 30 numbers, 30-64-32-1",
    "categories": "credit.yaml: 9 numbers with missing values, 4 categories, 64-32-1",
    "folds": "breast_cancer.yaml with five folds: the mean of five networks",
}


def export_sections(measured: Mapping[str, Any]) -> Iterator[str]:
    """Render a table for each run."""
    yield (
        "One call after the other, in one thread, each program in a process of its own. "
        "Exports take raw values, and impute, scale, encode, predict, calibrate and label them, except "
        "litert; rows that are already encoded are marked. Microseconds for one row are the 50th and "
        "the 99th percentile; rows per second are those of calls with 1,000 and 100,000 rows."
    )
    head = ("", "one row, µs", "99th percentile", "relative", "rows/s, 1,000", "rows/s, 100,000")
    for name, programs in measured.items():
        fastest = min(figures["p50"] for figures in programs.values())
        rows = [
            (
                text,
                figure(programs[program]["p50"]),
                figure(programs[program]["p99"]),
                f"{programs[program]['p50'] / fastest:.1f}×",
                f"{programs[program]['1000']:,}",
                f"{programs[program]['100000']:,}",
            )
            for program, text in _PROGRAMS.items()
            if program in programs
        ]
        yield f"{_RUNS[name]}."
        yield table(head, rows)
    p50 = measured["numbers"]["onnx_bound"]["p50"]
    yield (
        f"A row of 30 numbers through ONNX Runtime, with preprocessing, in less than "
        f"{MAX_MICROSECONDS} µs: {p50:.1f}, {met_text(p50 < MAX_MICROSECONDS)}."
    )


def serving_sections(measured: Mapping[str, Any]) -> Iterator[str]:
    """Render a table of the servers."""
    yield (
        "Rows of 30 numbers in JSON on loopback; the client runs on the same cores. Each of 32 "
        "connections sends a request after the response to the last one, so that a request waits for "
        "31 others: its time is 32 divided by the requests per second. At a fixed rate, it is that of a "
        "request that waits for few others. Milliseconds are the 50th (99th) percentile at the client."
    )
    servers = measured["servers"]
    fixed = measured["rate"]
    rows = []
    for name, figures in servers.items():
        one, many = figures["1 row, 1 connection"], figures["1 row, 32 connections"]
        rated, thousand = figures["1 row, fixed rate"], figures["1,000 rows, 1 connection"]
        rows.append(
            (
                name,
                _milliseconds(one),
                f"{many['requests_per_second']:,}",
                f"{many['cpu_microseconds']:,}",
                f"{many['requests']:,}",
                str(many["failed"]),
                f"{_milliseconds(rated)} at {rated['rate']:,}/s",
                f"{thousand['p50_ms']:.1f}",
                f"{figures['start_seconds']:.1f}",
            )
        )
    head = (
        "", "one connection, ms", "32 connections, requests/s", "CPU µs per request", "requests",
        "failed", "32 connections, fixed rate, ms", "1,000 rows, ms", "start, s",
    )  # fmt: skip
    yield table(head, rows)
    yield _serving_goals(servers, fixed)


def _milliseconds(figures: Mapping[str, Any]) -> str:
    return f"{figures['p50_ms']:.2f} ({figures['p99_ms']:.2f})"


def _serving_goals(servers: Mapping[str, Any], rate: int) -> str:
    ours = {name: figures for name, figures in servers.items() if name.startswith("trainer")}
    peers = {name: figures for name, figures in servers.items() if name not in ours}

    def throughput(name: str) -> float:
        return float(servers[name]["1 row, 32 connections"]["requests_per_second"])

    first = next(iter(ours))
    p50 = servers[first]["1 row, fixed rate"]["p50_ms"]
    failed = sum(figures["1 row, 32 connections"]["failed"] for figures in ours.values())
    goals = [
        f"32 connections at {rate:,} requests a second in less than {MAX_MILLISECONDS:g} ms: "
        f"{p50:.2f}, {met_text(p50 < MAX_MILLISECONDS)}; no failed request: {met_text(not failed)}."
    ]
    if peers:
        best = max(peers, key=throughput)
        ratio = throughput(first) / throughput(best)
        goals.append(
            f"One process against the best of the others ({best}): {ratio:.1f}× its requests per "
            f"second, target {MIN_RATIO}×: {met_text(ratio >= MIN_RATIO)}."
        )
    return " ".join(goals)
