"""Writes what was measured for a reader: plain data → Markdown. Measures nothing, draws nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.workloads import NAMES, OURS, WORKLOADS, Target, Workload

_UNITS = {
    "step": "µs a step",
    "fit": "seconds for 1,000 epochs",
    "process": "seconds",
}

_HOW = """\
Written by `make bench`. Each measurement is a process of its own. In each round ours and the peers
take turns, every other round backwards. A figure is the median of the rounds; ratios are of medians.
The peers are in an environment of their own: Keras imports scikit-learn where it finds it.

A step is an epoch's wall-clock time over its training steps: validation on 20% of the rows, metrics and,
for ours, the log are in it. Ours is `trainer fit`: the second half of its epochs, as the run directory
has them. Of Keras and PyTorch one epoch is left out (compilation) and one to three are timed, of
scikit-learn one to three; for four rows, 200 epochs of Keras, multiplied by five. Keras and ours measure
their metrics on training and validation rows, PyTorch and scikit-learn on validation rows alone."""

_GROWTH = """\
From W1's network and table: the rows grow, or the width of both hidden layers does. One run each. Peak
memory is that of the whole process, some 600 MB of which TensorFlow holds before it has seen a row.
Where the way an epoch is run changes, the last column says so.

What is no straight line: at 1,000 rows most of an epoch is what is done once in it, some 2 ms
(calling the program, metrics, the log). From a width of 512 on a step has two threads. From 1,024 to
2,048 it takes five times as long rather than four: weights, gradients and adam's slots are 67 MB there,
and a step waits for memory."""


def render(results: Mapping[str, Any]) -> str:
    """The whole page."""
    parts = ["# Results", _HOW, "## Machine", _machine(results)]
    measured = results["workloads"]
    if measured:
        parts += ["## Summary", _summary(measured)]
    for key, workload in WORKLOADS.items():
        if key in measured:
            parts += [f"## {key}", *_section(workload, measured[key])]
    if results.get("streaming"):
        parts += ["## W7", *_streaming(results["streaming"])]
    if results.get("growth"):
        parts += ["## Growth", _GROWTH, *_growth(results["growth"])]
    if results.get("start_up"):
        parts += ["## Start-up", _start_up(results["start_up"])]
    if results.get("listing"):
        parts += ["## Looking at many runs", _listing(results["listing"])]
    if results.get("encode_table"):
        parts += ["## Reading and encoding a table", _encoding(results["encode_table"])]
    if results.get("prediction"):
        parts += ["## Prediction and evaluation", _prediction(results["prediction"])]
    if results.get("checkpoints"):
        parts += ["## Checkpoints", _checkpoints(results["checkpoints"])]
    if results.get("sweeps"):
        parts += ["## Many networks", *_sweeps(results["sweeps"])]
    if results.get("evaluation"):
        parts += ["## Intervals and baselines", *_judging(results["evaluation"])]
    if results.get("report"):
        parts += ["## What a large run is worth", *_reporting(results["report"])]
    return "\n\n".join(parts) + "\n"


def _machine(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return _table(
        ("", ""),
        [
            ("measured on", results["date"]),
            ("processor", f"{machine['processor']}, {machine['cores']} cores"),
            ("memory", f"{machine['memory_bytes'] / 2**30:.0f} GiB"),
            ("system", machine["system"]),
            ("versions", versions),
        ],
    )


def _summary(measured: Mapping[str, Any]) -> str:
    rows = []
    for key, workload in WORKLOADS.items():
        if key not in measured:
            continue
        told = [
            (NAMES[target.against], *_judged(workload, measured[key], target))
            for target in workload.targets
        ]
        if workload.matrix_share is not None:
            told.append(("matrix rate", *_matrix_judged(workload, measured[key])))
        rows += [
            (key, against, reached, wanted, _yes(met)) for against, reached, wanted, met in told
        ]
    return _table(("", "against", "reached", "at least", ""), rows)


def _section(workload: Workload, measured: Mapping[str, Any]) -> Iterator[str]:
    yield f"{workload.title}. Rounds: {measured['rounds']}."
    ours = statistics.median(measured["measured"][OURS])
    targets = {target.against: target for target in workload.targets}
    rows = []
    for name, values in measured["measured"].items():
        middle = statistics.median(values)
        ratio = "1" if name == OURS else f"{middle / ours:.1f}×"
        wanted = f"{targets[name].at_least:g}×" if name in targets else ""
        met = _yes(_judged(workload, measured, targets[name])[2]) if name in targets else ""
        label = NAMES[name]
        if name in measured["settings"]:
            label += f" ({measured['settings'][name]})"
        spread = f"{_figure(min(values))}–{_figure(max(values))}"
        rows.append((label, _figure(middle), spread, ratio, wanted, met))
    head = ("", _UNITS[workload.unit], "least–most", "against ours", "at least", "")
    yield _table(head, rows)
    yield from _matrix_lines(workload, measured)
    yield f"Ours ran as: {measured['engine']}."
    missed = [
        (NAMES[target.against], target.why_not)
        for target in workload.targets
        if not _judged(workload, measured, target)[2]
    ]
    share = workload.matrix_share
    if share is not None and not _matrix_judged(workload, measured)[2]:
        missed.append(("matrix rate", share.why_not))
    for against, why_not in missed:
        yield f"Not reached against {against}: {why_not or 'not explained yet.'}"


def _judged(
    workload: Workload, measured: Mapping[str, Any], target: Target
) -> tuple[str, str, bool]:
    """Reached, wanted, whether it is."""
    values = measured["measured"]
    ratio = statistics.median(values[target.against]) / statistics.median(values[OURS])
    return f"{ratio:.1f}×", f"{target.at_least:g}×", ratio >= target.at_least


def matrix_share(workload: Workload, measured: Mapping[str, Any]) -> float:
    """Ours over the machine's rate: of the best library, the median of the rounds."""
    seconds = statistics.median(measured["measured"][OURS]) * 1e-6 * workload.steps
    rates = [max(rate["numpy"], rate["tensorflow"]) for rate in measured["matrix"]]
    return workload.multiplications() / seconds / statistics.median(rates)


def _matrix_judged(workload: Workload, measured: Mapping[str, Any]) -> tuple[str, str, bool]:
    assert workload.matrix_share is not None
    share, wanted = matrix_share(workload, measured), workload.matrix_share.at_least
    return f"{share:.0%}", f"{wanted:.0%}", share >= wanted


def _matrix_lines(workload: Workload, measured: Mapping[str, Any]) -> Iterator[str]:
    if workload.matrix_share is None:
        return
    rates = {
        name: statistics.median(rate[name] for rate in measured["matrix"]) / 1e9
        for name in measured["matrix"][0]
    }
    reached, wanted, met = _matrix_judged(workload, measured)
    yield (
        "Float32 matrices are multiplied on this machine, measured beside it with all cores, at "
        f"{rates['numpy']:.0f} GFLOP/s by NumPy and {rates['tensorflow']:.0f} by TensorFlow "
        "(2,048 × 2,048); "
        f"128 × 784 by 784 × 512, this network's largest product, at {rates['tensorflow_w2']:.0f} by "
        f"TensorFlow. Ours reaches {reached} of the higher of the first two, at least {wanted}: "
        f"{_yes(met)}. Only matrix products are counted as ours."
    )


def _growth(growth: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    yield "![Time of an epoch and peak memory](growth.svg)"
    for grows, runs in growth.items():
        rows = [
            (
                f"{run[grows]:,}",
                f"{run['epoch_seconds']:.4f}",
                _figure(run["step_microseconds"]),
                f"{run['peak_bytes'] / 2**20:,.0f}",
                f"{run['epochs']:,}",
                run["engine"],
            )
            for run in runs
        ]
        head = (grows, "seconds an epoch", "µs a step", "peak memory, MB", "epochs run", "how")
        yield _table(head, rows)


def _start_up(measured: Mapping[str, Any]) -> str:
    no_tensorflow = "no" if not measured["imports_tensorflow"] else "yes: it should not"
    return _table(
        ("", "measured", "at most"),
        [
            ("`trainer --help`", f"{measured['help_seconds']:.2f} s", "0.3 s"),
            ("`trainer check`, a table of 1 MB", f"{measured['check_seconds']:.2f} s", "1 s"),
            ("TensorFlow imported", no_tensorflow, "no"),
        ],
    )


def _listing(measured: Mapping[str, Any]) -> str:
    no_tensorflow = "no" if not measured["imports_tensorflow"] else "yes: it should not"
    rows = [
        (what, f"{measured[f'{name}_seconds']:.2f} s", "1 s", _yes(measured[f"{name}_seconds"] < 1))
        for name, what in _LISTINGS.items()
    ]
    text = (
        f"{measured['runs']:,} run directories as a sweep leaves them, in ten folders; "
        f"{measured['compared']} of them compared. Whole processes, medians of five.\n\n"
    )
    rows.append(("TensorFlow imported", no_tensorflow, "no", ""))
    return text + _table(("", "measured", "at most", ""), rows)


_LISTINGS = {
    "ls": "`trainer ls`",
    "sorted": "`trainer ls --sort val_auc`",
    "asked": "`… --where` on a setting and a metric, `--columns` with two settings",
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
        "categories. Memory is the growth while preparing over the size of the encoded matrix.\n\n"
    )
    return text + _table(("", "read, split, encode", "at most", "memory", "at most"), rows)


def _prediction(measured: Mapping[str, Any]) -> str:
    rows = []
    for verb in ("predict", "eval"):
        whole, start = measured[verb]["seconds"], measured[verb]["start_up_seconds"]
        taken = [f"{seconds:.1f} s" for seconds in (whole, start, whole - start)]
        rows.append((f"`trainer {verb}`", *taken, "2 s", _yes(whole - start < 2)))
    text = (
        f"{measured['rows']:,} rows of {measured['columns']} numbers from Parquet through S1's network, "
        "whole processes; start-up is the same command on ten rows. Medians of five.\n\n"
    )
    return text + _table(("", "whole", "start-up", "difference", "at most", ""), rows)


def _checkpoints(measured: Mapping[str, Any]) -> str:
    small, large = measured["W1"], measured["W4"]
    added = 1e3 * (small["each"] - small["end"])
    share = large["each"] / large["end"] - 1
    text = (
        "Seconds an epoch with a checkpoint asked for after each epoch (`fit.checkpoint.every: 1 "
        "epoch`), and with one at the end alone. One is put off while writing would take more than a "
        "twentieth of the time.\n\n"
    )
    rows = [
        (
            "W1",
            f"{small['each']:.4f}",
            f"{small['end']:.4f}",
            f"{added:.1f} ms",
            "10 ms",
            _yes(added < 10),
        ),
        (
            "W4",
            f"{large['each']:.3f}",
            f"{large['end']:.3f}",
            f"{share:.1%}",
            "2%",
            _yes(share < 0.02),
        ),
    ]
    return text + _table(("", "each epoch", "at the end", "added", "at most", ""), rows)


def _sweeps(measured: Mapping[str, Any]) -> Iterator[str]:
    rates, folds, search = (measured[name] for name in ("learning_rates", "folds", "search"))
    networks = rates["networks"]
    yield (
        f"{networks} learning rates × seeds of W1's network for 10 epochs, from a CSV file: one "
        "`trainer sweep`, and as many turns of others, of which a sample was run in turn with it and "
        "multiplied. Medians of three."
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
            (label, f"{rates[name]:.0f}", f"{ratio:.1f}×", f"{least:g}×", _yes(ratio >= least))
        )
    yield _table(("", "seconds", "against the sweep", "at least", ""), rows)
    ratio = folds["twenty"] / folds["one"]
    yield (
        f"Breast cancer, 5 folds × 4 repeats: {folds['twenty']:.1f} s for 20 networks, "
        f"{folds['one']:.1f} s for one: {ratio:.1f} ×, at most 4: {_yes(ratio <= 4)}."
    )
    minutes = search["seconds"] / 60
    yield (
        f"TPE over {search['trials']} trials of configs/credit_sweep.yaml: {minutes:.1f} minutes, at "
        f"most 10: {_yes(minutes <= 10)}. The winner's area under the ROC curve on the test rows is "
        f"{search['auc']:.3f}; that of scikit-learn's HistGradientBoostingClassifier with its "
        f"defaults, trained on training and validation rows, {search['boosting_auc']:.3f}."
    )


def _judging(measured: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"Intervals of every measure of {measured['rows']:,} rows by {measured['resamples']:,} "
        "resamples, in seconds of one core, and a plain loop over scikit-learn's functions, of which "
        "five resamples were run and multiplied; of ten classes the loop measures the averages, ours "
        "each class as well. Medians of three, the loop once."
    )
    labels = {"binary": "two classes", "multiclass": "ten classes", "regression": "one number"}
    rows = []
    for name, run in measured["intervals"].items():
        ours, loop = run["seconds"], run["loop_seconds"]
        figures = (f"{ours:.1f} s", "5 s", _yes(ours < 5), f"{loop:,.0f} s", f"{loop / ours:.0f}×")
        rows.append((labels[name], str(run["measures"]), *figures))
    yield _table(("", "measures", "ours", "at most", "", "the loop", "against ours"), rows)
    tables = (
        (f"{measured['rows']:,} × 30, two classes", measured["linear"]["rows"], 2),
        ("digits, 1,797 × 64, ten classes", measured["linear"]["digits"], 1),
    )
    rows = [
        (label, f"{seconds:.2f} s", f"{most} s", _yes(seconds < most))
        for label, seconds, most in tables
    ]
    yield _table(("the linear baseline", "measured", "at most", ""), rows)


def _reporting(measured: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"A run with {measured['rows']:,} test rows, as many validation rows and half as many training "
        f"rows of {measured['columns']} columns: whole processes, start-up included, medians of three."
    )
    seconds = measured["seconds"]
    size = measured["page_bytes"] / 1e6
    rows = [
        ("`trainer report`, findings made first", f"{seconds['report']:.1f} s", "15 s"),
        ("`trainer report`, the page alone", f"{seconds['page']:.1f} s", ""),
        ("the page", f"{size:.2f} MB", "3 MB"),
        ("`trainer explain`: 5 shuffles, curves", f"{seconds['explain']:.1f} s", "20 s"),
        ("`trainer check --data`", f"{seconds['audit']:.1f} s", ""),
    ]
    yield _table(("", "measured", "at most"), rows)


def _streaming(measured: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"Streaming: 64-64-1 on {measured['rows']:,} × {measured['columns']} from Parquet shards, batch "
        "1,024. Memory is the peak above that of a process which has only started; without pages of "
        "files, which the system takes back when it needs them, in the last column."
    )
    engines = {name: measured[name] for name in ("resident", "streaming") if name in measured}
    head = ("", "rows a second", "peak memory, GB", "without pages of files, GB")
    yield _table(
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
    yield f"Peak memory under 2 GB: {peak:.2f}, {_yes(peak < 2)}."
    if "resident" in measured:
        slower = measured["resident"]["rows_per_second"] / streaming["rows_per_second"]
        yield f"Within 2 × of resident: {slower:.2f} ×, {_yes(slower <= 2)}."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    marks = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))


def _figure(value: float) -> str:
    """Three figures that count."""
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _yes(met: bool) -> str:
    return "met" if met else "not met"
