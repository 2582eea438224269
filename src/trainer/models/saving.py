"""A network as a `.keras` file whose bytes depend on nothing but the network.

Keras puts the date into the file and the time on each member of the archive; all else that it writes,
HDF5 included, is the same for the same network.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import keras

_METADATA = "metadata.json"
_UNIX = 3


def save_network(network: keras.Sequential, path: Path) -> None:
    """Write a file that `keras.models.load_model` opens; `path` ends in `.keras`.

    Equal networks with equal weights give equal bytes, whenever and wherever they are written.

    Raises:
        OSError: The disk is full or fails; a RuntimeError where HDF5 meets it.
    """
    network.save(path)
    buffer = BytesIO()
    with ZipFile(path) as written, ZipFile(buffer, "w", ZIP_STORED) as archive:
        for name in sorted(written.namelist()):
            content = written.read(name)
            if name == _METADATA:
                version = json.loads(content)["keras_version"]
                content = json.dumps({"keras_version": version}).encode()
            # Without a date it is that of 1980, the first a zip archive can have.
            member = ZipInfo(name)
            member.create_system = _UNIX
            archive.writestr(member, content)
    path.write_bytes(buffer.getbuffer())
