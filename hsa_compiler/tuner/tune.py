"""Tuning one kernel, from its search space to the entry that ships.

    space -> search (worker evaluates candidates) -> race of finalists -> duel with the defaults
          -> verdict -> config entry

The duel's fresh samples decide and are what the entry reports (`finals`).
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch

from hsa_compiler.configs import default_store, versions
from hsa_compiler.runtime.dispatch import target_of
from hsa_compiler.schedules import kernel_knobs, space
from hsa_compiler.schedules.cost_model import Roofline, ranked, roofline
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.threads import tvm_threads
from hsa_compiler.tuner.builds import Builds
from hsa_compiler.tuner.compile_pool import CompilePool
from hsa_compiler.tuner.effort import Effort
from hsa_compiler.tuner.export import Evidence, Raced, make_entry
from hsa_compiler.tuner.finals import (
    MIN_RACE_SECONDS,
    OTHER_L2_SECONDS,
    Duel,
    OtherL2Race,
    contest,
)
from hsa_compiler.tuner.kernel_bench import BenchInfo, BenchTask
from hsa_compiler.tuner.results import KernelResult, StudyPlan
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.search_space import SearchSpace
from hsa_compiler.tuner.verdict import decide, fastest
from hsa_compiler.tuner.worker import CandidateFailed, Worker
from hsa_compiler.tuner.workload import Task

#: Candidates of the cost model that are tried before anything else: no two of a family, as long as
#: there are families.
BEST_OF_MODEL = 8
#: Winners of other devices and neighbouring shapes that are tried after the model's first.
TRANSFERRED = 4
#: Knobs in which schedules of one family agree: they tile alike and differ in how a tile is run.
FAMILY = ("order", "tokens", "parts", "combine", "top_k", "descriptors", "lanes")


class Watch(Protocol):
    """Sees the search while it runs; `ui.Progress` draws it."""

    def update(self, search: Search, stage: str) -> None: ...


@dataclass(frozen=True)
class Plan:
    """The search space of a task and its two defaults, worked out without running anything.

    `order` is the cost model's ranking, fastest first; `transferred` are winners of other devices
    and of neighbouring shapes.
    """

    task: Task
    backend: str
    hardware: Hardware
    space: SearchSpace
    generic: Schedule
    order: tuple[Schedule, ...]
    transferred: tuple[Schedule, ...] = ()

    @classmethod
    def of(cls, task: Task, backend: str, hardware: Hardware) -> Plan:
        """Plan a task on a device. Raises IllegalSchedule where no schedule fits it."""
        default = space.legal_default(task.problem, backend, hardware)
        default = space.normal(task.problem, backend, default)
        order = tuple(
            prediction.schedule
            for prediction in ranked(task.problem, task.sizes, hardware, None, backend)
        )
        search_space = SearchSpace.of(task.problem, backend, default, hardware)
        winners = default_store().nearest_schedules(task.problem, task.sizes, backend)
        transferred = itertools.islice(filter(search_space.is_legal, winners), TRANSFERRED)
        return cls(task, backend, hardware, search_space, default, order, tuple(transferred))

    @property
    def target(self) -> Target:
        """What the worker compiles for."""
        return target_of(self.backend, torch.device(self.task.device))

    @property
    def other_l2(self) -> str | None:
        """The L2 state that it is not tuned for; None where a clock knows no such states."""
        if self.hardware.kind != "cuda":
            return None
        return "cold" if self.task.warm_l2 else "warm"

    @property
    def planned(self) -> Schedule | None:
        """The cost model's best; None where nothing fits the device."""
        return self.order[0] if self.order else None

    @property
    def defaults(self) -> tuple[Schedule, ...]:
        """What a winner has to beat: `generic` and, where it exists, `planned`."""
        return (self.generic,) if self.planned is None else (self.generic, self.planned)

    @property
    def starts(self) -> list[Schedule]:
        """What is tried first: the defaults, the model's best of the most promising families, and
        what won elsewhere.

        Its best few overall are often one schedule with a warp or a stage more or less, which are
        all wrong together.
        """
        firsts: dict[tuple[object, ...], Schedule] = {}
        for schedule in self.order:
            firsts.setdefault(tuple(getattr(schedule, name) for name in FAMILY), schedule)
        apart = [*firsts.values()][:BEST_OF_MODEL]
        others = [schedule for schedule in self.order[:BEST_OF_MODEL] if schedule not in apart]
        model = [*apart, *others[: BEST_OF_MODEL - len(apart)]]
        return [*dict.fromkeys([self.generic, *model[:1], *self.transferred, *model[1:]])]

    def rank(self, points: Sequence[Schedule]) -> list[Schedule]:
        """Points by the cost model's promise."""
        place = {schedule: at for at, schedule in enumerate(self.order)}
        return sorted(points, key=lambda point: place.get(point, len(place)))

    def record(self) -> StudyPlan:
        """What the study keeps of the plan."""
        task, threads = self.task, tvm_threads() if self.backend == "tvm" else None

        def knobs(schedule: Schedule) -> dict[str, Any]:
            return kernel_knobs.knob_values(task.kernel, self.backend, schedule)

        return StudyPlan(
            kernel=task.kernel,
            shape=asdict(task.shape),
            locality=task.locality,
            backend=self.backend,
            device=self.hardware.name,
            dims={**dict(task.problem.dims), **task.sizes},
            seed=task.seed,
            warm_l2=task.warm_l2,
            choices={axis.name: axis.choices for axis in self.space.axes if axis.ordinal},
            generic=knobs(self.generic),
            planned=None if self.planned is None else knobs(self.planned),
            starts=tuple(knobs(schedule) for schedule in self.starts),
            versions=versions(threads).model_dump(mode="json", exclude_none=True),
        )

    def study_name(self) -> str:
        """Equal for equal problems, spaces and tool versions: their times may be compared."""
        task, stamp = self.task, versions()
        identity = (
            task.problem.group.program.text(),
            task.problem.dims,
            sorted(task.sizes.items()),
            task.warm_l2,
            [(axis.name, axis.choices) for axis in self.space.axes],
            (self.backend, tvm_threads() if self.backend == "tvm" else None),
            (stamp.project, stamp.torch, stamp.triton, stamp.tvm, stamp.driver, stamp.ptxas),
        )
        digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:12]
        shape = task.shape.name.replace(" ", ",")
        selection = task.locality if task.trace is None else f"trace-{task.trace.hash[:12]}"
        return f"{task.kernel}/{self.hardware.slug}/{shape}/{selection}/{digest}"


def tune(
    plan: Plan,
    search: Search,
    worker: Worker,
    effort: Effort,
    deadline: float,
    watch: Watch,
    pool: CompilePool | None = None,
) -> KernelResult:
    """Search until the kernel's time or trials are used up, race, and decide.

    Args:
        deadline: `time.monotonic` at which the kernel's share of the run ends.
        pool: compiles candidates ahead (`builds`); without it the worker compiles each when its
            turn comes.

    Both defaults are always evaluated, and a running candidate may finish, even past the deadline.
    A KeyboardInterrupt passes through; the candidate in flight is left to be retried.
    """
    start = time.monotonic()
    watch.update(search, "inputs")
    try:
        info: BenchInfo = worker.setup(BenchTask(plan.task, effort), effort.setup_timeout)
        floor = roofline(plan.task.problem, plan.task.sizes, info.hardware)
        search.set_floor(floor)
        now = time.monotonic()
        until = now + (deadline - now) * effort.search_share

        def goes_on() -> bool:
            if any(not search.was_tried(schedule) for schedule in plan.defaults):
                return True
            # Above 1 the roofline is no bound: the data stays in a cache.
            found = effort.enough <= (search.best_share or 0.0) <= 1.0
            return not found and time.monotonic() < until

        explore(plan, search, worker, effort, goes_on, watch, pool)
        search.close()
        missing = _missing_default(plan, search)
        if missing:
            return _result(plan, search, start, outcome="failed", message=missing)
        watch.update(search, "race")
        duel = _race(plan, search, worker, effort, deadline)
    except CandidateFailed as error:
        message = f"{error.kind}: {error}"
        return _result(plan, search, start, outcome="failed", message=message)
    other = _other_l2(plan, worker, effort, duel)
    return _ship(plan, search, start, floor, info.union, duel, other)


def explore(
    plan: Plan,
    search: Search,
    worker: Worker,
    effort: Effort,
    goes_on: Callable[[], bool],
    watch: Watch,
    pool: CompilePool | None,
) -> None:
    """Evaluate candidates, one after the other, until there are none or `goes_on` says no. The
    worker is set up for the plan's task."""
    builds = None if pool is None else Builds(plan, effort, pool)
    while goes_on():
        if builds is not None:
            builds.ask(search)
        candidate = search.next()
        if candidate is None:
            return
        try:
            if builds is not None:
                if not builds.is_done(candidate.schedule):
                    watch.update(search, "compile")
                builds.finish(candidate.schedule)
            watch.update(search, "search")
            timing, error = worker.evaluate(
                candidate.schedule, search.best_ms, effort.compile_timeout, effort.run_timeout
            )
        except CandidateFailed as failure:
            if failure.kind.startswith("setup_"):
                search.interrupt(candidate)
                raise
            search.fail(candidate, failure.kind, str(failure))
            if candidate.schedule == plan.generic:
                return  # nothing can be shown to be faster than what cannot be timed
        except BaseException:
            search.interrupt(candidate)
            raise
        else:
            search.succeed(candidate, timing, error)
    watch.update(search, "search")


def _missing_default(plan: Plan, search: Search) -> str | None:
    """Why there is nothing to compare with: without the default's time nothing ships."""
    if any(trial.schedule == plan.generic for trial in search.finished):
        return None
    cause = search.failure_of(plan.generic) or "it does not fit this device"
    return f"the default schedule ({plan.generic}) cannot be timed: {cause}"


def _race(plan: Plan, search: Search, worker: Worker, effort: Effort, deadline: float) -> Duel:
    """The duel of the fastest candidate with the defaults."""
    took = {trial.schedule: trial.median_ms for trial in search.finished}
    defaults = [s for s in plan.defaults if s in took]
    left = deadline - time.monotonic() - (OTHER_L2_SECONDS if plan.other_l2 else 0.0)
    seconds = max(MIN_RACE_SECONDS, left)
    return contest(worker, took, defaults, effort, seconds, plan.task.seed)


def _other_l2(plan: Plan, worker: Worker, effort: Effort, duel: Duel) -> OtherL2Race:
    names, _ = duel
    if plan.other_l2 is None or len(names) < 2:
        return OtherL2Race()
    return OtherL2Race.race(plan.other_l2, worker, names, effort, plan.task.seed)


def _ship(
    plan: Plan,
    search: Search,
    start: float,
    floor: Roofline,
    union: float,
    duel: Duel,
    other: OtherL2Race,
) -> KernelResult:
    """The result of a decided duel."""
    names, times = duel

    def raced(name: str) -> Raced:
        return Raced(names[name], times[name], other.times.get(name, ()))

    by_schedule = {schedule: name for name, schedule in names.items()}
    generic_name = by_schedule[plan.generic]
    planned_name = by_schedule.get(plan.planned) if plan.planned else None
    others = [name for name in names if name not in (generic_name, planned_name)]
    challenger = others[0] if others else fastest(times)[0]
    shipped = decide(times, challenger, generic_name, planned_name)
    errors = {trial.schedule: trial.error for trial in search.finished}
    winner = raced(shipped)
    entry = make_entry(
        plan.task,
        plan.backend,
        floor,
        Evidence(
            winner=winner,
            generic=raced(generic_name),
            planned=raced(planned_name) if planned_name else None,
            error=errors[winner.schedule],
            union=union,
            trials=search.trials,
        ),
    )
    over_planned = entry.gain_over_planned
    roles = {planned_name: "planned", generic_name: "generic"}
    role = roles.get(shipped, "tuned")
    return _result(
        plan,
        search,
        start,
        outcome="tuned" if role == "tuned" else "default",
        shipped=role,
        schedule=str(winner.schedule),
        time_ms=entry.time.median_ms,
        generic_ms=entry.default.time.median_ms,
        planned_ms=entry.planned.time.median_ms if entry.planned else None,
        gain=entry.gain_over_default.ratio,
        gain_low=entry.gain_over_default.low,
        gain_high=entry.gain_over_default.high,
        gain_over_planned=over_planned.ratio if over_planned else None,
        roofline=entry.roofline,
        error=entry.error,
        entry=entry.model_dump(mode="json"),
        note=other.note(shipped, roles),
    )


def _result(
    plan: Plan, search: Search, start: float, outcome: str, **fields: object
) -> KernelResult:
    return KernelResult(
        kernel=plan.task.kernel,
        shape=plan.task.shape.name,
        locality=plan.task.locality,
        outcome=outcome,
        trials=search.trials,
        failures=search.failures,
        seconds=time.monotonic() - start,
        **fields,  # type: ignore[arg-type]
    )
