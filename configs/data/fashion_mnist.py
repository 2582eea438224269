"""Write the images of Fashion-MNIST to folders of PNG files, one for each class.

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb package
    python configs/data/fashion_mnist.py package/usr/share/datasets/fashion-mnist OUT

writes all 60,000 training and 10,000 test images. With --small it writes the folders `fashion` (60
training and 20 test images of each class) and `shirts` (75 and 25 other images of two classes that are
easily confused) and the table `clothing.csv`, as they are in this folder. The output is deterministic.

Fashion-MNIST: Copyright 2017 Zalando SE, MIT license (FASHION_MNIST_LICENSE.txt).
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip
SIDE = 28
FASHION, SHIRTS = {"train": 60, "test": 20}, {"train": 75, "test": 25}
PRICES = dict(zip(CLASSES, (15, 40, 45, 60, 110, 35, 35, 70, 50, 130), strict=True))
CONDITIONS = {"new": 1.0, "good": 0.6, "worn": 0.3}
SEED = 20261126

Images = npt.NDArray[np.uint8]


def read_part(folder: Path, stem: str) -> tuple[Images, Images]:
    """Return the (n, 28, 28) images and the (n,) classes of a part, `train` or `t10k`."""
    images, labels = (
        np.frombuffer(gzip.decompress((folder / f"{stem}-{name}.gz").read_bytes()), np.uint8)
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    return images[16:].reshape(-1, SIDE, SIDE), labels[8:]


def write_images(folder: Path, images: Images, rows: Sequence[int]) -> None:
    """Write some of the images, each named after its row."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        Image.fromarray(images[row]).save(folder / f"{row:05d}.png", optimize=True)


def clothing_rows(paths: Sequence[str]) -> Iterator[list[str]]:
    """Yield the rows of `clothing.csv`, header first: generated prices of the clothes in images.

    A price is that of the class when new, multiplied by a factor for the condition and by 0.9 for each
    year of age, with 10 % noise.
    """
    rng = np.random.default_rng(SEED)
    yield ["photo", "condition", "age", "price"]
    for path in sorted(paths):
        condition = str(rng.choice(list(CONDITIONS)))
        age = 0.0 if condition == "new" else round(float(rng.uniform(0, 6)), 1)
        price = PRICES[Path(path).parent.name] * CONDITIONS[condition] * 0.9**age
        price *= 1 + 0.1 * float(rng.normal())
        yield [path, condition, f"{age:.1f}", f"{price:.2f}"]


def main() -> None:
    """Write the folders that the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", type=Path, help="the folder with the four files")
    parser.add_argument("out", type=Path, help="where to write")
    parser.add_argument("--small", action="store_true", help="write the shipped folders and table")
    arguments = parser.parse_args()
    out: Path = arguments.out
    for split, stem in (("train", "train"), ("test", "t10k")):
        images, labels = read_part(arguments.source, stem)
        for number, name in enumerate(CLASSES):
            rows = np.flatnonzero(labels == number).tolist()
            if not arguments.small:
                write_images(out / split / name, images, rows)
                continue
            first = FASHION[split]
            write_images(out / "fashion" / split / name, images, rows[:first])
            if name in ("shirt", "t-shirt"):
                others = rows[first : first + SHIRTS[split]]
                write_images(out / "shirts" / split / name, images, others)
    if arguments.small:
        paths = [str(path.relative_to(out)) for path in (out / "fashion").rglob("*.png")]
        with (out / "clothing.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(clothing_rows(paths))


if __name__ == "__main__":
    main()
