"""A picture of a report: how many times fastnn's time or memory each peer needs."""

from __future__ import annotations

from ._report import Report

__all__ = ["save_bench_plot"]


def save_bench_plot(path: str, report: Report) -> None:
    """Draw the ratios with their quartiles, a line per row, a colour per peer."""
    from matplotlib.figure import Figure

    rows = report.rows
    figure = Figure(figsize=(9, 1.5 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1.0, color="black", linewidth=1)
    for name in report.peers:
        if name == "fastnn":
            continue
        at = [i for i, row in enumerate(rows) if name in row.cells]
        ratios = [rows[i].cells[name].ratio for i in at]
        medians = [ratio.median for ratio in ratios]
        errors = [
            [ratio.median - ratio.low for ratio in ratios],
            [ratio.high - ratio.median for ratio in ratios],
        ]
        axes.errorbar(medians, at, xerr=errors, fmt="o", markersize=5, label=name)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    left, right = axes.get_xlim()
    axes.axvspan(min(left, 0.8), 1.0, color="C3", alpha=0.08)  # the peer needs less
    axes.set_xlim(min(left, 0.8), right)
    axes.grid(alpha=0.3)
    axes.set(xlabel="time or memory of the peer / of fastnn (red: the peer needs less)")
    axes.set_title(
        f"{report.machine['processor']}, {report.machine['threads']} threads"
    )
    axes.legend()
    figure.savefig(path, dpi=120)
