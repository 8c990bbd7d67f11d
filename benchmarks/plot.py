"""The run as one picture: a panel for the rates of each figure, and one for each of its charts.

The same figures give the same bytes: no date, no random ids, text kept as text.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from benchmarks.model import Chart, Figure
from benchmarks.summary import summarise

_COLUMNS = 2
_PANEL_INCHES = (5.6, 3.4)


def draw(figures: Sequence[Figure]) -> str:
    """An SVG document; an empty sheet when nothing can be drawn."""
    panels: list[Callable[[Axes], None]] = []
    for figure in figures:
        if figure.measured:
            panels.append(partial(_draw_rates, figure))
        panels += [partial(_draw_chart, chart) for chart in figure.charts]
    rows = max(1, -(-len(panels) // _COLUMNS))
    with rc_context(
        {
            "svg.hashsalt": "mealtrail",
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        canvas = Canvas(figsize=(_PANEL_INCHES[0] * _COLUMNS, _PANEL_INCHES[1] * rows), layout="constrained")
        FigureCanvasSVG(canvas)
        for place, panel in enumerate(panels):
            panel(canvas.add_subplot(rows, _COLUMNS, place + 1))
        written = io.StringIO()
        canvas.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return written.getvalue()


def _draw_rates(figure: Figure, axes: Axes) -> None:
    """A bar a contender, from the median of its rounds, with the whole spread."""
    names = list(figure.measured)[::-1]
    rates = [summarise(figure.rates(name)) for name in names]
    medians = [rate.median for rate in rates]
    spread = [[rate.median - rate.low for rate in rates], [rate.high - rate.median for rate in rates]]
    axes.barh(names, medians, xerr=spread, color="#4c78a8", ecolor="#333333", capsize=3)
    axes.set_xlabel(figure.unit)
    axes.set_title(figure.title, fontsize=9)


def _draw_chart(chart: Chart, axes: Axes) -> None:
    """A line a series, with the whole spread at each point."""
    for series in chart.series:
        x, y = [point.x for point in series.points], [point.y for point in series.points]
        spread = [[value.median - value.low for value in y], [value.high - value.median for value in y]]
        axes.errorbar(x, [value.median for value in y], yerr=spread, marker="o", capsize=3, label=series.name)
    if chart.logarithmic:
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.set_title(chart.title, fontsize=9)
    if len(chart.series) > 1:
        axes.legend(fontsize=8)
