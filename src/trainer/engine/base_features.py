"""The output of a pretrained base network for images: computed once for each image, and cached on disk.

Training then has a table of features instead of images. The cache is that of the decoded images; the
name of an entry is a hash of the base, and of the size and the content of the images. TensorFlow is
imported when features are computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from trainer.models.pretrained.description import BASE, BaseNetwork
from trainer.models.summary import IMAGE_SCALING, NetworkShape
from trainer.runs.files import storage_errors

if TYPE_CHECKING:
    import keras

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
        images = _images(samples)
        values = _cached(_key(images, network), images, network, lambda: _extractor(network))
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


def with_output_of(model: keras.Model, samples: Samples, network: NetworkShape) -> Samples:
    """Return the samples with the output of a base in place of the images.

    Args:
        model: A network with a base, whose current weights are used.
        samples: Samples with images from which nothing is cut out.
        network: The inputs of the network, and its base.

    Raises:
        StorageError: There is not enough disk space.
    """
    from trainer.models.weights import weights_sha256

    scaling, base = model.get_layer(IMAGE_SCALING), model.get_layer(BASE)
    images = _images(samples)
    # Weights of a run to start from differ from those in the file.
    key = _key(images, network, weights_sha256(base))
    extract = partial(_output, scaling, base)
    values = _cached(key, images, network, lambda: extract)
    return replace(samples, inputs={**samples.inputs, IMAGE: values})


def _images(samples: Samples) -> CachedImages:
    images = samples.inputs[IMAGE]
    assert isinstance(images, CachedImages), "images are in the cache"
    return images


def _base(network: NetworkShape) -> BaseNetwork:
    assert network.base is not None, "the network has a base"
    return network.base


def _cached(
    key: str,
    images: CachedImages,
    network: NetworkShape,
    make_extractor: Callable[[], Callable[[Any], Any]],
) -> NDArray[np.float32]:
    """Return the output of the base for the rows of the images, float32 (n, channels)."""
    pixels = images.files.pixels
    shape = (len(pixels), _base(network).channels)
    values = EntryCache(cache_root()).load(
        key,
        4 * shape[0] * shape[1],
        lambda folder: _open(folder, shape),
        lambda folder: _fill(folder, pixels, shape, make_extractor()),
        "the output of the pretrained network",
    )
    rows: NDArray[np.float32] = values[images.rows]
    return rows


def _key(images: CachedImages, network: NetworkShape, weights: str = "") -> str:
    """Return the name of an entry.

    Args:
        images: The images.
        network: The inputs of the network, and its base.
        weights: Hash of the weights of the base; empty if they are those of its file.
    """
    from importlib.metadata import version

    base = _base(network)
    settings = (
        _FORMAT,
        version("keras"),
        base.sha256,
        base.settings.model_dump_json(include={"architecture", "layer", "pool"}),
        network.image_scaling,
        images.files.pixels.shape,
        *([weights] if weights else []),
    )
    digest = hashlib.sha256(repr(settings).encode())
    digest.update(np.ascontiguousarray(images.files.content).tobytes())
    return digest.hexdigest()[:32]


def _open(folder: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    features: NDArray[np.float32] = np.load(folder / _FILE, mmap_mode="r")
    if features.shape != shape:
        raise ValueError(f"features of shape {features.shape}")
    return features


def _fill(
    folder: Path,
    pixels: NDArray[np.uint8],
    shape: tuple[int, int],
    extractor: Callable[[Any], Any],
) -> None:
    """Compute the features of all images, of this shape, and write them to a folder."""
    import tensorflow as tf

    extract = tf.function(extractor, autograph=False)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
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


def _extractor(network: NetworkShape) -> Callable[[Any], Any]:
    """Return a function from uint8 images to the output of the base, with the weights in its file."""
    from trainer.models.layers import build_image_scaling
    from trainer.models.pretrained.building import build_base

    assert network.image is not None, "a base network is for images"
    base = build_base(_base(network), network.image, weights=True)
    return partial(_output, build_image_scaling(network.image_scaling, IMAGE_SCALING), base)


def _output(scaling: Any, base: Any, images: Any) -> Any:
    return base(scaling(images), training=False)
