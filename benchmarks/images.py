"""Measure training on folders of JPEG files, side by side with Keras, PyTorch and Ultralytics.

    python -m benchmarks.images [NAME…] [--rounds 3] [--quick]

Names are those of `benchmarks.image_workloads`. In each round trainer and its peers alternate, each as a
whole process: start-up, decoding, training, validation after each epoch, saving; trainer has an empty
cache of programs and images, and evaluates and reports as well. Ultralytics is measured if there is an
environment .venv-ultralytics with the package, and only with sides that are multiples of 32, which it
rounds others to. Prints a JSON object: for each workload
the number of rounds, and for each program the medians of seconds and CPU seconds of the process, seconds
of the first epoch, and milliseconds per step in the later ones.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.image_workloads import WORKLOADS, ImageWorkload, config_of, write_folder
from benchmarks.ours import steady_seconds

OURS = "trainer"
PEERS = ("keras", "keras_best", "torch", "torch_best")
ULTRALYTICS = processes.ROOT / ".venv-ultralytics" / "bin" / "python"


def measure(
    name: str, workload: ImageWorkload, folder: Path, rounds: int, *, quick: bool
) -> dict[str, dict[str, float]]:
    """Return program → figure → median over the rounds."""
    images = folder / f"images-{workload.images}"
    if not images.exists():
        write_folder(images, workload.images)
    figures: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    for number in range(rounds):
        programs = [OURS, *PEERS]
        if ULTRALYTICS.exists() and workload.side % 32 == 0:
            programs.append("ultralytics")
        for program in programs if number % 2 == 0 else reversed(programs):
            if program == OURS:
                measured = _measure_trainer(workload, images, folder)
            else:
                measured = _measure_peer(program, name, workload, images, quick=quick)
            figures[program].append(measured)
            print(f"{name} round {number + 1}: {program} {measured}", file=sys.stderr, flush=True)
    return {
        program: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for program, runs in figures.items()
    }


def _measure_trainer(workload: ImageWorkload, images: Path, folder: Path) -> dict[str, float]:
    config = folder / "config.yaml"
    config.write_text(json.dumps(config_of(workload, images)), encoding="utf-8")
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    command = [processes.OURS / "trainer", "fit", config, "--quiet", "--runs", folder / "runs"]
    ended = processes.run(command, {"XDG_CACHE_HOME": str(cache)})
    lines = Path(ended.output.strip(), "timing.jsonl").read_text(encoding="utf-8").splitlines()
    return _figures(workload, ended, [json.loads(line)["seconds"] for line in lines])


def _measure_peer(
    program: str, name: str, workload: ImageWorkload, images: Path, *, quick: bool
) -> dict[str, float]:
    command = [processes.PEERS / "python", "-m", "benchmarks.image_peers", program, name, images]
    if program == "ultralytics":
        command = [ULTRALYTICS, "-m", "benchmarks.ultralytics_peer", name, images]
    ended = processes.run([*command, "--quick"] if quick else command)
    # Keras prints the number of files, too.
    return _figures(workload, ended, json.loads(ended.output.splitlines()[-1]))


def _figures(
    workload: ImageWorkload, ended: processes.Ended, epochs: list[float]
) -> dict[str, float]:
    return {
        "seconds": ended.seconds,
        "cpu_seconds": ended.cpu_seconds,
        "first_epoch": epochs[0],
        "step_milliseconds": 1e3 * steady_seconds(epochs, 0.0) / workload.steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if unknown := set(args.names) - set(WORKLOADS):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(WORKLOADS)}")
    rounds = 1 if args.quick else args.rounds
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.names or WORKLOADS:
            workload = WORKLOADS[name].shortened() if args.quick else WORKLOADS[name]
            programs = measure(name, workload, Path(folder), rounds, quick=args.quick)
            measured[name] = {"rounds": rounds, "programs": programs}
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
