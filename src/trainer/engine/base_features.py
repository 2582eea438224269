"""The output of a pretrained base network: computed once for each image or text, and cached on disk.

Training then has a table of features instead of images or tokens. The cache is that of the decoded
images; the name of an entry is a hash of the base, and of the size and the content of the images, or of
the tokens of all different texts. TensorFlow is imported when features are computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.arrays import RowIndex
from trainer.data.dataset import Dataset
from trainer.data.decoding_progress import progress
from trainer.data.entry_cache import EntryCache, sync_files
from trainer.data.image_cache import CachedImages, cache_root
from trainer.data.preprocessing import InputColumns, Preprocessing
from trainer.data.samples import Samples
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.engine.lengths import LENGTH_STEP, rounded_lengths
from trainer.inputs import FEATURES, IMAGE, TOKENS, InputArray
from trainer.models.pretrained.description import BASE, BaseNetwork
from trainer.models.summary import IMAGE_SCALING, NetworkShape

if TYPE_CHECKING:
    import keras

_FORMAT = 1
# All batches have this size, so that the features of an image do not depend on the number of images.
_BATCH = 32
_FILE = "features.npy"

Batches = Iterator[tuple[RowIndex, NDArray[np.float32]]]
"""Rows, and the features of each."""


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
    samples, base = dataset.samples(split), _base(network)
    assert samples is not None, "the split has rows"
    key = (split, base.sha256, base.settings.model_dump_json())
    if key not in dataset.derived:
        if base.input == IMAGE:
            images = _images(samples)
            values = _image_features(images, network, lambda: _extractor(network))
        else:
            values = _text_features(dataset, split, network)
        inputs: dict[str, InputArray] = {
            name: array
            for name, array in samples.inputs.items()
            if name not in (FEATURES, base.input)
        }
        if FEATURES in samples.inputs:
            values = np.concatenate([values, samples.inputs[FEATURES][:]], axis=1)
        dataset.derived[key] = replace(samples, inputs={FEATURES: values, **inputs})
    return dataset.derived[key]


def input_columns(
    preprocessing: Preprocessing, network: NetworkShape
) -> Mapping[str, InputColumns]:
    """Return the encoded columns of each column of the table, in the inputs that are trained on."""
    columns, base = preprocessing.input_columns, network.base
    if base is None or network.trained is network:
        return columns
    moved = {}
    for name, place in columns.items():
        if place.input == base.input:
            moved[name] = InputColumns(FEATURES, slice(0, base.channels))
        elif place.input == FEATURES:
            start, stop = place.columns.start, place.columns.stop
            moved[name] = InputColumns(FEATURES, slice(base.channels + start, base.channels + stop))
        else:
            moved[name] = place
    return moved


def with_output_of(model: keras.Model, samples: Samples, network: NetworkShape) -> Samples:
    """Return the samples with the output of a base in place of the images or tokens.

    Args:
        model: A network with a base, whose current weights are used.
        samples: Samples with tokens, or with images from which nothing is cut out.
        network: The inputs of the network, and its base.

    Raises:
        StorageError: There is not enough disk space.
    """
    from trainer.models.weights import weights_sha256

    base, name = model.get_layer(BASE), _base(network).input
    # Weights of a run to start from differ from those in the file.
    weights = weights_sha256(base)
    if name == IMAGE:
        extract = partial(_output, model.get_layer(IMAGE_SCALING), base)
        values = _image_features(_images(samples), network, lambda: extract, weights)
    else:
        ids = np.ascontiguousarray(samples.inputs[TOKENS][:], np.int32)
        encode, rows = partial(base, training=False), np.arange(len(ids))
        values = _cached(
            network, (ids.shape, weights), ids, len(ids), lambda: _batches(ids, rows, encode)
        )
    return replace(samples, inputs={**samples.inputs, name: values})


def _images(samples: Samples) -> CachedImages:
    images = samples.inputs[IMAGE]
    assert isinstance(images, CachedImages), "images are in the cache"
    return images


def _base(network: NetworkShape) -> BaseNetwork:
    assert network.base is not None, "the network has a base"
    return network.base


def _image_features(
    images: CachedImages,
    network: NetworkShape,
    make_extractor: Callable[[], Callable[[Any], Any]],
    weights: str = "",
) -> NDArray[np.float32]:
    """Return the output of the base for the rows of the images, float32 (n, channels).

    Args:
        images: The images.
        network: The inputs of the network, and its base.
        make_extractor: Returns a function from images to the output.
        weights: Hash of the weights of the base; empty if they are those of its file.
    """
    pixels = images.files.pixels
    settings = (network.image_scaling, pixels.shape, *([weights] if weights else []))
    values = _cached(
        network,
        settings,
        images.files.content,
        len(pixels),
        lambda: _batches(pixels, np.arange(len(pixels)), make_extractor()),
    )
    rows: NDArray[np.float32] = values[images.rows]
    return rows


def _text_features(
    dataset: Dataset, split: SplitName, network: NetworkShape
) -> NDArray[np.float32]:
    """Return the output of the base for the texts of a split, float32 (n, channels).

    An entry of the cache has the different texts of all splits, in an order of their own: it is the same
    for each seed and each fold.
    """
    parts = {}
    for name in SPLIT_NAMES:
        samples = dataset.samples(name)
        if samples is not None:
            parts[name] = np.ascontiguousarray(samples.inputs[TOKENS][:], np.int32)
    ids, places = np.unique(np.concatenate(list(parts.values())), axis=0, return_inverse=True)
    ends = dict(zip(parts, np.cumsum([len(part) for part in parts.values()]), strict=True))
    rows = places.reshape(-1)[ends[split] - len(parts[split]) : ends[split]]
    base = _base(network)
    settings = (base.encoder, ids.shape, LENGTH_STEP)
    values = _cached(network, settings, ids, len(ids), lambda: _text_batches(ids, base))
    chosen: NDArray[np.float32] = values[rows]
    return chosen


def _cached(
    network: NetworkShape,
    settings: tuple[object, ...],
    content: NDArray[Any],
    count: int,
    batches: Callable[[], Batches],
) -> NDArray[np.float32]:
    """Return features (count, channels) from the cache, where they are computed if they are missing.

    Args:
        network: The inputs of the network, and its base.
        settings: What the features depend on, besides the base and the content.
        content: The texts, or a hash of each image.
        count: Number of images or texts.
        batches: Computes the features of all of them.
    """
    shape = (count, _base(network).channels)
    return EntryCache(cache_root()).load(
        _key(_base(network), settings, content),
        4 * shape[0] * shape[1],
        lambda folder: _open(folder, shape),
        lambda folder: _fill(folder, shape, batches()),
        "the output of the pretrained network",
    )


def _key(base: BaseNetwork, settings: tuple[object, ...], content: NDArray[Any]) -> str:
    """Return the name of an entry."""
    from importlib.metadata import version

    dependencies = (
        _FORMAT,
        version("keras"),
        base.sha256,
        base.settings.model_dump_json(include={"architecture", "layer", "pool"}),
        *settings,
    )
    digest = hashlib.sha256(repr(dependencies).encode())
    digest.update(np.ascontiguousarray(content).tobytes())
    return digest.hexdigest()[:32]


def _open(folder: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    features: NDArray[np.float32] = np.load(folder / _FILE, mmap_mode="r")
    if features.shape != shape:
        raise ValueError(f"features of shape {features.shape}")
    return features


def _fill(folder: Path, shape: tuple[int, int], batches: Batches) -> None:
    """Compute the features of all images or texts, of this shape, and write them to a folder."""
    show, done = progress.get(), 0
    features = np.lib.format.open_memmap(folder / _FILE, "w+", np.dtype("<f4"), shape)
    for rows, values in batches:
        features[rows] = values
        done += len(rows)
        if show is not None:
            show(done, shape[0], "computing features")
    features.flush()
    sync_files(folder)


def _batches(values: NDArray[Any], rows: RowIndex, extractor: Callable[[Any], Any]) -> Batches:
    """Yield the features of some rows of the values of an input."""
    import tensorflow as tf

    extract = tf.function(partial(extractor), autograph=False)
    batch = np.zeros((_BATCH, *values.shape[1:]), values.dtype)
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        batch[: len(part)] = values[part]
        yield part, extract(tf.constant(batch)).numpy()[: len(part)]


def _extractor(network: NetworkShape) -> Callable[[Any], Any]:
    """Return a function from uint8 images to the output of the base, with the weights in its file."""
    from trainer.models.layers import build_image_scaling
    from trainer.models.pretrained.building import build_base

    assert network.image is not None, "a base network is for images"
    base = build_base(_base(network), network.image, weights=True)
    return partial(_output, build_image_scaling(network.image_scaling, IMAGE_SCALING), base)


def _output(scaling: Any, base: Any, images: Any) -> Any:
    return base(scaling(images), training=False)


def _text_batches(ids: NDArray[np.int32], base: BaseNetwork) -> Batches:
    """Yield the features of texts, the short ones first, each padded only to the next step."""
    from trainer.models.pretrained.encoder_network import EncoderLayers, fill_from_file

    encoder = base.encoder
    assert encoder is not None, "the base is an encoder"
    layers = EncoderLayers(encoder, dropout=0.0)
    fill_from_file(layers, base)
    lengths = rounded_lengths(ids, encoder.pad_id, LENGTH_STEP)
    for length in np.unique(lengths).tolist():
        network = layers.network(length, base.settings.pool)
        rows = np.flatnonzero(lengths == length)
        yield from _batches(ids[:, :length], rows, partial(network, training=False))
