"""The winner of a race as an entry of the config store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsa_compiler.configs import (
    Entry,
    Gain,
    LocalityRecord,
    OtherL2,
    ScheduleTime,
    ShapeClass,
    Timing,
    device_record,
    merge_entries,
    user_folder,
    versions,
)
from hsa_compiler.folders import checkout_folder
from hsa_compiler.schedules import kernel_knobs
from hsa_compiler.schedules.cost_model import Roofline
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.threads import tvm_threads
from hsa_compiler.tuner import measure, verdict
from hsa_compiler.tuner.workload import Task


@dataclass(frozen=True)
class Raced:
    """A schedule and its paired times (milliseconds) in the deciding race.

    `other_l2` are those of a race with the L2 cache in its other state, empty where there was none.
    """

    schedule: Schedule
    times: Sequence[float]
    other_l2: Sequence[float] = ()


@dataclass(frozen=True)
class Evidence:
    """Everything an entry says beside its shape: who won against whom, and how it was found.

    `error` is the winner's at the gate; `union` describes the selection it was timed on.
    """

    winner: Raced
    generic: Raced
    planned: Raced | None
    error: float
    union: float
    trials: int


def default_folder() -> Path:
    """A checkout's ``tuned_configs/``, else the user's config folder."""
    root = checkout_folder()
    return user_folder() if root is None else root / "tuned_configs"


def make_entry(task: Task, backend: str, floor: Roofline, evidence: Evidence) -> Entry:
    """The config entry of a decided race. `floor` is the kernel's, by the rates measured."""
    kind, planned = task.kernel, evidence.planned
    timing = _timing(evidence.winner.times)
    threads = tvm_threads() if backend == "tvm" else None
    return Entry(
        shape=ShapeClass.of(task.problem, task.sizes, backend),
        program=task.problem.group.program.hash,
        schedule=kernel_knobs.knob_values(kind, backend, evidence.winner.schedule),
        time=timing,
        default=_schedule_time(kind, backend, evidence.generic),
        planned=None if planned is None else _schedule_time(kind, backend, planned),
        gain_over_default=_gain(evidence.generic, evidence.winner),
        gain_over_planned=None if planned is None else _gain(planned, evidence.winner),
        roofline=floor.share(timing.median_ms / 1e3),
        error=evidence.error,
        locality=LocalityRecord.model_validate(
            {
                "kind": task.locality,
                "union": evidence.union,
                "trace": None if task.trace is None else task.trace.hash,
            }
        ),
        sizes=task.sizes,
        trials=evidence.trials,
        seed=task.seed,
        provenance=versions(threads),
        other_l2=_other_l2(task, evidence),
    )


def write_entries(folder: Path, hardware: Hardware, entries: Sequence[Entry]) -> list[Path]:
    """Merge entries into the device's files in `folder`; the files written."""
    return merge_entries(folder, device_record(hardware), entries)


def read_entry(data: Mapping[str, object]) -> Entry:
    """An entry that a study kept as JSON. Raises pydantic.ValidationError."""
    return Entry.model_validate(data)


def _other_l2(task: Task, evidence: Evidence) -> OtherL2 | None:
    winner, generic, planned = evidence.winner, evidence.generic, evidence.planned
    if not winner.other_l2:
        return None
    return OtherL2(
        warm=not task.warm_l2,
        time=_timing(winner.other_l2),
        default=_timing(generic.other_l2),
        planned=None if planned is None else _timing(planned.other_l2),
    )


def _timing(times: Sequence[float]) -> Timing:
    found = measure.Timing.of(times)
    return Timing(median_ms=found.median_ms, spread_ms=found.spread_ms, samples=found.samples)


def _schedule_time(kind: str, backend: str, raced: Raced) -> ScheduleTime:
    return ScheduleTime(
        schedule=kernel_knobs.knob_values(kind, backend, raced.schedule), time=_timing(raced.times)
    )


def _gain(baseline: Raced, winner: Raced) -> Gain:
    found = verdict.paired_gain(baseline.times, winner.times)
    return Gain(ratio=found.ratio, low=found.low, high=found.high, confidence=verdict.CONFIDENCE)
