"""The schema described: as JSON Schema for editors, as a reference page, as a list for terminals.

Owns: the form of the three. Does not own: any word in them about a setting (the schema's).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trainer.config.matching import EXTENDS, ROOT
from trainer.config.objectives import DEFAULT_LOSS, DEFAULT_METRICS, LOSS_HEADS, METRICS
from trainer.config.optimizers import DEFAULT_OPTIMIZER
from trainer.config.schema import Config
from trainer.config.sections import Section
from trainer.config.specs import (
    ChoiceSpec,
    ListSpec,
    MappingSpec,
    ScalarSpec,
    SectionSpec,
    ShorthandSpec,
    Spec,
    TaggedSpec,
    UnionSpec,
    describe_shorthand,
    describe_spec,
    section_fields,
)
from trainer.config.yaml_writer import flow_text

EXTENDS_DESCRIPTION = (
    "Another config that this one builds on, relative to this file. Mappings merge key by key, "
    "everything else here takes the place of what stands there."
)


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a config file, shorthands included."""
    schema = Config.model_json_schema(mode="validation")
    schema["properties"] = {
        EXTENDS: {"type": "string", "minLength": 1, "description": EXTENDS_DESCRIPTION},
        **schema["properties"],
    }
    _allow_nameless_optimizer(schema)
    # A file that extends another may leave out what the other has.
    required = schema.pop("required")
    schema["anyOf"] = [{"required": required}, {"required": [EXTENDS]}]
    schema["$defs"]["Data"]["required"] = []
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trainer config",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _allow_nameless_optimizer(schema: dict[str, Any]) -> None:
    """Settings without a name are those of the default optimizer."""
    definitions: dict[str, Any] = schema["$defs"]
    (named,) = [
        definition
        for definition in definitions.values()
        if definition.get("properties", {}).get("name", {}).get("const") == DEFAULT_OPTIMIZER
    ]
    nameless = {**named, "properties": {**named["properties"], "name": False}}
    nameless["required"] = [key for key in named.get("required", []) if key != "name"]
    definitions["NamelessOptimizer"] = nameless
    optimizer = schema["properties"]["optimizer"]
    optimizer["anyOf"] = [
        *optimizer["anyOf"],
        {"$ref": "#/$defs/NamelessOptimizer"},
        {"type": "null"},
    ]


def reference_markdown() -> str:
    """The reference page: every setting with its type, default and meaning."""
    parts = [
        "# Reference of the config\n",
        "Written by `trainer schema --markdown`. Every setting is optional but for those marked "
        "required. Unknown keys are errors.\n",
        f"`{EXTENDS}`: {EXTENDS_DESCRIPTION}\n",
    ]
    for title, text, rows in _sections():
        level = "##" if title == "top level" or title in section_fields(Config) else "###"
        parts.append(f"{level} {title}\n")
        if text:
            parts.append(f"{text}\n")
        if rows:
            parts.append(_table(("setting", "type", "default", "meaning"), rows))
    parts.append("## Metrics\n")
    parts.append(_table(("metric", "better", "tasks", "meaning"), list(_metric_rows())))
    parts.append("## Losses\n")
    parts.append(_table(("loss", "heads"), list(_loss_rows())))
    return "\n".join(parts)


_Row = tuple[str, ...]


def _sections() -> Iterator[tuple[str, str, list[_Row]]]:
    """Every section once: its path as a title, what it is, one row a setting."""
    seen: set[str] = set()
    for title, text, rows in _section(ROOT, ""):
        # Initialisers, regularisers and constraints are the same wherever they stand.
        name = re.sub("kernel_|bias_|activity_|head_", "", title.rsplit(".", maxsplit=1)[-1])
        about = f"{name} {text} {rows}"
        if about not in seen or "." not in title:
            seen.add(about)
            yield title, text, rows


def _section(shape: SectionSpec, path: str) -> Iterator[tuple[str, str, list[_Row]]]:
    rows = [
        _row(name, shape.model.model_fields[name], inner)
        for name, inner in section_fields(shape.model).items()
    ]
    yield path or "top level", _docstring(shape.model), rows
    for name, inner in section_fields(shape.model).items():
        yield from _inner_sections(inner, f"{path}.{name}" if path else name)


def _inner_sections(shape: Spec, path: str) -> Iterator[tuple[str, str, list[_Row]]]:
    match shape:
        case ScalarSpec() | ChoiceSpec():
            return
        case SectionSpec():
            yield from _section(shape, path)
        case ListSpec(item):
            yield from _inner_sections(item, f"{path}.N")
        case MappingSpec(value):
            yield from _inner_sections(value, f"{path}.NAME")
        case ShorthandSpec(inner=inner):
            yield from _inner_sections(inner, path)
        case UnionSpec(members):
            for member in members:
                yield from _inner_sections(member, path)
        case TaggedSpec(by_name=True):
            yield from _named_sections(shape, path)
        case TaggedSpec(members=members):
            # The one key of each kind holds its settings: a section of its own would say nothing.
            for tag, fields in members:
                inner = section_fields(fields.model)[tag]
                info = fields.model.model_fields[tag]
                deeper = list(_inner_sections(inner, f"{path}.{tag}"))
                if deeper and deeper[0][0] == f"{path}.{tag}":
                    title, text, rows = deeper.pop(0)
                    about = (info.description or text).replace("\n", " ")
                    short = describe_shorthand(inner) if isinstance(inner, ShorthandSpec) else ""
                    about += f" May be written short, as {short}." if short else ""
                    yield title, about, rows
                else:
                    yield f"{path}.{tag}", "", [_row(tag, info, inner)]
                yield from deeper


def _named_sections(shape: TaggedSpec, path: str) -> Iterator[tuple[str, str, list[_Row]]]:
    """What all members have, then what each has besides or presets otherwise."""
    models = [fields.model for _, fields in shape.members]
    shared = next(
        model
        for model in models[0].__mro__
        if issubclass(model, Section) and all(issubclass(other, model) for other in models)
    )
    yield from _section(SectionSpec(shared), path)
    for tag, fields in shape.members:
        rows = [
            _row(name, info, section_fields(fields.model)[name])
            for name, info in fields.model.model_fields.items()
            if name != "name"
            and (
                name not in shared.model_fields or shared.model_fields[name].default != info.default
            )
        ]
        yield f"{path} ({tag})", _docstring(fields.model), rows


def _row(name: str, info: FieldInfo, shape: Spec) -> _Row:
    meaning = info.description or _docstring(_model_of(shape))
    default = "required" if info.is_required() else f"`{flow_text(_plain(info.default))}`"
    if isinstance(info.default, Section) and len(default) > 40:
        default = "see below"
    return (
        f"`{name}`",
        _escaped(_type_words(shape)),
        _escaped(default),
        _escaped(" ".join(meaning.split())),
    )


def _type_words(shape: Spec) -> str:
    match shape:
        case SectionSpec() | TaggedSpec():
            return "a mapping, see below"
        case ListSpec(item=ShorthandSpec() | TaggedSpec() | SectionSpec()):
            return "a list, see below"
        case MappingSpec(value=SectionSpec()):
            return "a mapping from names, see below"
        case ShorthandSpec(inner=inner):
            short = describe_shorthand(shape)
            return f"{short}, or {_type_words(inner)}" if short else _type_words(inner)
        case UnionSpec(members, nullable):
            words = " or ".join(_type_words(member) for member in members)
            if all(isinstance(member, ScalarSpec) for member in members):
                words = describe_spec(shape)
            return f"{words}, or null" if nullable else words
        case _:
            return describe_spec(shape)


def _model_of(shape: Spec) -> type[Section] | None:
    match shape:
        case SectionSpec(model):
            return model
        case ShorthandSpec(inner=inner):
            return _model_of(inner)
        case _:
            return None


def _docstring(model: type[Section] | None) -> str:
    if model is None or not model.__dict__.get("__doc__"):
        return ""
    return " ".join((inspect.getdoc(model) or "").split())


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _metric_rows() -> Iterator[_Row]:
    for name, facts in METRICS.items():
        tasks = ", ".join(
            f"{task} (auto)" if name in DEFAULT_METRICS[task] else task for task in facts.tasks
        )
        yield f"`{name}`", facts.better, tasks, _escaped(facts.meaning)


def _loss_rows() -> Iterator[_Row]:
    for name, heads in LOSS_HEADS.items():
        if name != "auto":
            words = [f"{head} (auto)" if DEFAULT_LOSS[head] == name else head for head in heads]
            yield f"`{name}`", ", ".join(words)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(header: _Row, rows: list[_Row]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
