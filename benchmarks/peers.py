"""Measure a peer, in the environment of the peers.

    python -m benchmarks.peers PEER WORKLOAD TABLE.npz EPOCHS [--rows N] [--settings JSON]

Prints the seconds per epoch: the mean of EPOCHS after an untimed first one, in which Keras compiles
(for scikit-learn, which does not compile, the mean of all). Each peer is written as in its own guide,
with validation once per epoch. PyTorch computes no metrics on the training rows, unlike Keras and
trainer.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from benchmarks.workloads import WORKLOADS, Workload

Rows = tuple[np.ndarray, np.ndarray]


def keras_seconds(workload: Workload, rows: Rows, epochs: int, **settings: Any) -> float:
    import keras

    network = workload.network
    layers: list[keras.Layer] = [keras.Input((rows[0].shape[1],))]
    penalty = keras.regularizers.L2(1e-4) if network.with_everything else None
    for width in network.widths:
        layers.append(
            keras.layers.Dense(width, activation=network.activation, kernel_regularizer=penalty)
        )
        if network.with_everything:
            layers += [keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)]
    metrics: list[Any] = ["accuracy"]
    learning_rate: Any = 1e-3
    if network.with_everything:
        metrics.append(keras.metrics.AUC())
        learning_rate = keras.optimizers.schedules.CosineDecay(1e-3, workload.steps * (epochs + 1))
    if workload.table.classes == 2:
        layers.append(keras.layers.Dense(1, activation="sigmoid"))
        loss = "binary_crossentropy"
    else:
        layers.append(keras.layers.Dense(workload.table.classes, activation="softmax"))
        loss = "sparse_categorical_crossentropy"
    model = keras.Sequential(layers)
    clip = 1.0 if network.with_everything else None
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate, global_clipnorm=clip),
        loss=loss,
        metrics=metrics,
        **settings,
    )
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(perf_counter()))
    model.fit(
        *rows,
        batch_size=network.batch,
        epochs=epochs + 1,
        validation_split=workload.validation,
        verbose=0,
        callbacks=[clock],
    )
    return (ends[-1] - ends[0]) / epochs


def torch_seconds(workload: Workload, rows: Rows, epochs: int, *, loader: bool) -> float:
    import torch
    from torch import nn

    network, classes = workload.network, workload.table.classes
    x, y = torch.from_numpy(rows[0]), torch.from_numpy(rows[1])
    y = y.float().unsqueeze(1) if classes == 2 else y
    widths = (x.shape[1], *network.widths)
    activation = nn.ReLU if network.activation == "relu" else nn.Sigmoid
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    model = nn.Sequential(*layers, nn.Linear(widths[-1], 1 if classes == 2 else classes))
    loss = nn.BCEWithLogitsLoss() if classes == 2 else nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    count, batch = workload.training_rows, network.batch
    train_x, train_y, validation_x, validation_y = x[:count], y[:count], x[count:], y[count:]
    batches = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(train_x, train_y), batch_size=batch, shuffle=True
    )

    def step(batch_x: torch.Tensor, batch_y: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss(model(batch_x), batch_y).backward()
        optimizer.step()

    def epoch() -> None:
        model.train()
        if loader:
            for batch_x, batch_y in batches:
                step(batch_x, batch_y)
        else:
            order = torch.randperm(count)
            for first in range(0, count, batch):
                batch_rows = order[first : first + batch]
                step(train_x[batch_rows], train_y[batch_rows])
        if len(validation_x):
            model.eval()
            with torch.no_grad():
                scores = model(validation_x)
                loss(scores, validation_y).item()
                right = (
                    (scores > 0) == validation_y
                    if classes == 2
                    else scores.argmax(1) == validation_y
                )
                right.float().mean().item()

    epoch()
    start_time = perf_counter()
    for _ in range(epochs):
        epoch()
    return (perf_counter() - start_time) / epochs


def sklearn_seconds(workload: Workload, rows: Rows, epochs: int) -> float:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        workload.network.widths,
        batch_size=workload.network.batch,
        max_iter=epochs,
        early_stopping=True,
        validation_fraction=workload.validation,
        n_iter_no_change=epochs + 1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start_time = perf_counter()
        model.fit(*rows)
        return (perf_counter() - start_time) / model.n_iter_


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("peer", choices=["keras", "torch_loop", "torch_loader", "sklearn"])
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("table", type=Path)
    parser.add_argument("epochs", type=int)
    parser.add_argument("--rows", type=int, default=None, help="use only this many rows")
    parser.add_argument(
        "--settings", type=json.loads, default={}, help="settings of Keras's compile, as JSON"
    )
    args = parser.parse_args()
    workload = WORKLOADS[args.workload]
    with np.load(args.table) as file:
        rows = file["x"][: args.rows], file["y"][: args.rows]
    workload = replace(workload, table=replace(workload.table, rows=len(rows[0])))
    if args.settings.get("steps_per_execution") == "epoch":
        args.settings["steps_per_execution"] = workload.steps
    match args.peer:
        case "keras":
            seconds = keras_seconds(workload, rows, args.epochs, **args.settings)
        case "sklearn":
            seconds = sklearn_seconds(workload, rows, args.epochs)
        case _:
            loader = args.peer == "torch_loader"
            seconds = torch_seconds(workload, rows, args.epochs, loader=loader)
    print(seconds)


if __name__ == "__main__":
    main()
