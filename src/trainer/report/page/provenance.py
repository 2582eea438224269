"""Config, environment, and the commands that reproduce or continue a run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

from pydantic import ValidationError

from trainer.config.dump import resolved_settings
from trainer.config.nodes import KeyPath, Node, Source, join_key, to_python
from trainer.config.schema import Config
from trainer.config.yaml_reader import MAX_BYTES, parse_yaml
from trainer.config.yaml_writer import flow_text
from trainer.errors import RunError, command_text
from trainer.report.page.content import Block, Lines, Section, grid, section
from trainer.report.page.facts import RunFacts
from trainer.report.page.overview import durations
from trainer.report.tables import next_step
from trainer.report.text import cell, truncate
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_bytes
from trainer.runs.manifest import Manifest

_LONGEST = 200
_CHANGES = {True: ", changed since", False: "", None: ", changes unknown"}


def config(facts: RunFacts) -> Section:
    """The settings that differ from their defaults, and all settings."""
    return section("config", "Config", _config(facts))


def _config(facts: RunFacts) -> Iterator[Block]:
    text = _text(facts.run)
    document = parse_yaml(text, Source(str(facts.run.config), facts.run.path))
    if document.root is None or document.problems:
        return
    usual = usual_settings(facts.settings)
    marked: set[int] = set()
    rows = []
    for path, lines, value in _written(document.root):
        if usual is not None and any(key not in usual for key in _keys(value, path)):
            marked |= lines
            rows.append((join_key(path), truncate(flow_text(value), _LONGEST)))
    title = "Settings that differ from their default, or have none"
    yield grid(title, ("setting", "value"), rows)
    marks = " (those of the table above highlighted)" if rows else ""
    yield Lines(f"All settings{marks}", tuple(text.splitlines()), frozenset(marked), is_folded=True)


def _written(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, set[int], Any]]:
    """Each setting, a list of scalars as one: its key path, its lines from 0, its value."""
    if node.entries:
        for key, entry in node.entries.items():
            yield from _written(entry.node, (*path, key))
    elif node.items and any(item.entries or item.items for item in node.items):
        for index, item in enumerate(node.items):
            yield from _written(item, (*path, index))
    else:
        yield path, {one.location.line - 1 for one in (node, *(node.items or ()))}, to_python(node)


def usual_settings(settings: Mapping[str, Any]) -> set[str] | None:
    """The settings that have their default value, by dotted key.

    None where the settings are not those of this version.
    """
    try:
        parsed = Config.model_validate(dict(settings))
    except ValidationError:
        return None
    other = parsed.model_dump(mode="python", exclude_defaults=True)
    return set(_keys(resolved_settings(parsed))) - set(_keys(other))


def _keys(value: Any, path: KeyPath = ()) -> Iterator[str]:
    match value:
        case dict() if value:
            for key, item in value.items():
                yield from _keys(item, (*path, key))
        case [_, *_]:
            for index, item in enumerate(value):
                yield from _keys(item, (*path, index))
        case _:
            yield join_key(path)


def _text(run: RunDirectory) -> str:
    try:
        return read_bytes(run.config, MAX_BYTES).decode("utf-8", "replace")
    except RunError:
        return ""


def environment(facts: RunFacts) -> Section:
    """Versions, device, process, hashes."""
    manifest = facts.report.summary.manifest
    rows = [] if manifest is None else [(key, value) for key, value in _facts(manifest) if value]
    return section("environment", "Environment", [grid("", ("", ""), rows)])


def _facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "started", f"{manifest.started.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    yield "duration", durations(manifest)
    yield "parameters", "" if manifest.parameters is None else f"{manifest.parameters:,}"
    yield "weights SHA-256", manifest.weights_sha256 or ""
    yield "seed", str(manifest.seed)
    yield "device", manifest.device or ""
    yield "threads", "" if manifest.threads is None else str(manifest.threads)
    yield "engine", manifest.engine or ""
    yield "processor", manifest.processor
    yield "python", f"{manifest.python} on {manifest.platform}" if manifest.python else ""
    yield "packages", ", ".join(f"{name} {text}" for name, text in manifest.packages.items())
    if manifest.git is not None:
        yield "git", manifest.git.commit + _CHANGES[manifest.git.dirty]


def commands(facts: RunFacts) -> Section:
    """Commands that reproduce, evaluate and continue the run."""
    return section("commands", "Commands", _commands(facts))


def _commands(facts: RunFacts) -> Iterator[Block]:
    manifest = facts.report.summary.manifest
    if manifest is not None and manifest.command:
        yield Lines("This run was made by", (cell(shlex.join(manifest.command)),))
    run = cell(str(facts.run.path))
    lines = [
        f"{command_text('fit', cell(str(facts.run.config)))}    # train it again from scratch",
        f"{command_text('eval', run)}    # evaluate it",
        f"{command_text('predict', run, 'FILE', '-o', 'OUT')}    # predict the rows of FILE",
    ]
    status = facts.report.summary.status
    if status == "finished" and not facts.members:
        lines.append(f"{command_text('resume', run, 'fit.epochs=+20')}    # train 20 more epochs")
    for name, command in next_step(facts.run, status):
        if name == "resume with":
            lines.append(f"{cell(command)}    # continue training")
    yield Lines("To reproduce and use it", tuple(lines))
