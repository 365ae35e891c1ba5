"""The roofline picture: GFLOP/s above flops per byte, under the roofs."""

from __future__ import annotations

from ._roofline import RooflineReport

__all__ = ["save_roofline_plot"]

_MARKERS = {"step": "o", "epoch": "s", "predict": "^"}


def save_roofline_plot(path: str, report: RooflineReport) -> None:
    """Draw the roofs of all threads and the tasks, numbered as in the list beside."""
    from matplotlib.figure import Figure

    most = max(report.roofs[0].by_threads)
    rows = [row for row in report.rows if row.allowed == most]
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    axes, side = figure.subplots(1, 2, width_ratios=(3, 2))
    left = min(0.1, *(row.intensity / 2 for row in rows))
    right = max(100.0, *(row.intensity * 3 for row in rows))
    for threads, style in {1: "--", most: "-"}.items():
        peak = report.roofs[0].by_threads[threads].median
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
        f"{report.machine['processor']}, {report.machine['isa']}, float32, "
        f"{most} threads (dashed: 1)",
        fontsize=10,
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(title="data in", fontsize=8, loc="lower right")
    side.axis("off")
    side.text(0, 1, "\n".join(lines), va="top", fontsize=8, transform=side.transAxes)
    figure.savefig(path, dpi=110)
