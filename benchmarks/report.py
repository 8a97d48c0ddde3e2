"""A result in words: tables for a terminal, and a plot of times against the context length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsa_compiler.benchmarks.contest import OURS
from hsa_compiler.benchmarks.neighbours import gaps
from hsa_compiler.benchmarks.results import Measurement, Result, RowResult
from hsa_compiler.errors import NoPlot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The mode that a plot shows: the first that a part was measured in.
PLOT_MODES = ("device", "eager")


def times_table(result: Result) -> list[dict[str, Any]]:
    """One line per row, part and mode: our time, what it reaches, and every peer beside it."""
    peers = [
        who
        for who in result.peers
        if any(m.who == who for row in result.rows for m in row.measurements)
    ]
    return [
        _line(row, part, mode, peers)
        for row in result.rows
        for part, mode in dict.fromkeys((m.part, m.mode) for m in row.measurements)
    ]


def _line(row: RowResult, part: str, mode: str, peers: Sequence[str]) -> dict[str, Any]:
    ours = row.find(OURS, part, mode)
    line: dict[str, Any] = {
        "row": row.name,
        "part": part,
        "mode": mode,
        "ours_ms": f"{ours.median_ms:.4g} ± {ours.spread_ms:.2g}" if ours else "failed",
        "TFLOP/s": f"{ours.tflops:.3g}" if ours and ours.tflops is not None else None,
        "roofline": _shares(ours),
        "peak": f"{ours.peak_bytes / 2**20:.0f} MiB" if ours and ours.peak_bytes else None,
    }
    for who in peers:
        found = row.find(who, part, mode)
        line[who] = _beside(found)
    return line


def _shares(found: Measurement | None) -> str | None:
    if found is None or found.roofline is None:
        return None
    shares = [found.roofline, *([found.roofline_split] if found.roofline_split else [])]
    return " / ".join(f"{100 * share:.0f} %" for share in shares)


def _beside(found: Measurement | None) -> str | None:
    if found is None:
        return None
    ratio = f" ({found.ratio:.2f}x)" if found.ratio is not None else ""
    return f"{found.median_ms:.4g}{ratio}"


def rows_table(result: Result) -> list[dict[str, Any]]:
    """One line per row: what was selected and whether our results were right."""
    return [
        {
            "row": row.name,
            "dtype": row.shape["dtype"],
            "L": row.shape["L"],
            "Lkv": row.shape["Lkv"],
            "heads": f"{row.shape['Hq']}/{row.shape['H']}/{row.shape['D']}",
            "K": row.shape["K"],
            "selection": row.selection.get("kind"),
            "union": _number(row.selection.get("union")),
            "own_union": _number(row.selection.get("own_union")),
            "slots": _number(row.selection.get("mean_slots")),
            "checks": ", ".join(
                f"{check.what} {check.error:.1e}{'' if check.ok else ' WRONG'}"
                for check in row.checks
            )
            or None,
        }
        for row in result.rows
    ]


def _number(value: Any) -> str | None:
    return None if value is None else f"{value:.3g}"


def kernels_table(result: Result) -> list[dict[str, Any]]:
    """One line per row and kernel: its time by itself, its schedule and where that came from."""
    return [
        {
            "row": row.name,
            "kernel": kernel.kernel,
            "ms": f"{kernel.median_ms:.4g}",
            "spread": f"{kernel.spread_ms:.2g}",
            "roofline": f"{100 * kernel.roofline:.0f} %",
            "tier": kernel.tier,
            "schedule": kernel.schedule,
        }
        for row in result.rows
        for kernel in row.kernels
    ]


def failures_table(result: Result) -> list[dict[str, Any]]:
    """One line per call that could not be measured."""
    return [
        {"row": row.name, "who": failure.who, "part": failure.part, "reason": failure.reason}
        for row in result.rows
        for failure in row.failures
    ]


def gaps_table(result: Result) -> list[dict[str, Any]]:
    """One line per row and part that falls far behind a neighbour."""
    return [
        {
            "row": gap.row,
            "part": gap.part,
            "roofline": f"{100 * gap.share:.0f} %",
            "neighbour": f"{gap.neighbour}: {100 * gap.neighbour_share:.0f} %",
            "ratio": f"{gap.ratio:.2f}",
        }
        for gap in gaps(result)
    ]


def plot(result: Result, path: Path) -> Path:
    """Draw times against the keys in context, log-log, one panel per part, as a PNG file.

    Raises NoPlot where matplotlib is missing, or nothing was measured.
    """
    measured = {m.part for row in result.rows for m in row.measurements}
    parts = [part for part in _order(result) if part in measured]
    if not parts:
        raise NoPlot("no plot: nothing was measured")
    columns = min(3, len(parts))
    lines = -(-len(parts) // columns)
    figure = new_figure(5.5 * columns, 4.5 * lines)
    colors = {who: f"C{number}" for number, who in enumerate((OURS, *result.peers))}
    markers = dict(zip(_families(result), "osD^v<>Pp*Xhd" * 100, strict=False))
    for number, part in enumerate(parts, 1):
        axes = figure.add_subplot(lines, columns, number)
        for (who, family), points in sorted(_series(result, part).items()):
            lengths, times = zip(*sorted(points), strict=True)
            axes.plot(
                lengths,
                times,
                color=colors[who],
                marker=markers[family],
                label=f"{who}, {family}",
                linewidth=2.0 if who == OURS else 1.0,
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_title(part.replace("_", " "))
        axes.set_xlabel("tokens in context")
        axes.set_ylabel("ms")
        axes.grid(True, which="both", alpha=0.3)
        axes.legend(fontsize="xx-small")
    figure.suptitle(f"{result.suite}: {result.device['name']}, {result.date[:10]}")
    figure.savefig(path, dpi=150)
    return path


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches. Raises NoPlot where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoPlot(f"no plot: {NoPlot.WITHOUT_MATPLOTLIB}") from error
    return Figure(figsize=(width, height), layout="constrained")


def _order(result: Result) -> list[str]:
    return list(dict.fromkeys(m.part for row in result.rows for m in row.measurements))


def _family(row: RowResult) -> str:
    """What rows of one line have in common: all sizes but the lengths."""
    shape = row.shape
    heads = f"{shape['Hq']}/{shape['H']}/{shape['D']} K={shape['K']} Dr={shape['Dr']}"
    return f"{heads} {row.selection.get('kind', '')}".strip()


def _families(result: Result) -> list[str]:
    return list(dict.fromkeys(_family(row) for row in result.rows))


def _series(result: Result, part: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
    series: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in result.rows:
        for who in dict.fromkeys(m.who for m in row.measurements):
            found = [row.find(who, part, mode) for mode in PLOT_MODES]
            shown = next((m for m in found if m is not None), None)
            if shown is not None:
                points = series.setdefault((who, _family(row)), [])
                points.append((row.shape["Lkv"], shown.median_ms))
    return series
