"""What an exported model takes and returns, as JSON that goes with it.

A model takes one array for each column of the table, with the raw cells of the rows (`InputField`), and
returns labels, probabilities or numbers, and whether a row has unseen values (`OutputField`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from trainer.errors import InputError, Problem
from trainer.runs.files import to_jsonable

FORMAT = 1
SCHEMA_KEY, RUN_KEY, WEIGHTS_KEY = "trainer.schema", "trainer.run", "trainer.weights_sha256"
VERSION_KEY = "trainer.version"
GENERATOR_KEY = "trainer.generator"
"""For `trainer.export.generator_schema.GeneratorSchema`, instead of the schema of a model."""

InputKind = Literal[
    "number", "boolean", "datetime", "category", "text", "tokens", "image", "encoded"
]
Role = Literal[
    "label", "labels", "probabilities", "predicted", "low", "high", "quantiles", "std", "text",
    "log_probability", "unseen",
]  # fmt: skip
Plain = str | float | bool | None

NOT_A_LEVEL = " "
"""Stands for an empty cell of a category in which an empty text marks a missing value."""


@dataclass(frozen=True)
class InputField:
    """An input of an exported model: an array with a row for each row.

    number: float64 (rows, 1), NaN where missing. boolean: the same, 1 for yes and 0 for no. datetime:
    the same, in seconds since 1970 (UTC). An infinite value is one that could not be read: it counts as
    missing, and the row as unseen. category: text (rows, 1), `missing` where missing. text, tokens,
    image: as encoded by `trainer.data`, with the settings in `fitted`; a negative first id, -1 - id of
    tokens, marks a text without a known token or term. encoded: an input of the network.

    Attributes:
        name: Name of the input.
        column: The column of the table; "" for `encoded`.
        kind: What its cells are.
        dtype: Type of its values.
        shape: Shape of a row.
        missing: The text of a missing category.
        categories: The levels, in order.
        other_categories: The levels merged into `(rare)`.
        ignore_case: Whether upper and lower case of a category are the same.
        missing_in_training: Number of training rows without a value; None if unknown.
        minimum, maximum: The range of the training rows: a number, or ISO 8601.
        typical: A usual value: the median or mean, the most frequent category, the middle of the dates.
        date_format: The format of dates in the table; None for ISO 8601.
        number_format: The format of numbers in the table, if it is not the usual one.
        fitted: The column in preprocessing.json, of text, tokens and images.
        pseudonymized: Whether values are pseudonyms (`data.pseudonymize`); categories are, too.
    """

    name: str
    column: str
    kind: InputKind
    dtype: str
    shape: tuple[int, ...]
    missing: str | None = None
    categories: tuple[str, ...] = ()
    other_categories: tuple[str, ...] = ()
    ignore_case: bool = False
    missing_in_training: int | None = None
    minimum: float | str | None = None
    maximum: float | str | None = None
    typical: Plain = None
    date_format: str | None = None
    number_format: Mapping[str, Any] | None = None
    fitted: Mapping[str, Any] | None = None
    pseudonymized: bool = False


@dataclass(frozen=True)
class OutputField:
    """An output of an exported model.

    Attributes:
        name: Name of the output.
        role: What it is. label: the class as text. labels: 1 for each label that is predicted.
            probabilities: of each class or label. predicted: numbers in the target's unit. low, high:
            the ends of their intervals. quantiles: those of all columns for the first quantile, then
            for the next. std: standard deviation between members. text: ids of the tokens of a text, up
            to that of its end. log_probability: the logarithm of its probability. unseen: whether a
            value did not occur in training.
        dtype: Type of its values.
        shape: Shape of a row.
        columns: The columns of `trainer predict` that it holds; one for all labels if cells of the
            target are lists of labels.
        fitted: The target in preprocessing.json, of a text.
    """

    name: str
    role: Role
    dtype: str
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    fitted: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Schema:
    """Inputs and outputs of an exported model, and what it was made from.

    Attributes:
        run: The id of the run: the name of its directory.
        name: The name of the experiment.
        weights_sha256: Hash of the weights.
        task: The task.
        target: The target columns.
        classes: Classes in order, or labels; empty for numbers.
        threshold: Smallest probability that is predicted; None if the most likely class is, or numbers.
        coverage: Fraction of the rows that intervals are meant to cover; None without intervals.
        quantiles: The predicted quantiles.
        separator: Separator of the labels in a cell of the table; None if cells are not lists.
        has_label_lists: Whether cells of the target are lists of labels.
        members: Number of networks.
        inputs: The inputs.
        outputs: The outputs.
        columns: The columns of `trainer predict`, without `row`, in order.
        example: A row of typical values: column → value; None for texts and images.
        pseudonym_key: The fingerprint of the key of pseudonymized columns; None without them.
        format: Version of this format.
    """

    run: str
    name: str
    weights_sha256: str
    task: str
    target: tuple[str, ...]
    classes: tuple[str, ...]
    threshold: float | None
    coverage: float | None
    quantiles: tuple[float, ...]
    separator: str | None
    has_label_lists: bool
    members: int
    inputs: tuple[InputField, ...]
    outputs: tuple[OutputField, ...]
    columns: tuple[str, ...]
    example: Mapping[str, Plain]
    pseudonym_key: str | None = None
    format: int = FORMAT

    def output(self, role: Role) -> OutputField | None:
        """Return the output with a role; None if the model has none."""
        return next((output for output in self.outputs if output.role == role), None)

    def to_json(self) -> str:
        """Return the schema as JSON in one line."""
        return json.dumps(to_jsonable(asdict(self)), ensure_ascii=False, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Schema:
        """Read the result of `to_json`; unknown keys are ignored.

        Raises:
            InputError: It is not a schema of this format.
        """
        try:
            value = json.loads(text)
            if value["format"] != FORMAT:
                raise ValueError(f"format {value['format']}")
            parts = {
                "inputs": tuple(_record(InputField, item) for item in value["inputs"]),
                "outputs": tuple(_record(OutputField, item) for item in value["outputs"]),
            }
            schema: Schema = _record(Schema, {**value, **parts})
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            expected = f"a schema of format {FORMAT} that trainer export wrote"
            fix = "export the run again with this version of trainer"
            raise InputError(Problem("schema", expected, str(error)[:200], fix)) from error
        return schema


def read_metadata(metadata: Mapping[str, str]) -> Schema:
    """Return the schema in the metadata of an ONNX file.

    With ONNX Runtime: `session.get_modelmeta().custom_metadata_map`.

    Raises:
        InputError: The file has none, or one of another format.
    """
    if SCHEMA_KEY not in metadata:
        expected, fix = "a model that trainer export wrote", "export the run: trainer export RUN"
        raise InputError(Problem("metadata", expected, f"no '{SCHEMA_KEY}'", fix))
    return Schema.from_json(metadata[SCHEMA_KEY])


def _record(kind: type[Any], value: Mapping[str, Any]) -> Any:
    """Make a record from JSON: lists become tuples."""
    known = {field.name for field in fields(kind)}
    return kind(
        **{
            name: tuple(item) if isinstance(item, list) else item
            for name, item in value.items()
            if name in known
        }
    )
