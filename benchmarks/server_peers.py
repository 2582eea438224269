"""Other servers of the network of a run, for `benchmarks.serving`: code that runs in their environments.

Both check rows, standardize them with NumPy and call the network in a `tf.function`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Rows = list[dict[str, float]]

_NETWORK = """
import json
import keras, numpy as np, tensorflow as tf

class Network:
    def __init__(self, preprocessing, network):
        columns = json.load(open(preprocessing))["columns"]
        self.fill, self.center, self.divisor = (
            np.array([column[key] for column in columns]) for key in ("fill", "center", "divisor")
        )
        model = keras.models.load_model(network)
        spec = tf.TensorSpec([None, len(columns)], tf.float32)
        self.function = tf.function(model, input_signature=[spec])
        self.function(tf.zeros([1, len(columns)]))

    def probabilities(self, x):
        x = (np.where(np.isnan(x), self.fill, x) - self.center) / self.divisor
        return self.function(tf.constant(x, tf.float32)).numpy()[:, 0]
"""
_FASTAPI = f"""{_NETWORK}
import sys
import uvicorn
from fastapi import FastAPI
from pydantic import create_model

preprocessing, network, port = sys.argv[1:]
model = Network(preprocessing, network)
Row = create_model("Row", **{{f"c{{i}}": (float | None, None) for i in range(len(model.fill))}})
app = FastAPI()

@app.post("/predict")
def predict(rows: list[Row]):
    x = np.array([list(row.model_dump().values()) for row in rows], np.float64)
    p = model.probabilities(x)
    return [{{"label": "MB"[int(value < 0.5)], "probability": float(value)}} for value in p]

uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error")
"""
_MLFLOW = """
import os, sys
import mlflow.pyfunc

preprocessing, network, port = sys.argv[1:]
folder = os.path.abspath("mlflow_model")
files = {"preprocessing": preprocessing, "network": network}
mlflow.pyfunc.save_model(folder, python_model="mlflow_network.py", artifacts=files)
command = ["models", "serve", "-m", folder, "-p", port, "--env-manager", "local", "--workers", "1"]
os.execv(sys.executable, [sys.executable, "-m", "mlflow", *command])
"""
_MLFLOW_MODEL = f"""
import mlflow
{_NETWORK}
class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.network = Network(context.artifacts["preprocessing"], context.artifacts["network"])

    def predict(self, context, model_input, params=None):
        p = self.network.probabilities(model_input.to_numpy(np.float64))
        return [{{"label": "MB"[int(value < 0.5)], "probability": float(value)}} for value in p]

mlflow.models.set_model(Model())
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server of a network, which listens already or soon.

    Attributes:
        process: The process.
        port: Its port.
        path: The path of predictions.
        rows_key: The key of the rows in the body; "" if the body is the list of rows.
        names: The names of the columns.
    """

    process: subprocess.Popen[bytes]
    port: int
    path: str
    rows_key: str
    names: tuple[str, ...]

    def body(self, rows: Rows) -> str:
        """Return the body of a request."""
        content: Any = [dict(zip(self.names, row.values(), strict=True)) for row in rows]
        return json.dumps({self.rows_key: content} if self.rows_key else content)


def fastapi_peer(python: Path, run: str, columns: list[str]) -> Peer:
    """Start a FastAPI application."""
    names = tuple(f"c{index}" for index in range(len(columns)))
    process, port = _start(python, _FASTAPI, run, Path(run))
    return Peer(process, port, "/predict", "", names)


def mlflow_peer(python: Path, run: str, columns: list[str]) -> Peer:
    """Start MLflow's model server with a model of its flavor pyfunc."""
    folder = Path(run).parent
    (folder / "mlflow_network.py").write_text(_MLFLOW_MODEL, encoding="utf-8")
    process, port = _start(python, _MLFLOW, run, folder)
    return Peer(process, port, "/invocations", "dataframe_records", tuple(columns))


def _start(python: Path, code: str, run: str, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = [f"{run}/preprocessing.json", f"{run}/checkpoints/best/model.keras"]
    # MLflow starts the command uvicorn, which must be that of its environment.
    path = f"{python.absolute().parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        [python.absolute(), "-c", code, *files, str(port)],
        cwd=folder,
        stdout=sys.stderr,
        env={**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        # With its workers, it is stopped as a group.
        start_new_session=True,
    )
    return process, port
