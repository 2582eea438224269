"""Export the generator of a run as ONNX, compared with `trainer predict` before it is written."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from trainer.data.arrays import Float32Array
from trainer.data.generated_columns import GeneratedNumber, GeneratedRows, read_numbers
from trainer.data.generated_samples import Draw, sampled_images, sampled_rows
from trainer.data.values import level_text
from trainer.errors import Problem, RunError, UsageError
from trainer.export.bundle import check_finished
from trainer.export.formats import FORMATS, load_format
from trainer.export.generator_schema import (
    IMAGE_OUTPUT,
    GeneratorSchema,
    generator_schema,
    graph_inputs,
)
from trainer.export.targets import check_target
from trainer.runs.checkpoints import read_checkpoint
from trainer.runs.files import DISK, storage_errors
from trainer.runs.temporary import temporary_sibling
from trainer.workflows.generation.runs import EXPORT_NAME
from trainer.workflows.generation.trained import (
    TrainedGenerator,
    draw_for,
    load_generator,
    open_generator,
)

FORMAT = "onnx"
_COMPARED = 256
_SEED = 1
_TOLERANCE = 1e-3
"""Share of values that may differ by rounding: float32 sums in another order."""


@dataclass(frozen=True, slots=True)
class GeneratorExport:
    """A written export: the run, the file, its size in bytes, and the comparison with `predict`.

    Attributes:
        run: The run directory.
        path: The file.
        bytes: Its size.
        compared: Number of compared samples.
        different: Share of their values that differ.
    """

    run: Path
    path: Path
    bytes: int
    compared: int
    different: float


def export_generator(path: Path, to: str, out: Path | None) -> GeneratorExport:
    """Export the generator of a run.

    Args:
        path: The run directory or checkpoint.
        to: The format; only ONNX holds a generator.
        out: The file to write; None for `export/onnx/` in the run directory.

    Raises:
        UsageError: It is another format, packages are missing, or the path cannot be used.
        RunError: The run is damaged, does not fit into the format, or the export does not agree with
            `predict`.
        StorageError: The export cannot be written.
    """
    _check_format(to)
    opened = open_generator(path)
    check_finished(path, opened.run)
    target = opened.run.exports / FORMAT / EXPORT_NAME if out is None else out
    check_target(target, suffix=".onnx", is_given=out is not None)
    draw = draw_for(opened, _COMPARED, _SEED, None)
    values = load_generator(opened)(draw.inputs)
    with storage_errors(target.parent, "create this directory"):
        target.parent.mkdir(parents=out is None, exist_ok=True)
    with ExitStack() as stack:
        with storage_errors(target, "write this export"):
            folder = stack.enter_context(temporary_sibling(target, Path.mkdir))
            temporary = folder / target.name
            schema = write_generator_file(opened, temporary)
        different = _compare(temporary, schema, opened.rows, values, draw)
        if different > _TOLERANCE:
            raise RunError(
                Problem(
                    str(opened.run.path),
                    f"samples that agree with those of trainer predict in all but {_TOLERANCE:.1%} of "
                    "their values",
                    f"{different:.1%} different values",
                    "nothing was written; use a generator of other layers",
                )
            )
        with storage_errors(target, "write this export"):
            size = temporary.stat().st_size
            DISK.sync(temporary)
            DISK.rename(temporary, target)
            DISK.sync(target.parent)
    return GeneratorExport(opened.run.path, target, size, _COMPARED, different)


def write_generator_file(opened: TrainedGenerator, path: Path) -> GeneratorSchema:
    """Write the generator of a run as an ONNX file, without TensorFlow; return its schema.

    Raises:
        RunError: The checkpoint is damaged, or a layer has no equivalent in ONNX.
        OSError: The disk is full or fails.
    """
    from trainer.export.generator import write_generator

    manifest = opened.run.read_manifest()
    schema = generator_schema(
        opened.rows,
        run=opened.run.path.name,
        name=opened.loaded.config.name,
        weights_sha256=manifest.weights_sha256 or "",
        latent=opened.loaded.config.generation.latent,
    )
    checkpoint = read_checkpoint(opened.run.checkpoint(opened.checkpoint))
    write_generator(checkpoint.model, opened.rows, schema, manifest.version, path)
    return schema


def _check_format(to: str) -> None:
    if to in FORMATS and to != FORMAT:
        expected = f"{FORMAT}, the format for a generator"
        fix = "export it with --to onnx, or load checkpoints/best/model.keras with Keras"
        raise UsageError(Problem("--to", expected, f"'{to}'", fix))
    load_format(to)


def _compare(
    path: Path, schema: GeneratorSchema, rows: GeneratedRows, values: Float32Array, draw: Draw
) -> float:
    """Return the share of values of the samples that differ from those of `predict`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, graph_inputs(schema, draw)), strict=True))
    if rows.images is not None:
        expected = sampled_images(rows, values).astype(np.int64)
        return float((np.abs(found[IMAGE_OUTPUT].astype(np.int64) - expected) > 1).mean())
    frame = sampled_rows(rows, values, draw)
    shares = []
    for column in rows.columns:
        series = frame[column.name]
        if isinstance(column, GeneratedNumber):
            numbers = read_numbers(series, column.dtype)
            spread = max(column.values[-1] - column.values[0], 1e-12)
            is_close = np.abs(numbers - found[column.name]) <= 1e-3 * spread
            shares.append(
                1 - (is_close | (np.isnan(numbers) & np.isnan(found[column.name]))).mean()
            )
        else:
            labels = level_text(series).fill_null("")
            shares.append((labels != pl.Series(list(map(str, found[column.name])))).mean() or 0.0)
    return float(np.mean(shares))
