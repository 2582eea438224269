"""W8: train on the output of a frozen pretrained network, against Keras with the network in the loop.

    python benchmarks/transfer.py [--images 200] [--size 96] [--epochs 20]

Each side is a separate process, from JPEGs on disk to a saved model, with the same layers on top of
MobileNetV2 (random weights, as only the time counts). Prints a JSON object with CPU seconds and wall
seconds of the processes and of their fastest epochs, and the ratios Keras / ours; the first with an
empty cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

CONFIG = """
name: transfer
data: {{source: photos, image: {{size: {size}}}, split: {{test: 0.2, validation: 0.2}}}}
model:
  pretrained: {{architecture: mobilenet_v2, file: net.h5}}
  layers: [{{dense: {{units: 64, activation: relu}}}}]
fit: {{epochs: {epochs}, batch_size: 32}}
evaluate: {{report: false}}
"""
KERAS = """
import sys, time
import keras
size, epochs = int(sys.argv[1]), int(sys.argv[2])
options = {"image_size": (size, size), "batch_size": 32, "label_mode": "binary", "seed": 1}
train, validation = keras.utils.image_dataset_from_directory(
    "photos", validation_split=0.25, subset="both", **options)
base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(size, size, 3))
base.load_weights("net.h5")
base.trainable = False
start = keras.Input((size, size, 3))
x = base(keras.layers.Rescaling(1 / 127.5, -1.0)(start), training=False)
x = keras.layers.GlobalAveragePooling2D()(x)
x = keras.layers.Dense(64, activation="relu")(x)
model = keras.Model(start, keras.layers.Dense(1, activation="sigmoid")(x))
model.compile("adam", "binary_crossentropy")
seconds = []
class Times(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()
    def on_epoch_end(self, epoch, logs=None):
        seconds.append(time.perf_counter() - self.started)
model.fit(train.cache(), validation_data=validation.cache(), epochs=epochs, verbose=0,
          callbacks=[Times()])
model.save("model.keras")
print(min(seconds[1:]))
"""
WEIGHTS = """
import sys
import keras
size = int(sys.argv[1])
network = keras.applications.MobileNetV2(
    weights=None, include_top=False, input_shape=(size, size, 3))
network.save("net.h5")
"""


def write_photos(folder: Path, images: int, size: int) -> None:
    """Write smooth random JPEGs of two classes, a third larger than the input."""
    random = np.random.default_rng(0)
    for index in range(images):
        path = folder / "photos" / f"class{index % 2}" / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        side = size * 4 // 3
        Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(path)


def run(command: list[str], folder: Path, cache: Path) -> tuple[str, dict[str, float]]:
    """Run a command; return its output, and its CPU and wall seconds."""
    environment: Mapping[str, str] = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    start_time = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    seconds = time.perf_counter() - start_time
    return output, {"cpu": round(used.ru_utime + used.ru_stime, 2), "wall": round(seconds, 2)}


def ours(folder: Path, cache: Path) -> dict[str, float]:
    """Measure one `trainer fit`."""
    code = "import sys; from trainer_cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "fit", "transfer.yaml", "--quiet"]
    output, used = run(command, folder, cache)
    lines = (folder / output.strip() / "timing.jsonl").read_text().splitlines()
    return {**used, "epoch": min(json.loads(line)["seconds"] for line in lines[1:])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder, cache = Path(name), Path(name, "cache")
        write_photos(folder, args.images, args.size)
        run([sys.executable, "-c", WEIGHTS, str(args.size)], folder, cache)
        (folder / "transfer.yaml").write_text(CONFIG.format(size=args.size, epochs=args.epochs))
        results = {"first": ours(folder, cache), "cached": ours(folder, cache)}
        command = [sys.executable, "-c", KERAS, str(args.size), str(args.epochs)]
        output, used = run(command, folder, cache)
        results["keras"] = {**used, "epoch": float(output.split()[-1])}
    ratios = {
        side: {
            name: round(results["keras"][name] / results[side][name], 1)
            for name in ("cpu", "wall", "epoch")
        }
        for side in ("first", "cached")
    }
    print(json.dumps({**vars(args), "seconds": results, "ratios": ratios}, indent=2))


if __name__ == "__main__":
    main()
