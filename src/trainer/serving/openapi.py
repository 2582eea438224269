"""`/schema`: the requests and responses of a model, in OpenAPI 3.1 and as a list of typed columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from trainer.export.schema import InputField, OutputField, Schema
from trainer.serving.bodies import ARROW_TYPE, CSV_TYPE, JSON_TYPE, MULTIPART_TYPE
from trainer.serving.columns import EXPECTED, request_value

_MAX_CATEGORIES = 200
"""More categories are not listed as examples."""
_TYPES: dict[str, list[str]] = {
    "number": ["number", "null"],
    "boolean": ["boolean", "null"],
    "datetime": ["string", "null"],
    "category": ["string", "number", "boolean", "null"],
    "text": ["string", "null"],
    "tokens": ["string", "null"],
    "image": ["string"],
}
ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["errors", "count"],
    "properties": {
        "count": {"type": "integer", "description": "The number of all errors."},
        "errors": {
            "type": "array",
            "description": "The first errors.",
            "items": {
                "type": "object",
                "required": ["expected", "found"],
                "properties": {
                    "row": {"type": "integer", "description": "The row, from 0."},
                    "column": {"type": "string"},
                    "expected": {"type": "string"},
                    "found": {"type": "string"},
                    "fix": {"type": "string"},
                },
            },
        },
    },
}
_ERRORS = {
    "400": "The body cannot be parsed.",
    "401": "The token is missing or wrong.",
    "413": "The body is too large, or has too many rows.",
    "415": "The body is of another type.",
    "422": "Columns are missing or unknown, or values are of another type.",
    "503": "The server has too many requests at the moment.",
}


def openapi(schema: Schema) -> dict[str, Any]:
    """Return the description of the requests of a model."""
    fields: dict[str, InputField] = {}
    for field in schema.inputs:
        fields.setdefault(field.column, field)
    row = {
        "type": "object",
        "required": list(fields),
        "additionalProperties": False,
        "properties": {name: _input(field) for name, field in fields.items()},
    }
    values = schema.example or {name: field.typical for name, field in fields.items()}
    row["examples"] = [
        {name: request_value(field, values.get(name)) for name, field in fields.items()}
    ]
    prediction = {
        "type": "object",
        "properties": {
            name: _prediction(output) for output in schema.outputs for name in output.columns
        },
    }
    columns = {
        "type": "object",
        "description": "One list per column.",
        "required": list(fields),
        "properties": {name: {"type": "array"} for name in fields},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": schema.name,
            "version": schema.run,
            "description": f"Predictions of a network trained by `trainer`: {schema.task} of "
            f"{', '.join(schema.target)}.",
        },
        "paths": {"/predict": _predict_path(fields), "/explain": _EXPLAIN},
        "components": {
            "schemas": {"Row": row, "Columns": columns, "Prediction": prediction, "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "x-trainer": {"run": schema.run, "inputs": _described_inputs(schema)},
    }


def combined_api(apis: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the description of several models, each below `/models/NAME`."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Error": ERROR}
    for number, (name, api) in enumerate(apis.items()):
        content = orjson.dumps(api["paths"]).decode()
        for component, described in api["components"]["schemas"].items():
            if component == "Error":
                continue
            content = content.replace(
                f'"#/components/schemas/{component}"', f'"#/components/schemas/{component}{number}"'
            )
            schemas[f"{component}{number}"] = described
        paths |= {f"/models/{name}{path}": value for path, value in orjson.loads(content).items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": ", ".join(apis), "version": "1"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "x-trainer": {"models": {name: api["x-trainer"] for name, api in apis.items()}},
    }


def json_response(content: object) -> Response:
    """Return a response with JSON."""
    return Response(orjson.dumps(content), media_type=JSON_TYPE)


def _described_inputs(schema: Schema) -> list[Any]:
    """Return the typed inputs, without what only the preprocessing needs."""
    inputs: list[Any] = orjson.loads(schema.to_json())["inputs"]
    for field, column in zip(inputs, schema.inputs, strict=True):
        del field["fitted"]
        field["typical"] = request_value(column, column.typical)
        if column.pseudonymized:
            field.update(categories=[], other_categories=[])
    return inputs


def _input(field: InputField) -> dict[str, Any]:
    content: dict[str, Any] = {
        "type": _TYPES[field.kind],
        "description": f"{EXPECTED[field.kind].capitalize()}; null if unknown.",
    }
    match field.kind:
        case "number" | "datetime" if field.minimum is not None:
            content["description"] += f" From {field.minimum} to {field.maximum} in training."
        case "category":
            known = [] if field.pseudonymized else list(field.categories)
            content["examples"] = known[:_MAX_CATEGORIES]
            content["description"] += " Values that do not occur in training are flagged as unseen."
        case "image":
            content["contentEncoding"] = "base64"
            content["description"] = "An image file as base64."
    if field.kind == "datetime":
        content["description"] += f" Format: {field.date_format or 'ISO 8601'}."
    return content


def _prediction(output: OutputField) -> dict[str, Any]:
    match output.role:
        case "label":
            return {"type": "string"}
        case "text":
            return {"type": "string", "description": "The translation."}
        case "unseen":
            what = "Whether a value does not occur in training."
            return {"type": "boolean", "description": what}
        case "probabilities":
            return {"type": "number", "minimum": 0, "maximum": 1}
    return {"type": "number"}


def reference(name: str) -> dict[str, str]:
    """Return a reference to a component of the description."""
    return {"$ref": f"#/components/schemas/{name}"}


def _responses(content: dict[str, Any]) -> dict[str, Any]:
    return {"200": {"description": "The predictions.", "content": content}, **error_responses()}


def error_responses() -> dict[str, Any]:
    """Return the responses to requests that are refused, by status."""
    return {
        status: {
            "description": text,
            "content": {JSON_TYPE: {"schema": reference("Error")}},
        }
        for status, text in _ERRORS.items()
    }


def _predict_path(fields: Mapping[str, InputField]) -> dict[str, Any]:
    one_of = [
        reference("Row"),
        {"type": "array", "items": reference("Row")},
        reference("Columns"),
    ]
    predictions = [reference("Prediction"), {"type": "array", "items": reference("Prediction")}]
    binary = {"schema": {"type": "string", "format": "binary"}}
    content: dict[str, Any] = {
        JSON_TYPE: {"schema": {"anyOf": one_of}},
        CSV_TYPE: {"schema": {"type": "string"}},
        ARROW_TYPE: binary,
    }
    if any(field.kind == "image" for field in fields.values()) and len(fields) == 1:
        content |= {"image/*": binary, MULTIPART_TYPE: {"schema": {"type": "object"}}}
    unknown = {
        "name": "unknown",
        "in": "query",
        "description": "Whether columns that the model does not have are an error or ignored.",
        "schema": {"enum": ["error", "ignore"], "default": "error"},
    }
    return {
        "post": {
            "summary": "Predict rows; the response has the form of the request.",
            "parameters": [unknown],
            "requestBody": {"required": True, "content": content},
            "responses": _responses(
                {
                    JSON_TYPE: {"schema": {"anyOf": [*predictions, {"type": "object"}]}},
                    CSV_TYPE: {"schema": {"type": "string"}},
                    ARROW_TYPE: binary,
                }
            ),
            "security": [{}, {"token": []}],
        }
    }


_EXPLAIN = {
    "post": {
        "summary": "How the prediction for a row changes when a column gets its typical value.",
        "requestBody": {"required": True, "content": {JSON_TYPE: {"schema": reference("Row")}}},
        "responses": _responses({JSON_TYPE: {"schema": {"type": "object"}}}),
        "security": [{}, {"token": []}],
    }
}
