"""Plot the growth of time and memory as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def draw_growth(path: Path, growth: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Plot the time per epoch and peak memory against rows and width, on logarithmic axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    quantities = (
        ("epoch_seconds", "seconds per epoch", 1.0),
        ("peak_bytes", "peak memory, MiB", 2**20),
    )
    # Without a date and with fixed ids, equal data gives equal files.
    with mpl.rc_context({"svg.hashsalt": "growth", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots(len(quantities), len(growth), squeeze=False)
        for row, (quantity, label, unit) in zip(axes, quantities, strict=True):
            for ax, (varied, runs) in zip(row, growth.items(), strict=True):
                across = [run[varied] for run in runs]
                ax.loglog(across, [run[quantity] / unit for run in runs], "o-", color="#1f5a8a")
                ax.set_xlabel("rows" if varied == "rows" else "width of both hidden layers")
                ax.set_ylabel(label)
                ax.grid(visible=True, which="major", alpha=0.3)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
