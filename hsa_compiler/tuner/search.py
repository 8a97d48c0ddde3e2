"""The search of one kernel: what to try next, and the study that records what came of it.

Order of candidates: those a killed run left unfinished (once), the starting points (defaults and
the cost model's best), then every legal point when few fit the budget, else a proposer's points.
No point is tried twice in a study, also not after `--resume`.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.samplers import Finished, make_proposer
from hsa_compiler.tuner.search_space import SearchSpace
from hsa_compiler.tuner.storage import is_stale, owner_stamp

#: Spaces with fewer legal points than this are enumerated when the trial budget covers them.
ENUMERATE_BELOW = 500
#: Draws from a proposer before its ideas count as exhausted and chance takes over.
DRAWS = 40
#: A candidate that a killed run left in flight is tried again this often.
RETRIES = 1

Rank = Callable[[Sequence[Schedule]], Sequence[Schedule]]


class _GivenPoint(BaseSampler):
    """Makes `study.ask` record exactly `point`, in one step and without a waiting list."""

    def __init__(self) -> None:
        self.point: dict[str, Any] = {}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self.point[param_name]


@dataclass(frozen=True)
class Candidate:
    """A point to evaluate and the trial that records it."""

    schedule: Schedule
    trial: Trial


class Search:
    """Proposes candidates and records outcomes in an Optuna study.

    Args:
        space: axes and legality.
        study: where trials are recorded; its earlier trials count against the budget.
        starts: tried first, in this order; illegal ones are skipped.
        needed: those of them without whose time nothing can ship: measured here also when they
            were abandoned, or are in flight in another process.
        rank: orders points by promise when all of them are enumerated.
    """

    def __init__(
        self,
        space: SearchSpace,
        study: optuna.Study,
        *,
        starts: Sequence[Schedule] = (),
        needed: Collection[Schedule] = (),
        trials: int,
        sampler: str = "tpe",
        seed: int = 0,
        rank: Rank | None = None,
    ) -> None:
        self._space = space
        self._study = study
        self._budget = trials
        self._distributions = space.distributions()
        self._given = _GivenPoint()
        study.sampler = self._given
        self._owner = owner_stamp()
        self._failures: Counter[str] = Counter()
        self._causes: dict[Schedule, tuple[str, str]] = {}
        self._finished: list[Finished] = []
        self._tried: set[Schedule] = set()
        retry = self._read_history(needed)
        self._proposer = make_proposer(sampler, space, seed + len(self._tried))
        self._rng = random.Random(seed + len(self._tried))
        self._planned = deque([*retry, *(start for start in starts if space.is_legal(start))])
        self.enumerating = False
        points = space.points
        if len(points) < ENUMERATE_BELOW and len(points) <= trials:
            self.enumerating = True
            self._planned.extend(rank(points) if rank else points)

    def _read_history(self, needed: Collection[Schedule]) -> list[Schedule]:
        """Take in the study's trials; close stale ones; return candidates to retry: once, or as
        often as it takes those that are `needed`."""
        attempts: Counter[Schedule] = Counter()
        done: set[Schedule] = set()
        for trial in self._study.get_trials(deepcopy=False):
            schedule = self._schedule_of(trial)
            if schedule is None:
                continue
            if is_stale(trial, time.time()):
                # Another process that resumes at the same time may have closed it just now.
                self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                attempts[schedule] += 1
            elif trial.state is TrialState.COMPLETE and trial.value is not None:
                done.add(schedule)
                error = trial.user_attrs["outcome"]["error"]
                self._finished.append(Finished(schedule, math.exp(trial.value), error))
            elif "failure" in trial.user_attrs:
                done.add(schedule)
                self._note_failure(
                    schedule, trial.user_attrs["failure"], trial.user_attrs.get("message", "")
                )
            elif trial.state is TrialState.FAIL:
                attempts[schedule] += 1
            elif schedule not in needed:
                done.add(schedule)  # in flight in another live process
        again = [
            schedule
            for schedule, count in attempts.items()
            if schedule not in done and (count <= RETRIES or schedule in needed)
        ]
        self._tried = done | (set(attempts) - set(again))
        for schedule in self._tried - done:
            self._note_failure(schedule, "abandoned", "was in flight when two runs ended")
        return again

    def _note_failure(self, schedule: Schedule, kind: str, message: str) -> None:
        self._failures[kind] += 1
        self._causes[schedule] = (kind, message)

    def _schedule_of(self, trial: FrozenTrial) -> Schedule | None:
        if set(trial.params) != set(self._distributions):
            return None  # killed while the trial was being written
        return self._space.decode(trial.params)

    @property
    def finished(self) -> tuple[Finished, ...]:
        """Measured candidates, fastest first."""
        return tuple(sorted(self._finished, key=lambda trial: trial.median_ms))

    @property
    def best_ms(self) -> float | None:
        """Shortest median so far."""
        return min((trial.median_ms for trial in self._finished), default=None)

    @property
    def failures(self) -> dict[str, int]:
        """Failed candidates by kind, most frequent first."""
        return dict(self._failures.most_common())

    def failure_of(self, schedule: Schedule) -> str | None:
        """Kind and message of a candidate's failure; None where it did not fail."""
        return ": ".join(self._causes[schedule]) if schedule in self._causes else None

    @property
    def trials(self) -> int:
        """Candidates tried so far, those of resumed runs included."""
        return len(self._tried)

    def was_tried(self, schedule: Schedule) -> bool:
        """Whether a point was evaluated, given up, or is in flight."""
        return schedule in self._tried or not self._space.is_legal(schedule)

    def upcoming(self, count: int) -> list[Schedule]:
        """The points that `next` will give, at most `count` of them, so that they can be compiled
        side by side. They are proposed now: without what comes of each other."""
        points: list[Schedule] = []
        for _ in range(min(count, self._budget - len(self._tried))):
            point = self._next_point(self._tried.union(points))
            if point is None:
                break
            points.append(point)
        self._planned.extendleft(reversed(points))
        return points

    def next(self) -> Candidate | None:
        """The next candidate, recorded as running; None when budget or ideas are used up."""
        if len(self._tried) >= self._budget:
            return None
        schedule = self._next_point(self._tried)
        if schedule is None:
            return None
        self._tried.add(schedule)
        self._given.point = self._space.encode(schedule)
        trial = self._study.ask(self._distributions)
        trial.set_user_attr("owner", self._owner)
        return Candidate(schedule, trial)

    def _next_point(self, taken: Collection[Schedule]) -> Schedule | None:
        while self._planned:
            schedule = self._planned.popleft()
            if schedule not in taken:
                return schedule
        if self.enumerating:
            return None
        tried = frozenset(taken)
        for _ in range(DRAWS):
            point = self._proposer.propose(self._finished, tried)
            if point is not None and point not in tried and self._space.is_legal(point):
                return point
        return self._any_untried(tried)

    def _any_untried(self, tried: frozenset[Schedule]) -> Schedule | None:
        """Chance, once a proposer only repeats itself."""
        left = [point for point in self._space.points if point not in tried]
        return self._rng.choice(left) if left else None

    def succeed(self, candidate: Candidate, timing: Timing, error: float) -> None:
        """Record a candidate that passed the gate and was timed."""
        candidate.trial.set_user_attr("outcome", asdict(timing) | {"error": error})
        self._study.tell(candidate.trial, math.log(timing.median_ms))
        self._finished.append(Finished(candidate.schedule, timing.median_ms, error))

    def fail(self, candidate: Candidate, kind: str, message: str) -> None:
        """Record a failure; the candidate is never tried again in this study."""
        candidate.trial.set_user_attr("message", message[-2000:])
        candidate.trial.set_user_attr("failure", kind)
        self._study.tell(candidate.trial, state=TrialState.FAIL)
        self._note_failure(candidate.schedule, kind, message)

    def interrupt(self, candidate: Candidate) -> None:
        """Record a candidate in flight when the user stopped; `--resume` tries it once more."""
        self._study.tell(candidate.trial, state=TrialState.FAIL)
