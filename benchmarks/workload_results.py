"""Render the comparisons of trainer with its peers on the workloads."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.markdown import figure, met_text, table
from benchmarks.workloads import NAMES, OURS, WORKLOADS, Target, Workload

_UNITS = {
    "step": "µs per step",
    "fit": "seconds for 1,000 epochs",
    "process": "seconds",
}


def summary(measured: Mapping[str, Any]) -> str:
    """Render the measured and the required ratios of all workloads."""
    rows = []
    for key, workload in WORKLOADS.items():
        if key not in measured:
            continue
        comparisons = [
            (NAMES[target.against], *_target_met(workload, measured[key], target))
            for target in workload.targets
        ]
        if workload.matrix_share is not None:
            comparisons.append(
                ("peak GEMM throughput", *_matrix_target_met(workload, measured[key]))
            )
        rows += [
            (key, against, reached, target_text, met_text(met))
            for against, reached, target_text, met in comparisons
        ]
    return table(("", "compared with", "measured", "target", ""), rows)


def section(workload: Workload, measured: Mapping[str, Any]) -> Iterator[str]:
    """Render the measurements of one workload."""
    yield f"{workload.title}. Rounds: {measured['rounds']}."
    ours = statistics.median(measured["measured"][OURS])
    targets = {target.against: target for target in workload.targets}
    rows = []
    for name, values in measured["measured"].items():
        median = statistics.median(values)
        ratio = "1" if name == OURS else f"{median / ours:.1f}×"
        target_text = f"{targets[name].at_least:g}×" if name in targets else ""
        met = met_text(_target_met(workload, measured, targets[name])[2]) if name in targets else ""
        label = NAMES[name]
        if name in measured["settings"]:
            label += f" ({measured['settings'][name]})"
        value_range = f"{figure(min(values))}–{figure(max(values))}"
        rows.append((label, figure(median), value_range, ratio, target_text, met))
    head = ("", _UNITS[workload.unit], "range", "relative to trainer", "target", "")
    yield table(head, rows)
    yield from _matrix_lines(workload, measured)
    yield f"trainer's engine: {measured['engine']}."
    missed = [
        (NAMES[target.against], target.why_not)
        for target in workload.targets
        if not _target_met(workload, measured, target)[2]
    ]
    share = workload.matrix_share
    if share is not None and not _matrix_target_met(workload, measured)[2]:
        missed.append(("peak GEMM throughput", share.why_not))
    for against, why_not in missed:
        yield f"Target missed against {against}: {why_not or 'not explained yet.'}"


def _target_met(
    workload: Workload, measured: Mapping[str, Any], target: Target
) -> tuple[str, str, bool]:
    """Return the measured ratio, the target, and whether it is met."""
    values = measured["measured"]
    ratio = statistics.median(values[target.against]) / statistics.median(values[OURS])
    return f"{ratio:.1f}×", f"{target.at_least:g}×", ratio >= target.at_least


def matrix_share(workload: Workload, measured: Mapping[str, Any]) -> float:
    """Return trainer's rate relative to the machine's, the median over rounds of the faster library."""
    seconds = statistics.median(measured["measured"][OURS]) * 1e-6 * workload.steps
    rates = [max(rate["numpy"], rate["tensorflow"]) for rate in measured["matrix"]]
    return workload.flops() / seconds / statistics.median(rates)


def _matrix_target_met(workload: Workload, measured: Mapping[str, Any]) -> tuple[str, str, bool]:
    assert workload.matrix_share is not None
    share, at_least = matrix_share(workload, measured), workload.matrix_share.at_least
    return f"{share:.0%}", f"{at_least:.0%}", share >= at_least


def _matrix_lines(workload: Workload, measured: Mapping[str, Any]) -> Iterator[str]:
    if workload.matrix_share is None:
        return
    rates = {
        name: statistics.median(rate[name] for rate in measured["matrix"]) / 1e9
        for name in measured["matrix"][0]
    }
    reached, target_text, met = _matrix_target_met(workload, measured)
    yield (
        "Float32 matrix multiplication on this machine, measured in the same rounds with all cores, "
        f"runs at {rates['numpy']:.0f} GFLOP/s with NumPy and {rates['tensorflow']:.0f} with TensorFlow "
        f"(2,048 × 2,048), and at {rates['tensorflow_w2']:.0f} with TensorFlow for 128 × 784 by "
        f"784 × 512, this network's largest product. trainer reaches {reached} of the higher of the "
        f"first two; target {target_text}: {met_text(met)}. Only matrix products are counted."
    )
