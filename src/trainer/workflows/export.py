"""Export a run: write the file of a format, compare it with `predict`, write the model card.

    load_bundle ─► ExportFormat.write ─► a temporary directory ─ check_export, MODEL_CARD.md ─► rename

Nothing is overwritten, and a file that does not agree with `predict` is removed.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from trainer.engine import devices
from trainer.errors import Problem, RunError, UsageError
from trainer.export.bundle import Bundle, load_bundle
from trainer.export.card import model_card
from trainer.export.check import Check, check_export, difference_problem, quantized_problem
from trainer.export.formats import load_format
from trainer.export.targets import check_target
from trainer.runs.files import DISK, storage_errors
from trainer.runs.temporary import temporary_sibling

CARD = "MODEL_CARD.md"


@dataclass(frozen=True, slots=True)
class ExportResult:
    """A written export.

    Attributes:
        run: The run directory.
        format: The format.
        path: Its file or folder.
        card: The model card.
        bytes: Size of the file, or of all files in the folder.
        weights_sha256: Hash of the weights.
        check: Its comparison with `predict`.
    """

    run: Path
    format: str
    path: Path
    card: Path
    bytes: int
    weights_sha256: str
    check: Check


def export_run(
    path: Path, to: str, out: Path | None, *, allow_custom: bool, quantize: str | None = None
) -> ExportResult:
    """Export a run, or a checkpoint in a run.

    Args:
        path: The run directory or checkpoint.
        to: The format.
        out: The file or folder to write; None for `export/<format>/` in the run directory.
        allow_custom: Whether custom layers may be imported.
        quantize: How the weights of the file are quantized; None for float32.

    Raises:
        UsageError: There is no such format, its packages are missing, or the path cannot be used.
        RunError: The run has not finished, is damaged, does not fit into the format, or the export
            does not agree with `predict`; or another process is writing the same export.
        StorageError: The export cannot be written.
    """
    export = load_format(to, quantize)
    if out is not None:
        check_target(out, out.parent / CARD, suffix=export.suffix, is_given=True)
    bundle = load_bundle(path)
    if bundle.task.kind.rules.has_text and not export.writes_texts:
        expected, fix = "onnx, the format for a run that translates", "export it with --to onnx"
        raise UsageError(Problem("--to", expected, f"'{to}'", fix))
    target = out or bundle.run.exports / export.folder / export.file_name
    if out is None:
        check_target(target, target.parent / CARD, is_given=False)
    problems = export.problems(bundle)
    if problems:
        raise RunError(problems)
    schema = export.schema(bundle)
    with storage_errors(target.parent, "create this directory"):
        target.parent.mkdir(parents=out is None, exist_ok=True)
    with devices.tensorflow_import(in_background=True):
        pass  # Without messages of TensorFlow, and without packages that Keras does not need here.
    with ExitStack() as stack:
        with storage_errors(target, "write this export"):
            folder = stack.enter_context(temporary_sibling(target, Path.mkdir))
            # Libraries can require the extension.
            temporary = folder / target.name
            export.write(bundle, schema, temporary)
        model = export.load(temporary)
        check = check_export(export, model, bundle, schema, allow_custom=allow_custom)
        if not check.is_equal:
            where = str(bundle.run.path)
            raise RunError(
                quantized_problem(where, check)
                if export.quantize
                else difference_problem(where, check, unit=_unit(bundle))
            )
        size = _size(temporary)
        text = model_card(bundle, schema, export, check, target.name, size)
        card = target.parent / CARD
        with storage_errors(target, "write this export"):
            DISK.write(folder / CARD, text.encode("utf-8"))
            _move(temporary, target)
    return ExportResult(
        bundle.run.path, export.name, target, card, size, bundle.weights_sha256, check
    )


def _move(temporary: Path, target: Path) -> None:
    """Flush an export to disk, and move its card and then itself to where they belong."""
    for file in sorted(temporary.rglob("*")):
        DISK.sync(file)
    DISK.sync(temporary)
    # The export last: where it exists, everything has been written.
    DISK.rename(temporary.with_name(CARD), target.with_name(CARD))
    DISK.rename(temporary, target)
    DISK.sync(target.parent)


def _unit(bundle: Bundle) -> str:
    """Return the unit of differences of numbers, for messages."""
    return "" if bundle.task.kind.rules.has_classes else " times the spread of the predictions"


def _size(path: Path) -> int:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
