"""A generator that a worker serves, and the description of its requests (`/schema`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainer.export.generator_schema import GeneratorSchema, SampleColumn
from trainer.serving.bodies import ARROW_TYPE, CSV_TYPE, JSON_TYPE
from trainer.serving.generator_model import GeneratorModel
from trainer.serving.openapi import ERROR, error_responses, reference
from trainer.serving.samples import (
    MAX_SEED,
    PNG_TYPE,
    check_form,
    encode_samples,
    max_samples,
    read_sample_request,
    sample_form,
)
from trainer.serving.settings import Limits

SEED_HEADER = "x-trainer-seed"
_TYPES = {"integer": "integer", "float": "number", "boolean": "boolean"}
_FORMATS = {"date": "date", "datetime": "date-time"}


@dataclass(frozen=True, slots=True)
class SampleResponse:
    """The body of a response, its content type, the number of samples, and further headers."""

    body: bytes
    media_type: str
    count: int
    headers: dict[str, str]


@dataclass(frozen=True)
class ServedGenerator:
    """A generator with what is computed once for it; the attributes are those of `models.Served`.

    Attributes:
        model: The generator.
        number: Its place among the models.
        headers: The headers of its responses.
        api: The description of its requests, OpenAPI 3.1.
    """

    model: GeneratorModel
    number: int
    headers: dict[str, str]
    api: dict[str, Any]
    monitor: None = None

    @property
    def listed(self) -> dict[str, Any]:
        """Its entry in `/models`."""
        schema = self.model.schema
        images = [] if schema.images is None else ["image"]
        return {
            "name": self.model.source.name,
            "run": schema.run,
            "task": "generate",
            "columns": ["count", "seed", *(["class"] if schema.conditions else [])],
            "predictions": images or list(schema.column_names),
        }

    def respond(
        self, body: bytes, content_type: str, accepted: str | None, limits: Limits
    ) -> SampleResponse:
        """Return the response to a request for samples.

        Raises:
            RequestError: The request is refused.
        """
        schema = self.model.schema
        form = sample_form(accepted, schema)
        request = read_sample_request(body, content_type, schema, limits)
        check_form(form, request)
        samples = self.model.sample(request.count, request.seed, request.only)
        encoded, kind = encode_samples(samples, schema, form)
        headers = {**self.headers, SEED_HEADER: str(request.seed)}
        return SampleResponse(encoded, kind, request.count, headers)


def serve_generator(
    model: GeneratorModel, number: int, headers: dict[str, str], limits: Limits
) -> ServedGenerator:
    """Return a generator with what is computed once for it; see `ServedGenerator`."""
    api = samples_api(model.schema, max_samples(model.schema, limits))
    return ServedGenerator(model, number, headers, api)


def samples_api(schema: GeneratorSchema, max_count: int) -> dict[str, Any]:
    """Return the description of the requests of a generator.

    Args:
        schema: What it generates.
        max_count: Largest number of samples of a request.
    """
    properties: dict[str, Any] = {
        "count": {
            "type": "integer", "minimum": 1, "maximum": max_count, "default": 1,
            "description": "Number of samples.",
        },
        "seed": {
            "type": ["integer", "null"], "minimum": 0, "maximum": MAX_SEED,
            "description": "The same seed gives the same samples, of which a smaller number is the "
            f"beginning. Without one, it is random; the header {SEED_HEADER} has it.",
        },
    }  # fmt: skip
    if schema.conditions:
        properties["class"] = {
            "enum": [*schema.classes, None],
            "description": "The class of all samples; null for classes as frequent as in training.",
        }
    request = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "examples": [{"count": min(8, max_count), "seed": 1}],
    }
    what = "images" if schema.images is not None else "rows"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": schema.name,
            "version": schema.run,
            "description": f"New {what} of a generator trained by `trainer`.",
        },
        "paths": {"/predict": _path(schema)},
        "components": {
            "schemas": {"Samples": request, "Sample": _sample(schema), "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "x-trainer": {
            "run": schema.run,
            "generates": what,
            "classes": list(schema.classes) if schema.conditions else [],
            "max_count": max_count,
        },
    }


def _path(schema: GeneratorSchema) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    content: dict[str, Any] = {
        JSON_TYPE: {"schema": {"type": "array", "items": reference("Sample")}}
    }
    if schema.images is not None:
        content[PNG_TYPE] = binary
    if schema.has_table:
        content |= {CSV_TYPE: {"schema": {"type": "string"}}, ARROW_TYPE: binary}
    ok = {
        "description": "The samples, in the form that the header Accept names.",
        "content": content,
        "headers": {SEED_HEADER: {"schema": {"type": "integer"}}},
    }
    return {
        "post": {
            "summary": "Draw new samples.",
            "requestBody": {"content": {JSON_TYPE: {"schema": reference("Samples")}}},
            "responses": {"200": ok, **error_responses()},
            "security": [{}, {"token": []}],
        }
    }


def _sample(schema: GeneratorSchema) -> dict[str, Any]:
    if schema.images is not None:
        height, width, channels = schema.images.shape
        text = f"A PNG file of {width} × {height} {'color' if channels == 3 else 'grey'} pixels."
        image = {"type": "string", "contentEncoding": "base64", "description": text}
        given = {"class": {"enum": list(schema.classes)}} if schema.conditions else {}
        return {"type": "object", "properties": {**given, "image": image}}
    properties = {column.name: _column(column) for column in schema.columns}
    if schema.conditions:
        properties[str(schema.target)] = {"enum": list(schema.classes)}
    return {"type": "object", "properties": properties}


def _column(column: SampleColumn) -> dict[str, Any]:
    kind = _TYPES.get(column.dtype, "string")
    content: dict[str, Any] = {"type": [kind, "null"] if column.missing else kind}
    if column.dtype in _FORMATS:
        content["format"] = _FORMATS[column.dtype]
    elif column.is_number:
        content |= {"minimum": column.minimum, "maximum": column.maximum}
    elif kind == "string":
        content["enum"] = [*column.levels, *([None] if column.missing else [])]
    return content
