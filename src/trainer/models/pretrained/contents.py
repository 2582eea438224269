"""Check the weights in the file of a base network before training, without Keras."""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trainer.models.pretrained.applications import application_shapes
from trainer.models.pretrained.architectures import ARCHITECTURES
from trainer.models.pretrained.description import BaseNetwork, weights_problem
from trainer.models.pretrained.hdf5_files import read_hdf5_layers
from trainer.models.pretrained.lite_layout import lite_weights
from trainer.models.pretrained.safetensors_files import read_safetensors
from trainer.models.pretrained.torch_files import read_torch_arrays
from trainer.models.pretrained.weights_error import WeightsError

HDF5_SUFFIXES = (".h5", ".hdf5")
_KERAS_WEIGHTS = "model.weights.h5"


def check_weights(base: BaseNetwork) -> None:
    """Check the weights of a base: all of an architecture, by name and shape; those of a network of
    Keras for damage.

    Raises:
        ConfigError: They are damaged, or those of another network.
    """
    try:
        _check_file(base.settings.architecture, base.file, base.sha256)
    except (WeightsError, OSError) as error:
        raise weights_problem(error, base.settings, base.file) from error


@lru_cache(maxsize=16)
def _check_file(architecture: str | None, file: Path, _sha256: str) -> None:
    """Check a file, once for each content."""
    if architecture is None:
        if zipfile.is_zipfile(file):
            _check_keras_archive(file)
        return
    known = ARCHITECTURES[architecture]
    if known.lite is not None:
        lite_weights(known.lite, read_lite_arrays(file))
    elif known.application is not None:
        check_application_file(file)
        read_hdf5_layers(file, application_shapes(known.application))


def read_lite_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays in a file of PyTorch or of safetensors.

    Raises:
        WeightsError: The file is damaged, or of another kind.
        OSError: It cannot be read.
    """
    if file.suffix in (*HDF5_SUFFIXES, ".keras"):
        fix = "remove model.pretrained.architecture if the file has the whole network"
        raise WeightsError(f"a {file.suffix} file", expected=".pth or .safetensors", fix=fix)
    return read_safetensors(file) if file.suffix == ".safetensors" else read_torch_arrays(file)


def check_application_file(file: Path) -> None:
    """Check that a file for an architecture of Keras Applications is of the right kind.

    Raises:
        WeightsError: It is not.
    """
    if file.suffix not in HDF5_SUFFIXES:
        fix = "save the weights as .h5 with Keras"
        raise WeightsError(f"a {file.suffix} file", expected="an .h5 file of Keras", fix=fix)


def _check_keras_archive(file: Path) -> None:
    """Check the checksums of a `.keras` file, and that its weights are in HDF5."""
    import h5py

    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise WeightsError(f"a damaged {damaged}")
            with archive.open(_KERAS_WEIGHTS) as member, h5py.File(member, "r") as weights:
                if not len(weights):
                    raise WeightsError("no weights")
    except KeyError as error:
        raise WeightsError(f"a zip archive without {_KERAS_WEIGHTS}") from error
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError) as error:
        raise WeightsError("damaged weights") from error
