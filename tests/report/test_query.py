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
    for index, (name, auc) in enumerate({"a": 0.7, "b": 0.9, "c": 0.8}.items()):
        config = settings(name=name, optimizer__learning_rate=LEARNING_RATES[name])
        metrics = scores(auc=auc, loss=1 - auc)
        make_run(tmp_path, name, minutes=index, config=config, evaluations=metrics)
    make_run(tmp_path, "d", minutes=3, config=settings(name="d", optimizer__name="sgd"))
    make_run(tmp_path, "e", minutes=4, config=settings(name="e", optimizer={"name": "own"}))
    return tmp_path


def run_query(
    runs: Path, *where: str, sort: str | None = None, columns: str | None = None
) -> Selection:
    return select(list_runs(runs, NOW), parse_query(where, sort, columns), NOW)


def names(selection: Selection) -> str:
    return "".join(run.run.name for run in selection.runs)


def test_parse_query() -> None:
    query = parse_query(["a > 1", "b == 2"], "-val_loss", "run, val_auc,'x,y',run")
    assert query.columns == ("run", "val_auc", "'x,y'")
    assert query.sort == SortOrder("val_loss", reverse=True)
    assert query.names == ("run", "val_auc", "'x,y'", "val_loss", "a", "b")
    assert parse_query([], None, None) == Query()


def test_all_problems_are_reported() -> None:
    with pytest.raises(UsageError) as raised:
        parse_query(["a", "b = 1"], "-", ",")
    locations = [problem.where for problem in raised.value.problems]
    assert locations == ["--where 'a'", "--where 'b = 1'", "--sort", "--columns"]


@pytest.mark.parametrize("columns", ["", " ", ",", "a,,b", "a b", "'a", "a=b"])
def test_invalid_columns_are_reported(columns: str) -> None:
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
def test_sort(runs: Path, sort: str | None, order: str) -> None:
    assert names(run_query(runs, sort=sort)) == order


@pytest.mark.parametrize(
    ("where", "selected"),
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
def test_where(runs: Path, where: list[str], selected: str) -> None:
    assert names(run_query(runs, *where)) == selected


def test_damaged_runs_match_by_status_only(runs: Path) -> None:
    (run,) = (runs / "b").iterdir()
    (run / "manifest.json").write_text("{")
    assert names(run_query(runs)) == "edcba"
    assert names(run_query(runs, "optimizer.name == adam")) == "ca"
    assert names(run_query(runs, "val_auc > 0")) == "ca"
    assert names(run_query(runs, "status == damaged")) == "b"


def test_unreadable_settings_are_reported_for_unselected_runs(
    runs: Path,
) -> None:
    (run,) = (runs / "b").iterdir()
    (run / "config.yaml").write_text("optimizer: [\n")
    result = run_query(runs, "optimizer.name == adam")
    assert names(result) == "ca"
    assert [problem.where.split(":")[0] for problem in result.config_problems] == [
        str(run / "config.yaml")
    ]
    assert run_query(runs, "val_auc > 0").config_problems == ()


def test_unknown_names_and_wrong_types_are_reported(runs: Path) -> None:
    with pytest.raises(UsageError) as raised:
        run_query(runs, "val_acu > 1", sort="nmae", columns="run,epoch")
    result = [(problem.where, problem.found) for problem in raised.value.problems]
    assert result == [
        ("--where 'val_acu > 1'", "'val_acu'"),
        ("--sort", "'nmae'"),
        ("--columns", "'epoch'"),
    ]
    with pytest.raises(UsageError, match="a number, as val_auc is"):
        run_query(runs, "val_auc > much")


def test_unknown_metric_is_sorted_in_ascending_order(runs: Path) -> None:
    make_run(runs, "f", evaluations=scores(own=2.0))
    make_run(runs, "g", evaluations=scores(own=1.0))
    assert names(run_query(runs, sort="val_own"))[:2] == "gf"
