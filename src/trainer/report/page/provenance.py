"""Config, environment, and commands to reproduce, use or resume a run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

from pydantic import ValidationError

from trainer.config.dump import resolved_settings
from trainer.config.nodes import KeyPath, Node, Source, join_key, to_python
from trainer.config.schema import Config
from trainer.config.task_rules import rules_of
from trainer.config.yaml_reader import MAX_BYTES, parse_yaml
from trainer.config.yaml_writer import flow_text
from trainer.errors import RunError, command_text
from trainer.report.page.content import Block, CodeBlock, Section, section, table_block
from trainer.report.page.overview import durations
from trainer.report.page.run_content import RunContent
from trainer.report.tables import next_step
from trainer.report.text import cell, truncate
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_bytes
from trainer.runs.manifest import Manifest

_MAX_LENGTH = 200
_CHANGES = {True: ", modified", False: "", None: ", modifications unknown"}


def config_section(content: RunContent) -> Section:
    """Make the section with settings that differ from their defaults, and all settings."""
    return section("config", "Config", _config(content))


def _config(content: RunContent) -> Iterator[Block]:
    text = _text(content.run)
    document = parse_yaml(text, Source(str(content.run.config), content.run.path))
    if document.root is None or document.problems:
        return
    defaults = default_settings(content.settings)
    marked: set[int] = set()
    rows = []
    for path, lines, value in _settings(document.root):
        if defaults is not None and any(key not in defaults for key in _keys(value, path)):
            marked |= lines
            rows.append((join_key(path), truncate(flow_text(value), _MAX_LENGTH)))
    title = "Non-default settings"
    yield table_block(title, ("setting", "value"), rows)
    marks = " (non-default ones are highlighted)" if rows else ""
    yield CodeBlock(
        f"All settings{marks}", tuple(text.splitlines()), frozenset(marked), is_collapsed=True
    )


def _settings(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, set[int], Any]]:
    """Yield the key path, lines (from 0) and value of each setting; a list of scalars is one value."""
    if node.entries:
        for key, entry in node.entries.items():
            yield from _settings(entry.node, (*path, key))
    elif node.items and any(item.entries or item.items for item in node.items):
        for index, item in enumerate(node.items):
            yield from _settings(item, (*path, index))
    else:
        yield (
            path,
            {part.location.line - 1 for part in (node, *(node.items or ()))},
            to_python(node),
        )


def default_settings(settings: Mapping[str, Any]) -> set[str] | None:
    """Return the dotted keys of settings that have their default value.

    None if the settings are not valid in this version.
    """
    try:
        parsed = Config.model_validate(dict(settings))
    except ValidationError:
        return None
    non_default = parsed.model_dump(mode="python", exclude_defaults=True)
    return set(_keys(resolved_settings(parsed))) - set(_keys(non_default))


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


def environment_section(content: RunContent) -> Section:
    """Make the section with versions, device and hashes."""
    manifest = content.report.summary.manifest
    entries = [] if manifest is None else _environment(manifest)
    rows = [(name, value) for name, value in entries if value]
    return section("environment", "Environment", [table_block("", ("", ""), rows)])


def _environment(manifest: Manifest) -> Iterator[tuple[str, str]]:
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
    yield "packages", ", ".join(f"{name} {version}" for name, version in manifest.packages.items())
    if manifest.git is not None:
        yield "git", manifest.git.commit + _CHANGES[manifest.git.dirty]


def commands_section(content: RunContent) -> Section:
    """Make the section with commands to reproduce, evaluate, use and resume the run."""
    return section("commands", "Commands", _commands(content))


def _prediction(run: str, *, is_generated: bool) -> str:
    if is_generated:
        command = command_text("predict", run, "--count", "1000", "--seed", "1", "-o", "OUT")
        return f"{command}    # draw samples"
    return f"{command_text('predict', run, 'FILE', '-o', 'OUT')}    # predict the rows of FILE"


def _commands(content: RunContent) -> Iterator[Block]:
    manifest = content.report.summary.manifest
    if manifest is not None and manifest.command:
        yield CodeBlock("This run was created by", (cell(shlex.join(manifest.command)),))
    rules = None if manifest is None else rules_of(manifest.task)
    run = cell(str(content.run.path))
    lines = [
        f"{command_text('fit', cell(str(content.run.config)))}    # train again from scratch",
        f"{command_text('eval', run)}    # evaluate",
        _prediction(run, is_generated=rules is not None and rules.is_generated),
    ]
    status = content.report.summary.status
    if status == "finished" and not content.members:
        lines.append(f"{command_text('resume', run, 'fit.epochs=+20')}    # train 20 more epochs")
    for name, command in next_step(content.run, status):
        if name == "resume with":
            lines.append(f"{cell(command)}    # resume training")
    yield CodeBlock("Commands to reproduce and use this run", tuple(lines))
