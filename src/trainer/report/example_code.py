"""Generate Python code that reproduces a prediction of a run with json, numpy and Keras only, and with
Pillow for images, tokenizers for parts of words.

To be short, the code handles only the kinds of columns and the settings that occur in the run. It reads
the fitted preprocessing from `preprocessing.json`, temperature and threshold from `decisions.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from trainer.config.losses import Loss, center_quantile
from trainer.config.task_rules import TASK_RULES
from trainer.data.preprocessing import Preprocessing
from trainer.data.targets import FittedTarget
from trainer.inputs import CATEGORIES, FEATURES, IMAGE, TERMS, TOKENS
from trainer.report.example_encoding import UsedColumns, encoding_branches, encoding_functions
from trainer.report.example_texts import text_imports

_MAX_VALUES, _MAX_TEXT = 40, 1_000
"""A row with more columns, or longer texts, is read from `example.json`."""
_LINE = 96
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Example:
    """The run and the row that the code is generated for.

    Attributes:
        path: The run directory.
        preprocessing: The fitted preprocessing of each network.
        values: The raw row by column.
        members: The directories of the members, relative to the run; empty for a single network.
        is_calibrated: Whether a network has a temperature other than 1.
        has_custom: Whether the network has custom layers.
        loss: The loss, which determines the outputs of a number.
    """

    path: str
    preprocessing: Sequence[Preprocessing]
    values: Mapping[str, str | bool | float | None]
    members: Sequence[str] = ()
    is_calibrated: bool = False
    has_custom: bool = False
    loss: Loss = field(default_factory=Loss)


def example_code(example: Example) -> tuple[str, ...]:
    """Generate the lines of code; they print the prediction by class or column, then the label."""
    return tuple(_code(example))


def _code(example: Example) -> Iterator[str]:
    used = UsedColumns(example.preprocessing)
    target = example.preprocessing[0].target
    yield "import json"
    yield from text_imports(used.texts, used.tokens)
    yield from ("", "import keras", "import numpy as np")
    if used.images:
        yield "from PIL import Image, ImageOps"
    if any(column.pieces is not None for column in used.tokens):
        yield "from tokenizers import Tokenizer"
    yield ""
    if example.has_custom:
        yield "# Import the module of the custom layers here, so that Keras can load them."
    yield f"run = {example.path!r}"
    yield from _row(example.values)
    yield ""
    yield from encoding_functions(used)
    network = list(_network(example, used, target))
    if example.members:
        yield "def predict(run):"
        yield from (_INDENT + line for line in network)
        yield f"{_INDENT}return p"
        yield ""
        yield ""
        yield f"members = {list(example.members)!r}"
        yield 'p = np.mean([predict(f"{run}/{member}") for member in members], axis=0)'
        yield f'fitted = json.load(open(f"{{run}}/{example.members[0]}/preprocessing.json", "rb"))'
    else:
        yield from network
    yield from _printed(target)


def _row(values: Mapping[str, str | bool | float | None]) -> Iterator[str]:
    texts = (value for value in values.values() if isinstance(value, str))
    if len(values) > _MAX_VALUES or sum(map(len, texts)) > _MAX_TEXT:
        yield 'row = json.load(open(f"{run}/example.json", "rb"))["values"]'
        return
    line = "row = {"
    for index, (name, value) in enumerate(values.items()):
        item = f"{name!r}: {_literal(value)}" + (", " if index < len(values) - 1 else "}")
        if len(line) + len(item) > _LINE and line.strip():
            yield line.rstrip()
            line = _INDENT
        line += item
    yield line


def _literal(value: str | bool | float | None) -> str:
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return repr(int(value)) if is_whole else repr(value)  # type: ignore[arg-type]


def _network(example: Example, used: UsedColumns, target: FittedTarget) -> Iterator[str]:
    yield 'fitted = json.load(open(f"{run}/preprocessing.json", "rb"))'
    if "embedding" in used.encodings:
        yield "x, ids = [], []"
    elif used.has_features:
        yield "x = []"
    if used.texts:
        yield "terms, first = [], 0"
    if used.tokens:
        yield "tokens = []"
    yield 'for column in fitted["columns"]:'
    yield '    value = row[column["name"]]'
    branches = list(encoding_branches(used))
    if len(branches) == 1:
        yield from (f"    {line}" for line in branches[0][1])
    else:
        for index, (condition, lines) in enumerate(branches):
            yield f"    {'elif' if index else 'if'} {condition}:"
            yield from (f"        {line}" for line in lines)
    yield 'model = keras.models.load_model(f"{run}/checkpoints/best/model.keras")'
    yield from _inputs(example.preprocessing)
    yield 'output = model.predict(inputs, verbose=0)[0].astype("float64")'
    yield from _decoded(example, target)


def _inputs(networks: Sequence[Preprocessing]) -> Iterator[str]:
    """Make arrays of the row: one, or a dict if the network has several inputs."""
    values = {
        FEATURES: "x", CATEGORIES: "ids", IMAGE: "image", TERMS: "terms", TOKENS: "tokens",
    }  # fmt: skip
    arrays = {
        spec.name: f'np.array([{values[spec.name]}], "{spec.dtype}")'
        for network in networks
        for spec in network.inputs
    }
    if len(arrays) == 1:
        yield f"inputs = {next(iter(arrays.values()))}"
        return
    items = ", ".join(f'"{name}": {array}' for name, array in arrays.items())
    yield f"inputs = {{{items}}}"
    # A column that is constant in the training rows of a fold is in no input of its network.
    if any(len(network.inputs) < len(arrays) for network in networks):
        yield "inputs = {name: array for name, array in inputs.items() if array.size}"
        yield "if len(inputs) == 1:"
        yield "    (inputs,) = inputs.values()"


def _decoded(example: Example, target: FittedTarget) -> Iterator[str]:
    """Convert outputs to probabilities, or to values in the target's unit."""
    rules = TASK_RULES[target.task]
    if not rules.has_classes:
        yield from _unscaled_lines(example)
        return
    yield "p = output[-1:]" if rules.has_positive_class else "p = output"
    if not example.is_calibrated:
        return
    yield 'temperature = json.load(open(f"{run}/decisions.json", "rb"))["temperature"]'
    yield 'epsilon = np.finfo("float32").eps'
    yield "p = np.clip(p, epsilon, 1 - epsilon)"
    if rules.predicts_most_likely:
        yield "p = p ** (1 / temperature)"
        yield "p = p / p.sum()"
    else:
        yield "p = 1 / (1 + np.exp(-np.log(p / (1 - p)) / temperature))"


def _unscaled_lines(example: Example) -> Iterator[str]:
    targets = [preprocessing.target for preprocessing in example.preprocessing]
    loss = example.loss
    if loss.kind.has_mean:
        yield f"output = output[::{loss.outputs_per_target}]"
    elif quantiles := loss.predicted_quantiles:
        yield f"output = np.sort(output.reshape(-1, {len(quantiles)}))[:, {center_quantile(quantiles)}]"
    if any(set(target.scale) != {1.0} or set(target.offset) != {0.0} for target in targets):
        yield 'target = fitted["target"]'
        yield 'p = output * target["scale"] + target["offset"]'
    else:
        yield "p = output"
    kinds = {
        transform.kind
        for target in targets
        for transform in target.transforms
        if transform is not None
    }
    if not kinds:
        return
    yield 'for index, transform in enumerate(fitted["target"]["transforms"]):'
    yield "    if transform is not None:"
    if kinds == {"log"}:
        yield "        value = np.exp(p[index])"
    else:
        if "log" in kinds:
            yield '        if transform["kind"] == "log":'
            yield "            value = np.exp(p[index])"
            yield "        else:"
        indent = " " * (12 if "log" in kinds else 8)
        yield f"{indent}sign = 1 if p[index] >= 0 else -1"
        yield f'{indent}power = transform["exponent"] if sign == 1 else 2 - transform["exponent"]'
        yield f"{indent}base = max(power * abs(p[index]), -1)"
        yield f"{indent}logs = np.log1p(base) / power if power else abs(p[index])"
        yield f"{indent}value = sign * np.expm1(logs)"
    yield '        p[index] = np.clip(value, transform["low"], transform["high"])'


def _printed(target: FittedTarget) -> Iterator[str]:
    rules = TASK_RULES[target.task]
    names = f'fitted["target"]["{"classes" if target.classes else "columns"}"]'
    yield f"names = {names}{'[1:]' if rules.has_positive_class else ''}"
    yield "print(dict(zip(names, p.tolist())))"
    if rules.predicts_most_likely:
        yield "print(names[p.argmax()])"
    if not rules.has_threshold:
        return
    yield 'threshold = json.load(open(f"{run}/decisions.json", "rb"))["threshold"]'
    if rules.has_positive_class:
        yield 'print(fitted["target"]["classes"][int(float(p[0]) >= threshold)])'
    else:
        yield "print([name for name, value in zip(names, p.tolist()) if value >= threshold])"
