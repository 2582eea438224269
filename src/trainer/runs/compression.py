"""The effect of compression, `compression.json`, as records shared by writers and readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.runs.directory import RunDirectory
from trainer.runs.files import json_bytes, write_atomically
from trainer.runs.findings import MetricDifference, MetricValue
from trainer.runs.records import optional_field, read_record, to_json


@dataclass(frozen=True, slots=True)
class KernelRecord:
    """A compressed kernel.

    Attributes:
        name: Layer and weight: dense/kernel.
        weights: The number of its weights.
        zeros: How many of them are zero.
        values: The number of distinct values.
    """

    name: str
    weights: int
    zeros: int
    values: int


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of a file, or of the weights in float32, and compressed without loss.

    Attributes:
        bytes: As they are.
        compressed: Compressed by deflate, like a .zip or .gz file; weights are coded as integers first
            where possible (`trainer.models.coded_weights`).
    """

    bytes: int
    compressed: int


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """An export of a network.

    Attributes:
        name: The format, such as onnx or litert int8.
        size: The size of its files.
        microseconds: The median time for one row, with one thread.
    """

    name: str
    size: Size
    microseconds: float


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """The size of a network: all its weights, and its exports if they were measured."""

    weights: Size
    exports: tuple[ExportRecord, ...]


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric before and after, and the difference on the same resamples of the rows."""

    before: MetricValue | None
    after: MetricValue
    difference: MetricDifference | None


@dataclass(frozen=True, slots=True)
class CompressionRecord:
    """The effect of compression.

    Attributes:
        sentence: A summary.
        source: The run that training started from; None if there is none.
        split: The split of the metrics.
        before: The network of that run.
        after: The compressed network.
        kernels: The compressed kernels.
        metrics: Metric → its change from that run to this one.
        exported: Name of a quantized export → metric → its change from this run to the export.
        notes: What could not be measured, and why.
    """

    sentence: str
    source: str | None
    split: str | None
    before: NetworkRecord | None
    after: NetworkRecord
    kernels: tuple[KernelRecord, ...]
    metrics: Mapping[str, MetricChange]
    exported: Mapping[str, Mapping[str, MetricChange]]
    notes: tuple[str, ...] = optional_field(())


def write_compression(run: RunDirectory, record: CompressionRecord) -> None:
    """Write `compression.json`.

    Raises:
        StorageError: It cannot be written.
    """
    write_atomically(run.compression, json_bytes(to_json(record)))


def read_compression(run: RunDirectory) -> CompressionRecord | None:
    """Read `compression.json`; None if there is none.

    Raises:
        RunError: The file is damaged.
    """
    fix = "restore the file from a copy of the run, or remove it"
    return read_record(run.compression, CompressionRecord, fix)
