"""Entries of tuned configs, made up but valid."""

from __future__ import annotations

from collections.abc import Mapping

from hsa_compiler.configs import (
    Entry,
    Gain,
    LocalityRecord,
    ScheduleTime,
    ShapeClass,
    Timing,
    versions,
)
from hsa_compiler.schedules import kernel_knobs
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.problem import Problem
from hsa_compiler.schedules.schedule import Schedule


def entry(
    problem: Problem,
    sizes: Mapping[str, int],
    schedule: Schedule,
    *,
    backend: str = "triton",
    locality: str = "local",
    union: float = 1.3,
    median_ms: float = 1.0,
) -> Entry:
    """A tuned entry of a problem's shape class."""
    kind = problem.kind
    default = kernel_knobs.knob_values(kind, backend, generic(kind, backend))
    return Entry(
        shape=ShapeClass.of(problem, sizes, backend),
        program=problem.group.program.hash,
        schedule=kernel_knobs.knob_values(kind, backend, schedule),
        time=Timing(median_ms=median_ms, spread_ms=0.01, samples=20),
        default=ScheduleTime(
            schedule=default, time=Timing(median_ms=2 * median_ms, spread_ms=0.01, samples=20)
        ),
        gain_over_default=Gain(ratio=2.0, low=1.9, high=2.1),
        error=1e-6,
        locality=LocalityRecord.model_validate({"kind": locality, "union": union}),
        sizes=dict(sizes),
        trials=60,
        seed=0,
        provenance=versions(),
    )
