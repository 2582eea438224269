"""The formats of an export. To add one, write its module and add a line to `FORMATS`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
from numpy.typing import NDArray

from trainer.errors import Problem, UsageError, did_you_mean
from trainer.export.bundle import Bundle
from trainer.export.raw_schema import raw_schema
from trainer.export.rows import RowEncoder
from trainer.export.schema import Schema
from trainer.packages import install_command

Array = NDArray[Any]
Model = Callable[[Mapping[str, Array]], dict[str, Array]]
"""A loaded export: arrays by input → arrays by output."""

FORMATS: Mapping[str, str] = {
    "onnx": "trainer.export.onnx_export:OnnxFormat",
    "numpy": "trainer.export.numpy_export:NumpyFormat",
    "keras": "trainer.export.keras_export:KerasFormat",
    "saved_model": "trainer.export.saved_model_export:SavedModelFormat",
    "litert": "trainer.export.litert_export:LitertFormat",
}
"""Name of a format → module and class. The first is the default."""

QUANTIZED: Mapping[str, Mapping[str, str]] = {
    "litert": {
        "dynamic": "trainer.export.litert_quantized:DynamicLitertFormat",
        "int8": "trainer.export.litert_quantized:Int8LitertFormat",
    },
}
"""Name of a format → kinds of quantization → module and class."""

TOLERANCE = 1e-5
"""Largest difference from `predict` of a probability, or of a number in units of the spread of the
predictions."""


class ExportFormat(ABC):
    """A format.

    Attributes:
        name: Its name on the command line.
        file_name: The name of its file or folder, unless another is given.
        suffix: The extension of its file; "" if it is a folder.
        extra: The extra of the packages that it needs; "" if it needs none.
        modules: Modules that must be installed.
        title: What it is, in the model card.
        writes_texts: Whether it can hold a run that translates.
        quantize: How its weights are quantized; "" if they are not.
    """

    name: ClassVar[str]
    file_name: ClassVar[str]
    suffix: ClassVar[str]
    extra: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]
    title: ClassVar[str]
    writes_texts: ClassVar[bool] = False
    quantize: ClassVar[str] = ""

    @property
    def folder(self) -> str:
        """The folder in `export/` of a run."""
        return f"{self.name}-{self.quantize}" if self.quantize else self.name

    def problems(self, bundle: Bundle) -> list[Problem]:
        """Return what the format cannot hold of a run: the column or layer, and why."""
        return []

    def schema(self, bundle: Bundle) -> Schema:
        """Return the inputs and outputs; by default those of raw rows."""
        return raw_schema(bundle)

    def tolerance(self, bundle: Bundle) -> float:
        """Return the largest accepted difference from `predict`; see `TOLERANCE`."""
        return TOLERANCE

    @abstractmethod
    def write(self, bundle: Bundle, schema: Schema, path: Path) -> None:
        """Write the file or folder, which does not exist yet.

        Raises:
            InputError: The format cannot hold the run.
            OSError: The disk is full or fails.
        """

    @abstractmethod
    def load(self, path: Path) -> Model:
        """Load what `write` has written, by the library that its users have."""

    def encode(
        self, bundle: Bundle, schema: Schema, rows: pl.DataFrame, images: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Return the inputs for raw rows with pseudonyms; by default as in `trainer.export.rows`."""
        return RowEncoder(schema, has_pseudonyms=True).encode(rows, images)

    def decode(
        self, bundle: Bundle, schema: Schema, outputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        """Return the outputs of `raw_schema` for those of the model; by default they are these."""
        return outputs

    @abstractmethod
    def snippet(self, schema: Schema, file_name: str) -> list[str]:
        """Return lines of code that predict a row, for the model card; they run as they are."""


def load_format(name: str, quantize: str | None = None) -> ExportFormat:
    """Return a format.

    Args:
        name: Its name.
        quantize: How its weights are quantized; None for float32.

    Raises:
        UsageError: There is no such format, or its packages are not installed.
    """
    if name not in FORMATS:
        fix = did_you_mean(name, list(FORMATS), "choose one of them")
        raise UsageError(Problem("--to", f"a format ({', '.join(FORMATS)})", f"'{name}'", fix))
    place = FORMATS[name] if quantize is None else _quantized(name, quantize)
    module_name, _, class_name = place.partition(":")
    kind: type[ExportFormat] = getattr(import_module(module_name), class_name)
    missing = [module for module in kind.modules if find_spec(module) is None]
    if missing:
        expected = f"the package{'s' if len(missing) > 1 else ''} {' and '.join(missing)}"
        found = "not installed"
        raise UsageError(Problem(f"--to {name}", expected, found, install_command(kind.extra)))
    return kind()


def _quantized(name: str, quantize: str) -> str:
    """Return the module and class of a quantized format.

    Raises:
        UsageError: There is no such format.
    """
    kinds = QUANTIZED.get(name)
    if kinds is None:
        found, fix = f"--to {name}", "add --to litert, or remove --quantize"
        raise UsageError(Problem("--quantize", f"--to {' or '.join(QUANTIZED)}", found, fix))
    if quantize not in kinds:
        fix = did_you_mean(quantize, list(kinds), "choose one of them")
        raise UsageError(Problem("--quantize", " or ".join(kinds), f"'{quantize}'", fix))
    return kinds[quantize]
