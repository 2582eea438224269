"""`MODEL_CARD.md`: what an exported model is for, how good it is and where it is not, how to call it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import prod

from trainer.errors import pluralize
from trainer.export.bundle import Bundle
from trainer.export.check import Check
from trainer.export.formats import ExportFormat
from trainer.export.schema import InputField, OutputField, Schema
from trainer.report.page.content import (
    Block,
    CodeBlock,
    Page,
    Paragraph,
    Section,
    TableBlock,
    section,
    table_block,
)
from trainer.report.page.markdown import page_markdown
from trainer.report.page.metrics import errors_section, metrics_section
from trainer.report.page.overview import data_section, page_lead
from trainer.report.page.run_content import RunContent, read_run_content
from trainer.report.text import format_bytes, number

_SHOWN_LEVELS = 12


def model_card(
    bundle: Bundle, schema: Schema, export: ExportFormat, check: Check, file_name: str, size: int
) -> str:
    """Return the card as Markdown.

    Args:
        bundle: The run.
        schema: The inputs and outputs of the export.
        export: Its format.
        check: Its comparison with `predict`.
        file_name: The name of its file or folder.
        size: Its size in bytes.
    """
    content = read_run_content(bundle.run, datetime.now(UTC))
    sections = (
        section("use", "How to call it", _use(schema, export, file_name, size)),
        section("inputs", "Inputs and outputs", _fields(schema)),
        metrics_section(content),
        _slices(content),
        section("limits", "Limits", _limits(bundle, schema)),
        section("check", "Check of the export", _check(check, export, bundle)),
        data_section(content),
        section("origin", "Origin", _origin(bundle, schema, content)),
    )
    title = f"Model card: {schema.name}"
    return page_markdown(
        Page(title, page_lead(content), tuple(part for part in sections if part.blocks))
    )


def _use(schema: Schema, export: ExportFormat, file_name: str, size: int) -> Iterator[Block]:
    yield Paragraph(f"{file_name} ({format_bytes(size)}) is {export.title}.")
    yield CodeBlock("In Python", tuple(export.snippet(schema, file_name)))


def _fields(schema: Schema) -> Iterator[Block]:
    inputs = [
        (field.name, _type(field.dtype, field.shape), _meaning(field), _range(field))
        for field in schema.inputs
    ]
    yield table_block("Inputs", ("name", "type", "content", "in training"), inputs)
    outputs = [
        (field.name, _type(field.dtype, field.shape), _role(field, schema))
        for field in schema.outputs
    ]
    yield table_block("Outputs", ("name", "type", "content"), outputs)


def _type(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype} [{', '.join(map(str, ('rows', *shape)))}]"


def _meaning(field: InputField) -> str:
    match field.kind:
        case "number":
            text = "number; NaN if missing"
            if field.number_format is not None:
                text += "; a plain number, not the text of the table"
            return text
        case "boolean":
            return "1 for yes, 0 for no; NaN if missing"
        case "datetime":
            return "seconds since 1970-01-01T00:00:00 UTC; NaN if missing"
        case "category":
            return f"text; {field.missing!r} if missing"
        case "text":
            return "ids and weights of terms, as trainer encodes the text"
        case "tokens":
            return "ids of tokens, as trainer encodes the text"
        case "image":
            return "pixels from 0 to 255, as trainer resizes the image"
        case "encoded":
            return "encoded columns"


def _range(field: InputField) -> str:
    missing = field.missing_in_training
    empty = f"; {pluralize(missing, 'row')} without" if missing else ""
    match field.kind:
        case "number" | "datetime":
            ends = (field.minimum, field.maximum)
            low, high = (
                number(end) if isinstance(end, float | int) else end or "–" for end in ends
            )
            return f"{low} to {high}{empty}"
        case "category":
            shown = ", ".join(field.categories[:_SHOWN_LEVELS])
            more = len(field.categories) + len(field.other_categories) - _SHOWN_LEVELS
            return shown + (f" and {more:,} more" if more > 0 else "") + empty
        case _:
            return empty.removeprefix("; ")


def _role(field: OutputField, schema: Schema) -> str:
    columns = ", ".join(field.columns)
    match field.role:
        case "label":
            text = "the predicted class"
            if schema.threshold is not None:
                text += f": the second of two if its probability is at least {schema.threshold:.4g}"
            return text
        case "labels":
            return f"1 for each predicted label: those with at least {schema.threshold or 0:.4g}"
        case "probabilities":
            return columns
        case "predicted":
            return f"{columns}, in the unit of the table"
        case "low" | "high":
            share = f"{100 * (schema.coverage or 0):g}%"
            return f"{field.role} end of the {share} interval: {columns}"
        case "quantiles":
            return columns
        case "std":
            return f"standard deviation between the {schema.members} networks: {columns}"
        case "text":
            return f"{columns}: ids of tokens, up to that of the end of the text"
        case "log_probability":
            return "the logarithm of the probability of the text"
        case "unseen":
            return "whether a value did not occur in training, or could not be read"


def _slices(content: RunContent) -> Section:
    """Return the slices of the error analysis, without single rows of the data."""
    blocks = errors_section(content).blocks
    kept = [
        block
        for block in blocks
        if isinstance(block, Paragraph)
        or (isinstance(block, TableBlock) and block.table.columns[:1] == ("slice",))
    ]
    return section("slices", "Slices", kept)


def _limits(bundle: Bundle, schema: Schema) -> Iterator[Block]:
    yield from _text_limits() if bundle.task.kind.rules.has_text else _row_limits(bundle, schema)
    if any(item.kind == "encoded" for item in schema.inputs):
        yield Paragraph(
            "The inputs are rows encoded by the preprocessing of the run: "
            "trainer.load(RUN).encoders[0].transform(frame).inputs."
        )
    hidden = [item.column for item in schema.inputs if item.pseudonymized]
    if hidden:
        yield Paragraph(
            f"The values of {', '.join(hidden)} are pseudonyms, which need the key of the run: "
            "trainer.data.pseudonyms.pseudonym(value, key). The model does not hold the key."
        )
    if any(item.kind == "category" and item.ignore_case for item in schema.inputs):
        yield Paragraph(
            "Upper and lower case are the same for ASCII letters, and for others in lower case, upper "
            "case or capitalized."
        )


def _text_limits() -> Iterator[Block]:
    yield Paragraph(
        "The metrics hold for texts like those of the data below. Texts of more tokens than the input "
        "has are cut off. The code above splits texts into tokens by the tokenizers in the metadata of "
        "the file; fitted.pieces.definition has the content of a tokenizer.json."
    )


def _row_limits(bundle: Bundle, schema: Schema) -> Iterator[Block]:
    unseen = schema.output("unseen")
    flag = (
        "known only to the encoding" if unseen is None else f"flagged by the output '{unseen.name}'"
    )
    yield Paragraph(
        "The metrics hold for rows like those of the data below. For a row whose numbers are outside "
        "the ranges of training, the model extrapolates without a warning; a category that did not "
        f"occur in training is {flag}."
    )
    if bundle.task.kind.rules.has_classes:
        calibrated = any(member.trained.task.temperature != 1 for member in bundle.members)
        yield Paragraph(
            "The probabilities were calibrated by temperature scaling on the validation rows."
            if calibrated
            else "The probabilities were not calibrated (evaluate.calibrate was off)."
        )
    elif schema.coverage is None:
        yield Paragraph(
            "The numbers come without intervals (evaluate.prediction_interval was off)."
        )
    if any(item.kind in ("text", "tokens") for item in schema.inputs):
        yield Paragraph(
            "Texts are taken as encoded by trainer, because the format has no operators that split "
            "them into terms exactly: trainer.export.rows.input_arrays encodes them."
        )


def _check(check: Check, export: ExportFormat, bundle: Bundle) -> Iterator[Block]:
    yield Paragraph(
        f"Compared with trainer predict on {check.source}: {_difference_text(check, export, bundle)}"
    )
    latency = check.latency
    yield Paragraph(
        f"One row took {latency.p50:.0f} µs (median; 99th percentile {latency.p99:.0f} µs) and a call "
        f"of {latency.batch:,} rows {latency.rows_per_second:,.0f} rows a second, on the machine of "
        "the export with one thread."
    )
    for note in check.notes:
        yield Paragraph(note, "warning")


def _difference_text(check: Check, export: ExportFormat, bundle: Bundle) -> str:
    rules = bundle.task.kind.rules
    greatest, has_classes = f"{check.difference:.2g}", rules.has_classes
    if rules.has_text:
        return (
            f"{check.other_labels:,} translations or flags are different, {check.accepted_labels:,} are "
            f"accepted; the greatest relative difference of a number is {greatest} ({check.column}), "
            f"{check.tolerance:g} is accepted."
        )
    if export.quantize and has_classes:
        return (
            f"{check.other_labels:,} have another label, {check.accepted_labels:,} are accepted; the "
            f"greatest difference of a probability is {greatest} ({check.column})."
        )
    unit = "" if has_classes else " of the spread of the predictions"
    if export.quantize:
        return (
            f"the root mean square of the differences is {greatest}{unit} ({check.column}), "
            f"{check.tolerance:g} is accepted."
        )
    return (
        f"the greatest difference is {greatest}{unit} ({check.column}), {check.tolerance:g} is "
        "accepted; labels and flags of unseen values are equal."
    )


def _origin(bundle: Bundle, schema: Schema, content: RunContent) -> Iterator[Block]:
    manifest = content.report.summary.manifest
    parameters = sum(
        prod(array.shape)
        for member in bundle.members
        for layer in member.layers
        for array in layer.weights
    )
    rows = [
        ("run", schema.run),
        ("networks", f"{schema.members:,}"),
        ("parameters", f"{parameters:,}"),
        ("weights SHA-256", schema.weights_sha256),
    ]
    if manifest is not None:
        rows.append(("trained", f"{manifest.started.astimezone(UTC):%Y-%m-%d %H:%M} UTC"))
        rows.append(("trainer", manifest.version))
    yield table_block("", ("", ""), rows)
