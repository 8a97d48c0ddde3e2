"""The form in which a program runs: which kernel groups, and why those.

Where the gradients of attention may be one kernel or two (`ir/fusion.py`), a schedule is chosen for
the kernels of either form, and the form that is expected to be faster is taken
(`configs/forms.py`). Times are predicted at the sizes of the call's shape class, so that sizes
nearby get the same form, and the same call always gets the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from hsa_compiler.configs import Choice, FormTimes, default_store
from hsa_compiler.configs.shapes import bucket
from hsa_compiler.ir import KernelGroup
from hsa_compiler.runtime.dispatch import select_schedule
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.cost_model import best, predict
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import DYNAMIC_DIMS, Problem, Target
from hsa_compiler.schedules.schedule import IllegalSchedule

Forms = Mapping[str, tuple[KernelGroup, ...]]
Chosen = tuple[Problem, Target, Choice]

#: What the user reads of a form.
NAMES = {
    "split": "the gradients of attention as two kernels",
    "fused": "the gradients of attention as one kernel",
}


@dataclass(frozen=True)
class Form:
    """The kernels of a program in the chosen form; `reason` is why, of the kernels `of`."""

    name: str
    groups: tuple[KernelGroup, ...]
    reason: str = ""
    of: frozenset[str] = frozenset()

    def note(self, kind: str) -> str:
        """What there is to say of a kernel's form; empty where there was no choice."""
        return self.reason if kind in self.of else ""

    def explained(self, chosen: Chosen) -> Chosen:
        """The choice of a kernel's schedule with the reason for its form."""
        problem, target, choice = chosen
        return problem, target, choice.noted(self.note(problem.kind))


def choose_form(
    forms: Forms,
    dims: Mapping[str, int],
    device: torch.device,
    backend: str,
    deterministic: bool,
    union: float | None = None,
) -> Form:
    """The form of a program to run with these dims on a device; see the module text."""

    def select(group: KernelGroup) -> Chosen:
        return select_schedule(group, dims, device, backend, deterministic, union)

    return form_of(forms, dims, select, lambda: hardware.detect(str(device)))


def form_of(
    forms: Forms,
    dims: Mapping[str, int],
    select: Callable[[KernelGroup], Chosen],
    row: Callable[[], Hardware],
) -> Form:
    """The same, given how schedules are chosen and the hardware that times are predicted for."""
    first = next(iter(forms))
    if len(forms) == 1:
        return Form(first, forms[first])
    shared = set.intersection(*({group.kind for group in groups} for groups in forms.values()))
    own = {
        name: [group for group in groups if group.kind not in shared]
        for name, groups in forms.items()
    }
    times: dict[str, FormTimes] = {}
    refused = []
    for name, groups in own.items():
        try:
            times[name] = _times([select(group) for group in groups], dims, row)
        except IllegalSchedule as error:
            refused.append(f"{name}: {error.message}")
    if not times:
        # Dispatch tries smaller schedules, or says why there is none.
        return Form(first, forms[first])
    chosen, why = default_store().choose_form(times)
    reason = f"{NAMES[chosen]}: {'; '.join([why, *refused])}"
    return Form(chosen, forms[chosen], reason, frozenset(group.kind for group in own[chosen]))


def _times(chosen: list[Chosen], dims: Mapping[str, int], row: Callable[[], Hardware]) -> FormTimes:
    """What kernels are expected to take together.

    Raises:
        IllegalSchedule: one of them has no schedule for this device.
    """
    predicted: list[float] = []
    for problem, target, choice in chosen:
        if target.arch == "interpret":
            return FormTimes(None)
        if choice.tier == "generic":
            raise IllegalSchedule("space", f"{problem.kind}: {choice.reason}")
        names = problem.group.program.dim_names()
        sizes = {name: bucket(dims[name]) for name in DYNAMIC_DIMS if name in names}
        how = (sizes, row(), choice.union, target.backend)
        found = predict(problem, choice.schedule, *how).seconds
        if choice.measured is not None:
            # It was tuned here against the plan, so it is as fast at least, whatever is predicted.
            found = min(found, best(problem, *how).seconds)
        predicted.append(found)
    measured = [choice.measured for _, _, choice in chosen]
    kinds = {choice.locality for _, _, choice in chosen}
    return FormTimes(
        sum(predicted),
        sum(x for x in measured if x is not None) if None not in measured else None,
        kinds.pop() if len(kinds) == 1 else "",
    )
