"""Recorded spaces: what a study measured, as one small JSON file from which a search is replayed
without the device.

    {"schema_version", the fields of `StudyPlan`, "knobs": [name, ...],
     "points": [[value, ..., the fields of `Timing`, error], ...],
     "failures": [[value, ..., kind], ...]}

A replay knows the recorded points alone: those are its space, and a point next to one that was
never measured is not a neighbour.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.folders import write_whole
from hsa_compiler.runtime.validate import one_of
from hsa_compiler.schedules import kernel_knobs
from hsa_compiler.schedules.kernel_knobs import BACKENDS
from hsa_compiler.schedules.moves import neighbours
from hsa_compiler.schedules.problem import Problem
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.schedules.space import normal
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.search_space import SearchSpace
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.workload import Task

SCHEMA_VERSION = 2
#: A timing's fields in their order in a point.
MEASURED = tuple(field.name for field in fields(Timing))
#: What reading something else, or what another version wrote, raises.
_MALFORMED = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
    IllegalSchedule,
    InputError,
)


@dataclass(frozen=True)
class RecordedSpace:
    """The measured points of one kernel and shape on one device.

    `times` has each schedule's screening and error, `failures` its kind of failure; `about` is the
    study's `StudyPlan` as plain values, without the starts.
    """

    about: Mapping[str, Any]
    starts: tuple[Schedule, ...]
    times: Mapping[Schedule, tuple[Timing, float]]
    failures: Mapping[Schedule, str]

    @classmethod
    def of(cls, study: optuna.Study) -> RecordedSpace:
        """Take a study's finished trials.

        Raises InputError where there are none, or an older version made the study.
        """
        told = study.user_attrs.get("plan")
        if told is None:
            raise InputError(f"study {study.study_name!r} does not say what it tuned: tune anew")
        times: dict[Schedule, tuple[Timing, float]] = {}
        failures: dict[Schedule, str] = {}
        try:
            facts = dict(told)
            starts = tuple(Schedule.from_json(knobs) for knobs in facts.pop("starts"))
            axes = SearchSpace.of(_problem(facts), facts["backend"], starts[0], None)
            for trial in study.get_trials(deepcopy=False):
                if trial.state is TrialState.COMPLETE:
                    outcome = dict(trial.user_attrs["outcome"])
                    error = float(outcome.pop("error"))
                    times[axes.decode(trial.params)] = Timing.from_json(outcome), error
                elif "failure" in trial.user_attrs:
                    failures[axes.decode(trial.params)] = str(trial.user_attrs["failure"])
        except _MALFORMED as reason:
            raise InputError(
                f"study {study.study_name!r} was made by another version ({reason}): tune anew"
            ) from reason
        if not times:
            raise InputError(f"study {study.study_name!r} has no measured schedule yet")
        return cls(facts, starts, times, failures)

    @property
    def kernel(self) -> str:
        """The kernel's kind."""
        return str(self.about["kernel"])

    @property
    def best_ms(self) -> float:
        """The shortest median."""
        return min(timing.median_ms for timing, _ in self.times.values())

    def best(self, count: int) -> list[Schedule]:
        """The fastest schedules, the fastest first."""
        return sorted(self.times, key=lambda schedule: self.times[schedule][0].median_ms)[:count]

    def space(self) -> SearchSpace:
        """The recorded points as a search space."""
        problem, backend = _problem(self.about), str(self.about["backend"])
        known = (*self.times, *self.failures)

        def stands_for(schedule: Schedule) -> Schedule:
            return normal(problem, backend, schedule)

        def moves(schedule: Schedule) -> tuple[Schedule, ...]:
            near = neighbours(problem.kind, backend, schedule)
            return tuple(dict.fromkeys(stands_for(point) for point in near))

        return SearchSpace(
            kernel_knobs.knobs(problem.kind, backend),
            self.starts[0],
            lambda: known,
            set(known).__contains__,
            moves,
            stands_for,
        )

    def write(self, path: Path) -> None:
        """Write the file in one step. Raises InputError where it cannot be written."""
        names = kernel_knobs.KNOBS[self.kernel].names(str(self.about["backend"]))

        def values(schedule: Schedule) -> list[Any]:
            return [getattr(schedule, name) for name in names]

        data = {
            "schema_version": SCHEMA_VERSION,
            **self.about,
            "knobs": names,
            "starts": [values(schedule) for schedule in self.starts],
            "points": [
                [*values(s), *map(_short, asdict(timing).values()), float(f"{error:.3g}")]
                for s, (timing, error) in self.times.items()
            ],
            "failures": [[*values(s), kind] for s, kind in self.failures.items()],
        }
        try:
            write_whole(path, (json.dumps(data, separators=(",", ":")) + "\n").encode())
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error

    @classmethod
    def read(cls, path: Path) -> RecordedSpace:
        """Read the file. Raises ConfigError for anything that this version did not write."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            version = data.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise ConfigError(
                    f"{path}: schema_version {version!r}, this version reads {SCHEMA_VERSION}: "
                    "write it anew from its study with `hsa-compiler replay STUDY --save`"
                )
            names, starts = data.pop("knobs"), data.pop("starts")
            points, failures = data.pop("points"), data.pop("failures")

            def schedule(values: Sequence[Any]) -> Schedule:
                return Schedule.from_json(dict(zip(names, values, strict=True)))

            def timing(values: Sequence[Any]) -> Timing:
                return Timing.from_json(dict(zip(MEASURED, values, strict=True)))

            at = len(names)
            found = cls(
                data,
                tuple(schedule(values) for values in starts),
                {schedule(v[:at]): (timing(v[at:-1]), float(v[-1])) for v in points},
                {schedule(v[:-1]): str(v[-1]) for v in failures},
            )
            if not found.times or not found.starts:
                raise ConfigError(f"{path}: has no points, or no starts")
            _problem(data)
            data["device"]
            one_of("backend", data["backend"], BACKENDS)
            grid = found.space()
            for point in (*found.starts, *found.times, *found.failures):
                grid.encode(point)
            if not all(0 < timing.median_ms < math.inf for timing, _ in found.times.values()):
                raise ConfigError(f"{path}: milliseconds must be numbers above 0")
            return found
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
        except _MALFORMED as error:
            raise ConfigError(f"{path}: not a recorded space: {error}") from error


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _problem(told: Mapping[str, Any]) -> Problem:
    return Task(told["kernel"], Shape(**told["shape"]), "cpu").problem


def replay(
    recorded: RecordedSpace,
    sampler: str,
    seed: int,
    trials: int,
    first: Sequence[Schedule] = (),
    blind: bool = False,
) -> list[float]:
    """The best time after each trial over the best recorded one, 1.0 at the best.

    The search starts as it would on the device, after the schedules of `first`; a `blind` one with
    the generic default instead, which is the first start.
    """
    search = Search(
        recorded.space(),
        optuna.create_study(),
        starts=[*first, *recorded.starts[: 1 if blind else None]],
        trials=trials,
        sampler=sampler,
        seed=seed,
    )
    best, curve = math.inf, []
    while (candidate := search.next()) is not None:
        outcome = recorded.times.get(candidate.schedule)
        if outcome is None:
            search.fail(candidate, recorded.failures[candidate.schedule], "")
        else:
            search.succeed(candidate, *outcome)
            best = min(best, outcome[0].median_ms / recorded.best_ms)
        curve.append(best)
    return curve


def trials_to(curves: Sequence[Sequence[float]], within: float) -> float:
    """The median number of trials after which a search is within a share of the best; a curve that
    never gets there counts as infinite."""
    reached = [
        next((at for at, best in enumerate(curve, 1) if best <= 1 + within), math.inf)
        for curve in curves
    ]
    return statistics.median(reached)
