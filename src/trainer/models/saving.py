"""Reproducible `.keras` files, whose bytes depend only on the network.

Keras writes the date into the metadata and a timestamp on each member of the archive. Everything else,
including HDF5, is the same for the same network.
"""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copyfileobj, rmtree
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import keras

_METADATA = "metadata.json"
_UNIX = 3
# The layout of the HDF5 file depends on where Keras writes it, which must not depend on the machine.
_IN_MEMORY_BYTES = 1 << 28


def save_network(network: keras.Model, path: Path) -> None:
    """Write a file for `keras.models.load_model`; `path` ends in `.keras`.

    Equal networks with equal weights give equal bytes on any machine, at any time.

    Raises:
        OSError: The disk is full or fails.
        RuntimeError: The same, raised by HDF5.
    """
    folder = path.with_name(f"original-{path.stem}")
    if 4 * int(network.count_params()) < _IN_MEMORY_BYTES:
        original = path.with_name(f"original-{path.name}")
        network.save(original)
        with ZipFile(original) as archive:
            archive.extractall(folder)
        original.unlink()
    else:
        # Keras would assemble an archive in memory, of which the weights can take most.
        network.save(folder, zipped=False)
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    with ZipFile(path, "w", ZIP_STORED) as archive:
        for name, file in sorted(files.items()):
            # The default date is in 1980, the earliest in a zip archive.
            member = ZipInfo(name)
            member.create_system = _UNIX
            if name == _METADATA:
                version = json.loads(file.read_bytes())["keras_version"]
                archive.writestr(member, json.dumps({"keras_version": version}))
                continue
            member.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(member, "w") as target:
                copyfileobj(source, target)
    rmtree(folder)
