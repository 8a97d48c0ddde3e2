"""What an export holds: the operator's kernel groups, and the schedule a call would give each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hsa_compiler.codegen.triton_export import Binary
from hsa_compiler.compiler import lower_kernel, print_source
from hsa_compiler.configs import Choice
from hsa_compiler.ir import KernelGroup, fuse_groups
from hsa_compiler.lowering.conversions import with_conversions
from hsa_compiler.runtime import calls
from hsa_compiler.runtime.dispatch import choose_schedule, first_that_fits
from hsa_compiler.runtime.forms import form_of
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.schedules.space import smaller_schedules
from hsa_compiler.tile.ir import TileProgram
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.workload import executables

PASSES = ("forward", "both")


@dataclass(frozen=True)
class Generated:
    """A tile program whose last launches convert its sums, its source, and its binaries where
    they are built one by one."""

    tile: TileProgram
    source: str
    binaries: tuple[Binary, ...] = ()


@dataclass(frozen=True)
class Part:
    """One kernel group of an export."""

    direction: str
    problem: Problem
    choice: Choice
    generated: Generated
    dims: dict[str, int] = field(repr=False)

    @property
    def name(self) -> str:
        """The group's kind, which no other group of an export has."""
        return self.problem.kind

    @property
    def tile(self) -> TileProgram:
        """The tile program."""
        return self.generated.tile

    def reads(self, name: str) -> bool:
        """Whether a launch touches this value of the group."""
        return name in self.tile.bindings.values()


Build = Callable[[Problem, Schedule], Generated]


def generate(problem: Problem, schedule: Schedule, target: Target) -> Generated:
    """The tile program and source of a kernel group. Raises `IllegalSchedule`."""
    tile = with_conversions(lower_kernel(problem, schedule, target))
    return Generated(tile, print_source(tile, schedule, target))


def plan(
    shape: Shape,
    passes: str,
    target: Target,
    row: Hardware,
    build: Build,
    deterministic: bool = False,
) -> tuple[Part, ...]:
    """The parts of an export, in the order in which they run.

    Args:
        passes: ``"forward"``, or ``"both"`` with the gradients of q, k, v, q_slc and landmarks.
        row: the hardware whose tuned configs and limits count.
        build: makes a schedule's tile program and binaries; a schedule it refuses with
            `IllegalSchedule` gives way to a smaller one, as it does in a call.

    Raises:
        BackendError: when no schedule of a group fits.
    """
    found: list[Part] = []

    def add(direction: str, group: KernelGroup) -> None:
        found.append(_part(direction, group, shape, target, row, build, deterministic))

    def select(group: KernelGroup) -> tuple[Problem, Target, Choice]:
        problem = Problem.of(group, shape.dims)
        return problem, target, choose_schedule(problem, shape.dims, target, row, deterministic)

    for number, executable in enumerate(executables(shape, backward=passes == "both")):
        for group in form_of(executable.forms, shape.dims, select, lambda: row).groups:
            add("forward" if number < 2 else "backward", group)
    kinds = [part.name for part in found]
    if "invert_index" not in kinds and any(part.reads("order") for part in found):
        (group,) = fuse_groups(calls.invert().program)
        add("forward", group)
        # Before the first kernel that reads it, which is the attention.
        found.insert(kinds.index("attend"), found.pop())
    return tuple(found)


def _part(
    direction: str,
    group: KernelGroup,
    shape: Shape,
    target: Target,
    row: Hardware,
    build: Build,
    deterministic: bool,
) -> Part:
    problem = Problem.of(group, shape.dims)
    choice = choose_schedule(problem, shape.dims, target, row, deterministic)
    try:
        generated = build(problem, choice.schedule)
    except IllegalSchedule as error:
        smaller = smaller_schedules(problem, target.backend)
        others = [schedule for schedule in smaller if schedule != choice.schedule]
        generated, choice = first_that_fits(
            problem, target, others, error, lambda schedule: build(problem, schedule)
        )
    return Part(direction, problem, choice, generated, shape.dims)
