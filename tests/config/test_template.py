from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.config.data import ColumnKind
from trainer.config.load import load_config
from trainer.config.schema import Config
from trainer.config.template import (
    Recipe,
    TemplateColumn,
    TemplateInputs,
    exact_pattern,
    render_template,
)

Write = Callable[..., Path]
WEIRD = (
    "a b", "a: b", "it's", 'say "x"', "größe", "-x", "no", "1e3", "null", "~", "#x", "*", "[a]", "{b}",
    "x,y", "a\nb", "tab\tb", "", " ", "@", "\u2028", "\x07", "%", "!x", "&x", "data.a.b", "<<",
)  # fmt: skip
COLUMNS = tuple(
    TemplateColumn(
        name,
        get_args(ColumnKind)[index % 4],
        missing=index,
        settings={"kind": get_args(ColumnKind)[index % 4]}
        if index % 3 == 0 and index % 4 != 1
        else {},
        excluded="constant" if index % 4 == 1 else "",
    )
    for index, name in enumerate(WEIRD)
)
BINARY = TemplateInputs(
    source="data/x.csv", target=("diagnosis",), task="binary", rows=569, columns=COLUMNS,
    classes=(("B", 357), ("M", 212)), positive="M", recipe=Recipe(dropout=0.1, piecewise_bins=16),
    schema="../schema.json",
)  # fmt: skip
FINDINGS = {
    "binary": BINARY,
    "multiclass": replace(
        BINARY,
        task="multiclass",
        classes=tuple((f"c{i}", i) for i in range(50)),
        positive=None,
        recipe=Recipe(
            label_smoothing=0.05,
            without_bins="there are: many",
            folds=5,
            repeats=2,
            test=0,
            linear=False,
            boosting=False,
            decayed_rate=3e-3,
        ),
    ),
    "multilabel": replace(
        BINARY,
        task="multilabel",
        target=("no", "1", "a: b"),
        classes=(),
        positive=None,
    ),
    "regression": replace(
        BINARY,
        task="regression",
        classes=(),
        positive=None,
        recipe=Recipe(
            hidden=(),
            validation=0.0,
            learned_scale=True,
            quantiles=(0.05, 0.95),
            components=4,
            linear=False,
        ),
    ),
    "bare": TemplateInputs(source="x", target=("y",), task="regression", rows=1, columns=()),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_template_loads(write: Write, name: str) -> None:
    findings = FINDINGS[name]
    path = write(render_template(findings))
    config = load_config(path).config
    assert config.data.source == str(path.parent / findings.source)
    assert config.data.target in (list(findings.target), findings.target[0])
    assert config.data.task == findings.task
    assert config.data.positive == findings.positive
    assert set(config.data.columns) == {
        column.name for column in findings.columns if column.settings and not column.excluded
    }
    assert config.data.features.exclude == [
        exact_pattern(column.name) for column in findings.columns if column.excluded
    ]
    recipe = findings.recipe
    assert config.fit.batch_size == recipe.batch_size
    assert (config.fit.folds, config.fit.repeats) == (recipe.folds, recipe.repeats)
    assert config.loss.label_smoothing == recipe.label_smoothing
    assert config.loss.predicted_quantiles == recipe.quantiles
    layers = [layer.settings.kind for layer in config.model.layers]
    assert layers.count("learned_scale") == recipe.learned_scale
    assert layers.count("dense") == len(recipe.hidden)
    assert config.evaluate.calibrate == (recipe.label_smoothing > 0)
    assert config.data.numeric.piecewise_bins == recipe.piecewise_bins
    assert config.fit.class_weight is None


@pytest.mark.parametrize(
    "source", [r"C:\data\my table.csv", "a #b.csv", "[x]/*.csv", "no", "größe.csv"]
)
def test_any_source_path(write: Write, source: str) -> None:
    config = load_config(write(render_template(replace(BINARY, source=source)))).config
    assert str(config.data.source).endswith(source)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=NAMES.filter(bool), reason=NAMES, target=NAMES.filter(bool))
def test_any_column_name(write: Write, name: str, reason: str, target: str) -> None:
    if name == target:
        return
    columns = (
        TemplateColumn(name, "numeric", 1, settings={"kind": "numeric"}),
        TemplateColumn("z", "numeric", excluded=reason),
    )
    findings = replace(
        BINARY, columns=columns, target=(target,), classes=((name, 1), ("b", 2)), positive=name,
        file_name=name,
    )  # fmt: skip
    config: Config = load_config(write(render_template(findings))).config
    assert config.data.target == target
    assert config.data.positive == name
    assert name in config.data.columns


def test_header_has_the_commands() -> None:
    lines = render_template(BINARY).splitlines()
    assert lines[0] == "# yaml-language-server: $schema=../schema.json"
    assert lines[1] == "# Predicts diagnosis (one of two classes) from data/x.csv."
    assert any(line.startswith("#   trainer fit config.yaml") for line in lines)


@given(NAMES, NAMES)
def test_exact_pattern_matches_only_its_name(name: str, other: str) -> None:
    pattern: Any = exact_pattern(name)
    assert fnmatchcase(name, pattern)
    assert fnmatchcase(other, pattern) == (other == name)


@pytest.mark.parametrize("scale", [None, "log", "power"])
def test_scale_of_a_skewed_target_is_a_usable_comment(write: Write, scale: str | None) -> None:
    text = render_template(replace(FINDINGS["regression"], scale=scale))
    assert ("# target_scale:" in text) == (scale is not None)
    used = text.replace("# target_scale:", "target_scale:")
    config = load_config(write(used)).config
    assert config.data.target_scale == (scale or "auto")
