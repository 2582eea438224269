import csv
import json
from datetime import timedelta
from pathlib import Path

from tests.report.run_files import NOW, make_run, scores, settings
from trainer.report.listing import columns_table, run_json, runs_csv, runs_table, values_json
from trainer.report.run_values import RequestedName, RunValues, read_run_values
from trainer.report.text import plain_lines
from trainer.runs.listing import list_runs

TEST = {"accuracy": 0.965, "auc": 0.993, "f1": 0.96, "recall": 0.95}


def read_values(root: Path, *names: str, hours: float = 3) -> list[RunValues]:
    now = NOW + timedelta(hours=hours)
    return read_run_values(list_runs(root, now), [RequestedName("", name) for name in names], now)


def test_runs_table(tmp_path: Path) -> None:
    run = make_run(tmp_path, evaluations={"test": {"metrics": TEST}})
    make_run(tmp_path, "digits").manifest.write_text("{")
    table = runs_table(read_values(tmp_path))
    assert table.columns == ("status", "name", "run", "epochs", "metrics", "age")
    assert table.right == {3, 5}
    rows = {row[1]: row for row in table.rows}
    assert rows["wine"] == (
        "finished",
        "wine",
        str(run.path),
        "20",
        "accuracy 0.9650  auc 0.9930  f1 0.9600",
        "3 h",
    )
    assert rows["digits"][0] == "damaged"
    assert rows["digits"][3] == "–"


def test_requested_columns_are_added(tmp_path: Path) -> None:
    make_run(tmp_path, evaluations=scores(auc=0.91237))
    requested = ("val_auc", "optimizer.learning_rate", "age", "status")
    table = runs_table(read_values(tmp_path, *requested), requested)
    assert table.columns[4:] == ("val_auc", "optimizer.learning_rate", "metrics", "age")
    assert table.rows[0][4:] == ("0.9124", "0.001", "auc 0.9124  (validation)", "3 h")
    assert table.right == {3, 4, 5, 7}


def test_validation_metrics_are_labeled(tmp_path: Path) -> None:
    make_run(tmp_path, evaluations=scores(accuracy=0.97, brier=None))
    assert runs_table(read_values(tmp_path)).rows[0][4] == "accuracy 0.9700  brier –  (validation)"


def test_no_metrics_and_no_runs(tmp_path: Path) -> None:
    assert plain_lines(runs_table([]))
    make_run(tmp_path)
    assert runs_table(read_values(tmp_path)).rows[0][4] == "–"


def test_columns(tmp_path: Path) -> None:
    make_run(tmp_path, "a\x1bb", evaluations=scores(auc=0.91237))
    make_run(tmp_path, minutes=-1, config=settings(model={"layers": []}))
    columns = (
        *("name", "val_auc", "seconds", "optimizer.learning_rate", "optimizer.clip_norm"),
        *("optimizer.amsgrad", "metrics", "model.layers.0.dense", "seed"),
    )
    table = columns_table(read_values(tmp_path, *columns), columns)
    assert table.columns == columns
    assert table.rows == (
        (
            *("a\\x1bb", "0.9124", "1 min 30 s", "0.001", "null"),
            *("false", "[accuracy, auc]", "{units: 64, activation: relu}", "7"),
        ),
        ("wine", "–", "1 min 30 s", "0.001", "null", "false", "[accuracy, auc]", "–", "7"),
    )
    assert table.right == {1, 2, 3, 8}


def test_long_setting_is_truncated_only_in_tables(tmp_path: Path) -> None:
    many = [f"column_{number}" for number in range(100)]
    make_run(tmp_path, config=settings(data__target=many))
    (item,) = read_values(tmp_path, "data.target")
    assert len(columns_table([item], ["data.target"]).rows[0][0]) == 40
    assert values_json(item, ["data.target", "val_x"]) == {"data.target": many, "val_x": None}
    assert json.loads(next(csv.reader(list(runs_csv([item], ["data.target"], []))[1:]))[0]) == many


def test_csv(tmp_path: Path) -> None:
    run = make_run(tmp_path, 'no,\n"é', evaluations=scores(auc=0.1 + 0.2, f1=None))
    make_run(tmp_path, minutes=-1)
    lines = list(
        runs_csv(read_values(tmp_path, "optimizer.name"), (), ("optimizer.name", "val_auc"))
    )
    head, first, second = csv.reader("\n".join(lines).splitlines(keepends=True))
    assert head == [
        *("status", "name", "run", "epochs", "best_epoch", "started", "seconds"),
        *("val_auc", "val_f1", "optimizer.name"),
    ]
    assert first == [
        *("finished", 'no,\n"é', str(run.path), "20", "12", "2026-11-22T14:15:30+00:00", "90.0"),
        *("0.30000000000000004", "", "adam"),
    ]
    assert second[7:] == ["", "", "adam"]
    assert list(runs_csv([], (), ())) == ["status,name,run,epochs,best_epoch,started,seconds"]
    assert list(runs_csv([], ("run", "x"), ())) == ["run,x"]


def test_json(tmp_path: Path) -> None:
    interval = {"mean": 0.8, "std": 0.1, "low": 0.7, "high": 0.9}
    evaluation = {"metrics": {"auc": 0.8}, "intervals": {"auc": {**interval, "n": 5}}}
    run = make_run(tmp_path, evaluations={"test": evaluation})
    (item,) = read_values(tmp_path)
    listed = json.loads(json.dumps(run_json(item.run), allow_nan=False))
    assert listed["run"] == str(run.path)
    assert listed["started"] == "2026-11-22T14:15:30+00:00"
    assert listed["metrics"] == {"test": {"auc": 0.8}}
    assert listed["intervals"] == {"test": {"auc": {**interval, "n": 5}}}
