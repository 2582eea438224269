"""Reproducible `.keras` files, whose bytes depend only on the network.

Keras writes the date into the metadata and a timestamp on each member of the archive. Everything else,
including HDF5, is the same for the same network.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import keras

_METADATA = "metadata.json"
_UNIX = 3


def save_network(network: keras.Model, path: Path) -> None:
    """Write a file for `keras.models.load_model`; `path` ends in `.keras`.

    Equal networks with equal weights give equal bytes on any machine, at any time.

    Raises:
        OSError: The disk is full or fails.
        RuntimeError: The same, raised by HDF5.
    """
    network.save(path)
    buffer = BytesIO()
    with ZipFile(path) as original, ZipFile(buffer, "w", ZIP_STORED) as archive:
        for name in sorted(original.namelist()):
            content = original.read(name)
            if name == _METADATA:
                version = json.loads(content)["keras_version"]
                content = json.dumps({"keras_version": version}).encode()
            # The default date is in 1980, the earliest in a zip archive.
            member = ZipInfo(name)
            member.create_system = _UNIX
            archive.writestr(member, content)
    path.write_bytes(buffer.getbuffer())
