"""One stored winner against its rivals, as the tuner would judge them: gate, screening, duel."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hsa_compiler.configs.forms import MARGINS
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.builds import side_by_side
from hsa_compiler.tuner.compile_pool import CompilePool
from hsa_compiler.tuner.effort import Effort
from hsa_compiler.tuner.finals import MIN_RACE_SECONDS, Duel, contest
from hsa_compiler.tuner.kernel_bench import BenchTask
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.tune import Plan
from hsa_compiler.tuner.verdict import paired_gain
from hsa_compiler.tuner.worker import CandidateFailed, Worker

#: A contest takes at most this many seconds.
CONTEST_SECONDS = 10.0


@dataclass(frozen=True)
class Rival:
    """What a winner was raced against: its role (`rivals.rivals_of`), and its median milliseconds
    in screening, or why it failed."""

    role: str
    schedule: str
    time_ms: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class Retested:
    """One winner. Times are milliseconds.

    `outcome`: ``"best"`` it is shown to be faster than its best rival; ``"even"`` neither is, by
    more than noise; ``"beaten"``; ``"fails"`` it cannot be run any more, or is wrong;
    ``"skipped"`` it was not raced. `message` says why. `gain` is how many times as fast the best
    rival is, of the role `by` and with the schedule `by_schedule`, with its 95 % interval;
    `changed` the software by name, then and now.
    """

    kernel: str
    shape: str
    locality: str
    file: str
    schedule: str
    recorded_ms: float
    changed: dict[str, tuple[Any, Any]]
    outcome: str = ""
    message: str = ""
    time_ms: float | None = None
    by: str = ""
    by_schedule: str = ""
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    rivals: tuple[Rival, ...] = ()

    def ended(self, outcome: str, message: str = "") -> Retested:
        """The same with an outcome that needed no race."""
        return replace(self, outcome=outcome, message=message)

    @property
    def is_lost(self) -> bool:
        """Whether the winner does not stand any more."""
        return self.outcome in ("beaten", "fails")


@dataclass(frozen=True)
class Match:
    """What is raced: a winner, what is known of it, and its rivals with their roles."""

    about: Retested
    plan: Plan
    winner: Schedule
    rivals: Mapping[Schedule, str]


def rematch(
    match: Match, worker: Worker, effort: Effort, deadline: float, pool: CompilePool | None = None
) -> Retested:
    """Race a winner against its rivals.

    Args:
        deadline: `time.monotonic` at which its share of the run ends; what has begun is finished.
        pool: compiles all of them side by side first.
    """
    plan, winner, rivals = match.plan, match.winner, match.rivals
    screened: dict[Schedule, float] = {}
    failed: dict[Schedule, str] = {}
    try:
        worker.setup(BenchTask(plan.task, effort), effort.setup_timeout)
        compiled = {} if pool is None else side_by_side(plan, [winner, *rivals], effort, pool)
        for schedule in (winner, *rivals):
            try:
                failure = compiled.get(schedule)
                if failure is not None:
                    raise failure
                best_ms = min(screened.values(), default=None)
                timing, _ = worker.evaluate(
                    schedule, best_ms, effort.compile_timeout, effort.run_timeout
                )
                screened[schedule] = timing.median_ms
            except CandidateFailed as error:
                if schedule == winner or error.kind.startswith("setup_"):
                    raise
                failed[schedule] = f"{error.kind}: {error}"
        seconds = min(CONTEST_SECONDS, max(MIN_RACE_SECONDS, deadline - time.monotonic()))
        duel = contest(
            worker,
            dict(sorted(screened.items(), key=lambda item: item[1])),
            [winner],
            effort,
            seconds,
            plan.task.seed,
            lambda ranked: next(schedule for schedule in ranked if schedule != winner),
        )
    except CandidateFailed as error:
        return match.about.ended("fails", f"{error.kind}: {error}")
    seen = tuple(
        Rival(role, str(schedule), screened.get(schedule), failed.get(schedule, ""))
        for schedule, role in rivals.items()
    )
    return replace(_judged(match, duel), rivals=seen)


def _judged(match: Match, duel: Duel) -> Retested:
    """What the duel shows. Less than the margin between measured times is noise, either way."""
    names, times = duel
    mine = next(times[name] for name, schedule in names.items() if schedule == match.winner)
    about = replace(match.about, time_ms=Timing.of(mine).median_ms)
    other = next((name for name, schedule in names.items() if schedule != match.winner), None)
    if other is None:
        none = "runs" if match.rivals else "is there to race"
        return about.ended("best", f"no other schedule {none}")
    gain = paired_gain(mine, times[other])
    outcome, margin = "even", MARGINS["measured"]
    if gain.is_faster and gain.ratio >= margin:
        outcome = "beaten"
    elif gain.high < 1 and gain.ratio <= 1 / margin:
        outcome = "best"
    return replace(
        about,
        outcome=outcome,
        by=match.rivals[names[other]],
        by_schedule=str(names[other]),
        gain=gain.ratio,
        gain_low=gain.low,
        gain_high=gain.high,
    )
