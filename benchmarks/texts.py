"""Compare texts in `trainer` with scikit-learn: the time to encode, and the accuracy.

    python benchmarks/texts.py [--seeds 5] [--sentences 100000]

Prints a JSON object. `encoding` has the CPU seconds of fitting and encoding sentences of twelve words,
beside those of `TfidfVectorizer` with the same settings. `accuracy` has, for each seed, the share of
correct predictions for 800 of the 4,000 reviews of configs/data, drawn with that seed: of
configs/reviews.yaml, and of `TfidfVectorizer` with `LogisticRegression(C=4)` on all other rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

CONFIG = Path(__file__).parents[1] / "configs" / "reviews.yaml"
WORDS, LETTERS = 12, "etaoinshrdlu"
RUN = "from trainer_cli.main import run; import sys; sys.exit(run(sys.argv[1:]))"


def sentences(count: int) -> list[str]:
    """Return sentences of words whose frequencies follow Zipf's law."""
    generator = np.random.default_rng(0)
    letters = np.array(list(LETTERS))
    known = np.array(
        ["".join(generator.choice(letters, size)) for size in generator.integers(2, 9, 30_000)]
    )
    ranks = np.minimum(generator.zipf(1.2, (count, WORDS)), len(known)) - 1
    return [" ".join(words) for words in known[ranks]]


def cpu_seconds(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a function and its CPU seconds."""
    start = time.process_time()
    result = function()
    return result, round(time.process_time() - start, 2)


def measure_encoding(count: int) -> dict[str, float]:
    """Return the CPU seconds to choose the terms of sentences, and to encode them."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from trainer.config.text import Text
    from trainer.data.text_fitting import TextAccumulator

    texts = sentences(count)
    series = pl.Series("text", texts)

    def fit() -> Any:
        accumulator = TextAccumulator(Text())
        accumulator.add(series)
        return accumulator.fitted("text")

    column, fitting = cpu_seconds(fit)
    _, encoding = cpu_seconds(lambda: column.encode(series))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, max_features=20_000)
    _, theirs = cpu_seconds(lambda: vectorizer.fit(texts))
    _, transforming = cpu_seconds(lambda: vectorizer.transform(texts))
    return {
        "fit": fitting,
        "encode": encoding,
        "sklearn_fit": theirs,
        "sklearn_transform": transforming,
    }


def measure_accuracy(seed: int, folder: Path) -> dict[str, float]:
    """Return the accuracy of both on the test rows of one split."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    command = [
        sys.executable, "-c", RUN,
        "fit", str(CONFIG), f"seed={seed}", "evaluate.report=false", "--runs", str(folder),
    ]  # fmt: skip
    run = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    predictions = pl.read_parquet(run / "predictions" / "test.parquet")
    reviews = pl.read_csv(CONFIG.parent / "data" / "reviews.csv")
    rows = predictions["row"].to_numpy()
    is_test = np.zeros(reviews.height, bool)
    is_test[rows] = True
    texts, labels = reviews["review"].to_numpy(), reviews["sentiment"].to_numpy()
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), min_df=2)
    model = LogisticRegression(C=4, max_iter=1_000)
    model.fit(vectorizer.fit_transform(texts[~is_test]), labels[~is_test])
    theirs = model.score(vectorizer.transform(texts[is_test]), labels[is_test])
    is_correct = (predictions["probability_positive"] > 0.5) == (labels[rows] == "positive")
    ours = float(is_correct.mean() or 0.0)
    print(seed, ours, theirs, file=sys.stderr, flush=True)
    return {"trainer": ours, "sklearn": float(theirs)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        accuracy = [measure_accuracy(seed, Path(folder)) for seed in range(arguments.seeds)]
    result = {"encoding": measure_encoding(arguments.sentences), "accuracy": accuracy}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
