"""The output of a pretrained base network for images: computed once for each image, and cached on disk.

Training then has a table of features instead of images. The cache is that of the decoded images; the
name of an entry is a hash of the base, and of the size and the content of the images. TensorFlow is
imported when features are computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.dataset import Dataset
from trainer.data.decoding_progress import progress
from trainer.data.entry_cache import EntryCache, sync_files
from trainer.data.image_cache import CachedImages, cache_root
from trainer.data.preprocessing import InputColumns, Preprocessing
from trainer.data.samples import Samples
from trainer.data.splits import SplitName
from trainer.inputs import FEATURES, IMAGE, InputArray
from trainer.models.pretrained.description import BaseNetwork
from trainer.models.summary import IMAGE_SCALING, NetworkShape
from trainer.runs.files import storage_errors

_FORMAT = 1
# All batches have this size, so that the features of an image do not depend on the number of images.
_BATCH = 32
_FILE = "features.npy"


def with_base_features(dataset: Dataset, split: SplitName, network: NetworkShape) -> Samples:
    """Return the samples of a split with the output of the base in front of their features.

    Always the same object for a split and a base.

    Args:
        dataset: The dataset.
        split: A split that has rows.
        network: The network, with its base.

    Raises:
        StorageError: There is not enough disk space.
        ConfigError: The weights of the base cannot be loaded.
    """
    samples, base = dataset.samples(split), network.base
    assert samples is not None, "the split has rows"
    assert base is not None, "the network has a base"
    key = (split, base.sha256, base.settings.model_dump_json())
    if key not in dataset.derived:
        images = samples.inputs[IMAGE]
        assert isinstance(images, CachedImages), "images are in the cache"
        values = cached_features(images, network)[images.rows]
        inputs: dict[str, InputArray] = {
            name: array for name, array in samples.inputs.items() if name not in (FEATURES, IMAGE)
        }
        if FEATURES in samples.inputs:
            values = np.concatenate([values, samples.inputs[FEATURES][:]], axis=1)
        dataset.derived[key] = replace(samples, inputs={FEATURES: values, **inputs})
    return dataset.derived[key]


def input_columns(
    preprocessing: Preprocessing, network: NetworkShape
) -> Mapping[str, InputColumns]:
    """Return the encoded columns of each column of the table, in the inputs that are trained on."""
    columns = preprocessing.input_columns
    if network.base is None or network.trained is network:
        return columns
    width = network.base.channels
    moved = {}
    for name, place in columns.items():
        if place.input == IMAGE:
            moved[name] = InputColumns(FEATURES, slice(0, width))
        elif place.input == FEATURES:
            part = slice(width + place.columns.start, width + place.columns.stop)
            moved[name] = InputColumns(FEATURES, part)
        else:
            moved[name] = place
    return moved


def cached_features(images: CachedImages, network: NetworkShape) -> NDArray[np.float32]:
    """Return the output of the base for all files of the images, float32 (files, channels)."""
    base = network.base
    assert base is not None, "the network has a base"
    pixels = images.files.pixels
    return EntryCache(cache_root()).load(
        _key(images, base, network),
        4 * len(pixels) * base.channels,
        lambda folder: _open(folder, (len(pixels), base.channels)),
        lambda folder: _fill(folder, pixels, network),
        "the output of the pretrained network",
    )


def _key(images: CachedImages, base: BaseNetwork, network: NetworkShape) -> str:
    from importlib.metadata import version

    settings = (
        _FORMAT,
        version("keras"),
        base.sha256,
        base.settings.model_dump_json(include={"architecture", "layer", "pool"}),
        network.image_scaling,
        images.files.pixels.shape,
    )
    digest = hashlib.sha256(repr(settings).encode())
    digest.update(np.ascontiguousarray(images.files.content).tobytes())
    return digest.hexdigest()[:32]


def _open(folder: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    features: NDArray[np.float32] = np.load(folder / _FILE, mmap_mode="r")
    if features.shape != shape:
        raise ValueError(f"features of shape {features.shape}")
    return features


def _fill(folder: Path, pixels: NDArray[np.uint8], network: NetworkShape) -> None:
    """Compute the features of all images and write them to a folder."""
    import tensorflow as tf

    extract = tf.function(_extractor(network), autograph=False)
    base = network.base
    assert base is not None, "the network has a base"
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(pixels), base.channels)}
    show = progress.get()
    batch = np.zeros((_BATCH, *pixels.shape[1:]), np.uint8)
    with storage_errors(folder, "write the output of the pretrained network"):
        with (folder / _FILE).open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(pixels), _BATCH):
                count = min(_BATCH, len(pixels) - start)
                batch[:count] = pixels[start : start + count]
                file.write(extract(tf.constant(batch)).numpy()[:count].tobytes())
                if show is not None:
                    show(start + count, len(pixels), "computing features")
        sync_files(folder)


def _extractor(network: NetworkShape) -> Any:
    """Return a function from uint8 images to the output of the base."""
    import keras

    from trainer.models.layers import build_image_scaling
    from trainer.models.pretrained.building import build_base

    assert network.base is not None
    assert network.image is not None
    base = build_base(network.base, network.image, weights=True)
    scaling = build_image_scaling(network.image_scaling, IMAGE_SCALING)
    start = keras.Input(network.image, dtype="uint8", name="input")
    model = keras.Sequential([start, scaling, base])
    return lambda images: model(images, training=False)
