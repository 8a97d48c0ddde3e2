"""The search of one kernel: what to try next, and the study that records what came of it.

Order of candidates: those a killed run left unfinished (once), the starting points (defaults and
the cost model's best), then every legal point where the budget covers them and there are not too
many, else a proposer's points.
No point is tried twice in a study, also not after `--resume`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict

import optuna

from hsa_compiler.schedules.cost_model import Roofline
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.claims import close_study
from hsa_compiler.tuner.history import Candidate, History
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.samplers import Finished, make_proposer
from hsa_compiler.tuner.search_space import SearchSpace

#: Draws from a proposer before its ideas count as exhausted and chance takes over.
DRAWS = 40

Rank = Callable[[Sequence[Schedule]], Sequence[Schedule]]


class Search:
    """Proposes candidates and records outcomes in an Optuna study.

    Args:
        space: axes and legality.
        study: where trials are recorded; its earlier trials count against the budget.
        starts: tried first, in this order; illegal ones are skipped.
        needed: those of them without whose time nothing can ship: measured here also when they
            were abandoned, or are in flight in another process.
        rank: orders points by promise when all of them are enumerated.
        enumerate_below: spaces with fewer points are enumerated, where the trials cover them.
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
        enumerate_below: int = 0,
    ) -> None:
        self._space = space
        self._budget = trials
        self._needed = needed
        self._study = study
        self._history = History(study, space, needed)
        retry = self._history.refresh()
        tried = len(self._history.tried)
        self._proposer = make_proposer(sampler, space, seed + tried)
        self._rng = random.Random(seed + tried)
        self._floor: Roofline | None = None
        self._planned = deque([*retry, *(start for start in starts if space.is_legal(start))])
        self.enumerating = False
        points = space.points
        if len(points) < enumerate_below and len(points) <= trials:
            self.enumerating = True
            self._planned.extend(rank(points) if rank else points)

    @property
    def finished(self) -> tuple[Finished, ...]:
        """Measured candidates, fastest first."""
        return tuple(sorted(self._history.finished, key=lambda trial: trial.median_ms))

    @property
    def best_ms(self) -> float | None:
        """Shortest median so far."""
        return min((trial.median_ms for trial in self._history.finished), default=None)

    @property
    def best_share(self) -> float | None:
        """The share of the roofline that the best so far reaches; None before both are known."""
        if self._floor is None or self.best_ms is None:
            return None
        return self._floor.share(self.best_ms / 1e3)

    def set_floor(self, floor: Roofline, record: bool = True) -> None:
        """Know the least time of any schedule, by the device's rates as measured; with `record` the
        study keeps it."""
        self._floor = floor
        if record:
            self._study.set_user_attr("floor", asdict(floor))

    @property
    def failures(self) -> dict[str, int]:
        """Failed candidates by kind, most frequent first."""
        return self._history.failures

    def failure_of(self, schedule: Schedule) -> str | None:
        """Kind and message of a candidate's failure; None where it did not fail."""
        cause = self._history.failure_of(schedule)
        return ": ".join(cause) if cause else None

    @property
    def trials(self) -> int:
        """Candidates tried so far, those of resumed runs and of other processes included."""
        return len(self._history.tried)

    @property
    def trials_here(self) -> int:
        """Candidates that this process evaluated."""
        return self._history.evaluated

    def was_tried(self, schedule: Schedule) -> bool:
        """Whether a point was evaluated, given up, or is in flight."""
        return self._history.was_tried(schedule) or not self._space.is_legal(schedule)

    def upcoming(self, count: int) -> list[Schedule]:
        """The points that `next` will give, at most `count` of them, so that they can be compiled
        side by side. They are proposed now: without what comes of each other."""
        points: list[Schedule] = []
        tried = self._history.tried
        for _ in range(min(count, self._budget - len(tried))):
            point = self._next_point(tried.union(points))
            if point is None:
                break
            points.append(point)
        self._planned.extendleft(reversed(points))
        return points

    def next(self) -> Candidate | None:
        """The next candidate, recorded as in flight; None when budget or ideas are used up."""
        while True:
            # What other processes found since is taken in, and what they left is tried first.
            self._planned.extendleft(reversed(self._history.refresh()))
            tried = self._history.tried
            if len(tried) < self._budget:
                schedule = self._next_point(tried)
            else:  # others may have used it up before what is needed had its turn
                left = (s for s in self._planned if s in self._needed and s not in tried)
                schedule = next(left, None)
            if schedule is None:
                return None
            candidate = self._history.claim(schedule)
            if candidate is not None:
                return candidate

    def _next_point(self, taken: Collection[Schedule]) -> Schedule | None:
        while self._planned:
            schedule = self._planned.popleft()
            if schedule not in taken:
                return schedule
        if self.enumerating:
            return None
        tried = frozenset(taken)
        for _ in range(DRAWS):
            point = self._proposer.propose(self._history.finished, tried)
            if point is not None and point not in tried and self._space.is_legal(point):
                return point
        return self._any_untried(tried)

    def _any_untried(self, tried: frozenset[Schedule]) -> Schedule | None:
        """Chance, once a proposer only repeats itself."""
        left = [point for point in self._space.points if point not in tried]
        return self._rng.choice(left) if left else None

    def succeed(self, candidate: Candidate, timing: Timing, error: float) -> None:
        """Record a candidate that passed the gate and was timed."""
        self._history.succeed(candidate, timing, error)

    def fail(self, candidate: Candidate, kind: str, message: str) -> None:
        """Record a failure; the candidate is never tried again in this study."""
        self._history.fail(candidate, kind, message)

    def interrupt(self, candidate: Candidate) -> None:
        """Record a candidate in flight when the user stopped; `--resume` tries it once more."""
        self._history.interrupt(candidate)

    def close(self) -> None:
        """Tell other processes that no more candidates are wanted, and take in what they found."""
        close_study(self._study)
        self._history.refresh()

    def beat(self) -> None:
        """Call while a candidate is evaluated; see `History.beat`."""
        self._history.beat()
