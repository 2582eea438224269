"""An exported network, opened by ONNX Runtime: arrays of raw values → columns of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trainer.errors import InputError, Problem, RunError
from trainer.export.schema import Schema, read_metadata
from trainer.serving.settings import ModelSource

Arrays = dict[str, NDArray[Any]]

_ROWS = 8192
"""Rows of a call of ONNX Runtime, which limits its memory."""


class OnnxModel:
    """A served model.

    Attributes:
        source: Its name and file.
        schema: The columns of its inputs and outputs.
        column_names: The names of the predictions: the columns of `trainer predict`.
        writes_texts: Whether it translates, which takes longer than other predictions.
    """

    def __init__(self, source: ModelSource) -> None:
        """Open the file.

        Raises:
            RunError: It is missing, is no ONNX file, or was not written by `trainer export`.
        """
        self.source = source
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
            self._session = onnxruntime.InferenceSession(
                source.file, options, providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime raises exceptions of its own, which have no common base class.
        except Exception as error:
            found = str(error).splitlines()[0]
            raise RunError(Problem(source.file, "an ONNX file", found, fix)) from error
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
        if rows <= _ROWS:
            return self._predictions(self._session.run(self.output_names, arrays))
        parts = [
            self._session.run(
                self.output_names,
                {name: array[start : start + _ROWS] for name, array in arrays.items()},
            )
            for start in range(0, rows, _ROWS)
        ]
        return self._predictions([np.concatenate(values) for values in zip(*parts, strict=True)])

    def _run(self, arrays: Arrays) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = self._session.run(self.output_names, arrays)
        return outputs

    def _predictions(self, outputs: list[NDArray[Any]]) -> Arrays:
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
