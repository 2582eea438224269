from pathlib import Path

import pytest

from tests.report.run_files import NOW, make_run, scores, settings
from trainer.errors import UsageError
from trainer.report.query import Query, Selection, SortOrder, parse_query, select
from trainer.runs.listing import list_runs

LEARNING_RATES = {"a": 0.1, "b": 1e-3, "c": 0.01}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """a, b and c with a metric each, the newest last; d has none; all have a learning rate but e."""
    for place, (name, auc) in enumerate({"a": 0.7, "b": 0.9, "c": 0.8}.items()):
        config = settings(name=name, optimizer__learning_rate=LEARNING_RATES[name])
        metrics = scores(auc=auc, loss=1 - auc)
        make_run(tmp_path, name, minutes=place, config=config, evaluations=metrics)
    make_run(tmp_path, "d", minutes=3, config=settings(name="d", optimizer__name="sgd"))
    make_run(tmp_path, "e", minutes=4, config=settings(name="e", optimizer={"name": "own"}))
    return tmp_path


def asked(
    runs: Path, *where: str, sort: str | None = None, columns: str | None = None
) -> Selection:
    return select(list_runs(runs, NOW), parse_query(where, sort, columns), NOW)


def names(selection: Selection) -> str:
    return "".join(known.run.name for known in selection.known)


def test_a_query_in_words() -> None:
    query = parse_query(["a > 1", "b == 2"], "-val_loss", "run, val_auc,'x,y',run")
    assert query.columns == ("run", "val_auc", "'x,y'")
    assert query.sort == SortOrder("val_loss", reverse=True)
    assert query.names == ("run", "val_auc", "'x,y'", "val_loss", "a", "b")
    assert parse_query([], None, None) == Query()


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(UsageError) as raised:
        parse_query(["a", "b = 1"], "-", ",")
    places = [problem.where for problem in raised.value.problems]
    assert places == ["--where 'a'", "--where 'b = 1'", "--sort", "--columns"]


@pytest.mark.parametrize("columns", ["", " ", ",", "a,,b", "a b", "'a", "a=b"])
def test_columns_of_another_form_are_told(columns: str) -> None:
    with pytest.raises(UsageError, match="--columns"):
        parse_query([], None, columns)


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        (None, "edcba"),
        ("val_auc", "bcaed"),
        ("-val_auc", "acbed"),
        ("val_loss", "bcaed"),
        ("-val_loss", "acbed"),
        ("name", "abcde"),
        ("-name", "edcba"),
        ("age", "edcba"),
        ("started", "abcde"),
        ("optimizer.learning_rate", "dbcae"),
        ("-optimizer.learning_rate", "acdbe"),
        ("optimizer.name", "cbaed"),
        ("epochs", "edcba"),
        ("data.columns", "edcba"),
    ],
)
def test_order(runs: Path, sort: str | None, order: str) -> None:
    assert names(asked(runs, sort=sort)) == order


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        (["val_auc > 0.75"], "cb"),
        (["val_auc > 0.75", "optimizer.learning_rate == 1e-3"], "b"),
        (["val_auc != 0.7"], "cb"),
        (["optimizer.learning_rate != 0.1"], "dcb"),
        (["name in a,e"], "ea"),
        (["optimizer.name ~ a"], "cba"),
        (["best_epoch == 12"], "edcba"),
        (["epochs > 20"], ""),
    ],
)
def test_choice(runs: Path, where: list[str], chosen: str) -> None:
    assert names(asked(runs, *where)) == chosen


def test_damaged_runs_are_chosen_by_their_status_alone(runs: Path) -> None:
    (run,) = (runs / "b").iterdir()
    (run / "manifest.json").write_text("{")
    assert names(asked(runs)) == "edcba"
    assert names(asked(runs, "optimizer.name == adam")) == "ca"
    assert names(asked(runs, "val_auc > 0")) == "ca"
    assert names(asked(runs, "status == damaged")) == "b"


def test_settings_that_cannot_be_read_are_told_of_though_their_run_is_not_chosen(
    runs: Path,
) -> None:
    (run,) = (runs / "b").iterdir()
    (run / "config.yaml").write_text("optimizer: [\n")
    found = asked(runs, "optimizer.name == adam")
    assert names(found) == "ca"
    assert [problem.where.split(":")[0] for problem in found.unread] == [str(run / "config.yaml")]
    assert asked(runs, "val_auc > 0").unread == ()


def test_wrong_names_and_kinds_are_told(runs: Path) -> None:
    with pytest.raises(UsageError) as raised:
        asked(runs, "val_acu > 1", sort="nmae", columns="run,epoch")
    found = [(problem.where, problem.found) for problem in raised.value.problems]
    assert found == [
        ("--where 'val_acu > 1'", "'val_acu'"),
        ("--sort", "'nmae'"),
        ("--columns", "'epoch'"),
    ]
    with pytest.raises(UsageError, match="a number, as val_auc is"):
        asked(runs, "val_auc > much")


def test_a_metric_of_a_stranger_is_sorted_upwards(runs: Path) -> None:
    make_run(runs, "f", evaluations=scores(own=2.0))
    make_run(runs, "g", evaluations=scores(own=1.0))
    assert names(asked(runs, sort="val_own"))[:2] == "gf"
