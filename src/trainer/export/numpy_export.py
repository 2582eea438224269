"""The format numpy: a readable module, mostly of fewer than 200 lines, and a file with its arrays.

The module needs only NumPy and has only the functions that the model needs; everything that was fitted
is in the file. It takes the arrays that other exports take, or lists with text, numbers and None.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Mapping, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trainer.errors import Problem, RunError
from trainer.export.bundle import Bundle
from trainer.export.formats import ExportFormat, Model
from trainer.export.numpy_arrays import Tree, encoder_arrays
from trainer.export.numpy_columns import ColumnsCode
from trainer.export.numpy_layers import (
    FUNCTIONS,
    NetworkCode,
    UnsupportedLayerError,
    layer_problems,
    network_code,
)
from trainer.export.numpy_tasks import target_arrays, task_code
from trainer.export.raw_schema import input_names
from trainer.export.schema import InputField, Schema
from trainer.runs.archives import write_arrays

Array = NDArray[Any]

MODULE, ARRAYS, SCHEMA = "model.py", "model.npz", "schema.json"
MAX_WIDTH = 100
MAX_LISTED = 40
"""The module lists at most this many columns."""

_LOAD = '''def load(path):
    """Return the arrays in a file as a tree of dicts."""
    tree = {}
    with np.load(path) as arrays:
        for name, array in arrays.items():
            node = tree
            *groups, last = name.split("/")
            for group in groups:
                node = node.setdefault(group, {})
            node[last] = array
    return tree
'''
_DECODED = '''def decoded(tree):
    """Return a tree with the weights that are stored as integers."""
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == {"codes", "scale"}:
        return tree["codes"] * tree["scale"]
    if tree.keys() == {"codes", "values"}:
        return tree["values"][tree["codes"]]
    return {name: decoded(part) for name, part in tree.items()}
'''
_MEANINGS = {
    "number": "number: None or NaN where missing",
    "boolean": "boolean: 1 or 0, None or NaN where missing",
    "datetime": "datetime: ISO 8601 text, or seconds since 1970 (UTC); None or NaN where missing",
    "category": "category: text, None where missing",
    "text": "text: ids and weights of terms (rows, terms, 2)",
    "tokens": "tokens: ids of tokens (rows, length)",
    "image": "image: pixels from 0 to 255 (rows, height, width, channels)",
    "encoded": "encoded: an input of the network",
}


class NumpyFormat(ExportFormat):
    """A folder with a module, its arrays, and the schema."""

    name: ClassVar[str] = "numpy"
    file_name: ClassVar[str] = "numpy_model"
    suffix: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = "a Python module that needs only NumPy, and a file with its arrays"

    def problems(self, bundle: Bundle) -> list[Problem]:
        """Return the layers that the module cannot compute."""
        problems = [
            problem
            for member in bundle.members
            for problem in layer_problems(member.network, member.where)
        ]
        if problems:
            return list(dict.fromkeys(problems))
        try:
            build_module(bundle, self.schema(bundle))
        except UnsupportedLayerError as error:
            expected, fix = "layers that the module can compute", "use another format, such as onnx"
            return [Problem(str(bundle.run.path), expected, str(error), fix)]
        return []

    def write(self, bundle: Bundle, schema: Schema, path: Path) -> None:
        """Write the folder."""
        try:
            code, arrays = build_module(bundle, schema)
        except UnsupportedLayerError as error:
            expected, fix = "layers that the module can compute", "use another format, such as onnx"
            raise RunError(Problem(str(bundle.run.path), expected, str(error), fix)) from error
        path.mkdir()
        (path / MODULE).write_text(code, encoding="utf-8")
        with (path / ARRAYS).open("wb") as file:
            write_arrays(file, arrays, deflate=True)
        (path / SCHEMA).write_text(schema.to_json() + "\n", encoding="utf-8")

    def load(self, path: Path) -> Model:
        """Import the module."""
        spec = importlib.util.spec_from_file_location("exported_model", path / MODULE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        # The module is checked, not kept.
        shutil.rmtree(path / "__pycache__", ignore_errors=True)

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            return dict(module.predict(inputs))

        return run

    def snippet(self, schema: Schema, file_name: str) -> list[str]:
        """Return code that predicts a row."""
        if file_name.isidentifier() and not iskeyword(file_name):
            lines = [f"from {file_name}.model import predict"]
        else:
            lines = ["import sys", "", f"sys.path.insert(0, {file_name!r})"]
            lines += ["from model import predict"]
        if any(field.kind in ("text", "tokens", "image") for field in schema.inputs):
            lines = ["import numpy as np", *lines]
        lines += ["", "print(predict({"]
        lines += [f"    {field.name!r}: {_example(field, schema)}," for field in schema.inputs]
        return [*lines, "}))"]


def build_module(bundle: Bundle, schema: Schema) -> tuple[str, dict[str, Array]]:
    """Return the code of the module and the arrays of its file.

    Raises:
        UnsupportedLayerError: There is no code for a layer.
    """
    missing = {field.column: field.missing or "" for field in schema.inputs}
    encoders = [
        encoder_arrays(preprocessing, input_names(bundle, index), missing)
        for index, preprocessing in enumerate(bundle.encoders)
    ]
    networks: list[NetworkCode] = []
    members: Tree = {}
    for number, member in enumerate(bundle.members):
        preprocessing = bundle.encoders[member.encoder]
        code = network_code(member.network, preprocessing.inputs[0].name)
        bodies = [known.lines for known in networks]
        if code.lines not in bodies:
            networks.append(code)
            bodies.append(code.lines)
        members[f"{number:04d}"] = {
            "encoder": np.array(member.encoder),
            "network": np.array(bodies.index(code.lines)),
            "target": target_arrays(member.trained.task),
            **code.weights,
        }
    tree: Tree = {
        "encoders": {f"{number:04d}": encoder for number, encoder in enumerate(encoders)},
        "members": members,
    }
    if len(schema.inputs) > MAX_LISTED:
        tree["columns"] = {
            "names": np.array([field.name for field in schema.inputs]),
            "kinds": np.array([field.kind for field in schema.inputs]),
        }
    arrays = dict(_flattened(tree))
    is_coded = any(name.startswith("members/") and name.endswith("/codes") for name in arrays)
    parts = [
        _introduction(schema),
        _LOAD,
        *([_DECODED] if is_coded else []),
        _setup(schema, encoders, is_coded=is_coded),
        *ColumnsCode(encoders).functions(),
        *_functions(networks),
        *_networks(networks),
        *task_code(bundle.task, [member.trained.task for member in bundle.members], schema),
    ]
    return "\n\n".join(parts), arrays


def _introduction(schema: Schema) -> str:
    """Return the docstring, the imports, and the classes."""
    title = f"{schema.name}: {schema.task} of {', '.join(schema.target)}"
    title = title.replace("\\", "/").replace('"""', "'''").replace("\n", " ")
    lines = [
        f'"""{title}',
        "",
        f"Written by `trainer export` from the run {schema.run}; needs only NumPy.",
        "`predict` takes the values of each column in `COLUMNS`:",
        "",
        *(
            f"    {_MEANINGS[kind]}"
            for kind in dict.fromkeys(field.kind for field in schema.inputs)
        ),
        '"""',
        "",
        "from pathlib import Path",
        "",
        "import numpy as np",
    ]
    if schema.classes:
        lines += ["", f"CLASSES = np.array({list(schema.classes)!r})"]
    return "\n".join(lines) + "\n"


def _setup(schema: Schema, encoders: list[Tree], *, is_coded: bool) -> str:
    """Return the code that loads the arrays, and the columns with what their values are."""
    members = 'ARRAYS["members"]'
    if is_coded:
        members = f"decoded({members})"
    lines = [
        f'ARRAYS = load(Path(__file__).with_name("{ARRAYS}"))',
        'ENCODERS = list(ARRAYS["encoders"].values())',
        f"MEMBERS = list({members}.values())",
    ]
    if len(schema.inputs) <= MAX_LISTED:
        items = [f"{field.name!r}: {field.kind!r}," for field in schema.inputs]
        lines += ["COLUMNS = {", *_in_lines(items), "}"]
    else:
        lines.append(
            'COLUMNS = dict(zip(*(ARRAYS["columns"][n].tolist() for n in ("names", "kinds"))))'
        )
    if any("categories" in encoder for encoder in encoders):
        lines += [
            "for p in ENCODERS:",
            '    for category in p.get("categories", {}).values():',
            '        numbers = category["numbers"].tolist()',
            '        category["known"] = dict(zip(category["keys"].tolist(), numbers))',
        ]
    return "\n".join(lines) + "\n"


def _in_lines(items: Sequence[str]) -> Iterator[str]:
    """Yield indented lines with as many items as fit."""
    line = "   "
    for item in items:
        if len(line) + len(item) >= MAX_WIDTH and line.strip():
            yield line
            line = "   "
        line += f" {item}"
    yield line


def _functions(networks: list[NetworkCode]) -> list[str]:
    """Return the activation functions, each once."""
    used = dict.fromkeys(name for network in networks for name in network.functions)
    texts = dict.fromkeys(text for name in used for text in FUNCTIONS[name])
    return [f"{text}\n" for text in texts]


def _networks(networks: list[NetworkCode]) -> list[str]:
    """Return a function for each network; those of the same layers share one."""
    texts = []
    for number, network in enumerate(networks):
        lines = [f"def network_{number}(inputs, w):", *(f"    {line}" for line in network.lines)]
        texts.append("\n".join([*lines, f"    return {network.output}"]) + "\n")
    names = ", ".join(f"network_{number}" for number in range(len(networks)))
    return [*texts, f"NETWORKS = [{names}]\n"]


def _flattened(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Array]]:
    """Yield each array with its path."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _example(field: InputField, schema: Schema) -> str:
    """Return the example value of an input as code."""
    value = schema.example.get(field.column)
    match field.kind:
        case "category" | "datetime":
            return f"[{None if value is None else str(value)!r}]"
        case "number" | "boolean":
            return f"[{None if value is None else float(value)!r}]"
        case _:
            return f"np.zeros({(1, *field.shape)!r}, '{field.dtype}')"
