"""What was assumed is said, with a setting that works when it is pasted; clean tables say nothing."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from trainer.data.prepare import prepare
from trainer.data.streaming import prepare_streaming
from trainer.errors import DataError

ROWS = 60
EITHER = pytest.mark.parametrize("dataset", [prepare, prepare_streaming])


def source(tmp_path, c, y=("no", "yes"), name="t.csv"):
    path = tmp_path / name
    lines = [f"{row * 37 % 61},{c[row % len(c)]},{y[row * 7 % len(y)]}" for row in range(ROWS)]
    path.write_text("\n".join(["x,c,y", *lines]) + "\n", encoding="utf-8")
    return str(path)


def column(dataset, name="c"):
    return next(one for one in dataset.preprocessing.columns if one.name == name)


@EITHER
def test_alphabetical_order_is_said_and_the_fix_works(tmp_path, make_config, dataset):
    path = source(tmp_path, ["oak", "ash", "elm"])
    found = dataset(make_config(path, "y", {"columns": {"c": {"encode": "ordinal"}}}))
    (line,) = [line for line in found.warnings if "alphabetical" in line]
    assert "ash < elm < oak" in line
    configured = line.split("data.columns.c.levels: ")[1].split("]")[0] + "]"
    settings = {"encode": "ordinal", "levels": yaml.safe_load(configured)}
    fixed = dataset(make_config(path, "y", {"columns": {"c": settings}}))
    assert not [line for line in (*fixed.warnings, *fixed.notes) if "order" in line]


@EITHER
def test_a_scale_is_taken_and_said(tmp_path, make_config, dataset):
    path = source(tmp_path, ["high", "low", "medium", ""])
    found = dataset(make_config(path, "y", {"categorical": {"encode": "ordinal"}}))
    assert column(found).levels == ("low", "medium", "high")
    assert any("low < medium < high" in note and "c.levels" in note for note in found.notes)
    assert any(
        "missing values" in note and "c.impute: most_frequent" in note for note in found.notes
    )
    assert not found.warnings
    filled = {"categorical": {"encode": "ordinal", "impute": "most_frequent"}}
    assert len(dataset(make_config(path, "y", filled)).notes) == 1
    assert column(dataset(make_config(path, "y"))).levels == ("high", "low", "medium")


@EITHER
@pytest.mark.parametrize("encode", ["onehot", "ordinal", "embedding"])
def test_stated_levels_keep_their_order_and_those_that_are_absent(
    tmp_path, make_config, dataset, encode
):
    path = source(tmp_path, ["high", "low ", "medium"])
    levels = ["low", "medium", "high", "very high"]
    found = dataset(
        make_config(path, "y", {"columns": {"c": {"encode": encode, "levels": levels}}})
    )
    assert column(found).levels == tuple(levels)
    assert sum(column(found).counts) == found.rows("train")
    assert column(found).counts[3] == 0
    x = found.preprocessing.transform(found.table.frame if "c" in found.table.frame else
                                      prepare(make_config(path, "y")).table.frame).x  # fmt: skip
    codes = np.array([2, 0, 1])[np.arange(ROWS) % 3]
    at = found.preprocessing.input_ranges["c"].start
    if encode == "onehot":
        assert column(found).features == tuple(f"c={level}" for level in levels)
        np.testing.assert_array_equal(x[:, at : at + 4], np.eye(4)[codes])
    else:
        expected = codes / 3 if encode == "ordinal" else codes + 1
        np.testing.assert_allclose(x[:, at], expected, rtol=1e-6)


@EITHER
@pytest.mark.parametrize(
    ("cells", "levels"),
    [(["3", "1.0", "2"], [1, 2, 3]), (["yes", "no"], ["no", "yes"]), (["true", "FALSE"], [True])],
)
def test_stated_levels_make_a_column_categorical(tmp_path, make_config, dataset, cells, levels):
    settings = {"encode": "ordinal", "levels": levels, "ignore_case": True}
    config = make_config(source(tmp_path, cells), "y", {"columns": {"c": settings}})
    if levels == [True]:
        with pytest.raises(DataError, match=r"t\.csv:\d+: .*'FALSE'"):
            dataset(config)
    else:
        assert column(dataset(config)).levels == tuple(map(str, levels))


@EITHER
def test_a_value_that_is_not_among_the_levels_is_an_error_with_its_row(
    tmp_path, make_config, dataset
):
    path = source(tmp_path, ["low", "high", "High"])
    split = {"test": 0, "validation": 0}
    config = make_config(path, "y", {"columns": {"c": {"levels": ["low", "high"]}}, "split": split})
    with pytest.raises(
        DataError, match=r"t\.csv:4: .*levels \(low, high\).*ignore_case: true"
    ) as one:
        dataset(config)
    config = make_config(path, "y", {"columns": {"c": {"levels": ["low"]}}, "split": split})
    with pytest.raises(DataError, match=r"t\.csv:3: .*'high'.*add it to data\.columns\.c\.levels"):
        dataset(config)
    assert len(one.value.problems) == 1


def test_a_level_that_is_read_as_missing_is_refused_and_the_fix_works(tmp_path, make_config):
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
def test_levels_that_differ_in_case_are_said_and_merged(
    tmp_path, make_config, dataset, cells, levels
):
    path = source(tmp_path, cells)
    found = dataset(make_config(path, "y"))
    assert set(column(found).levels) == set(levels)
    assert any("'c' differ only in case" in line for line in found.warnings)
    folded = dataset(make_config(path, "y", {"columns": {"c": {"ignore_case": True}}}))
    assert len(column(folded).levels) == 2
    assert not folded.warnings
    everywhere = dataset(make_config(path, "y", {"categorical": {"ignore_case": True}}))
    assert column(everywhere) == column(folded)
    again = type(folded.preprocessing).from_json(folded.preprocessing.to_json())
    assert again == folded.preprocessing
    frame = prepare(make_config(path, "y")).table.frame.with_columns(c=np.array(["rEd", "straße"])[
        np.arange(ROWS) % 2])  # fmt: skip
    assert sorted(set(again.transform(frame).unseen)) == [False, True]


@EITHER
def test_blanks_and_the_encoding_of_accents_never_count(tmp_path, make_config, dataset):
    cells = [
        "caf\u00e9 noir",
        "cafe\u0301 noir",
        " caf\u00e9\u00a0noir\u00a0",
        "caf\u00e9  noir",
        "thé",
    ]
    found = dataset(make_config(source(tmp_path, cells, cells), "y"))
    assert column(found).levels == ("caf\u00e9 noir", "thé")
    assert found.preprocessing.target.classes == ("caf\u00e9 noir", "thé")
    assert not found.warnings


LABELS = [
    ["Yes", "yes ", " YES", "no", "No"],
    ["true", "True", "TRUE", "false", "False"],
    ["ja", "JA", "nein\u00a0", "Nein", "nein"],
]


@EITHER
@pytest.mark.parametrize("labels", LABELS, ids=lambda labels: labels[0])
def test_labels_that_differ_in_case_are_said_and_merged(tmp_path, make_config, dataset, labels):
    path = source(tmp_path, ["a", "b"], labels)
    found = dataset(make_config(path, "y"))
    assert found.preprocessing.target.task == "multiclass"
    (line,) = [line for line in found.warnings if "differ only in case" in line]
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


def test_classes_too_small_because_of_case_are_told_apart(tmp_path, make_config):
    path = source(tmp_path, ["a", "b"], ["yes"] * 30 + ["no"] * 29 + ["YES"])
    with pytest.raises(DataError, match=r"set data\.columns\.y\.ignore_case: true"):
        prepare(make_config(path, "y"))
    prepare(make_config(path, "y", {"columns": {"y": {"ignore_case": True}}}))


def test_a_label_of_a_later_row_in_another_case_names_the_setting(tmp_path, make_config):
    target = prepare(make_config(source(tmp_path, ["a", "b"]), "y")).preprocessing.target
    other = prepare(make_config(source(tmp_path, ["a", "b"], ["YES", "no"], "o.csv"), "y"))
    with pytest.raises(DataError, match=r"data\.columns\.y\.ignore_case: true"):
        target.encode(other.table.frame)


@pytest.mark.parametrize(
    ("labels", "data", "says"),
    [
        (["m", "f"], {}, ["positive class", "data.positive"]),
        (["1", "2", "3"], {}, ["only 3 distinct whole numbers", "data.task: regression"]),
        (list("123456789"), {}, ["9 distinct whole numbers", "data.task: multiclass"]),
        (["yes", "no"], {}, []),
        (["m", "f"], {"positive": "m"}, []),
        (["1", "2", "3", "4"], {"task": "regression"}, []),
        (["0.5", "1.5", "2.5"], {}, []),
    ],
)
def test_guesses_about_the_target(tmp_path, make_config, labels, data, says):
    found = prepare(make_config(source(tmp_path, ["a", "b"], labels), "y", data))
    assert len(found.notes) == bool(says)
    assert all(word in found.notes[0] for word in says)
    assert not found.warnings


@EITHER
def test_a_level_that_is_read_as_missing_is_said_where_the_order_counts(
    tmp_path, make_config, dataset
):
    path = source(tmp_path, ["None", "Mild", "Severe"])
    found = dataset(make_config(path, "y", {"columns": {"c": {"encode": "ordinal"}}}))
    assert any("'None' in 20 rows" in line and "null_values" in line for line in found.warnings)
    assert not dataset(make_config(path, "y")).warnings


@EITHER
@pytest.mark.parametrize(
    ("cells", "says"),
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
def test_features_that_may_be_something_else(tmp_path, make_config, dataset, cells, says):
    path = source(tmp_path, cells)
    found = dataset(make_config(path, "y"))
    assert [says in note for note in found.notes] == ([] if says is None else [True])
    assert not found.warnings
    if says is not None:
        fixes = {
            "data.columns.c.kind: categorical": {"columns": {"c": {"kind": "categorical"}}},
            "data.features.exclude: [c]": {"features": {"exclude": ["c"]}},
        }
        assert not dataset(make_config(path, "y", fixes[says])).notes


@EITHER
def test_few_whole_numbers_are_said_by_check_alone(tmp_path, make_config, dataset):
    found = dataset(make_config(source(tmp_path, ["1", "2", "3"]), "y"))
    assert not found.notes
    (hint,) = found.hints
    assert "'c'" in hint
    assert "data.columns.c.kind: categorical" in hint
    configured = {"columns": {"c": {"kind": "numeric"}}}
    assert not dataset(make_config(source(tmp_path, ["1", "2", "3"]), "y", configured)).hints
    named = dataset(make_config(source(tmp_path, [str(row) for row in range(5, 40)]), "y"))
    assert not named.hints
