"""Pictures of reports: times as multiples of fastnn's, and tasks under the roofs."""

from __future__ import annotations

from ._report import Report
from ._roofline import RooflineReport

__all__ = ["save_bench_plot", "save_roofline_plot"]

_MARKERS = {"step": "o", "epoch": "s", "predict": "^"}


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


def save_roofline_plot(path: str, report: RooflineReport) -> None:
    """Draw the roofs of all threads and the tasks, numbered as in the list."""
    from matplotlib.figure import Figure

    most = max(report.roofs[0].by_threads)
    rows = [row for row in report.rows if row.allowed == most]
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    axes, side = figure.subplots(1, 2, width_ratios=(3, 2))
    left = min(0.1, *(row.intensity / 2 for row in rows))
    right = max(100.0, *(row.intensity * 3 for row in rows))
    peaks = next(r.by_threads for r in report.roofs if r.name.endswith(report.dtype))
    for threads, style in {1: "--", most: "-"}.items():
        peak = peaks[threads].median
        text = f"{threads} thread{'s' * (threads > 1)}"
        axes.plot([left, right], [peak / 1e9] * 2, style, color="black", linewidth=1)
        axes.annotate(
            f"FMA peak, {text}: {peak / 1e9:.0f} GFLOP/s",
            (right, peak / 1e9),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
        for i, level in enumerate(report.levels):
            bandwidth = max(
                roof.by_threads[threads].median
                for roof in report.roofs
                if roof.name.startswith(f"{level.name},")
            )
            ends = [left, peak / bandwidth]
            label = f"{level.name}, {bandwidth / 1e9:.0f} GB/s"
            axes.plot(
                ends,
                [x * bandwidth / 1e9 for x in ends],
                style,
                color=f"C{i}",
                linewidth=1,
                label=label if threads == most else None,
            )
    names = [level.name for level in report.levels]
    lines = []
    for number, row in enumerate(rows, 1):
        at = row.intensity, row.rate.median / 1e9
        axes.plot(
            *at, _MARKERS[row.kind], color=f"C{names.index(row.level)}", markersize=7
        )
        axes.annotate(
            str(number), at, xytext=(5, -3), textcoords="offset points", fontsize=8
        )
        lines.append(
            f"{number:2}  {row.name}: {100 * row.roof_share.median:.0f}% of {row.roof}"
        )
    axes.set(xscale="log", yscale="log", xlim=(left, right))
    axes.set(xlabel="flops per byte", ylabel="GFLOP/s")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title(
        f"{report.machine['processor']}, {report.machine['isa']}, {report.dtype}, "
        f"{most} threads (dashed: 1)",
        fontsize=10,
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(title="data in", fontsize=8, loc="lower right")
    side.axis("off")
    side.text(0, 1, "\n".join(lines), va="top", fontsize=8, transform=side.transAxes)
    figure.savefig(path, dpi=110)
