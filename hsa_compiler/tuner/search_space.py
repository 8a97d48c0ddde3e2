"""One kernel's search space, as the search sees it: axes, legal points, moves, and Optuna's view.

The knobs come from `schedules.space`; nothing here names one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from hsa_compiler.schedules import kernel_knobs, space
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.kernel_knobs import Knob
from hsa_compiler.schedules.moves import neighbours
from hsa_compiler.schedules.problem import Problem
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule


@dataclass(frozen=True)
class SearchSpace:
    """Axes and legality of one kernel's schedules.

    `base` gives the knobs that are no axis, `listed` every legal point, `is_legal` refuses points
    before anything is compiled, `moves` gives the neighbours of a point (legal or not), `normal`
    the point that stands for all that give the same kernel.
    """

    axes: tuple[Knob, ...]
    base: Schedule
    listed: Callable[[], tuple[Schedule, ...]]
    is_legal: Callable[[Schedule], bool]
    moves: Callable[[Schedule], tuple[Schedule, ...]]
    normal: Callable[[Schedule], Schedule] = lambda schedule: schedule

    @classmethod
    def of(
        cls, problem: Problem, backend: str, base: Schedule, hardware: Hardware | None
    ) -> SearchSpace:
        """The space of a problem on a back end, with the device's limits as prefilter.

        Schedules that give the same kernel count as one, their normal form.
        """

        def listed() -> tuple[Schedule, ...]:
            return space.feasible(problem, backend, hardware)

        def normal(schedule: Schedule) -> Schedule:
            return space.normal(problem, backend, schedule)

        def is_legal(schedule: Schedule) -> bool:
            return schedule == normal(schedule) and space.is_legal(
                problem, schedule, backend, hardware
            )

        def moves(schedule: Schedule) -> tuple[Schedule, ...]:
            near = neighbours(problem.kind, backend, schedule)
            return tuple(dict.fromkeys(normal(point) for point in near))

        axes = kernel_knobs.knobs(problem.kind, backend)
        return cls(axes, base, listed, is_legal, moves, normal)

    @cached_property
    def points(self) -> tuple[Schedule, ...]:
        """Every legal point."""
        return self.listed()

    def neighbours(self, schedule: Schedule) -> tuple[Schedule, ...]:
        """Legal points one move away."""
        return tuple(point for point in self.moves(schedule) if self.is_legal(point))

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's view: an index for an ordinal knob, the value itself for any other."""
        return {
            axis.name: IntDistribution(0, len(axis.choices) - 1)
            if axis.ordinal
            else CategoricalDistribution(axis.choices)
            for axis in self.axes
        }

    def encode(self, schedule: Schedule) -> dict[str, Any]:
        """A schedule as Optuna parameters. Raises IllegalSchedule for a point off the grid."""
        params = {}
        for axis in self.axes:
            value = getattr(schedule, axis.name)
            if value not in axis.choices:
                raise IllegalSchedule("knob", f"{axis.name}={value!r} is not searched here")
            params[axis.name] = axis.choices.index(value) if axis.ordinal else value
        return params

    def decode(self, params: Mapping[str, Any]) -> Schedule:
        """The schedule that Optuna parameters stand for."""
        given = {
            axis.name: axis.choices[params[axis.name]] if axis.ordinal else params[axis.name]
            for axis in self.axes
        }
        return self.normal(self.base.replace(**given))
