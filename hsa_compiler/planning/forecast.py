"""What the cost model expects of a kernel's schedules on a device, and why others are refused."""

from __future__ import annotations

from dataclasses import dataclass

from hsa_compiler.errors import InputError
from hsa_compiler.export import export
from hsa_compiler.schedules import cost_model, hardware, space
from hsa_compiler.schedules.cost_model import Prediction, Roofline
from hsa_compiler.schedules.footprint import KernelShape, footprint
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.rates import allotted_registers
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.schedules.workspace import check_workspace
from hsa_compiler.tuner.workload import Task

GENERIC = "generic"


@dataclass(frozen=True)
class Refusal:
    """How many schedules were refused for one kind of reason, and the first one's."""

    kind: str
    count: int
    example: str


@dataclass(frozen=True)
class Candidate:
    """One schedule and what is expected of it.

    `place` is its number in the model's order from 1, or ``"generic"``; `share` that of the
    roofline; `registers` those of a thread (None on a CPU).
    """

    place: str
    prediction: Prediction
    share: float
    registers: int | None

    @property
    def schedule(self) -> Schedule:
        """The schedule."""
        return self.prediction.schedule


@dataclass(frozen=True)
class Forecast:
    """One kernel of one shape: its best schedules after the generic one.

    `legal` counts the schedules that were ranked; `no_generic` says why the generic schedule is
    not among the candidates, where it is not.
    """

    task: Task
    floor: Roofline
    legal: int
    candidates: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...]
    no_generic: str


def resolve(text: str) -> tuple[Target, Hardware]:
    """The target and the hardware row of ``cpu``, ``cpu:NAME[:THREADS]``, an architecture such as
    ``sm_90``, or a device by slug or driver name. Raises InputError."""
    if text.partition(":")[0] == "cpu" or text.startswith("sm_"):
        return export.resolve(text, "")
    try:
        row = hardware.named(text)
    except KeyError as error:
        raise InputError(f"--target: {error.args[0]}") from error
    return Target("triton", row.arch), row


def forecast(task: Task, target: Target, row: Hardware, top: int, union: float | None) -> Forecast:
    """Rank a kernel's schedules for a device.

    Args:
        top: how many of the best are kept.
        union: chunks in the union of 16 neighbouring tokens, over K; None for `local` selections.
    """
    problem, sizes, backend = task.problem, task.sizes, target.backend
    floor = cost_model.roofline(problem, sizes, row)
    ranked = cost_model.ranked(problem, sizes, row, union, backend)
    chosen = {str(number): found for number, found in enumerate(ranked[:top], 1)}
    no_generic = ""
    try:
        default = space.legal_default(problem, backend, row)
        check_workspace(problem, default, sizes, row)
        first = cost_model.predict(problem, default, sizes, row, union, backend)
        chosen = {GENERIC: first, **chosen}
    except IllegalSchedule as error:
        no_generic = str(error)
    candidates = tuple(
        Candidate(place, found, floor.share(found.seconds), _registers(task, found, target))
        for place, found in chosen.items()
    )
    return Forecast(task, floor, len(ranked), candidates, _refusals(task, target, row), no_generic)


def _registers(task: Task, prediction: Prediction, target: Target) -> int | None:
    if target.backend == "tvm":
        return None
    schedule = prediction.schedule
    held = footprint(KernelShape.of(task.problem), schedule, target.backend)
    return allotted_registers(schedule, held)


def _refusals(task: Task, target: Target, row: Hardware) -> tuple[Refusal, ...]:
    """Why combinations of knobs are not ranked, the most frequent reason first."""
    reasons: dict[str, list[str]] = {}
    for schedule, error in space.judged(task.problem, target.backend, row):
        if error is None:
            try:
                check_workspace(task.problem, schedule, task.sizes, row)
                continue
            except IllegalSchedule as too_large:
                error = too_large
        reasons.setdefault(error.kind, []).append(error.message)
    found = (Refusal(kind, len(texts), texts[0]) for kind, texts in reasons.items())
    return tuple(sorted(found, key=lambda refusal: -refusal.count))
