"""What a tuning study says, as plain values: read once, so that a page agrees with itself while a
run goes on. Records that another version of the project wrote in another form are left out, and
named."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import optuna
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter, ValidationError

from hsa_compiler.configs import Entry
from hsa_compiler.schedules.cost_model import Roofline
from hsa_compiler.tuner.claims import GIVEN_WAY, is_stale
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.results import KernelResult, StudyPlan
from hsa_compiler.tuner.storage import StudyName

#: Fewer different times say nothing about which knob matters.
ENOUGH_FOR_IMPORTANCE = 10

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Outcome(Timing):
    """What the tuner records of a candidate that was timed."""

    error: float


@dataclass(frozen=True)
class Timed:
    """A candidate with a time; `outcome` is None where only the median is known.

    `roles` says which of ``"default"`` and ``"planned"`` it is.
    """

    number: int
    knobs: dict[str, Any]
    roles: tuple[str, ...]
    median_ms: float
    outcome: Outcome | None


@dataclass(frozen=True)
class Failures:
    """Candidates that failed in one way, and the first of them as an example."""

    kind: str
    count: int
    number: int
    knobs: dict[str, Any]
    message: str


@dataclass(frozen=True)
class StudyRecord:
    """One study. `timed` is fastest first, `failures` most frequent first; `unreadable` names the
    records that are there but in another form.

    `timings` is a copy in memory whose values are milliseconds, for Optuna's own analysis.
    """

    name: StudyName
    started: datetime.datetime | None
    ended: datetime.datetime | None
    running: int
    timed: tuple[Timed, ...]
    failures: tuple[Failures, ...]
    plan: StudyPlan | None
    floor: Roofline | None
    result: KernelResult | None
    entry: Entry | None
    failed: str
    unreadable: tuple[str, ...]
    importances: dict[str, float]
    timings: optuna.Study

    @property
    def trials(self) -> int:
        """Candidates recorded, those in flight included."""
        return len(self.timings.get_trials(deepcopy=False))

    @property
    def knobs(self) -> tuple[str, ...]:
        """The knobs of the candidates that have a time, in search order."""
        return tuple(dict.fromkeys(name for timed in self.timed for name in timed.knobs))

    @property
    def versions(self) -> dict[str, Any]:
        """The software it was tuned with; empty where no record says."""
        if self.plan is not None:
            return self.plan.versions
        return {} if self.entry is None else self.entry.provenance.model_dump(exclude_none=True)

    def share(self, milliseconds: float) -> float | None:
        """The share of the roofline that a time reaches."""
        return None if self.floor is None else self.floor.share(milliseconds / 1e3)


def read_study(name: StudyName, study: optuna.Study) -> StudyRecord:
    """Read a study of the tuner, whatever state it is in."""
    attributes, timings = study.user_attrs, _in_milliseconds(study)
    trials = timings.get_trials(deepcopy=False)
    unreadable: list[str] = []

    def attribute(kind: type[T], label: str, data: object) -> T | None:
        found = None if data is None else _as(kind, data)
        if data is not None and found is None:
            unreadable.append(label)
        return found

    plan = attribute(StudyPlan, "plan", attributes.get("plan"))
    floor = attribute(Roofline, "floor", attributes.get("floor"))
    done = attribute(dict, "verdict", attributes.get("done"))
    result = None if done is None else attribute(KernelResult, "verdict", done.get("result", {}))
    entry = None if result is None else attribute(Entry, "config entry", result.entry)
    stamps = [stamp for t in trials for stamp in (t.datetime_start, t.datetime_complete) if stamp]
    now = time.time()
    return StudyRecord(
        name=name,
        started=min(stamps, default=None),
        ended=max(stamps, default=None),
        running=sum(_is_in_flight(trial, now) for trial in trials),
        timed=_timed(trials, plan),
        failures=_failures(trials, plan, now),
        plan=plan,
        floor=floor,
        result=result,
        entry=entry,
        failed=str(attributes.get("failed", "")),
        unreadable=tuple(unreadable),
        importances=_importances(timings),
        timings=timings,
    )


def knob_values(params: Mapping[str, Any], plan: StudyPlan | None) -> dict[str, Any]:
    """A trial's knobs; ordinal ones are indices where the study does not say their choices."""
    choices = {} if plan is None else plan.choices
    return {
        name: choices[name][value]
        if name in choices and isinstance(value, int) and 0 <= value < len(choices[name])
        else value
        for name, value in params.items()
    }


def _as(kind: type[T], data: object) -> T | None:
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError:
        return None


def _in_milliseconds(study: optuna.Study) -> optuna.Study:
    """The same trials in memory, with times for values instead of their logarithms."""
    trials = study.get_trials()
    for trial in trials:
        if trial.value is not None:
            trial.value = math.exp(trial.value)
    timings = optuna.create_study()
    timings.add_trials(trials)
    return timings


def _timed(trials: Sequence[FrozenTrial], plan: StudyPlan | None) -> tuple[Timed, ...]:
    found = []
    for trial in trials:
        if trial.state is not TrialState.COMPLETE or trial.value is None:
            continue
        knobs = knob_values(trial.params, plan)
        outcome = _as(Outcome, trial.user_attrs.get("outcome"))
        found.append(Timed(trial.number, knobs, _roles(knobs, plan), trial.value, outcome))
    return tuple(sorted(found, key=lambda timed: timed.median_ms))


def _roles(knobs: Mapping[str, Any], plan: StudyPlan | None) -> tuple[str, ...]:
    if plan is None:
        return ()
    defaults = {"default": plan.generic, "planned": plan.planned or {}}
    return tuple(role for role, given in defaults.items() if knobs.items() <= given.items())


def _is_in_flight(trial: FrozenTrial, now: float) -> bool:
    # Without an owner it was killed while it was being written.
    owned = trial.state is TrialState.RUNNING and "owner" in trial.user_attrs
    return owned and not is_stale(trial, now)


def _failures(
    trials: Sequence[FrozenTrial], plan: StudyPlan | None, now: float
) -> tuple[Failures, ...]:
    by_kind: dict[str, list[FrozenTrial]] = {}
    for trial in trials:
        if GIVEN_WAY in trial.user_attrs:
            continue  # another process was first with this point
        left_behind = trial.state is TrialState.RUNNING and not _is_in_flight(trial, now)
        if trial.state is TrialState.FAIL or left_behind:
            kind = str(trial.user_attrs.get("failure", "interrupted"))
            by_kind.setdefault(kind, []).append(trial)
    found = []
    for kind, those in by_kind.items():
        first = those[0]
        message = str(first.user_attrs.get("message", "in flight when its run ended"))
        knobs = knob_values(first.params, plan)
        found.append(Failures(kind, len(those), first.number, knobs, message))
    return tuple(sorted(found, key=lambda failures: -failures.count))


def _importances(timings: optuna.Study) -> dict[str, float]:
    """Shares of the knobs in the spread of times, which add up to 1; empty for too few times."""
    complete = timings.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    times = {trial.value for trial in complete}
    return get_param_importances(timings) if len(times) >= ENOUGH_FOR_IMPORTANCE else {}
