"""`trainer doctor`: versions, devices and caches of this machine."""

from __future__ import annotations

import platform
from typing import Annotated, Any

import typer

from trainer.report.text import format_bytes
from trainer_cli import console
from trainer_cli.options import Json


def command(
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Delete compiled programs and decoded images.")
    ] = False,
    json: Json = False,
) -> None:
    """Print versions, devices, threads and the caches of this machine.

    Without a usable GPU, it reports what is missing.
    """
    from trainer.data import image_cache
    from trainer.engine import program_cache

    root, images = program_cache.cache_root(), image_cache.cache_root()
    if clear_cache:
        freed = program_cache.clear_cache(root)
        freed_images = image_cache.clear_cache()
        if json:
            console.json_result(
                {
                    "cache": str(root),
                    "freed_bytes": freed,
                    "image_cache": str(images),
                    "freed_image_bytes": freed_images,
                }
            )
        else:
            console.result(f"{format_bytes(freed)} freed in {root}")
            console.result(f"{format_bytes(freed_images)} freed in {images}")
        return
    from trainer.engine.devices import no_gpu_reason, physical_devices, usable_cores
    from trainer.runs.machine import PACKAGES, package_versions

    devices = physical_devices()
    cores = usable_cores()
    gpus = [name for name in devices if "GPU" in name]
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": package_versions(PACKAGES),
        "cores": cores,
        "threads": {"small networks": 1, "large networks": cores},
        "devices": devices,
        "cache": {"path": str(root), "bytes": program_cache.cache_bytes(root)},
        "image_cache": {"path": str(images), "bytes": image_cache.cache_bytes()},
        "gpu_missing": None if gpus else no_gpu_reason(),
    }
    if json:
        console.json_result(report)
        return
    console.result(f"python       {report['python']} on {report['platform']}")
    for name, version in report["packages"].items():
        console.result(f"{name:<12} {version}")
    console.result(f"cores        {cores}")
    console.result(f"threads      1 for small networks, {cores} for large ones (runtime.threads)")
    console.result(f"devices      {', '.join(devices)}")
    console.result(f"gpu          {'yes' if gpus else 'none: ' + no_gpu_reason()}")
    for name, key in (("cache", "cache"), ("images", "image_cache")):
        cache = report[key]
        console.result(f"{name:<12} {format_bytes(cache['bytes'])} in {cache['path']}")
