"""Requests for samples of a generator, and their responses: rows, or images as PNG.

{"count": 10, "seed": 1, "class": "7"}  →  a list of rows; CSV, Arrow or PNG by the header Accept
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from trainer.data.generated_samples import png_bytes
from trainer.errors import did_you_mean
from trainer.export.generator_schema import IMAGE_OUTPUT, GeneratorSchema
from trainer.serving.bodies import (
    ARROW_TYPE,
    ARROW_TYPES,
    CSV_TYPE,
    JSON_TYPE,
    accepted_types,
    is_json,
    media_type,
)
from trainer.serving.generator_model import DrawnSamples
from trainer.serving.predictions import encode_table
from trainer.serving.problems import RequestError, RequestProblem, refuse, shown
from trainer.serving.settings import Limits

SampleForm = Literal["json", "csv", "arrow", "png"]
PNG_TYPE = "image/png"
MAX_SEED = 2**63 - 1
_SETTINGS = ("count", "seed", "class")
_MAX_VALUES = 2**25
"""Maximum number of values in all samples of a request, which limits the memory of a worker."""
_RANDOM_SEEDS = 2**31
"""Random seeds are below it: short enough to copy, and exact as numbers of JavaScript."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """What a request asks for.

    Attributes:
        count: Number of samples.
        seed: The seed: the one in the request, or a random one.
        only: The class of all samples; None for classes as frequent as in the training rows.
    """

    count: int
    seed: int
    only: int | None


def max_samples(schema: GeneratorSchema, limits: Limits) -> int:
    """Return the largest number of samples of a request."""
    return max(1, min(limits.max_rows, _MAX_VALUES // max(schema.values, 1)))


def read_sample_request(
    body: bytes, content_type: str, schema: GeneratorSchema, limits: Limits
) -> SampleRequest:
    """Return what a body asks for; an empty one is like {}.

    Raises:
        RequestError: It is no JSON object, or settings are unknown or out of range; lists all problems.
    """
    kind = media_type(content_type)
    if not body.strip():
        body = b"{}"
    elif not is_json(kind):
        found = f"the content type '{kind[:100]}'" if kind else "no content type"
        raise refuse(415, "JSON", found, f"set the header Content-Type to {JSON_TYPE}")
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise refuse(400, "valid JSON", str(error)) from None
    if not isinstance(values, dict):
        expected = 'an object such as {"count": 10, "seed": 1}'
        raise refuse(422, expected, shown(values))
    problems: list[RequestProblem] = []
    for name in values:
        if name not in _SETTINGS:
            fix = did_you_mean(name, _SETTINGS, "remove it: a generator has no columns to fill")
            problems.append(RequestProblem(", ".join(_SETTINGS), "another setting", fix, name))
    max_count = max_samples(schema, limits)
    too_many = "draw them in parts with different seeds"
    if max_count == limits.max_rows:
        too_many += ", or start trainer serve with a larger --max-rows"
    count = _whole_number(values, "count", 1, range(1, max_count + 1), problems, too_many)
    drawn = secrets.randbelow(_RANDOM_SEEDS) if values.get("seed") is None else 0
    seed = _whole_number(values, "seed", drawn, range(MAX_SEED + 1), problems)
    only = _class_code(values.get("class"), schema, problems)
    if problems:
        raise RequestError(422, problems)
    return SampleRequest(count, seed, only)


def _whole_number(
    values: dict[str, Any],
    name: str,
    default: int,
    allowed: range,
    problems: list[RequestProblem],
    too_large: str = "",
) -> int:
    value = values.get(name)
    if value is None:
        return default
    if type(value) is int and value in allowed:
        return value
    fix = too_large if type(value) is int and value > allowed[-1] else ""
    expected = f"a whole number from {allowed[0]:,} to {allowed[-1]:,}"
    problems.append(RequestProblem(expected, shown(value), fix, name))
    return default


def _class_code(value: Any, schema: GeneratorSchema, problems: list[RequestProblem]) -> int | None:
    if value is None:
        return None
    if not schema.conditions:
        expected = "no class: the generator was not trained with generation.condition"
        problems.append(RequestProblem(expected, shown(value), "remove it", "class"))
        return None
    # The classes of a table of numbers or yes/no values are texts like the cells of a CSV file.
    text = shown(value) if isinstance(value, bool | int | float) else value
    if text in schema.classes:
        return schema.classes.index(text)
    listed = ", ".join(schema.classes[:20])
    fix = did_you_mean(str(text)[:100], schema.classes, "choose one of them, or null for all")
    problems.append(RequestProblem(f"a class ({listed})", shown(value), fix, "class"))
    return None


def sample_form(accepted: str | None, schema: GeneratorSchema) -> SampleForm:
    """Return the form of the response that the header Accept names; JSON if it names none.

    Raises:
        RequestError: Samples have no such form.
    """
    kinds = accepted_types(accepted or "*/*")
    if JSON_TYPE in kinds:
        return "json"
    if PNG_TYPE in kinds and schema.images is not None:
        return "png"
    if CSV_TYPE in kinds and schema.has_table:
        return "csv"
    if any(kind in ARROW_TYPES for kind in kinds) and schema.has_table:
        return "arrow"
    possible = [JSON_TYPE, *([PNG_TYPE] if schema.images is not None else [])]
    possible += [CSV_TYPE, ARROW_TYPE] if schema.has_table else []
    if any(kind in ("*/*", "application/*", "image/*", "text/html") for kind in kinds):
        return "json"
    raise refuse(406, f"an Accept of {', '.join(possible)}", f"'{(accepted or '')[:100]}'")


def check_form(form: SampleForm, request: SampleRequest) -> None:
    """Check that the samples of a request fit into the form of its response.

    Raises:
        RequestError: They do not.
    """
    if form == "png" and request.count > 1:
        expected, fix = "1: a PNG file holds one image", f"accept {JSON_TYPE}"
        problem = RequestProblem(expected, f"{request.count:,}", fix, "count")
        raise RequestError(422, [problem])


def encode_samples(
    samples: DrawnSamples, schema: GeneratorSchema, form: SampleForm
) -> tuple[bytes, str]:
    """Return the body of a response, and its content type."""
    match form:
        case "json" if schema.images is not None:
            return orjson.dumps(_image_objects(samples, schema)), JSON_TYPE
        case "json":
            return orjson.dumps(schema.table(samples.outputs, samples.draw).to_dicts()), JSON_TYPE
        case "png":
            return png_bytes(samples.outputs[IMAGE_OUTPUT][0]), PNG_TYPE
    return encode_table(schema.table(samples.outputs, samples.draw), form)


def _image_objects(samples: DrawnSamples, schema: GeneratorSchema) -> list[dict[str, str]]:
    objects = []
    for image, code in zip(samples.outputs[IMAGE_OUTPUT], samples.draw.classes, strict=True):
        content = {"class": schema.classes[code]} if schema.conditions else {}
        objects.append({**content, "image": base64.b64encode(png_bytes(image)).decode("ascii")})
    return objects
