"""Run the benchmarks and write benchmarks/RESULTS.md.

    python -m benchmarks.run [NAME…] [--quick]

Names are W1 to W7, growth, start_up, listing, encode_table, prediction, checkpoints, sweeps, evaluation,
report, images, transfer, encoders, exports, serving, gan and translation; all by default. Those that are
not named keep their last results (benchmarks/results.json, not in the repository). `--quick` runs small
versions to check that everything works, and prints the page instead of writing it: its numbers are
meaningless.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import ours, plot, processes
from benchmarks.results import render
from benchmarks.workloads import AGAIN, OURS, WORKLOADS, Workload, growth

HERE = Path(__file__).resolve().parent
PAGE, STORE, PICTURE = HERE / "RESULTS.md", HERE / "results.json", HERE / "growth.svg"
SCRIPTS = {
    "W7": "streaming",
    "start_up": "start_up",
    "listing": "listing",
    "encode_table": "encode_table",
    "prediction": "prediction",
    "checkpoints": "checkpoints",
    "sweeps": "sweeps",
    "evaluation": "evaluation",
    "report": "report",
    "images": "images",
    "transfer": "transfer",
    "encoders": "encoders",
    "exports": "exports",
    "serving": "serving",
    "gan": "gan",
    "translation": "translation",
}
OPTIONS = {
    "translation": ("--rows", "1024", "--epochs", "2", "--python", str(processes.PEERS / "python")),
}
NAMES = (*WORKLOADS, "W7", "growth", *(name for name in SCRIPTS if name != "W7"))
FEW_ROWS = ("--rows", "20000")
QUICK = {
    **dict.fromkeys(("W7", "encode_table", "prediction"), FEW_ROWS),
    "listing": ("--runs", "30"),
    "checkpoints": FEW_ROWS,
    "sweeps": ("--networks", "8", "--trials", "4"),
    "evaluation": ("--rows", "1000", "--resamples", "20"),
    "report": ("--rows", "1000"),
    "images": ("--quick",),
    "transfer": ("--images", "40", "--epochs", "2"),
    "encoders": ("--rows", "32", "--epochs", "2"),
    "exports": ("--seconds", "0.05"),
    "serving": ("--requests", "1000"),
    "gan": ("--steps", "3", "--repeats", "1"),
    "translation": ("--rows", "128", *OPTIONS["translation"][2:]),
}

SETTINGS: tuple[dict[str, Any], ...] = (
    {"jit_compile": False},
    {"jit_compile": False, "steps_per_execution": "epoch"},
    {"jit_compile": True, "steps_per_execution": "epoch"},
)
SETTING_STEPS = 250

# A growth table is used only if this multiple of its size is free memory.
LARGEST_TABLE = 20

# Hides the optional libraries that Keras would import at start-up.
WITHOUT_OTHERS = (
    "import runpy, sys; sys.argv = sys.argv[1:]; "
    "sys.modules |= dict.fromkeys(('jax', 'matplotlib', 'pandas', 'scipy', 'sklearn', 'torch')); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def measure_workload(workload: Workload, folder: Path) -> dict[str, Any]:
    """Run all rounds of a workload."""
    table = make_table(workload, folder, "csv" if workload.unit == "process" else "npz")
    settings = best_settings(workload, table) if "keras_best" in workload.peers else {}
    measured: defaultdict[str, list[float]] = defaultdict(list)
    matrix: list[dict[str, float]] = []
    engine = ""
    for number in range(workload.rounds):
        names = [OURS, *workload.peers]
        for name in names if number % 2 == 0 else reversed(names):
            if name in workload.once and number > 0:
                continue
            if name == OURS:
                times, engine = trainer_times(workload, table, folder, number)
            elif name == "keras_script":
                times = {name: keras_script_seconds(table, workload.epochs)}
            else:
                seconds = peer_seconds(workload, name, table, settings)
                times = {name: in_unit(workload, seconds)}
            for measured_name, value in times.items():
                measured[measured_name].append(value)
                log(f"{workload.key} round {number + 1}: {measured_name} {value:.4g}")
        if workload.matrix_share is not None:
            matrix.append(run_json(processes.OURS / "python", "-m", "benchmarks.matrix_rate"))
    return {
        "rounds": workload.rounds,
        "measured": {
            name: measured[name] for name in (OURS, AGAIN, *workload.peers) if measured[name]
        },
        "settings": {"keras_best": settings_text(settings)} if settings else {},
        "engine": engine,
        "matrix": matrix,
    }


def trainer_times(
    workload: Workload, table: Path, folder: Path, number: int
) -> tuple[dict[str, float], str]:
    """Return the times of trainer in a round, and its execution engine."""
    if workload.unit != "process":
        fitted = ours.fit(workload, table, folder / "cache")
        return {OURS: in_unit(workload, fitted.epoch_seconds)}, fitted.engine
    # First with an empty compilation cache, then with the cache of the first.
    cache = folder / f"cache-{number}"
    first, again = (ours.fit(workload, table, cache) for _ in range(2))
    return {OURS: first.process_seconds, AGAIN: again.process_seconds}, first.engine


def in_unit(workload: Workload, epoch_seconds: float) -> float:
    """Convert seconds per epoch to the unit of the workload."""
    return epoch_seconds * (1e6 / workload.steps if workload.unit == "step" else 1_000)


def make_table(workload: Workload, folder: Path, kind: str) -> Path:
    """Write the workload's table to a file, in a separate process whose memory is not counted."""
    table = workload.table
    path = folder / f"table-{table.rows}-{table.features}-{table.classes}.{kind}"
    if not path.exists():
        arguments = [str(number) for number in (table.rows, table.features, table.classes)]
        flag = ["--exclusive-or"] if table.exclusive_or else []
        processes.run(
            [processes.OURS / "python", "-m", "benchmarks.tables", path, *arguments, *flag]
        )
    return path


def peer_seconds(
    workload: Workload,
    name: str,
    table: Path,
    settings: dict[str, Any],
    rows: int | None = None,
) -> float:
    """Return a peer's seconds per epoch on the table, or on its first `rows`."""
    peer = "keras" if name == "keras_best" else name
    command = ["-m", "benchmarks.peers", peer, workload.key, table, str(workload.peers[name])]
    if name == "keras_best":
        command += ["--settings", json.dumps(settings)]
    if rows is not None:
        command += ["--rows", str(rows)]
    return float(run_json(processes.PEERS / "python", *command))


def best_settings(workload: Workload, table: Path) -> dict[str, Any]:
    """Return the fastest settings of Keras's `compile`, each tried once on some of the rows."""
    rows = min(workload.table.rows, SETTING_STEPS * workload.network.batch)
    # With one step per epoch, several steps per execution are impossible.
    settings = [
        options
        for options in SETTINGS
        if workload.steps > 1 or "steps_per_execution" not in options
    ]
    return min(
        settings, key=lambda options: peer_seconds(workload, "keras_best", table, options, rows)
    )


def settings_text(settings: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={'steps per epoch' if value == 'epoch' else value}"
        for name, value in settings.items()
    )


def keras_script_seconds(table: Path, epochs: int) -> float:
    """Return the seconds of the whole Keras script with only TensorFlow installed.

    With scikit-learn, SciPy and pandas, its start-up takes about two seconds longer.
    """
    script = HERE / "keras_script.py"
    command = [processes.PEERS / "python", "-c", WITHOUT_OTHERS, script, table, str(epochs)]
    return processes.run(command).seconds


def measure_growth(folder: Path, *, quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Measure the time per epoch and peak memory for growing rows and width."""
    grown: dict[str, list[dict[str, Any]]] = {}
    for varied, workloads in growth().items():
        grown[varied] = []
        for workload in workloads[:2] if quick else workloads:
            if 4 * workload.table.rows * workload.table.features * LARGEST_TABLE > free_bytes():
                log(f"growth: {workload.table.rows:,} rows skipped, not enough free memory")
                continue
            table = make_table(workload, folder, "npz")
            fitted = ours.fit(workload, table, folder / "cache")
            log(f"growth {varied}: {fitted}")
            grown[varied].append(
                {
                    "rows": workload.table.rows,
                    "width": workload.network.widths[0],
                    "epochs": workload.epochs,
                    "epoch_seconds": fitted.epoch_seconds,
                    "step_microseconds": 1e6 * fitted.epoch_seconds / workload.steps,
                    "peak_bytes": fitted.peak_bytes,
                    "engine": fitted.engine,
                }
            )
    return grown


def free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def run_json(*command: str | Path) -> Any:
    """Run a command and parse its output as JSON."""
    return json.loads(processes.run(command).output)


def machine() -> dict[str, Any]:
    """Describe the machine, without host or user names."""
    processor = platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = f"{line.partition(':')[2].strip()} ({processor})"
                break
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    names = ("yaml-trainer", "tensorflow", "keras", "numpy", "polars", "torch", "scikit-learn")
    code = (
        "import importlib.metadata, json, platform, sys; "
        "print(json.dumps({'python': platform.python_version()} | "
        "{name: importlib.metadata.version(name) for name in sys.argv[1:]}))"
    )
    installed: dict[str, str] = run_json(processes.PEERS / "python", "-c", code, *names)
    return {name.removeprefix("yaml-"): version for name, version in installed.items()}


def measure(name: str, folder: Path, results: dict[str, Any], *, quick: bool) -> None:
    """Run a benchmark of NAMES and add its results."""
    if name in WORKLOADS:
        workload = WORKLOADS[name].shortened() if quick else WORKLOADS[name]
        results["workloads"][name] = measure_workload(workload, folder)
    elif name == "growth":
        results["growth"] = measure_growth(folder, quick=quick)
    elif (HERE / f"{SCRIPTS[name]}.py").exists():
        options = QUICK[name] if quick and name in QUICK else OPTIONS.get(name, ())
        command = (processes.OURS / "python", "-m", f"benchmarks.{SCRIPTS[name]}", *options)
        results[SCRIPTS[name]] = run_json(*command)
    log(f"{name}: done")


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if unknown := set(args.names) - set(NAMES):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(NAMES)}")
    environment = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
    }
    results: dict[str, Any] = {"workloads": {}, **environment}
    start_time = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for name in args.names or NAMES:
            measure(name, Path(folder), results, quick=args.quick)
            if not args.quick:
                write(results)
    log(f"total: {(perf_counter() - start_time) / 60:.1f} minutes")
    if args.quick:
        print(render(results))


def write(results: dict[str, Any]) -> None:
    """Write the page, with previous results of benchmarks that were not run."""
    before: dict[str, Any] = {"workloads": {}}
    if STORE.exists():
        before = json.loads(STORE.read_text(encoding="utf-8"))
    stored = {**before, **results, "workloads": {**before["workloads"], **results["workloads"]}}
    STORE.write_text(json.dumps(stored, indent=1), encoding="utf-8")
    PAGE.write_text(render(stored), encoding="utf-8")
    if stored.get("growth"):
        plot.draw_growth(PICTURE, stored["growth"])


if __name__ == "__main__":
    main()
