"""Render measurements as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.accuracy_results import accuracy_sections
from benchmarks.export_results import export_sections, serving_sections
from benchmarks.image_results import image_sections
from benchmarks.markdown import figure, met_text, table
from benchmarks.pretrained_results import encoder_sections, transfer_sections
from benchmarks.two_network_results import gan_sections, translation_sections
from benchmarks.workload_results import section, summary
from benchmarks.workloads import WORKLOADS

_HOW = """\
Written by `make bench`. Every measurement is a separate process. In each round, trainer and its peers
alternate, in reverse order every other round. Values are medians over rounds; ratios are ratios of
medians. The peers have their own environment, because Keras imports scikit-learn if it is installed.

The time per step is an epoch's wall-clock time divided by its training steps; it includes validation on
20% of the rows, metrics and, for trainer, the log. For trainer it is measured over the second half of
the epochs of `trainer fit`, from the run directory. For Keras and PyTorch the first epoch (compilation)
is excluded and one to three are timed; for scikit-learn one to three are timed; for four rows, 200
epochs of Keras are timed and multiplied by five. Keras and trainer compute metrics on training and
validation rows, PyTorch and scikit-learn on validation rows only."""

_GROWTH = """\
W1's network and table with more rows, or with wider hidden layers. One run each. Peak memory is that of
the whole process; about 600 MB of it is TensorFlow before any data is read. The last column shows how
epochs were executed.

Where the growth is not linear: at 1,000 rows, most of an epoch is its fixed cost of about 2 ms (calling
the program, metrics, the log). From a width of 512, a step uses two threads. From 1,024 to 2,048, it
takes five times as long rather than four: weights, gradients and Adam's moments are 67 MB there, and a
step waits for memory."""


def render(results: Mapping[str, Any]) -> str:
    """Render the page."""
    parts = ["# Results", _HOW, "## Machine", _machine(results)]
    measured = results["workloads"]
    if measured:
        parts += ["## Summary", summary(measured)]
    for key, workload in WORKLOADS.items():
        if key in measured:
            parts += [f"## {key}", *section(workload, measured[key])]
    if results.get("streaming"):
        parts += ["## W7", *_streaming(results["streaming"])]
    if results.get("growth"):
        parts += ["## Growth", _GROWTH, *_growth(results["growth"])]
    if results.get("start_up"):
        parts += ["## Start-up", _start_up(results["start_up"])]
    if results.get("listing"):
        parts += ["## Listing and comparing runs", _listing(results["listing"])]
    if results.get("encode_table"):
        parts += ["## Reading and encoding a table", _encoding(results["encode_table"])]
    if results.get("prediction"):
        parts += ["## Prediction and evaluation", _prediction(results["prediction"])]
    if results.get("checkpoints"):
        parts += ["## Checkpoints", _checkpoints(results["checkpoints"])]
    if results.get("sweeps"):
        parts += ["## Many networks", *_sweeps(results["sweeps"])]
    if results.get("evaluation"):
        parts += ["## Intervals and baselines", *_intervals(results["evaluation"])]
    if results.get("report"):
        parts += ["## Evaluating a large run", *_reporting(results["report"])]
    if results.get("images"):
        parts += ["## Folders of images", *image_sections(results["images"])]
    if results.get("transfer"):
        parts += ["## Frozen networks for images", *transfer_sections(results["transfer"])]
    if results.get("encoders"):
        parts += ["## Encoders of texts", *encoder_sections(results["encoders"])]
    if results.get("exports"):
        parts += ["## Exported models", *export_sections(results["exports"])]
    if results.get("serving"):
        parts += ["## Serving", *serving_sections(results["serving"])]
    if results.get("gan"):
        parts += ["## A generator and a discriminator", *gan_sections(results["gan"])]
    if results.get("translation"):
        parts += ["## Translation", *translation_sections(results["translation"])]
    if results.get("accuracy"):
        parts += ["## Accuracy", *accuracy_sections(results["accuracy"])]
    return "\n\n".join(parts) + "\n"


def _machine(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return table(
        ("", ""),
        [
            ("measured until", results["date"]),
            ("processor", f"{machine['processor']}, {machine['cores']} cores"),
            ("memory", f"{machine['memory_bytes'] / 2**30:.0f} GiB"),
            ("system", machine["system"]),
            ("versions", versions),
        ],
    )


def _growth(growth: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    yield "![Time of an epoch and peak memory](growth.svg)"
    for varied, runs in growth.items():
        rows = [
            (
                f"{run[varied]:,}",
                f"{run['epoch_seconds']:.4f}",
                figure(run["step_microseconds"]),
                f"{run['peak_bytes'] / 2**20:,.0f}",
                f"{run['epochs']:,}",
                run["engine"],
            )
            for run in runs
        ]
        head = (
            varied,
            "seconds per epoch",
            "µs per step",
            "peak memory, MiB",
            "epochs",
            "execution",
        )
        yield table(head, rows)


def _start_up(measured: Mapping[str, Any]) -> str:
    no_tensorflow = "no" if not measured["imports_tensorflow"] else "yes, unexpectedly"
    return table(
        ("", "measured", "limit"),
        [
            ("`trainer --help`", f"{measured['help_seconds']:.2f} s", "0.3 s"),
            ("`trainer check`, a table of 1 MB", f"{measured['check_seconds']:.2f} s", "1 s"),
            ("TensorFlow imported", no_tensorflow, "no"),
        ],
    )


def _listing(measured: Mapping[str, Any]) -> str:
    no_tensorflow = "no" if not measured["imports_tensorflow"] else "yes, unexpectedly"
    rows = [
        (
            what,
            f"{measured[f'{name}_seconds']:.2f} s",
            "1 s",
            met_text(measured[f"{name}_seconds"] < 1),
        )
        for name, what in _LISTINGS.items()
    ]
    text = (
        f"{measured['runs']:,} run directories like those of a sweep, in ten folders; "
        f"{measured['compared']} of them are compared. Whole processes, medians of five.\n\n"
    )
    rows.append(("TensorFlow imported", no_tensorflow, "no", ""))
    return text + table(("", "measured", "limit", ""), rows)


_LISTINGS = {
    "ls": "`trainer ls`",
    "sorted": "`trainer ls --sort val_auc`",
    "filtered": "`… --where` on a setting and a metric, `--columns` with two settings",
    "compare": "`trainer compare`",
}


def _encoding(measured: Mapping[str, Any]) -> str:
    rows = [
        (
            kind,
            f"{measured[kind]['seconds']:.1f} s",
            "10 s",
            f"{measured[kind]['memory']:.1f}×",
            "3×",
        )
        for kind in ("parquet", "csv")
    ]
    text = (
        f"{measured['rows']:,} rows, {measured['columns']} columns, {measured['categorical']} of them "
        "categorical. Memory is its growth during preparation relative to the size of the encoded "
        "matrix.\n\n"
    )
    return text + table(("", "read, split, encode", "limit", "memory", "limit"), rows)


def _prediction(measured: Mapping[str, Any]) -> str:
    rows = []
    for command in ("predict", "eval"):
        total, start = measured[command]["seconds"], measured[command]["start_up_seconds"]
        times = [f"{seconds:.1f} s" for seconds in (total, start, total - start)]
        rows.append((f"`trainer {command}`", *times, "2 s", met_text(total - start < 2)))
    text = (
        f"{measured['rows']:,} rows of {measured['columns']} numbers from Parquet with a 64-64-1 "
        "network, whole processes; start-up is the same command on ten rows. Medians of five.\n\n"
    )
    return text + table(("", "total", "start-up", "difference", "limit", ""), rows)


def _checkpoints(measured: Mapping[str, Any]) -> str:
    small, large = measured["W1"], measured["W4"]
    added = 1e3 * (small["each"] - small["end"])
    share = large["each"] / large["end"] - 1
    text = (
        "Seconds per epoch with a checkpoint requested after each epoch (`fit.checkpoint.every: 1 "
        "epoch`), and with one at the end only. A checkpoint is postponed if writing would take more "
        "than 5% of the time.\n\n"
    )
    rows = [
        (
            "W1",
            f"{small['each']:.4f}",
            f"{small['end']:.4f}",
            f"{added:.1f} ms",
            "10 ms",
            met_text(added < 10),
        ),
        (
            "W4",
            f"{large['each']:.3f}",
            f"{large['end']:.3f}",
            f"{share:.1%}",
            "2%",
            met_text(share < 0.02),
        ),
    ]
    return text + table(("", "every epoch", "at the end", "added", "limit", ""), rows)


def _sweeps(measured: Mapping[str, Any]) -> Iterator[str]:
    rates, folds, search = (measured[name] for name in ("learning_rates", "folds", "search"))
    networks = rates["networks"]
    yield (
        f"{networks} combinations of learning rate and seed for W1's network, 10 epochs, from a CSV "
        "file: one `trainer sweep`, and alternatives, of which a sample was run alternately with the "
        "sweep and extrapolated. Medians of three."
    )
    peers = (
        (f"the Keras script in a shell loop, {networks} times", "keras_script", 50),
        (f"`trainer fit` in a shell loop, {networks} times", "trainer_fit", 15),
        (f"one `trainer fit` of {networks} configs", "one_process", 2.5),
    )
    rows = [("`trainer sweep`", f"{rates['sweep']:.1f}", "1", "", "")]
    for label, name, least in peers:
        ratio = rates[name] / rates["sweep"]
        rows.append(
            (label, f"{rates[name]:.0f}", f"{ratio:.1f}×", f"{least:g}×", met_text(ratio >= least))
        )
    yield table(("", "seconds", "relative to the sweep", "target", ""), rows)
    ratio = folds["twenty"] / folds["one"]
    yield (
        f"Breast cancer, 5 folds × 4 repeats: {folds['twenty']:.1f} s for 20 networks, "
        f"{folds['one']:.1f} s for one: {ratio:.1f}×, limit 4×: {met_text(ratio <= 4)}."
    )
    minutes = search["seconds"] / 60
    yield (
        f"TPE over {search['trials']} trials of configs/credit_sweep.yaml: {minutes:.1f} minutes, "
        f"limit 10: {met_text(minutes <= 10)}. The best trial's ROC AUC on the test rows is "
        f"{search['auc']:.3f}; that of scikit-learn's HistGradientBoostingClassifier with default "
        f"settings, trained on training and validation rows, is {search['boosting_auc']:.3f}."
    )


def _intervals(measured: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"Intervals of all metrics on {measured['rows']:,} rows with {measured['resamples']:,} "
        "resamples, in seconds on one core, compared with a loop over scikit-learn's functions, "
        "extrapolated from five resamples. For ten classes, the loop computes averages only; trainer "
        "also computes the metrics of each class. Medians of three; the loop ran once."
    )
    labels = {"binary": "two classes", "multiclass": "ten classes", "regression": "regression"}
    rows = []
    for name, run in measured["intervals"].items():
        ours, loop = run["seconds"], run["loop_seconds"]
        figures = (
            f"{ours:.1f} s",
            "5 s",
            met_text(ours < 5),
            f"{loop:,.0f} s",
            f"{loop / ours:.0f}×",
        )
        rows.append((labels[name], str(run["metrics"]), *figures))
    yield table(("", "metrics", "trainer", "limit", "", "loop", "relative to trainer"), rows)
    tables = (
        (f"{measured['rows']:,} × 30, two classes", measured["linear"]["rows"], 2),
        ("digits, 1,797 × 64, ten classes", measured["linear"]["digits"], 1),
    )
    rows = [
        (label, f"{seconds:.2f} s", f"{most} s", met_text(seconds < most))
        for label, seconds, most in tables
    ]
    yield table(("linear baseline", "measured", "limit", ""), rows)


def _reporting(measured: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"A run with {measured['rows']:,} test rows, {measured['rows']:,} validation rows, "
        f"{measured['rows'] // 2:,} training rows and {measured['columns']} columns: whole processes "
        "including start-up, medians of three."
    )
    seconds = measured["seconds"]
    size = measured["page_bytes"] / 1e6
    rows = [
        ("`trainer report`, including findings", f"{seconds['report']:.1f} s", "15 s"),
        ("`trainer report`, from existing findings", f"{seconds['page']:.1f} s", ""),
        ("size of the page", f"{size:.2f} MB", "3 MB"),
        (
            "`trainer explain`: 5 shuffles, partial dependence",
            f"{seconds['explain']:.1f} s",
            "20 s",
        ),
        ("`trainer check --data`", f"{seconds['audit']:.1f} s", ""),
    ]
    yield table(("", "measured", "limit"), rows)


def _streaming(measured: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"Streaming: 64-64-1 on {measured['rows']:,} × {measured['columns']} from Parquet shards, batch "
        "1,024. Memory is the peak minus that of a process that has only started; the last column "
        "excludes the page cache, which the system frees when necessary."
    )
    engines = {name: measured[name] for name in ("resident", "streaming") if name in measured}
    head = ("", "rows per second", "peak memory, GB", "without page cache, GB")
    yield table(
        head,
        [
            (
                name,
                f"{run['rows_per_second']:,}",
                f"{run['peak_above_start_gb']:.2f}",
                f"{run['anonymous_above_start_gb']:.2f}",
            )
            for name, run in engines.items()
        ],
    )
    streaming = measured["streaming"]
    peak = streaming["peak_above_start_gb"]
    yield f"Peak memory below 2 GB: {peak:.2f}, {met_text(peak < 2)}."
    if "resident" in measured:
        slower = measured["resident"]["rows_per_second"] / streaming["rows_per_second"]
        yield f"At most 2× slower than resident: {slower:.2f}×, {met_text(slower <= 2)}."
