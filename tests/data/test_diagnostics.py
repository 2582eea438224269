"""Assumptions are reported with a working setting; clean tables have no messages."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from tests.data.streamed import prepare_streaming
from trainer.data.prepare import prepare
from trainer.errors import DataError

ROWS = 60
EITHER = pytest.mark.parametrize("dataset", [prepare, prepare_streaming])


def source(tmp_path, c, y=("no", "yes"), name="t.csv"):
    path = tmp_path / name
    lines = [f"{row * 37 % 61},{c[row % len(c)]},{y[row * 7 % len(y)]}" for row in range(ROWS)]
    path.write_text("\n".join(["x,c,y", *lines]) + "\n", encoding="utf-8")
    return str(path)


def column(dataset, name="c"):
    return next(column for column in dataset.preprocessing.columns if column.name == name)


@EITHER
def test_alphabetical_order_warns_and_the_fix_works(tmp_path, make_config, dataset):
    path = source(tmp_path, ["oak", "ash", "elm"])
    result = dataset(make_config(path, "y", {"columns": {"c": {"encode": "ordinal"}}}))
    (line,) = [line for line in result.warnings if "alphabetical" in line]
    assert "ash < elm < oak" in line
    configured = line.split("data.columns.c.levels: ")[1].split("]")[0] + "]"
    settings = {"encode": "ordinal", "levels": yaml.safe_load(configured)}
    fixed = dataset(make_config(path, "y", {"columns": {"c": settings}}))
    assert not [line for line in (*fixed.warnings, *fixed.notes) if "order" in line]


@EITHER
def test_known_scale_is_used_and_noted(tmp_path, make_config, dataset):
    path = source(tmp_path, ["high", "low", "medium", ""])
    result = dataset(make_config(path, "y", {"categorical": {"encode": "ordinal"}}))
    assert column(result).levels == ("low", "medium", "high")
    assert any("low < medium < high" in note and "c.levels" in note for note in result.notes)
    assert any(
        "missing values" in note and "c.impute: most_frequent" in note for note in result.notes
    )
    assert not result.warnings
    filled = {"categorical": {"encode": "ordinal", "impute": "most_frequent"}}
    assert len(dataset(make_config(path, "y", filled)).notes) == 1
    assert column(dataset(make_config(path, "y"))).levels == ("high", "low", "medium")


@EITHER
@pytest.mark.parametrize("encode", ["onehot", "ordinal", "embedding"])
def test_explicit_levels_keep_their_order_and_absent_levels(tmp_path, make_config, dataset, encode):
    path = source(tmp_path, ["high", "low ", "medium"])
    levels = ["low", "medium", "high", "very high"]
    result = dataset(
        make_config(path, "y", {"columns": {"c": {"encode": encode, "levels": levels}}})
    )
    assert column(result).levels == tuple(levels)
    assert sum(column(result).counts) == result.rows("train")
    assert column(result).counts[3] == 0
    frame = result.table.frame
    if "c" not in frame:
        frame = prepare(make_config(path, "y")).table.frame
    codes = np.array([2, 0, 1])[np.arange(ROWS) % 3]
    name, columns = result.preprocessing.input_columns["c"]
    x, at = result.preprocessing.transform(frame).inputs[name], columns.start
    if encode == "onehot":
        assert column(result).features == tuple(f"c={level}" for level in levels)
        np.testing.assert_array_equal(x[:, at : at + 4], np.eye(4)[codes])
    else:
        expected = codes / 3 if encode == "ordinal" else codes + 1
        np.testing.assert_allclose(x[:, at], expected, rtol=1e-6)


@EITHER
@pytest.mark.parametrize(
    ("cells", "levels"),
    [(["3", "1.0", "2"], [1, 2, 3]), (["yes", "no"], ["no", "yes"]), (["true", "FALSE"], [True])],
)
def test_explicit_levels_make_a_column_categorical(tmp_path, make_config, dataset, cells, levels):
    settings = {"encode": "ordinal", "levels": levels, "ignore_case": True}
    config = make_config(source(tmp_path, cells), "y", {"columns": {"c": settings}})
    if levels == [True]:
        with pytest.raises(DataError, match=r"t\.csv:\d+: .*'FALSE'"):
            dataset(config)
    else:
        assert column(dataset(config)).levels == tuple(map(str, levels))


@EITHER
def test_value_outside_explicit_levels_raises_with_its_row(tmp_path, make_config, dataset):
    path = source(tmp_path, ["low", "high", "High"])
    split = {"test": 0, "validation": 0}
    config = make_config(path, "y", {"columns": {"c": {"levels": ["low", "high"]}}, "split": split})
    with pytest.raises(
        DataError, match=r"t\.csv:4: .*levels \(low, high\).*ignore_case: true"
    ) as error:
        dataset(config)
    config = make_config(path, "y", {"columns": {"c": {"levels": ["low"]}}, "split": split})
    with pytest.raises(DataError, match=r"t\.csv:3: .*'high'.*add it to data\.columns\.c\.levels"):
        dataset(config)
    assert len(error.value.problems) == 1


def test_explicit_level_read_as_missing_raises_and_the_fix_works(tmp_path, make_config):
    path = source(tmp_path, ["None", "Mild", "Severe"])
    data = {"columns": {"c": {"encode": "ordinal", "levels": ["None", "Mild", "Severe"]}}}
    with pytest.raises(DataError, match=r"'None', which is in data\.csv") as caught:
        prepare(make_config(path, "y", data))
    words = yaml.safe_load(caught.value.problems[0].fix.split("null_values: ")[1])
    fixed = prepare(make_config(path, "y", data | {"csv": {"null_values": words}}))
    assert column(fixed).levels == ("None", "Mild", "Severe")
    assert min(column(fixed).counts) > 0


@EITHER
@pytest.mark.parametrize(
    ("cells", "levels"),
    [
        (["red", "Red", "RED", "blue"], ("blue", "RED", "Red", "red")),
        (["Straße", "STRASSE", "weg"], ("STRASSE", "Straße", "weg")),
    ],
)
def test_levels_that_differ_in_case_warn_and_merge(tmp_path, make_config, dataset, cells, levels):
    path = source(tmp_path, cells)
    result = dataset(make_config(path, "y"))
    assert set(column(result).levels) == set(levels)
    assert any("'c' differ only in case" in line for line in result.warnings)
    folded = dataset(make_config(path, "y", {"columns": {"c": {"ignore_case": True}}}))
    assert len(column(folded).levels) == 2
    assert not folded.warnings
    everywhere = dataset(make_config(path, "y", {"categorical": {"ignore_case": True}}))
    assert column(everywhere) == column(folded)
    repeated = type(folded.preprocessing).from_json(folded.preprocessing.to_json())
    assert repeated == folded.preprocessing
    frame = prepare(make_config(path, "y")).table.frame.with_columns(c=np.array(["rEd", "straße"])[
        np.arange(ROWS) % 2])  # fmt: skip
    assert sorted(set(repeated.transform(frame).unseen)) == [False, True]


@EITHER
def test_whitespace_and_unicode_form_are_ignored(tmp_path, make_config, dataset):
    cells = [
        "caf\u00e9 noir",
        "cafe\u0301 noir",
        " caf\u00e9\u00a0noir\u00a0",
        "caf\u00e9  noir",
        "thé",
    ]
    result = dataset(make_config(source(tmp_path, cells, cells), "y"))
    assert column(result).levels == ("caf\u00e9 noir", "thé")
    assert result.preprocessing.target.classes == ("caf\u00e9 noir", "thé")
    assert not result.warnings


LABELS = [
    ["Yes", "yes ", " YES", "no", "No"],
    ["true", "True", "TRUE", "false", "False"],
    ["ja", "JA", "nein\u00a0", "Nein", "nein"],
]


@EITHER
@pytest.mark.parametrize("labels", LABELS, ids=lambda labels: labels[0])
def test_classes_that_differ_in_case_warn_and_merge(tmp_path, make_config, dataset, labels):
    path = source(tmp_path, ["a", "b"], labels)
    result = dataset(make_config(path, "y"))
    assert result.preprocessing.target.task == "multiclass"
    (line,) = [line for line in result.warnings if "differ only in case" in line]
    assert "data.columns.y.ignore_case: true" in line
    folds = {"columns": {"y": {"ignore_case": True}}}
    fixed = dataset(make_config(path, "y", folds))
    target = fixed.preprocessing.target
    assert (target.task, len(target.classes)) == ("binary", 2)
    assert not fixed.warnings
    assert (
        sum(sum(fixed.classes(split).values()) for split in ("train", "validation", "test")) == ROWS
    )
    positive = dataset(make_config(path, "y", folds | {"positive": labels[2].strip().swapcase()}))
    assert positive.preprocessing.target.classes[1].lower() == labels[2].strip().lower()
    encoded, valid = (
        type(target)
        .model_validate_json(target.model_dump_json())
        .encode(prepare(make_config(path, "y")).table.frame)
    )
    assert valid.all()
    expected = [labels[row * 7 % len(labels)].strip().lower() == target.classes[1].lower()
                for row in range(ROWS)]  # fmt: skip
    assert encoded[:, 0].tolist() == expected


def test_classes_too_small_because_of_case_advise_ignore_case(tmp_path, make_config):
    path = source(tmp_path, ["a", "b"], ["yes"] * 30 + ["no"] * 29 + ["YES"])
    with pytest.raises(DataError, match=r"set data\.columns\.y\.ignore_case: true"):
        prepare(make_config(path, "y"))
    prepare(make_config(path, "y", {"columns": {"y": {"ignore_case": True}}}))


def test_test_label_in_another_case_advises_ignore_case(tmp_path, make_config):
    target = prepare(make_config(source(tmp_path, ["a", "b"]), "y")).preprocessing.target
    other = prepare(make_config(source(tmp_path, ["a", "b"], ["YES", "no"], "o.csv"), "y"))
    with pytest.raises(DataError, match=r"data\.columns\.y\.ignore_case: true"):
        target.encode(other.table.frame)


@pytest.mark.parametrize(
    ("labels", "data", "message"),
    [
        (["m", "f"], {}, ["positive class", "data.positive"]),
        (["1", "2", "3"], {}, ["only 3 distinct integers", "data.task: regression"]),
        (list("123456789"), {}, ["9 distinct integers", "data.task: multiclass"]),
        (["yes", "no"], {}, []),
        (["m", "f"], {"positive": "m"}, []),
        (["1", "2", "3", "4"], {"task": "regression"}, []),
        (["0.5", "1.5", "2.5"], {}, []),
    ],
)
def test_target_notes(tmp_path, make_config, labels, data, message):
    result = prepare(make_config(source(tmp_path, ["a", "b"], labels), "y", data))
    assert len(result.notes) == bool(message)
    assert all(text in result.notes[0] for text in message)
    assert not result.warnings


@EITHER
def test_missing_values_of_ordinal_columns_warn(tmp_path, make_config, dataset):
    path = source(tmp_path, ["None", "Mild", "Severe"])
    result = dataset(make_config(path, "y", {"columns": {"c": {"encode": "ordinal"}}}))
    assert any("'None' in 20 rows" in line and "null_values" in line for line in result.warnings)
    assert not dataset(make_config(path, "y")).warnings


@EITHER
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["01234", "10115", "99998"], "data.columns.c.kind: categorical"),
        (["007", "008", "010", "1.5"], "data.columns.c.kind: categorical"),
        ([str(1000 + row) for row in range(ROWS)], "data.features.exclude: [c]"),
        (["a|b", "b", "a", "c|b", "c", "a|c"], "data.columns.c.kind: categorical"),
        (["1234", "10115", "99998"], None),
        (["0", "1"], None),
        (["0.5", "0.25"], None),
    ],
)
def test_notes_about_suspicious_features(tmp_path, make_config, dataset, cells, message):
    path = source(tmp_path, cells)
    result = dataset(make_config(path, "y"))
    assert [message in note for note in result.notes] == ([] if message is None else [True])
    assert not result.warnings
    if message is not None:
        fixes = {
            "data.columns.c.kind: categorical": {"columns": {"c": {"kind": "categorical"}}},
            "data.features.exclude: [c]": {"features": {"exclude": ["c"]}},
        }
        assert not dataset(make_config(path, "y", fixes[message])).notes


@EITHER
def test_few_distinct_integers_give_a_hint(tmp_path, make_config, dataset):
    result = dataset(make_config(source(tmp_path, ["1", "2", "3"]), "y"))
    assert not result.notes
    (hint,) = result.hints
    assert "'c'" in hint
    assert "data.columns.c.kind: categorical" in hint
    configured = {"columns": {"c": {"kind": "numeric"}}}
    assert not dataset(make_config(source(tmp_path, ["1", "2", "3"]), "y", configured)).hints
    named = dataset(make_config(source(tmp_path, [str(row) for row in range(5, 40)]), "y"))
    assert not named.hints
