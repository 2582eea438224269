"""The code in the report encodes rows like the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from trainer.config.load import load_config
from trainer.data.dataset import Dataset
from trainer.data.prepare import prepare
from trainer.data.preprocessing import Preprocessing
from trainer.data.raw_rows import example_row, raw_row
from trainer.data.target_transforms import TargetTransform
from trainer.data.targets import FittedTarget
from trainer.metrics.activations import apply_temperature
from trainer.report.example_code import Example, example_code
from trainer.runs.example import ExampleRow, read_example, write_example
from trainer.task_names import TaskName

CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "robust": {"numeric": {"scale": "robust", "impute": "most_frequent"}},
    "minmax": {
        "numeric": {"scale": "minmax", "impute": "constant", "constant": -3, "indicator": True}
    },
    "quantile": {"numeric": {"scale": "quantile", "smooth_clip": 2.5, "indicator": True}},
    "bins": {"numeric": {"piecewise_bins": 4, "indicator": True}},
    "bins and clip": {
        "numeric": {"piecewise_bins": 7},
        "columns": {"a": {"piecewise_bins": 3}},
        "clean": {"outliers": {"method": "iqr", "factor": 0.5, "action": "clip"}},
    },
    "calendar": {"datetime": {"parts": ["weekday", "month", "hour", "elapsed", "year"]}},
    "day of the year": {
        "datetime": {"parts": ["yearday", "elapsed", "week"]},
        "numeric": {"indicator": True, "piecewise_bins": 5},
    },
    "day of the year only": {"datetime": {"parts": ["yearday"]}, "numeric": {"indicator": True}},
    "calendar of one column": {"columns": {"when": {"parts": ["hour"]}}},
    "target means": {"categorical": {"target_mean": True, "min_count": 12}},
    "target means and ordinal": {
        "categorical": {
            "target_mean": True,
            "encode": "ordinal",
            "impute": "most_frequent",
            "ignore_case": True,
        },
    },
    "days": {"datetime": {"parts": ["date", "elapsed"]}},
    "clip": {"clean": {"outliers": {"method": "iqr", "factor": 0.5, "action": "clip"}}},
    "none": {"numeric": {"scale": "none", "smooth_clip": 3.0}},
    "ordinal": {"categorical": {"encode": "ordinal", "impute": "most_frequent"}},
    "embedding": {"categorical": {"encode": "embedding", "min_count": 4, "unknown": "rare"}},
    "rare": {"categorical": {"min_count": 4, "max_levels": 3}},
    "rare own": {"categorical": {"min_count": 4, "unknown": "rare", "impute": "separate_level"}},
    "fold case": {"columns": {"color": {"ignore_case": True}}},
    "mixed": {"columns": {"color": {"encode": "embedding"}, "size": {"encode": "ordinal"}}},
}


def table() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    count = 90
    colors = ["red", "Red", "blue", "green ", "日本語", 'it\'s "it"\n', "🐟", "x"]
    start = np.datetime64("1966-02-27T05:06:07.000008", "us")
    when = start + (rng.integers(0, 86400 * 365 * 30, count) * 10**6).astype("timedelta64[us]")
    frame = pl.DataFrame(
        {
            "a": rng.lognormal(1, 2, count),
            "whole": rng.integers(-5, 5, count),
            "color": rng.choice(colors, count, p=[0.3, 0.1, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05]),
            "size": rng.choice(["small", "medium", "large"], count),
            "paid": rng.choice(["yes", "no"], count),
            "when": [str(item) for item in when],
            "y": rng.choice(["no", "yes"], count),
        }
    )
    missing = {name: rng.random(count) < 0.15 for name in ("a", "color", "paid", "when", "size")}
    return frame.with_columns(
        pl.when(pl.Series(is_missing)).then(None).otherwise(pl.col(name)).alias(name)
        for name, is_missing in missing.items()
    )


def dataset(root: Path, data: dict[str, Any]) -> Dataset:
    table().write_parquet(root / "table.parquet")
    data = {"source": "table.parquet", "target": "y", **data}
    model = {"layers": [{"dense": {"units": 2, "activation": "relu"}}]}
    (root / "config.yaml").write_text(yaml.safe_dump({"name": "t", "data": data, "model": model}))
    config = load_config(root / "config.yaml", []).config
    return prepare(config)


def encoded(root: Path, fitted: Dataset, values: Any) -> dict[str, np.ndarray]:
    """Run the part of the code before Keras and return the inputs."""
    (root / "preprocessing.json").write_text(json.dumps(fitted.preprocessing.to_json()))
    lines = list(example_code(Example(str(root), [fitted.preprocessing], values)))
    lines.remove("import keras")
    end = next(index for index, line in enumerate(lines) if line.startswith("model = "))
    (inputs,) = [line for line in lines if line.startswith("inputs = ")]
    space: dict[str, Any] = {}
    exec("\n".join([*lines[:end], inputs]), space)
    result = space["inputs"]
    return result if isinstance(result, dict) else {fitted.preprocessing.inputs[0].name: result}


def assert_encoded(
    result: dict[str, np.ndarray], expected: dict[str, np.ndarray], row: int
) -> None:
    assert list(result) == list(expected)
    for name, values in expected.items():
        assert result[name].dtype == values.dtype
        np.testing.assert_allclose(result[name][0], values[row], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("case", CASES)
def test_code_encodes_rows_like_the_package(tmp_path: Path, case: str) -> None:
    fitted = dataset(tmp_path, CASES[case])
    names = [column.name for column in fitted.preprocessing.columns]
    assert len(names) == 6
    frame = fitted.table.frame.select(names)
    odd = frame[:3].with_columns(
        color=pl.Series(["never seen", None, "RED"]), size=pl.Series([None, "huge", "small"])
    )
    rows = pl.concat([frame, odd])
    expected = fitted.preprocessing.transform(rows).inputs
    for index in (*range(0, 90, 9), 90, 91, 92):
        row = raw_row(fitted.preprocessing, rows[index : index + 1])
        kept = json.loads(json.dumps(row))
        result = encoded(tmp_path, fitted, kept)
        assert_encoded(result, expected, index)


def test_numbers_and_dates_stored_as_text(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "price": [f"${1000 * index:,.2f}" for index in range(1, 61)],
            "share": [f"{index / 2}%" for index in range(60)],
            "comma": [f"{index},25" for index in range(60)],
            "sold": [f"{13 + index % 15}/0{1 + index % 9}/2020" for index in range(60)],
            "y": ["no", "yes"] * 30,
        }
    )
    frame.write_csv(tmp_path / "written.csv")
    fitted = dataset(tmp_path, {"source": "written.csv"})
    table = fitted.table.frame
    expected = fitted.preprocessing.transform(table).inputs
    row = raw_row(fitted.preprocessing, table[3:4])
    assert row == {"price": 4000, "share": 1.5, "comma": 3.25, "sold": "2020-04-16"}
    for index in range(0, 60, 7):
        row = raw_row(fitted.preprocessing, table[index : index + 1])
        result = encoded(tmp_path, fitted, row)
        assert_encoded(result, expected, index)


def write_photos(folder: Path) -> None:
    """Write images of several modes and shapes, alternately of two classes."""
    generator = np.random.default_rng(0)

    def noise(height: int, width: int, channels: int = 3) -> Image.Image:
        coarse = generator.integers(0, 256, (height // 8, width // 8, channels)).astype(np.uint8)
        image = Image.fromarray(coarse[..., 0] if channels == 1 else coarse)
        return image.resize((width, height), Image.Resampling.BICUBIC)

    turned = Image.Exif()
    turned[0x0112] = 6
    images = {
        "large.jpg": noise(240, 400),
        "turned.jpg": noise(48, 80),
        "alpha.png": noise(40, 40, 4),
        "palette.png": noise(40, 64).quantize(8),
        "grey.png": noise(64, 40, 1),
        "small.png": noise(8, 8),
    }
    for number, (name, image) in enumerate(images.items()):
        place = folder / ("a", "b")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        options = {"exif": turned} if name == "turned.jpg" else {}
        if name == "palette.png":
            options = {"transparency": 0}
        image.save(place / name, **options)


@pytest.mark.parametrize(
    "settings",
    [{"size": 24}, {"size": [8, 12], "color": "grey"}, {"resize": 20, "crop": [16, 12]}],
    ids=str,
)
def test_code_decodes_images_like_the_package(tmp_path: Path, settings: dict[str, Any]) -> None:
    write_photos(tmp_path / "photos")
    split = {"train": "photos", "test": "photos", "validation": "photos"}
    fitted = dataset(tmp_path, {"source": split, "target": "label", "image": settings})
    table = fitted.table.frame.select("path")
    expected = fitted.preprocessing.transform(table).inputs
    for index in range(6):
        row = raw_row(fitted.preprocessing, table[index : index + 1])
        result = encoded(tmp_path, fitted, row)["image"]
        np.testing.assert_array_equal(result[0], expected["image"][index : index + 1][0])
    text = "\n".join(example_code(Example("run", [fitted.preprocessing], row)))
    assert "x = []" not in text
    assert ("box" in text) == ("resize" in settings)


def test_target_means_of_days(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "sold": [None if row == 9 else f"2020-04-{1 + row // 6:02d}" for row in range(60)],
            "size": [row % 7 for row in range(60)],
            "y": ["no", "yes", "yes"] * 20,
        }
    )
    frame.write_csv(tmp_path / "sales.csv")
    parts = {"parts": ["date", "week"]}
    fitted = dataset(tmp_path, {"source": "sales.csv", "datetime": parts})
    later = pl.DataFrame({"sold": ["2020-05-01"], "size": [1]})
    table = pl.concat([fitted.table.frame.select("sold", "size"), later], how="vertical_relaxed")
    expected = fitted.preprocessing.transform(table).inputs["features"]
    assert "sold.date.target_mean" in fitted.preprocessing.feature_names
    for index in (0, 9, 30, 60):
        row = raw_row(fitted.preprocessing, table[index : index + 1])
        result = encoded(tmp_path, fitted, row)
        np.testing.assert_allclose(result["features"][0], expected[index], rtol=2e-6, atol=2e-6)


def test_cases_cover_every_kind_and_setting(tmp_path: Path) -> None:
    texts = {case: json.dumps(dataset(tmp_path, data).preprocessing.to_json())
             for case, data in CASES.items()}  # fmt: skip
    for part in ('"datetime"', '"boolean"', '"has_missing_level": true'):
        assert part in texts["defaults"], part
    assert '"indicator": true' in texts["quantile"]
    assert '"action": "clip"' in texts["clip"]
    assert '"ignore_case": true' in texts["fold case"]
    assert '"year", "week", "day"' in texts["defaults"]
    assert '"rare": 0' not in json.dumps(
        [item for item in json.loads(texts["rare"])["columns"] if item["name"] == "color"]
    )


def test_code_is_minimal(tmp_path: Path) -> None:
    fitted = dataset(tmp_path, {"features": {"include": ["whole"]}})
    row = raw_row(fitted.preprocessing, fitted.table.frame[:1])
    lines = example_code(Example("run", [fitted.preprocessing], row))
    text = "\n".join(lines)
    assert len([line for line in lines if line]) < 20
    for word in ("quantiles", "smooth_clip", "level_code", "temperature", "indicator", "dated"):
        assert word not in text
    assert all(len(line) <= 110 for line in lines)


def test_wide_row_is_read_from_its_file(tmp_path: Path) -> None:
    frame = pl.DataFrame({f"c{index}": [1.0, 2, 3] * 20 for index in range(50)})
    frame = frame.with_columns(y=pl.Series(["a", "b"] * 30))
    frame.write_csv(tmp_path / "wide.csv")
    fitted = dataset(tmp_path, {"source": "wide.csv"})
    row = example_row(fitted)
    lines = example_code(Example("run", [fitted.preprocessing], row.values))
    assert 'row = json.load(open(f"{run}/example.json", "rb"))["values"]' in lines


def test_untrusted_strings_are_escaped(tmp_path: Path) -> None:
    hostile = "'\n\"; import os # \u202e\\"
    fitted = dataset(tmp_path, {})
    row = {**raw_row(fitted.preprocessing, fitted.table.frame[:1]), "color": hostile}
    lines = example_code(Example(hostile, [fitted.preprocessing], row))
    assert all(line.isprintable() for line in lines)
    compile("\n".join(lines), "example", "exec")
    (run,) = [line for line in lines if line.startswith("run = ")]
    assert run == f"run = {hostile!r}"


def test_example_is_a_complete_validation_row(tmp_path: Path) -> None:
    fitted = dataset(tmp_path, {})
    example = example_row(fitted)
    assert example.split == "validation"
    assert fitted.assignment[example.row] == 1
    assert None not in example.values.values()


def test_example_round_trip(tmp_path: Path) -> None:
    from trainer.runs.directory import RunDirectory

    run = RunDirectory(tmp_path)
    assert read_example(run) is None
    example = ExampleRow("validation", 3, {"a": 0.1, "b": None, "c": "x", "d": True})
    write_example(run, example)
    assert read_example(run) == example


def decoded(root: Path, target: FittedTarget, output: Any, temperature: float = 1.0) -> Any:
    """Run the part of the code that decodes model outputs."""
    fitted = Preprocessing(rows=2, columns=(), target=target)
    (root / "preprocessing.json").write_text(json.dumps(fitted.to_json()))
    (root / "decisions.json").write_text(json.dumps({"temperature": temperature}))
    example = Example(str(root), [fitted], {}, is_calibrated=temperature != 1)
    lines = list(example_code(example))
    start = next(index for index, line in enumerate(lines) if line.startswith("output = "))
    end = next(index for index, line in enumerate(lines) if line.startswith("names = "))
    space = {"output": np.array(output, np.float64), "np": np, "json": json, "run": str(root)}
    space["fitted"] = fitted.to_json()
    exec("\n".join(lines[start + 1 : end]), space)
    return space["p"]


def target_of(task: TaskName, count: int, **fields: Any) -> FittedTarget:
    names = tuple(f"n{index}" for index in range(count))
    columns = names if task in ("multilabel", "regression") else ("y",)
    defaults = {"classes": () if task in ("multilabel", "regression") else names}
    defaults |= {"offset": (), "scale": (), "class_counts": (), "prior": ()}
    return FittedTarget(task=task, reason="", columns=columns, rows=2, **{**defaults, **fields})


@pytest.mark.parametrize("sign", [-3.0, -0.2, 0.0, 0.4, 30.0])
@pytest.mark.parametrize("scaled", [False, True])
def test_code_inverts_target_scaling(tmp_path: Path, sign: float, scaled: bool) -> None:
    transforms = [
        TargetTransform(kind="power", exponent=exponent, low=-1e4, high=1e4)
        for exponent in (-1.0, 0.0, 0.5, 1.0, 2.0, 3.5)
    ]
    transforms.append(TargetTransform(kind="log", exponent=0.0, low=1e-3, high=1e5))
    output = [sign * (1 + index / 10) for index in range(8)]
    for some in ((*transforms, None), (*transforms[:6], None, None), (transforms[6],) * 8, ()):
        target = target_of(
            "regression",
            8,
            offset=(0.5 if scaled else 0.0,) * 8,
            scale=(2.0 if scaled else 1.0,) * 8,
            transforms=some,
        )
        expected = target.inverse_transform(np.array([output]))[0]
        with np.errstate(divide="ignore"):
            result = decoded(tmp_path, target, output)
        np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.3, 4.0])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_code_applies_the_temperature(tmp_path: Path, task: TaskName, temperature: float) -> None:
    target = target_of(task, 2 if task == "binary" else 3)
    for output in ([0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [1e-9, 1 - 1e-8, 1e-8]):
        p = np.array(output[-1:] if task == "binary" else output, np.float32)
        given = p if task != "binary" else np.array([1 - p[0], p[0]])
        expected = p if temperature == 1 else apply_temperature(task, p[None], temperature)[0]
        result = decoded(tmp_path, target, given, temperature)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-12)


def test_multilabel_lists_use_class_names(tmp_path: Path) -> None:
    fitted = dataset(tmp_path, {"target": "color", "target_separator": "e"})
    values = raw_row(fitted.preprocessing, fitted.table.frame[:1])
    lines = list(example_code(Example(str(tmp_path), [fitted.preprocessing], values)))
    assert 'names = fitted["target"]["classes"]' in lines
    assert len(fitted.preprocessing.target.classes) == fitted.preprocessing.target.width


@pytest.mark.parametrize(("task", "label"), [("binary", "n0"), ("multilabel", "[]")])
def test_code_compares_with_the_threshold_in_float64(
    tmp_path: Path, task: TaskName, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The nearest float32 to 0.7 is below 0.7, so it is not positive."""
    target = target_of(task, 2)
    fitted = Preprocessing(rows=2, columns=(), target=target)
    (tmp_path / "decisions.json").write_text(json.dumps({"threshold": 0.7}))
    lines = list(example_code(Example(str(tmp_path), [fitted], {})))
    start = next(index for index, line in enumerate(lines) if line.startswith("names = "))
    p = np.full(1 if task == "binary" else 2, 0.7, np.float32)
    space = {"p": p, "json": json, "run": str(tmp_path), "fitted": fitted.to_json()}
    exec("\n".join(lines[start:]), space)
    assert capsys.readouterr().out.splitlines()[-1] == label


TEXTS: dict[str, dict[str, Any]] = {
    "words": {"columns": {"a": {"kind": "text"}, "b": {"kind": "text", "sublinear": True}}},
    "characters": {
        "columns": {
            "a": {"kind": "text", "analyzer": "both", "max_row_terms": 7, "lowercase": False},
            "b": {"kind": "text", "analyzer": "characters", "character_ngrams": [2, 3]},
        }
    },
    "tokens": {
        "columns": {"a": {"kind": "tokens"}, "b": {"kind": "text"}},
        "tokens": {"length": 3},
    },
    "start": {
        "columns": {"a": {"kind": "tokens"}},
        "tokens": {"tokenizer": "characters", "truncate": "start", "length": 5, "pad": "end"},
    },
    "middle": {
        "columns": {"a": {"kind": "tokens"}},
        "tokens": {"truncate": "middle", "length": 4, "normalize": "none", "lowercase": False},
    },
    "pieces": {
        "columns": {"a": {"kind": "tokens"}},
        "tokens": {
            "tokenizer": "wordpiece",
            "length": 6,
            "special_tokens": True,
            "truncate": "middle",
        },
    },
    "bytes": {
        "columns": {"a": {"kind": "tokens"}},
        "tokens": {"tokenizer": "bpe", "length": 9, "normalize": "nfkc", "pad": "end"},
    },
}


@pytest.mark.parametrize("case", TEXTS)
def test_code_encodes_texts_like_the_package(tmp_path: Path, case: str) -> None:
    if case in ("pieces", "bytes"):
        pytest.importorskip("tokenizers")
    rng = np.random.default_rng(4)
    words = [
        "GREAT",
        "dull",
        "café",
        "cafe\u0301",
        "ﬁne",
        "書店",
        "😀😀",
        "don't",
        "x_1",
        "a",
        "²",
        "\u202e",
    ]
    texts = [" ".join(rng.choice(words, size)) for size in rng.integers(1, 9, 60)]
    frame = pl.DataFrame(
        {"a": texts, "b": [*texts[1:], "a b"], "c": range(60), "y": ["no", "yes"] * 30}
    )
    frame.write_parquet(tmp_path / "texts.parquet")
    settings = {"features": {"include": [*TEXTS[case]["columns"], "c"]}, **TEXTS[case]}
    fitted = dataset(tmp_path, {"source": "texts.parquet", **settings})
    odd = pl.DataFrame({"a": [None, "", " \n", "unheard of"], "b": None, "c": 1})
    names = [column.name for column in fitted.preprocessing.columns]
    rows = pl.concat([frame, odd], how="diagonal_relaxed").select(names)
    expected = fitted.preprocessing.transform(rows).inputs
    for index in (*range(0, 60, 7), 60, 61, 62, 63):
        row = raw_row(fitted.preprocessing, rows[index : index + 1])
        assert_encoded(encoded(tmp_path, fitted, json.loads(json.dumps(row))), expected, index)
