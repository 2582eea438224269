"""`trainer export`: writes a run as a model that other programs use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.errors import Problem, UsageError, pluralize
from trainer.report.text import Table, format_bytes
from trainer_cli import console
from trainer_cli.options import AllowCustom, Json, Quiet, RunPath

if TYPE_CHECKING:
    from trainer.export.check import Check
    from trainer.workflows.export import ExportResult


def command(
    run: RunPath,
    to: Annotated[
        str,
        typer.Option("--to", metavar="FORMAT", help="onnx, numpy, keras, saved_model or litert."),
    ] = "onnx",
    quantize: Annotated[
        str | None,
        typer.Option(
            "--quantize",
            metavar="KIND",
            help="For litert: dynamic (int8 weights) or int8 (weights and activations, whose ranges are "
            "measured on training rows).",
            show_default="float32 weights",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file or folder to write; MODEL_CARD.md is written next to it.",
            show_default="export/FORMAT/ in the run directory",
        ),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
    allow_custom: AllowCustom = False,
) -> None:
    """Export a run with its preprocessing, as a model that takes raw rows.

    onnx: one file for ONNX Runtime, without Python or TensorFlow. Repeats and folds become one model.
    numpy, for networks on tables: a readable module that needs only NumPy, and a file with its arrays.
    keras: a file that Keras opens without this package. saved_model: a folder for TensorFlow Serving.
    litert: the networks alone, for encoded rows on small devices.
    The export is compared with `trainer predict` and is not written if they differ; with --quantize, if
    more than 1 % of the labels differ, or numbers by 5 % of their spread (root mean square).
    A run that translates (task: translate) is exported to onnx, with its tokenizers in the file: ids of
    tokens in and out, and a loop that writes texts as trainer predict does.
    A generator (task: generate) is exported to onnx: random numbers in, samples out.

    Example: trainer export runs/breast-cancer/20261122-141530-9f3c

    Example: trainer export runs/breast-cancer/20261122-141530-9f3c --to onnx -o cancer.onnx
    """
    stderr = console.Console(quiet=quiet)
    stderr.announce_loading(run)
    from trainer.workflows.export import export_run
    from trainer.workflows.generation.runs import is_generation_run

    if is_generation_run(run):
        if quantize is not None:
            expected = "no --quantize with a generator"
            raise UsageError(Problem("--quantize", expected, quantize, "remove it"))
        _export_generator(run, to, out, stderr, json=json)
        return
    result = export_run(run, to, out, allow_custom=allow_custom, quantize=quantize)
    for note in result.check.notes:
        console.warn(note)
    stderr.table(_summary(result, quantize))
    if not json:
        console.result(str(result.path))
        return
    check, latency = result.check, result.check.latency
    console.json_result(
        {
            "run": str(result.run),
            "format": result.format,
            "quantize": quantize,
            "output": str(result.path),
            "model_card": str(result.card),
            "bytes": result.bytes,
            "weights_sha256": result.weights_sha256,
            "compared_rows": check.rows,
            "difference": check.difference,
            "tolerance": check.tolerance,
            "other_labels": check.other_labels,
            "latency": {
                "p50_microseconds": latency.p50,
                "p99_microseconds": latency.p99,
                "rows_per_second": latency.rows_per_second,
                "batch_rows": latency.batch,
            },
        }
    )


def _export_generator(
    run: Path, to: str, out: Path | None, stderr: console.Console, *, json: bool
) -> None:
    """Export a generator as ONNX: random numbers in, samples out."""
    from trainer.workflows.generation.export import export_generator

    result = export_generator(run, to, out)
    stderr.print(
        f"{format_bytes(result.bytes)}; {result.compared} samples compared with trainer predict: "
        f"{100 * result.different:.2g}% of their values differ"
    )
    if not json:
        console.result(str(result.path))
        return
    console.json_result(
        {
            "run": str(result.run),
            "format": to,
            "output": str(result.path),
            "bytes": result.bytes,
            "compared_samples": result.compared,
            "different_values": result.different,
        }
    )


def _summary(result: ExportResult, quantize: str | None) -> Table:
    check, latency = result.check, result.check.latency
    rows = (
        ("size", format_bytes(result.bytes)),
        ("compared", check.source),
        ("difference", _difference(check, quantize)),
        ("one row", f"{latency.p50:,.0f} µs (99th percentile {latency.p99:,.0f} µs)"),
        ("batches", f"{latency.rows_per_second:,.0f} rows/s in calls of {latency.batch:,}"),
        ("model card", str(result.card)),
    )
    return Table("", ("", ""), rows)


def _difference(check: Check, quantize: str | None) -> str:
    if check.accepted_labels and quantize is None:
        return (
            f"{pluralize(check.other_labels, 'other translation')} (up to {check.accepted_labels:,} are "
            f"accepted); log probabilities by {check.difference:.1e} at most (up to {check.tolerance:g})"
        )
    if check.accepted_labels:
        return (
            f"{pluralize(check.other_labels, 'other label')} (up to {check.accepted_labels:,} are "
            f"accepted); probabilities by {check.difference:.1e} at most"
        )
    kind = "at most" if quantize is None else "root mean square"
    return f"{check.difference:.1e} {kind} (up to {check.tolerance:g} is accepted)"
