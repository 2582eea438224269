"""Settings named in messages and help texts exist in the schema."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.config.describe import json_schema

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])
SECTIONS = ("data", "model", "optimizer", "fit", "evaluate", "runtime", "sweep", "track")
SETTING_NAME = re.compile(rf"(?<![\w./-])(?:{'|'.join(SECTIONS)})(?:\.[a-z_0-9]+)+(?![\w/(-])")
FILE_NAME = re.compile(
    r"\.(keras|tflite|csv|yaml|parquet|npz|json|jsonl|ndjson|py|html|arrow|txt|zip|gz|zst|pkl|onnx|h5|safetensors)$"
)


def keys() -> set[str]:
    """Return every setting as a dotted path; items of lists and names of columns are `*`."""
    schema = json_schema()
    result: set[str] = set()

    def walk(node: Any, path: tuple[str, ...], seen: tuple[str, ...]) -> None:
        if not isinstance(node, dict):
            return
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name in seen:
                return
            walk(schema["$defs"][name], path, (*seen, name))
        for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
            walk(choice, path, seen)
        for name, child in node.get("properties", {}).items():
            result.add(".".join((*path, name)))
            walk(child, (*path, name), seen)
        for child in (node.get("items"), node.get("additionalProperties")):
            if isinstance(child, dict):
                result.add(".".join((*path, "*")))
                walk(child, (*path, "*"), seen)

    walk(schema, (), ())
    return result


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the string literals of a Python file and the constant parts of f-strings."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def is_module(name: str) -> bool:
    """Return whether a dotted name is in a module of the package, such as `data.prepare.prepare`."""
    package, module = name.split(".")[:2]
    return (ROOT / "src" / "trainer" / package / f"{module}.py").exists()


def test_settings_exist() -> None:
    known = [re.compile(re.escape(key).replace(r"\*", r"[^.]+")) for key in keys()]
    unknown = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]}"
        for path in SOURCES
        for line, text in texts(path)
        for match in SETTING_NAME.finditer(text)
        if not FILE_NAME.search(match[0])
        if not is_module(match[0])
        if not any(pattern.fullmatch(match[0]) for pattern in known)
    ]
    assert unknown == []
