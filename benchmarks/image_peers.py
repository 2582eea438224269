"""Typical scripts that train a network on a folder of images: counterparts of a whole `trainer fit`.

    python -m benchmarks.image_peers PEER WORKLOAD FOLDER [--quick]

PEER: keras (`image_dataset_from_directory` and `fit`), keras_best (with the decoded images cached in
memory and an epoch per execution), torch (files decoded by two workers in every epoch, as by
ImageFolder), torch_best (decoded once, and a loop over tensors). Prints the seconds of each epoch as
JSON, validation included, and saves the network.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from benchmarks.image_workloads import VALIDATION, WORKLOADS, ImageWorkload


def keras_epochs(workload: ImageWorkload, folder: Path, *, best: bool) -> list[float]:
    """Train with Keras and return the seconds of each epoch."""
    import keras
    import tensorflow as tf

    train, validation = keras.utils.image_dataset_from_directory(
        folder,
        image_size=(workload.side, workload.side),
        batch_size=workload.batch,
        validation_split=VALIDATION,
        subset="both",
        seed=0,
        verbose=False,
    )
    steps = len(train)
    if best:
        train, validation = (
            part.cache().prefetch(tf.data.AUTOTUNE) for part in (train, validation)
        )
    inputs = keras.Input((workload.side, workload.side, 3))
    output = keras.layers.Rescaling(1 / 255)(inputs)
    for layer in workload.layers:
        output = _keras_layer(output, *layer)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(output))
    optimizer = (
        keras.optimizers.Adam(0.001)
        if workload.optimizer == "adam"
        else keras.optimizers.SGD(0.001, momentum=0.9)
    )
    settings: dict[str, Any] = {"jit_compile": False, "steps_per_execution": steps} if best else {}
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"], **settings)
    ends = [perf_counter()]
    clock = keras.callbacks.LambdaCallback(
        on_train_begin=lambda *_: ends.__setitem__(0, perf_counter()),
        on_epoch_end=lambda *_: ends.append(perf_counter()),
    )
    model.fit(
        train, validation_data=validation, epochs=workload.epochs, verbose=0, callbacks=[clock]
    )
    with tempfile.TemporaryDirectory() as directory:
        model.save(Path(directory, "model.keras"))
    return np.diff(ends).tolist()


def _keras_layer(x: Any, kind: str, *arguments: Any) -> Any:
    from keras import layers

    match kind:
        case "conv":
            return layers.Conv2D(*arguments, 3, padding="same", activation="relu")(x)
        case "pool":
            return layers.MaxPooling2D(2)(x)
        case "average":
            return layers.GlobalAveragePooling2D()(x)
        case "flatten":
            return layers.Flatten()(x)
        case "dense":
            return layers.Dense(*arguments, activation="relu")(x)
    filters, strides = arguments
    output = layers.Conv2D(filters, 3, strides, padding="same")(x)
    output = layers.ReLU()(layers.BatchNormalization()(output))
    output = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(output))
    if strides != 1 or x.shape[-1] != filters:
        x = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides, use_bias=False)(x))
    return layers.ReLU()(layers.Add()([output, x]))


def torch_epochs(workload: ImageWorkload, folder: Path, *, best: bool) -> list[float]:
    """Train with PyTorch and return the seconds of each epoch."""
    import torch
    from torch import nn

    files = sorted(folder.glob("*/*.jpg"))
    labels = [float(path.parent.name == "b") for path in files]
    order = np.random.default_rng(0).permutation(len(files))
    count = round(len(files) * VALIDATION)
    parts = [_Images(files, labels, order[count:], workload.side)]
    parts.append(_Images(files, labels, order[:count], workload.side))
    model = torch_network(workload)
    loss = nn.BCEWithLogitsLoss()
    parameters = model.parameters()
    optimizer: Any = (
        torch.optim.Adam(parameters, lr=0.001)
        if workload.optimizer == "adam"
        else torch.optim.SGD(parameters, lr=0.001, momentum=0.9)
    )
    if best:
        decoded = [tuple(map(torch.stack, zip(*part, strict=True))) for part in parts]
        batches = [_ShuffledBatches(part, workload.batch) for part in decoded]
    else:
        batches = [
            torch.utils.data.DataLoader(
                part,
                batch_size=workload.batch,
                shuffle=True,
                num_workers=2,
                persistent_workers=True,
            )
            for part in parts
        ]
    seconds = []
    for _ in range(workload.epochs):
        start_time = perf_counter()
        model.train()
        for x, y in batches[0]:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for x, y in batches[1]:
                loss(model(x), y).item()
        seconds.append(perf_counter() - start_time)
    with tempfile.TemporaryDirectory() as directory:
        torch.save(model.state_dict(), Path(directory, "model.pt"))
    return seconds


class _Images:
    """Decoded images and labels, as a PyTorch dataset."""

    def __init__(self, files: list[Path], labels: list[float], rows: Any, side: int) -> None:
        self._files, self._labels, self._rows, self._side = files, labels, rows, side

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        import torch
        from PIL import Image

        if index >= len(self):
            raise IndexError
        row = self._rows[index]
        image = Image.open(self._files[row]).convert("RGB").resize((self._side, self._side))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return pixels, torch.tensor([self._labels[row]])


class _ShuffledBatches:
    """Batches of tensors in memory, in another order each time."""

    def __init__(self, tensors: tuple[Any, Any], batch: int) -> None:
        self._tensors, self._batch = tensors, batch

    def __iter__(self) -> Any:
        import torch

        for rows in torch.randperm(len(self._tensors[0])).split(self._batch):
            yield tuple(tensor[rows] for tensor in self._tensors)


def torch_network(workload: ImageWorkload, outputs: int = 1) -> Any:
    """Return the network of a workload, whose output is logits."""
    from torch import nn

    channels, side = 3, workload.side
    layers: list[nn.Module] = []
    for kind, *arguments in workload.layers:
        match kind:
            case "conv":
                layers += [nn.Conv2d(channels, arguments[0], 3, padding=1), nn.ReLU()]
                channels = arguments[0]
            case "pool":
                layers.append(nn.MaxPool2d(2))
                side //= 2
            case "average":
                layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            case "flatten":
                layers.append(nn.Flatten())
                channels *= side**2
            case "dense":
                layers += [nn.Linear(channels, arguments[0]), nn.ReLU()]
                channels = arguments[0]
            case _:
                layers.append(_residual(channels, *arguments))
                channels = arguments[0]
    return nn.Sequential(*layers, nn.Linear(channels, outputs))


def _residual(channels: int, filters: int, strides: int) -> Any:
    from torch import nn

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(
                nn.Conv2d(channels, filters, 3, strides, 1),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
                nn.Conv2d(filters, filters, 3, 1, 1),
                nn.BatchNorm2d(filters),
            )
            self.shortcut: nn.Module = nn.Identity()
            if strides != 1 or channels != filters:
                convolution = nn.Conv2d(channels, filters, 1, strides, bias=False)
                self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(filters))

        def forward(self, x: Any) -> Any:
            return nn.functional.relu(self.block(x) + self.shortcut(x))

    return Residual()


def parse_workload(parser: argparse.ArgumentParser) -> tuple[ImageWorkload, argparse.Namespace]:
    """Parse WORKLOAD, FOLDER and --quick too; return the workload and all arguments."""
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    workload = WORKLOADS[args.workload]
    return (workload.shortened() if args.quick else workload), args


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("peer", choices=["keras", "keras_best", "torch", "torch_best"])
    workload, args = parse_workload(parser)
    train = keras_epochs if args.peer.startswith("keras") else torch_epochs
    print(json.dumps(train(workload, args.folder, best=args.peer.endswith("best"))))


if __name__ == "__main__":
    main()
