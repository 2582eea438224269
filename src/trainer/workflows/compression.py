"""Compress a run, and measure what a compressed run has lost and gained.

    compress_config: a run ─► its config with `compress` and a warm start ─► fit_run ─► write_compression

A compressed run is an ordinary one, which `fit` trains and `resume` continues; at its end, it is
compared with the run in `fit.warm_start`, if any.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from trainer.assessment.bootstrap import bootstrap, paired_bootstrap
from trainer.assessment.resampling import Resampling
from trainer.config.load import LoadedConfig
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.errors import InputError, Problem, RunError, UsageError, command_text, did_you_mean
from trainer.export.bundle import Bundle, load_bundle
from trainer.export.check_rows import CheckRows, check_rows
from trainer.export.formats import QUANTIZED, load_format
from trainer.export.measures import MeasuredExport, exported_predictions, measure_export
from trainer.metrics.evaluator import split_metric_name
from trainer.models.coded_weights import stored_bytes
from trainer.models.compression_schedule import complete_epoch, is_compressed
from trainer.prediction.trained_runs import read_run_config
from trainer.report.page.metrics import difference_text, interval_text
from trainer.report.page.run_comparison import metric_differences
from trainer.report.page.run_content import RunContent, read_run_content
from trainer.report.summary import describe_difference
from trainer.report.text import format_bytes
from trainer.runs.compression import (
    CompressionRecord,
    ExportRecord,
    KernelRecord,
    MetricChange,
    NetworkRecord,
    Size,
    write_compression,
)
from trainer.runs.directory import RunDirectory
from trainer.runs.findings import MetricDifference, MetricValue
from trainer.runs.opening import open_run
from trainer.workflows.plan import RunPlan

_EXPORTS = ("onnx", "numpy", "litert")
_MAX_ROWS, _RESAMPLES = 5_000, 500
_REFUSED = [name for name, rules in TASK_RULES.items() if rules.has_text or rules.is_generated]
"""Tasks whose networks are not compressed."""
_LEAST_EPOCHS = 10


@dataclass(frozen=True, slots=True)
class CompressOptions:
    """The options of `trainer compress`.

    Attributes:
        prune: The sparsity, or None.
        cluster: The number of clusters, or None.
        quantize: The type of the integers, or None.
        epochs: How many epochs to train; None for as many as the run was trained, 10 at least.
        overrides: Other settings, as typed.
    """

    prune: float | None
    cluster: int | None
    quantize: str | None
    epochs: int | None
    overrides: Sequence[str] = ()

    def problems(self) -> list[Problem]:
        """Return what is wrong with the options."""
        problems = []
        if (self.prune, self.cluster, self.quantize) == (None, None, None):
            expected, fix = "--prune, --cluster or --quantize", "for example: --prune 0.8"
            problems.append(Problem("trainer compress", expected, "none of them", fix))
        if self.prune is not None and not 0 < self.prune < 1:
            fix = "for example, --prune 0.8 for 80 % zeros"
            problems.append(
                Problem("--prune", "a number above 0 and below 1", f"{self.prune:g}", fix)
            )
        if self.cluster is not None and not 2 <= self.cluster <= 256:
            fix = "for example, --cluster 16"
            problems.append(Problem("--cluster", "2 to 256 clusters", f"{self.cluster}", fix))
        if self.quantize not in (None, "int8"):
            fix = did_you_mean(str(self.quantize), ["int8"], "write --quantize int8")
            problems.append(Problem("--quantize", "int8", f"'{self.quantize}'", fix))
        if self.epochs is not None and self.epochs < 1:
            problems.append(Problem("--epochs", "at least one epoch", f"{self.epochs}", ""))
        return problems

    def settings(self) -> Iterator[str]:
        """Yield the overrides of `compress`: training starts from a trained network."""
        if self.prune is not None:
            yield f"compress.prune={{sparsity: {self.prune!r}, start: 0}}"
        if self.cluster is not None:
            yield f"compress.cluster={self.cluster}"
        if self.quantize is not None:
            yield f"compress.quantize={self.quantize}"


def compress_config(path: Path, options: CompressOptions) -> LoadedConfig:
    """Return the config of a run that starts from another one and compresses its weights.

    Args:
        path: A finished run, or a checkpoint in a run.
        options: How.

    Raises:
        UsageError: Options are wrong.
        RunError: The run does not exist, has not finished, is damaged, has several networks, or
            generates or translates.
        ConfigError: Its config conflicts with the options.
    """
    if problems := options.problems():
        raise UsageError(problems)
    opened = open_run(path)
    run = opened.run
    if opened.checkpoint is None and run.members.is_dir():
        fix = f"name one of them: {command_text('compress', run.member(1), *_arguments(options))}"
        raise RunError(Problem(str(path), "a run of one network", "a run of several", fix))
    manifest = run.read_manifest()
    if opened.checkpoint is None and manifest.status != "finished":
        fix = f"resume it: {command_text('resume', run.path)}; or name {run.best}"
        raise RunError(Problem(str(path), "a run that has finished", manifest.status, fix))
    if manifest.task in _REFUSED:
        expected, found = "a run that predicts classes or numbers", f"one of task: {manifest.task}"
        raise RunError(Problem(str(path), expected, found))
    epochs = options.epochs or max(_LEAST_EPOCHS, manifest.epochs)
    source = json.dumps(str(path.absolute()), ensure_ascii=False)
    return read_run_config(
        run,
        [
            f"fit.warm_start={source}",
            f"fit.epochs={epochs}",
            "~fit.steps",
            "~fit.max_seconds",
            *options.settings(),
            *options.overrides,
        ],
    )


def _arguments(options: CompressOptions) -> Iterator[str]:
    for name in ("prune", "cluster", "quantize", "epochs"):
        value = getattr(options, name)
        if value is not None:
            yield f"--{name}"
            yield f"{value}"


@dataclass
class _Network:
    """A network whose size is measured.

    Attributes:
        bundle: Its run.
        content: The files of its run.
        exports: Its exports.
        exported: Quantized exports and their predictions.
    """

    bundle: Bundle
    content: RunContent
    exports: list[ExportRecord] = field(default_factory=list)
    exported: dict[str, Mapping[str, MetricChange]] = field(default_factory=dict)

    def record(self) -> NetworkRecord:
        """Return its record."""
        arrays = [
            array for layer in self.bundle.members[0].network.layers() for array in layer.weights
        ]
        size = Size(sum(array.nbytes for array in arrays), stored_bytes(arrays))
        return NetworkRecord(size, tuple(self.exports))


def compare_compressed(
    run: RunDirectory, plan: RunPlan, best_epoch: int, *, measure_exports: bool
) -> str:
    """Compare a compressed run with the run that it started from, and write the result.

    Args:
        run: The run, after its findings were written.
        plan: Its plan.
        best_epoch: The epoch of its best weights.
        measure_exports: Whether to export both, which takes some seconds.

    Returns:
        A summary; empty for a run that is not compressed.

    Raises:
        StorageError: The result cannot be written.
    """
    config = plan.config
    if not config.compress.is_set:
        return ""
    now, notes = datetime.now(UTC), []
    after = _Network(load_bundle(run.best), read_run_content(run, now))
    before = None
    if config.fit.warm_start is not None:
        try:
            bundle = load_bundle(Path(config.fit.warm_start.run))
            before = _Network(bundle, read_run_content(bundle.run, now))
        except InputError as error:
            notes.append(f"not compared with the run of fit.warm_start: {error.problems[0]}")
    complete = complete_epoch(config.compress, plan.total_steps, plan.steps_per_epoch)
    if best_epoch < complete:
        notes.append(
            f"the weights are those of epoch {best_epoch:,}, before the compression was complete (epoch "
            f"{complete:,}): train longer"
        )
    if measure_exports:
        notes += _measure(after, _quantized_export(config))
        notes += [] if before is None else _measure(before, None)
    metrics = _changes(before, after, notes)
    record = CompressionRecord(
        sentence="",
        source=None if before is None else str(before.bundle.run.path),
        split=after.content.split,
        before=None if before is None else before.record(),
        after=after.record(),
        kernels=tuple(_kernels(after.bundle)),
        metrics=metrics,
        exported=after.exported,
        notes=tuple(dict.fromkeys(notes)),
    )
    record = replace(record, sentence=_sentence(record, after.content))
    write_compression(run, record)
    return record.sentence


def _quantized_export(config: Config) -> str | None:
    return None if config.compress.quantize is None else config.compress.quantize.dtype


def _kernels(bundle: Bundle) -> Iterator[KernelRecord]:
    """Yield the compressed weights; those of the same layer are numbered."""
    for layer in bundle.members[0].network.layers():
        arrays = [array for array in layer.weights if is_compressed("kernel", array.shape)]
        for number, array in enumerate(arrays, 1):
            name = layer.name if len(arrays) == 1 else f"{layer.name} {number}"
            zeros, values = array.size - np.count_nonzero(array), len(np.unique(array))
            yield KernelRecord(name, array.size, int(zeros), values)


def _measure(network: _Network, quantize: str | None) -> list[str]:
    """Measure the exports of a network; return notes on those that failed."""
    notes = []
    rows = check_rows(network.bundle)
    kinds: list[tuple[str, str | None]] = [(name, None) for name in _EXPORTS]
    if quantize is not None:
        kinds += [(name, quantize) for name in _EXPORTS if quantize in QUANTIZED.get(name, {})]
    for name, kind in kinds:
        label = name if kind is None else f"{name} {kind}"
        try:
            _measure_one(network, name, kind, label, rows)
        except (InputError, OSError) as error:
            text = error.problems[0] if isinstance(error, InputError) else error
            notes.append(f"no export to {label}: {text}")
    return notes


def _measure_one(
    network: _Network, name: str, quantize: str | None, label: str, rows: CheckRows
) -> None:
    try:
        export = load_format(name, quantize)
    except UsageError:
        return  # Its packages are not installed.
    bundle = network.bundle
    if export.problems(bundle):
        return
    with TemporaryDirectory(prefix="trainer-") as folder:
        measured = measure_export(export, bundle, rows, Path(folder))
        size = Size(measured.bytes, measured.compressed_bytes)
        network.exports.append(ExportRecord(label, size, round(measured.latency.p50, 1)))
        if quantize is not None:
            network.exported[label] = _exported_changes(network, name, quantize, measured)


def _exported_changes(
    network: _Network, name: str, quantize: str, measured: MeasuredExport
) -> Mapping[str, MetricChange]:
    """Return the changes of metrics from a run to its export, on the rows of its split."""
    content = network.content
    predictions = None if content.split is None else content.predictions.get(content.split)
    if predictions is None or content.findings is None:
        return {}
    chosen = np.unique(
        np.linspace(0, len(predictions) - 1, min(_MAX_ROWS, len(predictions))).astype(int)
    )
    predictions = predictions.take(chosen)
    export = load_format(name, quantize)
    found = exported_predictions(export, measured.model, network.bundle, predictions)
    names = content.findings.compared_metrics
    resampling, threshold = Resampling(_RESAMPLES), content.threshold
    before, after = (
        bootstrap(part, threshold=threshold, names=names, resampling=resampling)
        for part in (predictions, found)
    )
    differences = paired_bootstrap(
        found, predictions, threshold=threshold, names=names, resampling=resampling
    )
    return {
        key: MetricChange(
            MetricValue.from_floats(before[key].value, before[key].low, before[key].high),
            MetricValue.from_floats(after[key].value, after[key].low, after[key].high),
            MetricDifference.from_floats(
                differences[key].value,
                differences[key].low,
                differences[key].high,
                differences[key].is_significant,
            ),
        )
        for key in names
        if key in before
    }


def _changes(before: _Network | None, after: _Network, notes: list[str]) -> dict[str, MetricChange]:
    """Return every metric of the compressed run, and its change if the rows are the same."""
    split, findings = after.content.split, after.content.split_findings
    if findings is None or split is None:
        return {}
    names = [name for name in findings.metrics if not split_metric_name(name)[0]]
    differences: Mapping[str, MetricDifference] = {}
    earlier: Mapping[str, MetricValue] = {}
    if before is not None:
        differences = metric_differences(before.content, after.content, split, names)
        other = before.content.findings
        if not differences:
            notes.append(f"metrics are not compared: {split} rows differ from those before")
        elif other is not None and split in other.splits:
            earlier = other.splits[split].metrics
    return {
        name: MetricChange(earlier.get(name), findings.metrics[name], differences.get(name))
        for name in names
    }


def _sentence(record: CompressionRecord, content: RunContent) -> str:
    after = record.after.weights
    text = f"The weights take {format_bytes(after.compressed)}"
    if record.before is not None:
        ratio = record.before.weights.compressed / after.compressed
        text += f", {ratio:.1f} times less than before"
    else:
        text += f" instead of {format_bytes(after.bytes)} in float32"
    headline = () if content.findings is None else content.findings.compared_metrics[:1]
    for name in headline:
        change = record.metrics.get(name)
        if change is not None and change.before is not None:
            text += f"; {record.split} {name} {interval_text(change.before)} before, "
            text += (
                f"{interval_text(change.after)} after: {difference_text(change.difference, name)}"
            )
    worse = [
        name
        for name, change in record.metrics.items()
        if change.difference is not None and describe_difference(change.difference, name) == "worse"
    ]
    if worse:
        text += f"; significantly worse: {', '.join(worse)}"
    return f"{text}."
