"""An exported network, opened by ONNX Runtime: arrays of raw values → columns of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trainer.errors import InputError, Problem, RunError
from trainer.export.schema import Schema, read_metadata
from trainer.serving.settings import ModelSource

Arrays = dict[str, NDArray[Any]]

_MAX_ROWS = 8192
"""Maximum number of rows in a call of ONNX Runtime, which limits its memory."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a model for some rows.

    Attributes:
        rows: The number of rows.
        others: The inputs that are not in `numbers`: name → (rows, *shape).
        names: The names of the inputs in `numbers`.
        numbers: Columns of numbers, float64 (names, rows); NaN where missing.
    """

    rows: int
    others: Arrays
    names: Sequence[str]
    numbers: NDArray[np.float64]

    def arrays(self) -> Arrays:
        """Return all inputs: name → (rows, *shape)."""
        arrays = dict(zip(self.names, self.numbers[:, :, None], strict=True))
        return arrays | self.others


class OnnxModel:
    """A served model.

    Attributes:
        source: Its name and file.
        schema: The columns of its inputs and outputs.
        column_names: The names of the predictions: the columns of `trainer predict`.
        writes_texts: Whether it translates, which takes longer than other predictions.
    """

    def __init__(
        self, source: ModelSource, session: onnxruntime.InferenceSession | None = None
    ) -> None:
        """Open the file, unless a session of it is given.

        Raises:
            RunError: It is missing, is no ONNX file, or was not written by `trainer export`.
        """
        self.source = source
        self._session = open_session(source) if session is None else session
        try:
            self.schema: Schema = read_metadata(self._session.get_modelmeta().custom_metadata_map)
        except InputError as error:
            raise RunError(problem.at(source.file) for problem in error.problems) from error
        self.output_names = [output.name for output in self._session.get_outputs()]
        fields = {output.name: output for output in self.schema.outputs}
        self._fields = [fields[name] for name in self.output_names]
        text = self.schema.output("text")
        self.writes_texts = text is not None
        if text is not None:
            # Its imports take longer than all others.
            from trainer.serving.texts import target_of

            self._target = target_of(text)
        self.column_names = tuple(self.schema.columns)
        inputs = self.schema.inputs
        self._row: _BoundRow | None = None
        # ONNX Runtime cannot bind texts, and texts that are written differ in length.
        if not self.writes_texts and all(field.dtype != "string" for field in inputs):
            numbers = [field.name for field in inputs if field.kind == "number"]
            self._row = _BoundRow(self._session, numbers, self.output_names)

    def predict_inputs(self, inputs: Inputs) -> Arrays:
        """Return the predictions: name → (rows,)."""
        if inputs.rows == 1 and self._row is not None:
            outputs = self._row.run(inputs)
            if outputs is not None:
                return self._predictions(outputs)
        return self.predict(inputs.arrays(), inputs.rows)

    def predict(self, arrays: Arrays, rows: int) -> Arrays:
        """Return the predictions: name → (rows,).

        Args:
            arrays: The raw values: name of the input → (rows, *shape).
            rows: The number of rows.
        """
        if self.writes_texts:
            from trainer.serving.texts import run_by_length

            (source,) = self.schema.inputs
            return self._predictions(run_by_length(self._run, arrays, source))
        outputs = run_in_batches(self._session, self.output_names, arrays, rows, _MAX_ROWS)
        return self._predictions(outputs)

    def _run(self, arrays: Arrays) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = self._session.run(self.output_names, arrays)
        return outputs

    def _predictions(self, outputs: Sequence[NDArray[Any]]) -> Arrays:
        columns: Arrays = {}
        for field, values in zip(self._fields, outputs, strict=True):
            if field.role == "labels" and self.schema.has_label_lists:
                from trainer.data.label_lists import join_labels

                joined = join_labels(values, self.schema.classes, self.schema.separator)
                columns[field.columns[0]] = np.array(joined.to_list(), np.object_)
            elif field.role == "text":
                columns[field.columns[0]] = np.array(self._target.decode(values), np.object_)
            elif values.ndim == 1:
                columns[field.columns[0]] = values
            else:
                columns.update(zip(field.columns, values.T, strict=True))
        return {name: columns[name] for name in self.column_names}


class _BoundRow:
    """Runs a session on single rows, with numbers and outputs that keep their places in memory.

    For a network of usual size, converting an array for each column takes longer than the network.
    """

    def __init__(self, session: Any, numbers: Sequence[str], outputs: Sequence[str]) -> None:
        self._session = session
        self._names = tuple(numbers)
        self._numbers = np.zeros(len(numbers), np.float64)
        self._binding = session.io_binding()
        self._lock = Lock()
        for place, name in enumerate(numbers):
            address = self._numbers[place:].ctypes.data
            self._binding.bind_input(name, "cpu", 0, np.float64, (1, 1), address)
        for name in outputs:
            self._binding.bind_output(name)

    def run(self, inputs: Inputs) -> list[NDArray[Any]] | None:
        """Return the outputs for one row.

        None if another thread runs, or if some columns of numbers are not in `inputs.numbers`.
        """
        if len(inputs.names) != len(self._names) or not self._lock.acquire(blocking=False):
            return None
        try:
            self._numbers[:] = inputs.numbers[:, 0]
            for name, array in inputs.others.items():
                self._binding.bind_cpu_input(name, array)
            self._session.run_with_iobinding(self._binding)
            # The next row uses their memory; `copy_outputs_to_cpu` crashes with texts (1.32).
            return [output.numpy().copy() for output in self._binding.get_outputs()]
        finally:
            self._lock.release()


def open_session(source: ModelSource) -> onnxruntime.InferenceSession:
    """Open an exported file.

    Raises:
        RunError: It is missing, or is no ONNX file.
    """
    options = onnxruntime.SessionOptions()
    # One thread answers a row fastest, and connections are answered by several workers.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # A pattern is stored for each number of rows, which would need ever more memory.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    fix = "export the run again: trainer export RUN"
    if not Path(source.file).is_file():
        raise RunError(Problem(source.file, "an exported ONNX file", "no such file", fix))
    try:
        return onnxruntime.InferenceSession(
            source.file, options, providers=["CPUExecutionProvider"]
        )
    # ONNX Runtime raises exceptions of its own, which have no common base class.
    except Exception as error:
        # Its message begins with a code and the path of the copy.
        reason = str(error).splitlines()[0].rpartition("failed:")[2].removesuffix(".")
        found = f"one that cannot be read ({reason})"
        raise RunError(Problem(source.file, "an ONNX file", found, fix)) from error


def run_in_batches(
    session: onnxruntime.InferenceSession,
    outputs: Sequence[str],
    arrays: Mapping[str, NDArray[Any]],
    rows: int,
    size: int,
) -> list[NDArray[Any]]:
    """Run a session on all rows, in calls of at most `size` rows.

    Args:
        session: The session.
        outputs: The names of its outputs.
        arrays: Its inputs: name → (rows, …).
        rows: The number of rows.
        size: Maximum number of rows in a call.
    """
    if rows <= size:
        return list(session.run(outputs, arrays))
    parts = [
        session.run(outputs, {name: array[start : start + size] for name, array in arrays.items()})
        for start in range(0, rows, size)
    ]
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


def incompatibility(new: Schema, old: Schema) -> str:
    """Return why requests for the old model would fail with the new one; empty if none would."""
    old_columns = {field.column: field.kind for field in old.inputs}
    new_columns = {field.column: field.kind for field in new.inputs}
    for name, kind in new_columns.items():
        if name not in old_columns:
            return f"it needs the column '{name}'"
        if old_columns[name] != kind:
            return f"its column '{name}' is of the kind {kind}, not {old_columns[name]}"
    dropped = [name for name in old_columns if name not in new_columns]
    if dropped:
        return f"it has no column '{dropped[0]}'"
    if set(new.columns) != set(old.columns):
        return "it has other classes or predicted columns"
    return ""
