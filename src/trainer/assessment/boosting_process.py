"""The process that fits gradient boosting: scikit-learn's HistGradientBoosting with its defaults.

It is run as a script, without the package `trainer`, so that scikit-learn and Keras are never imported
in the same process. It reads requests from standard input, pickled dictionaries, and writes the reply
to each to standard output:

    {"fit": {...}}            an empty dictionary; see `fit`
    {"predict": x}            {"predictions": (n, k)}

It exits when standard input is closed, even during a fit: that is, when its parent process ends.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Predict = Callable[[Array], Array]


_MAX_LEVELS = 255
"""Maximum number of categories of a feature in scikit-learn."""


def main() -> None:
    """Serve requests until standard input is closed."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keep other output out of the replies
    requests: SimpleQueue[dict[str, Any]] = SimpleQueue()
    Thread(target=_read, args=(requests,), daemon=True).start()
    predict: Predict = np.asarray
    while True:
        match requests.get():
            case {"fit": settings}:
                predict = fit(**settings)
                reply = {}
            case {"predict": x}:
                reply = {"predictions": predict(x)}
        pickle.dump(reply, replies, protocol=5)
        replies.flush()


def _read(requests: SimpleQueue[dict[str, Any]]) -> None:
    """Pass on requests; end the process at the end of the input."""
    try:
        while True:
            requests.put(pickle.load(sys.stdin.buffer))
    except (EOFError, OSError, pickle.UnpicklingError):
        os._exit(0)


def fit(
    targets: Literal["classes", "labels", "numbers"],
    x: Array,
    y: Array,
    weight: Array | None,
    is_category: Array,
    loss: str,
    arguments: dict[str, float],
) -> Predict:
    """Fit the models of a target.

    Args:
        targets: Of classes, one model is fitted; of labels and numbers, one for each column of y.
        x: (n, d) features, NaN where missing.
        y: (n, k) classes as 0 and 1, or numbers.
        weight: (n,), or None.
        is_category: bool (d,): which features are codes of categories. If a feature has more than 255
            levels in x, the rarest share a code.
        loss: The loss of numbers.
        arguments: `max_iter` and `learning_rate` of the models of scikit-learn.

    Returns:
        A function from features (n, d) to probabilities or numbers (n, k).
    """
    if weight is not None:
        counts = weight > 0
        x, y, weight = x[counts], y[counts], weight[counts]
    kept = {
        int(column): _frequent_levels(x[:, column])
        for column in np.flatnonzero(is_category)
        if len(np.unique(x[:, column])) > _MAX_LEVELS
    }
    x = _merge_rare_levels(x, kept)
    settings = {
        **arguments,
        "categorical_features": is_category if is_category.any() else None,
        # Early stopping would need a random holdout, and 100 rounds rarely overfit.
        "early_stopping": False,
        "random_state": 0,
    }
    match targets:
        case "classes":
            models = [_fit_classifier(x, y.argmax(axis=1), y.shape[1], weight, settings)]
        case "numbers":
            models = [_fit_regressor(x, values, weight, loss, settings) for values in y.T]
        case "labels":
            labels = (y > 0.5).astype(np.int64).T
            models = [_fit_classifier(x, label, 2, weight, settings) for label in labels]

    def predict_rows(new: Array) -> Array:
        new = _merge_rare_levels(new, kept)
        outputs = [predict(new) for predict in models]
        if targets == "classes":
            return outputs[0]
        # Of two classes, the second is the label.
        return np.stack([out if out.ndim == 1 else out[:, 1] for out in outputs], axis=1)

    return predict_rows


def _fit_classifier(
    x: Array, labels: Array, classes: int, weight: Array | None, settings: dict[str, Any]
) -> Predict:
    """Fit a model of class indices; it predicts the probabilities (n, classes)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    found = np.unique(labels)
    if len(found) == 1:
        return lambda new: np.tile(np.eye(classes)[found], (len(new), 1))
    model = HistGradientBoostingClassifier(**settings).fit(x, labels, weight)

    def predict(new: Array) -> Array:
        probabilities = np.zeros((len(new), classes))
        probabilities[:, found] = model.predict_proba(new)
        return probabilities

    return predict


def _fit_regressor(
    x: Array, values: Array, weight: Array | None, loss: str, settings: dict[str, Any]
) -> Predict:
    """Fit a model of numbers; it predicts (n,)."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    # Gradients are float32: standardizing preserves precision.
    center, scale = (0.0, 1.0) if loss == "poisson" else (values.mean(), values.std() or 1.0)
    model = HistGradientBoostingRegressor(loss=loss, **settings)
    model.fit(x, (values - center) / scale, weight)
    return lambda new: model.predict(new) * scale + center


def _frequent_levels(codes: Array) -> Array:
    """Return the codes that are not merged, the most frequent ones, sorted."""
    levels, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    return np.sort(levels[np.argsort(-counts, kind="stable")[: _MAX_LEVELS - 1]])


def _merge_rare_levels(x: Array, kept: dict[int, Array]) -> Array:
    """Return features in which all levels but the kept ones share a code; NaN stays NaN."""
    if kept:
        x = x.copy()
    for column, levels in kept.items():
        codes = x[:, column]
        codes[~(np.isin(codes, levels) | np.isnan(codes))] = levels[-1] + 1
    return x


if __name__ == "__main__":
    main()
