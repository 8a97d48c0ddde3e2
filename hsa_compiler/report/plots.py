"""A study's plots, drawn by Optuna with matplotlib, as images that a page can hold."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from optuna.exceptions import ExperimentalWarning

from hsa_compiler.errors import NoPlot
from hsa_compiler.report.study import Outcome, StudyRecord

#: Text stays text, in the reader's own font; equal studies give equal files.
STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "hsa-compiler"}
#: Inches.
WIDE, SMALL = (9.0, 4.0), (4.6, 3.2)
#: What matplotlib would write about itself and the date.
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
#: Of the lines at the times of the defaults.
COLORS = {"default": "tab:gray", "planned": "tab:green"}


@dataclass(frozen=True)
class Plots:
    """Images as ``data:`` URLs, empty where there is nothing to draw; `knobs` by name, without
    those that have one value."""

    history: str
    device: str
    importances: str
    knobs: dict[str, str]


def draw(record: StudyRecord) -> Plots:
    """Draw a study's plots.

    Raises NoPlot where matplotlib is missing.
    """
    return Plots(
        history=_image(WIDE, partial(_history, record)) if record.timed else "",
        device=_image(WIDE, partial(_device, record)) if _told(record) else "",
        importances=_image(WIDE, partial(_importances, record)) if record.importances else "",
        knobs={name: _image(SMALL, partial(_knob, record, name)) for name in _varied(record)},
    )


def _varied(record: StudyRecord) -> list[str]:
    """The knobs that have more than one value among the candidates with a time."""
    return [name for name in record.knobs if len({t.knobs.get(name) for t in record.timed}) > 1]


def _history(record: StudyRecord, optuna_plots: Any) -> None:
    axes = optuna_plots.plot_optimization_history(record.timings, target_name="ms")
    for timed in record.timed:
        for role in timed.roles:
            axes.axhline(timed.median_ms, color=COLORS[role], linestyle="--", label=role)
    axes.set(title="", yscale="log")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)


def _told(record: StudyRecord) -> list[tuple[int, Outcome]]:
    """The candidates of which a GPU's clock or power is known, with their numbers of trial."""
    return [
        (timed.number, timed.outcome)
        for timed in record.timed
        if timed.outcome and (timed.outcome.clock_mhz, timed.outcome.watts) != (None, None)
    ]


def _device(record: StudyRecord, _: Any) -> None:
    import numpy as np
    from matplotlib import pyplot

    told = _told(record)
    numbers = [number for number, _ in told]
    _, clock = pyplot.subplots()
    power = clock.twinx()
    # What the driver did not tell is NaN, which is not drawn.
    clock.scatter(numbers, np.array([seen.clock_mhz for _, seen in told], float), color="tab:blue")
    power.scatter(numbers, np.array([seen.watts for _, seen in told], float), color="tab:orange")
    clock.set_xlabel("trial")
    clock.set_ylabel("SM clock, MHz", color="tab:blue")
    power.set_ylabel("power, W", color="tab:orange")
    for number, seen in told:
        if seen.is_disturbed:
            clock.axvline(number, color="tab:red", alpha=0.3)


def _importances(record: StudyRecord, optuna_plots: Any) -> None:
    axes = optuna_plots.plot_param_importances(record.timings)
    axes.set_title("", loc="left")
    axes.set(xlabel="importance", ylabel="")
    axes.get_legend().remove()


def _knob(record: StudyRecord, name: str, optuna_plots: Any) -> None:
    axes = optuna_plots.plot_slice(record.timings, params=[name], target_name="ms")
    axes.set(title="", yscale="log")
    choices = {} if record.plan is None else record.plan.choices
    if name in choices:
        axes.set_xticks(range(len(choices[name])), [str(value) for value in choices[name]])


def _image(inches: tuple[float, float], plot: Callable[[Any], None]) -> str:
    """The figure that `plot` draws, given Optuna's module of plots."""
    try:
        import matplotlib
        from matplotlib import pyplot
    except ImportError as error:
        raise NoPlot(f"no plots: {NoPlot.WITHOUT_MATPLOTLIB}") from error
    from optuna.visualization import matplotlib as optuna_plots

    file = io.BytesIO()
    # Optuna sets a style and leaves it; no window is ever wanted.
    with warnings.catch_warnings(), matplotlib.rc_context(STYLE):
        warnings.simplefilter("ignore", ExperimentalWarning)
        pyplot.switch_backend("agg")
        plot(optuna_plots)
        figure = pyplot.gcf()
        figure.set_size_inches(inches)
        figure.savefig(file, format="svg", metadata=NO_METADATA, bbox_inches="tight")
        pyplot.close(figure)
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"
