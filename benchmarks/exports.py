"""One row, and rows per second, through each export of a run, against Keras and scikit-learn.

    python -m benchmarks.exports [--seconds 0.5]

Trains breast_cancer.yaml (30 numbers), credit.yaml (numbers, categories, missing values) and the five
folds of breast_cancer.yaml; exports each to all formats (the folds to onnx); and calls each export with
one row, 1,000 and 100,000 rows for some time, in a process of its own with one thread. onnx, numpy,
keras and saved_model take raw values; litert, the network of the checkpoint with `model.predict`, and
the SavedModel that Keras itself exports take encoded rows. scikit-learn has a pipeline of imputation,
scaling, one-hot encoding and an MLPClassifier of the same width, in the environment of the peers. Prints
a JSON object: the 50th and 99th percentile of microseconds for a row, and rows per second.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from benchmarks import processes
from benchmarks.latency import SIZES, measure

CONFIGS = processes.ROOT / "configs"
FORMATS = ("onnx", "numpy", "litert", "saved_model", "keras")
PEERS = ("saved_model_of_network", "model_predict", "sklearn")
RUNS = {
    "numbers": ("breast_cancer", "diagnosis", (), (*FORMATS, *PEERS)),
    "categories": ("credit", "Status", (), (*FORMATS, *PEERS)),
    "folds": ("breast_cancer", "diagnosis", ("fit.folds=5",), ("onnx",)),
}
"""Name → config and table, target, overrides, what is measured."""
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
Calls = dict[str, tuple[Callable[[Any], Any], dict[int, Any]]]
"""Name → a function, and its argument for each number of rows."""


def export_calls(run: Path, table: pl.DataFrame, kind: str, path: Path) -> Calls:
    """Return the calls of an export."""
    from trainer.export.bundle import load_bundle
    from trainer.export.formats import load_format

    bundle, export = load_bundle(run), load_format(kind)
    schema = export.schema(bundle)
    arrays = export.encode(bundle, schema, repeated(table), {})
    inputs = by_size(arrays)
    calls: Calls = {kind: (export.load(path), inputs)}
    if kind == "onnx" and all(array.dtype == np.float64 for array in arrays.values()):
        # ONNX Runtime cannot bind texts.
        values = np.stack([*arrays.values()])
        calls["onnx_bound"] = (
            bound_call(path), {rows: np.ascontiguousarray(values[:, :rows]) for rows in SIZES}
        )  # fmt: skip
    return calls


def repeated(rows: Any) -> Any:
    """Return as many rows as the largest call has."""
    return rows[np.arange(SIZES[-1]) % len(rows)]


def by_size(arrays: dict[str, Any]) -> dict[int, Any]:
    return {
        rows: {name: np.ascontiguousarray(array[:rows]) for name, array in arrays.items()}
        for rows in SIZES
    }


def bound_call(path: Path) -> Callable[[Any], list[Any]]:
    """Return a function of numbers, (columns, rows, 1), that are copied to the bound memory."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    kept: dict[int, tuple[Any, Any]] = {}

    def bind(shape: tuple[int, ...]) -> tuple[Any, Any]:
        binding, values = session.io_binding(), np.empty(shape)
        for entry, column in zip(session.get_inputs(), values, strict=True):
            binding.bind_input(entry.name, "cpu", 0, np.float64, column.shape, column.ctypes.data)
        for output in session.get_outputs():
            binding.bind_output(output.name)
        return binding, values

    def call(numbers: Any) -> list[Any]:
        rows = numbers.shape[1]
        if rows not in kept:
            kept[rows] = bind(numbers.shape)
        binding, values = kept[rows]
        values[:] = numbers
        session.run_with_iobinding(binding)
        return [output.numpy().copy() for output in binding.get_outputs()]

    return call


def network_calls(run: Path, table: pl.DataFrame, kind: str, folder: Path) -> Calls:
    """Return the calls of the network of a run, on encoded rows, without this package."""
    import keras
    import tensorflow as tf

    from trainer.export.bundle import load_bundle

    (features,) = load_bundle(run).encoders[0].transform(repeated(table)).inputs.values()
    inputs = {rows: np.ascontiguousarray(features[:rows]) for rows in SIZES}
    model = keras.models.load_model(run / "checkpoints" / "best" / "model.keras", compile=False)
    if kind == "model_predict":
        return {kind: (lambda x: model.predict(x, verbose=0), inputs)}
    model.export(folder / "network", verbose=False)
    loaded = tf.saved_model.load(str(folder / "network"))
    signature = loaded.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]

    def call(x: Any) -> Any:
        return {key: value.numpy() for key, value in signature(**{name: tf.constant(x)}).items()}

    return {kind: (call, inputs)}


def sklearn_calls(table: pl.DataFrame, target: str) -> Calls:
    """Return the call of a pipeline of scikit-learn that is fitted to a table."""
    import warnings

    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    features = table.drop(target)
    texts = [name for name, dtype in features.schema.items() if dtype == pl.String]
    numbers = [name for name in features.columns if name not in texts]
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    encoder = make_column_transformer(
        (scaled, numbers), (OneHotEncoder(handle_unknown="ignore"), texts)
    )
    rows = features
    if not texts:
        # Arrays are faster than data frames.
        encoder, rows = scaled, features.to_numpy()
    model = make_pipeline(encoder, MLPClassifier((64, 32), max_iter=20, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows, table[target].to_numpy())
    many = repeated(rows)
    return {"sklearn": (model.predict_proba, {size: many[:size] for size in SIZES})}


def measured_program(name: str, program: str, run: str, seconds: float) -> dict[str, Any]:
    """Export a run if necessary, and measure a program in a process of its own."""
    python = processes.PEERS if program == "sklearn" else processes.OURS
    path = run
    if program in FORMATS:
        export = [processes.OURS / "trainer", "export", run, "--to", program, "--quiet"]
        path = processes.run(export).output.strip()
    command = [python / "python", "-m", "benchmarks.exports", "--program", program]
    command += ["--name", name, "--run", run, "--path", path, "--seconds", str(seconds)]
    figures: dict[str, Any] = json.loads(processes.run(command, ONE_THREAD).output)
    print(f"{name}: {figures}", file=sys.stderr, flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5)
    # Of the processes that this one starts.
    parser.add_argument("--program", choices=(*FORMATS, *PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--name", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.program is not None:
        print(json.dumps(program_figures(options)))
        return
    measured: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, (config, _, overrides, programs) in RUNS.items():
            runs = f"--runs={folder / kind}"
            fit = [
                "fit",
                CONFIGS / f"{config}.yaml",
                *overrides,
                "evaluate.report=false",
                "--quiet",
                runs,
            ]
            run = processes.run([processes.OURS / "trainer", *fit]).output.strip()
            measured[kind] = {}
            for program in programs:
                measured[kind] |= measured_program(kind, program, run, options.seconds)
    print(json.dumps(measured, indent=1))


def program_figures(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    config, target, _, _ = RUNS[options.name]
    table = pl.read_csv(CONFIGS / "data" / f"{config}.csv")
    if options.program == "sklearn":
        calls = sklearn_calls(table, target)
    elif options.program in FORMATS:
        calls = export_calls(options.run, table, options.program, options.path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            calls = network_calls(options.run, table, options.program, Path(folder))
    return {name: measure(call, inputs, options.seconds) for name, (call, inputs) in calls.items()}


if __name__ == "__main__":
    main()
