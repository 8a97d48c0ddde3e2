"""Which form of a program is expected to be faster: the gradients of attention as two kernels or as
one (`ir/fusion.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: How much faster than the first form another one must be: measured, less than this is noise;
#: predicted, less is within the model's error, and gradients as one kernel take more memory.
MARGINS = {"measured": 1.02, "predicted": 1.1}


@dataclass(frozen=True)
class FormTimes:
    """Seconds of the kernels in which a form differs from the others.

    `predicted` by the cost model for the schedules that these kernels would run with, None where
    times mean nothing. `measured` where every one of them has a tuned config of the call's own
    shape class, else None; `locality` is the kind of selections on which they were all timed, empty
    where it is not one kind.
    """

    predicted: float | None
    measured: float | None = None
    locality: str = ""


def faster_form(forms: Mapping[str, FormTimes]) -> tuple[str, str]:
    """The form to run, and why.

    Like is compared with like: measured times where every form has them, of selections of one
    kind, else what the cost model predicts for all of them. Others than the first form must be
    faster by one of `MARGINS`.
    """
    first = next(iter(forms))
    localities = {times.locality for times in forms.values()}
    if all(times.measured is not None for times in forms.values()) and len(localities - {""}) == 1:
        how, seconds = "measured", {name: t.measured or 0.0 for name, t in forms.items()}
    elif all(times.predicted is not None for times in forms.values()):
        how, seconds = "predicted", {name: t.predicted or 0.0 for name, t in forms.items()}
    else:
        return first, "times mean nothing here"
    best = min(seconds, key=lambda name: seconds[name])
    chosen = best if seconds[best] * MARGINS[how] < seconds[first] else first
    times = ", ".join(f"{name} {1e3 * took:.3g} ms" for name, took in seconds.items())
    return chosen, f"{how} {times}"
