"""What a study knows of its points: measured, failed, or in flight, here or in another process.

A trial is made in one step with its point and its owner, so that whoever reads the study sees both
or nothing. Its number decides who evaluates a point that several processes chose at once: the
lowest one, the others give way. A trial whose owner is gone is closed, and its point tried again.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.claims import (
    BEAT_SECONDS,
    GIVEN_WAY,
    begin_trial,
    is_stale,
    owner_stamp,
    set_attr,
)
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.samplers import Finished
from hsa_compiler.tuner.search_space import SearchSpace

#: A candidate that a killed run left in flight is tried again this often.
RETRIES = 1


@dataclass(frozen=True)
class Candidate:
    """A point to evaluate and the trial that records it."""

    schedule: Schedule
    trial_id: int
    number: int


def schedule_of(trial: FrozenTrial, space: SearchSpace) -> Schedule | None:
    """The candidate of a trial; None where it is of another space."""
    if trial.distributions != space.distributions():
        return None
    return space.decode(trial.params)


def measured(trial: FrozenTrial, space: SearchSpace) -> Finished | None:
    """What a trial measured; None where it failed, is not done, or is of another space."""
    schedule = schedule_of(trial, space)
    if schedule is None or trial.state is not TrialState.COMPLETE or trial.value is None:
        return None
    return Finished(schedule, math.exp(trial.value), trial.user_attrs["outcome"]["error"])


class History:
    """The trials of a study.

    Args:
        space: how a trial's parameters stand for a schedule.
        needed: points without whose time nothing can ship: measured here also when they were
            abandoned, or are in flight in another process.
    """

    def __init__(
        self, study: optuna.Study, space: SearchSpace, needed: Collection[Schedule] = ()
    ) -> None:
        self._study = study
        self._space = space
        self._needed = needed
        self._distributions = space.distributions()
        self._owner = owner_stamp()
        self._finished: list[Finished] = []
        self._failures: Counter[str] = Counter()
        self._causes: dict[Schedule, tuple[str, str]] = {}
        self._attempts: Counter[Schedule] = Counter()
        self._settled: set[int] = set()
        self._own: set[int] = set()
        self._done: set[Schedule] = set()
        self._elsewhere: set[Schedule] = set()
        self._here: Candidate | None = None
        #: Candidates that were evaluated here.
        self.evaluated = 0
        self._beaten = time.monotonic()

    @property
    def finished(self) -> list[Finished]:
        """Measured points, in the order in which they became known."""
        return self._finished

    @property
    def failures(self) -> dict[str, int]:
        """Failed candidates by kind, most frequent first."""
        return dict(self._failures.most_common())

    def failure_of(self, schedule: Schedule) -> tuple[str, str] | None:
        """Kind and message of a candidate's failure; None where it did not fail."""
        return self._causes.get(schedule)

    @property
    def tried(self) -> set[Schedule]:
        """Points that were measured, failed, given up, or are in flight."""
        here = {self._here.schedule} if self._here else set()
        return self._done | self._elsewhere | here

    def was_tried(self, schedule: Schedule) -> bool:
        """Whether a point is one of `tried`."""
        here = self._here is not None and self._here.schedule == schedule
        return here or schedule in self._done or schedule in self._elsewhere

    def refresh(self) -> list[Schedule]:
        """Take in what was recorded since; returns points to be tried again because whoever tried
        them is gone."""
        self._elsewhere = set()
        left: list[Schedule] = []
        for trial in self._study.get_trials(deepcopy=False):
            if trial.number in self._settled or trial.number in self._own:
                continue
            schedule = schedule_of(trial, self._space)
            if schedule is None:
                continue
            gone = is_stale(trial, time.time())
            if gone:
                self._tell(trial.number, state=TrialState.FAIL)
            if trial.state is TrialState.RUNNING and not gone:
                if schedule not in self._needed:
                    self._elsewhere.add(schedule)
            elif (finished := measured(trial, self._space)) is not None:
                self._settle(trial.number, schedule)
                self._finished.append(finished)
            elif GIVEN_WAY in trial.user_attrs:
                self._settled.add(trial.number)
            elif "failure" in trial.user_attrs:
                self._failed_elsewhere(trial, schedule)
            elif gone or trial.state is TrialState.FAIL:
                left += self._abandoned(trial.number, schedule)
        return [schedule for schedule in dict.fromkeys(left) if schedule not in self._done]

    def _failed_elsewhere(self, trial: FrozenTrial, schedule: Schedule) -> None:
        if schedule in self._needed:
            # Not for a fault of another process's device: what must be measured is, here.
            self._settled.add(trial.number)
            return
        self._settle(trial.number, schedule)
        message = trial.user_attrs.get("message", "")
        self._note_failure(schedule, trial.user_attrs["failure"], message)

    def _tell(self, number: int, **outcome: Any) -> bool:
        """Finish a trial; False where another process has closed it just now, taking the candidate
        for abandoned: its own trial counts then."""
        try:
            self._study.tell(number, **outcome)
        except (UpdateFinishedTrialError, ValueError):
            return False
        return True

    def _set(self, candidate: Candidate, **attrs: Any) -> None:
        with contextlib.suppress(UpdateFinishedTrialError):
            for name, value in attrs.items():
                set_attr(self._study, candidate.trial_id, name, value)

    def _settle(self, number: int, schedule: Schedule) -> None:
        self._settled.add(number)
        self._done.add(schedule)

    def _abandoned(self, number: int, schedule: Schedule) -> list[Schedule]:
        """The point of a trial that nobody finished, if it may be tried once more."""
        self._settled.add(number)
        self._attempts[schedule] += 1
        if schedule in self._done:
            return []
        if self._attempts[schedule] <= RETRIES or schedule in self._needed:
            return [schedule]
        self._done.add(schedule)
        self._note_failure(schedule, "abandoned", "was in flight when two processes ended")
        return []

    def _note_failure(self, schedule: Schedule, kind: str, message: str) -> None:
        self._failures[kind] += 1
        self._causes[schedule] = (kind, message)

    def claim(self, schedule: Schedule) -> Candidate | None:
        """Record a point as in flight here; None where another process was first."""
        params = self._space.encode(schedule)
        attrs = {"owner": self._owner, "beat": time.time()}
        trial_id, number = begin_trial(self._study, params, self._distributions, attrs)
        self._own.add(number)
        if schedule not in self._needed and self._is_taken(schedule, number):
            self._set(Candidate(schedule, trial_id, number), **{GIVEN_WAY: True})
            self._tell(number, state=TrialState.FAIL)
            return None
        self._here = Candidate(schedule, trial_id, number)
        self._beaten = time.monotonic()
        return self._here

    def _is_taken(self, schedule: Schedule, number: int) -> bool:
        """Whether a trial before this one has the point and was not given up."""
        known = self._settled | self._own
        for trial in self._study.get_trials(deepcopy=False):
            if trial.number >= number or trial.number in known:
                continue
            open_or_done = trial.state is TrialState.RUNNING or (
                trial.state is TrialState.COMPLETE or "failure" in trial.user_attrs
            )
            same = open_or_done and schedule_of(trial, self._space) == schedule
            if same and not is_stale(trial, time.time()):
                return True
        return False

    def beat(self) -> None:
        """Say now and then that the candidate in flight is being worked on, for processes of other
        machines, which cannot ask for this one."""
        if self._here and time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            self._set(self._here, beat=time.time())

    def succeed(self, candidate: Candidate, timing: Timing, error: float) -> None:
        """Record a candidate that passed the gate and was timed."""
        self._set(candidate, outcome=asdict(timing) | {"error": error})
        if self._tell(candidate.number, values=math.log(timing.median_ms)):
            self._finished.append(Finished(candidate.schedule, timing.median_ms, error))
        self._end(candidate)

    def fail(self, candidate: Candidate, kind: str, message: str) -> None:
        """Record a failure; the candidate is never tried again in this study."""
        self._set(candidate, message=message[-2000:], failure=kind)
        if self._tell(candidate.number, state=TrialState.FAIL):
            self._note_failure(candidate.schedule, kind, message)
        self._end(candidate)

    def interrupt(self, candidate: Candidate) -> None:
        """Record a candidate in flight when the user stopped; `--resume` tries it once more."""
        self._tell(candidate.number, state=TrialState.FAIL)
        self._end(candidate)

    def _end(self, candidate: Candidate) -> None:
        self.evaluated += 1
        self._done.add(candidate.schedule)
        self._here = None
