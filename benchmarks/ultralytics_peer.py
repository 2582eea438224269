"""Train the network of an image workload with the classification trainer of Ultralytics, from scratch.

    python -m benchmarks.ultralytics_peer WORKLOAD FOLDER [--quick]

The layers are those of `benchmarks.image_peers`, with an output for each class and cross entropy, which
the trainer requires; images are not changed at random. Prints the seconds of each epoch as JSON,
validation included.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from benchmarks.image_peers import parse_workload, torch_network
from benchmarks.image_workloads import CLASSES, VALIDATION, ImageWorkload
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.nn.tasks import ClassificationModel

MODEL = "yolo11n-cls.yaml"


class Network(ClassificationModel):
    """A model of Ultralytics with the layers of a workload."""

    def __init__(self, workload: ImageWorkload) -> None:
        super().__init__(MODEL, nc=len(CLASSES), verbose=False)
        self.model = torch_network(workload, outputs=len(CLASSES))

    def _predict_once(self, x: Any, *_: Any, **__: Any) -> Any:
        logits = self.model(x)
        return logits if self.training else (logits.softmax(1), logits)


def ultralytics_epochs(workload: ImageWorkload, folder: Path) -> list[float]:
    """Train and return the seconds of each epoch."""

    class Trainer(ClassificationTrainer):
        def get_model(self, *_: Any, **__: Any) -> Network:
            return Network(workload)

    with tempfile.TemporaryDirectory() as directory:
        _write_splits(folder, Path(directory, "images"))
        trainer = Trainer(
            overrides={
                "model": MODEL, "pretrained": False, "project": directory,
                "data": f"{directory}/images", "cache": "ram", "workers": 2, "device": "cpu",
                "epochs": workload.epochs, "batch": workload.batch, "imgsz": workload.side,
                "optimizer": "Adam", "lr0": 0.001, "lrf": 1.0, "warmup_epochs": 0, "amp": False,
                "auto_augment": "", "erasing": 0.0, "fliplr": 0.0, "scale": 0.0,
                "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "plots": False, "verbose": False,
            }
        )  # fmt: skip
        ends: list[float] = []

        def note_end(_: Any) -> None:
            ends.append(perf_counter())

        trainer.add_callback("on_train_start", note_end)
        # Is also called by the evaluation of the best epoch after the last one.
        trainer.add_callback("on_fit_epoch_end", note_end)
        trainer.train()
    return np.diff(ends)[: workload.epochs].tolist()


def _write_splits(folder: Path, splits: Path) -> None:
    """Link the images from folders `train` and `val`."""
    files = sorted(folder.glob("*/*.jpg"))
    order = np.random.default_rng(0).permutation(len(files))
    for place, row in enumerate(order):
        split = "val" if place < round(len(files) * VALIDATION) else "train"
        link = splits / split / files[row].parent.name / files[row].name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(files[row])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    workload, args = parse_workload(parser)
    os.environ["YOLO_OFFLINE"] = "true"
    # Ultralytics reports its progress on stdout.
    result, out = os.dup(1), os.dup2(2, 1)
    epochs = ultralytics_epochs(workload, args.folder.resolve())
    os.dup2(result, out)
    print(json.dumps(epochs))


if __name__ == "__main__":
    main()
