"""Architecture search: latency against quality over chunk size, top-k and retrieval heads.

One Optuna study with two objectives. A grid that the trials cover is enumerated, from a larger one
TPE chooses; in the end the points that may be on the front are timed against each other. Every
trial is kept as soon as it stands, so that a run that was ended goes on with `resume`. Schedules
are never searched here: every call has those that dispatch gives it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from hsa_compiler.benchmarks.architecture import Point, Space
from hsa_compiler.benchmarks.case import make_case
from hsa_compiler.benchmarks.front import (
    Failure,
    Front,
    Measured,
    Objectives,
    as_config_file,
    finalists,
    non_dominated,
)
from hsa_compiler.benchmarks.ours import contestants
from hsa_compiler.benchmarks.quality import Quality
from hsa_compiler.benchmarks.results import make_folder
from hsa_compiler.benchmarks.rows import Row
from hsa_compiler.benchmarks.session import DeviceLost
from hsa_compiler.benchmarks.timing import clocks, measure
from hsa_compiler.configs import device_record, versions
from hsa_compiler.errors import BackendError, ConfigError, InputError
from hsa_compiler.folders import cache_folder, require_writable
from hsa_compiler.runtime.dispatch import resolve_backend
from hsa_compiler.runtime.explain import KNOWN, explain_shape
from hsa_compiler.schedules.hardware import Hardware, detect
from hsa_compiler.threads import tvm_threads
from hsa_compiler.tuner.bench import failure_kind
from hsa_compiler.tuner.claims import is_stale, owner_stamp
from hsa_compiler.tuner.effort import effort
from hsa_compiler.tuner.history import RETRIES
from hsa_compiler.tuner.measure import Clock, Run, Timing, screen
from hsa_compiler.tuner.search import DRAWS
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.storage import open_storage, open_study

#: Time for each finalist.
FINAL_SECONDS = 1.0


@dataclass(frozen=True)
class Request:
    """What to search, where, how long, and where it is written.

    `trials` counts architectures, those of a resumed run included. `storage` None means a journal
    in the user's cache folder. Raises InputError where the quality cannot be measured.
    """

    space: Space
    quality: Quality
    device: str
    backward: bool
    trials: int
    seconds: float
    seed: int
    folder: Path
    storage: str | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        self.quality.check(self.space.base)

    def study_name(self, slug: str) -> str:
        """Names everything that the numbers of a study depend on."""
        parts = [self.space.to_json(), self.quality.to_json(), self.backward, self.seed]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"pareto/{slug}/{self.quality.name}/{digest[:16]}"


def run(request: Request, say: Callable[[str], None]) -> tuple[Front, bool]:
    """Search and write what was found; also whether Ctrl-C ended it early.

    Args:
        say: takes one line of progress.

    Raises InputError or ConfigError for folders and storages that cannot be used, before anything
    is launched, ConfigError where the records cannot be written any more, and BackendError where
    the GPU was lost; what was found before is written.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    device = torch.device(request.device)
    resolve_backend("auto", device)
    hardware = detect(request.device)
    studies = cache_folder() / "studies"
    if request.storage is None:
        require_writable("the cache folder", studies, "set XDG_CACHE_HOME to one that can")
    spec = request.storage or str(studies / f"pareto-{hardware.slug}.journal")
    storage = open_storage(spec)
    make_folder(request.folder)
    opened = open_study(
        storage,
        request.study_name(hardware.slug),
        request.resume,
        (StudyDirection.MINIMIZE, request.quality.direction),
    )
    if opened.earlier:
        say(f"searching anew; an earlier run has {opened.earlier} trials (--resume continues it)")
    search = _Search(request, opened.study, say)
    interrupted, lost = False, None
    raced: dict[str, Timing] = {}
    try:
        search.run()
        raced = search.race()
    except KeyboardInterrupt:
        interrupted = True
    except DeviceLost as error:
        lost = error
    except BrokenPipeError:
        raise  # whoever reads the output has gone
    except (OSError, StorageInternalError) as error:
        raise ConfigError(
            f"the records of this run cannot be written any more ({error}); what is finished is "
            f"kept in {spec}: the same command with --resume continues"
        ) from error
    front = search.front(hardware, raced)
    front.write(request.folder)
    if lost is not None:
        raise BackendError(
            f"the GPU is lost to this process ({lost}): what was measured is in {request.folder}; "
            "the same command with --resume continues"
        ) from lost
    return front, interrupted


def timed_call(shape: Shape, device: torch.device, backward: bool, seed: int) -> Run:
    """`hsa_attention`, with its gradients if `backward`, on tensors of a shape.

    Neighbouring tokens agree on their chunks as in trained models.
    """
    case = make_case(Row(shape.name, shape), device, ("attention", "total"), backward, seed)
    (total,) = (call for call in contestants(case) if call.part == "total")
    return total.build().run


def clock_of(device: torch.device) -> Clock:
    """Wall time on a CPU; on a GPU the GPU's own time, with a cold L2 cache."""
    return clocks(device)["eager" if device.type == "cpu" else "device"]


def schedules(shape: Shape, device: torch.device, backward: bool) -> dict[str, str]:
    """What dispatch gives each kernel of the call, and the config tier that it came from."""
    dims = {name: getattr(shape, name) for name in KNOWN}
    rows = explain_shape(dims, dtype=shape.dtype, device=device, backward=backward)
    return {row.kernel: f"{row.schedule} [{row.tier}]" for row in rows}


class _Search:
    """The study of a request.

    A trial that is to try a point has its name as the attribute ``point``, and ``outcome`` or
    ``failure`` once it has. Others propose a point that is illegal or was tried before.
    """

    def __init__(self, request: Request, study: optuna.Study, say: Callable[[str], None]) -> None:
        self._request, self._study, self._say = request, study, say
        self._points = {point.name: point for point in request.space.points}
        self._device = torch.device(request.device)
        self._owner = owner_stamp()
        self._idle = 0
        self._rng = random.Random(request.seed)

    def run(self) -> None:
        """Measure points until trials, seconds or points are used up."""
        for trial in self._study.get_trials(deepcopy=False):
            if is_stale(trial, time.time()):
                self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        tried = self._tried()
        if tried:
            self._say(f"continuing after {len(tried)} architectures")
        self._study.sampler = optuna.samplers.TPESampler(seed=self._request.seed + len(tried))
        lost = {name for name, _ in self._trials(TrialState.FAIL)}
        enumerated = len(self._points) <= self._request.trials
        waiting = {name for name, _ in self._trials(TrialState.WAITING)}
        order = [name for name in self._untried() if name not in waiting]
        self._rng.shuffle(order)  # a search that ends early has looked everywhere
        for name in order:
            if enumerated or name in lost:
                self._enqueue(name)
        if not self._is_done():
            self._request.quality.prepare()
            self._study.optimize(
                self._objective,
                timeout=self._request.seconds,
                callbacks=[self._after],
                gc_after_trial=self._device.type == "cuda",
            )

    def _enqueue(self, name: str) -> None:
        params = self._request.space.encode(self._points[name])
        self._study.enqueue_trial(params, user_attrs={"point": name})

    def _trials(self, *states: TrialState) -> Iterator[tuple[str, FrozenTrial]]:
        for trial in self._study.get_trials(deepcopy=False, states=states or None):
            if (name := trial.user_attrs.get("point")) in self._points:
                yield name, trial

    def _tried(self) -> dict[str, FrozenTrial]:
        """By point, the first trial that measured it or failed to; or the last one of a point
        that was in flight whenever a run ended: it may be what ended them."""
        found: dict[str, FrozenTrial] = {}
        for name, trial in self._trials(TrialState.COMPLETE, TrialState.PRUNED):
            if trial.user_attrs.keys() & {"outcome", "failure"}:
                found.setdefault(name, trial)
        lost = dict(self._trials(TrialState.FAIL))
        counts = Counter(name for name, _ in self._trials(TrialState.FAIL))
        return {name: lost[name] for name in lost if counts[name] > RETRIES} | found

    def _untried(self) -> list[str]:
        """Points that nobody tried, nor measures just now."""
        taken = self._tried().keys() | {name for name, _ in self._trials(TrialState.RUNNING)}
        return [name for name in self._points if name not in taken]

    def _is_done(self) -> bool:
        return len(self._tried()) >= self._request.trials or not self._untried()

    def _after(self, study: optuna.Study, trial: FrozenTrial) -> None:
        if self._is_done():
            study.stop()
        elif self._idle >= DRAWS:
            self._enqueue(self._rng.choice(self._untried()))

    def _objective(self, trial: Trial) -> tuple[float, float]:
        """Logarithm of the milliseconds, and the quality."""
        trial.set_user_attr("owner", self._owner)
        point = self._request.space.suggest(trial)
        self._idle += 1
        if point.name not in self._points:
            raise optuna.TrialPruned("illegal")
        if (earlier := self._tried().get(point.name)) is not None:
            if earlier.state is not TrialState.COMPLETE:
                raise optuna.TrialPruned("failed before")
            return tuple(earlier.values)
        self._idle = 0
        trial.set_user_attr("point", point.name)
        try:
            timing, quality, chosen = self._measure(point)
        except Exception as error:
            kind, fatal = failure_kind(error, "run")
            if fatal:
                raise DeviceLost(f"{point.name}: {error}") from error
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
            self._say(f"{point.name}: {reason[:160]}")
            trial.set_user_attr("failure", {"kind": kind, "reason": reason})
            raise optuna.TrialPruned(kind) from error
        outcome = {"timing": dataclasses.asdict(timing), "quality": quality, "schedules": chosen}
        trial.set_user_attr("outcome", outcome)
        self._say(
            f"{point.name}: {timing.median_ms:.4g} ms, {self._request.quality.name} {quality:.4g} "
            f"({len(self._tried()) + 1} of {min(self._request.trials, len(self._points))})"
        )
        return math.log(timing.median_ms), quality

    def _measure(self, point: Point) -> tuple[Timing, float, dict[str, str]]:
        request = self._request
        quality = request.quality.of(request.space.model_of(point))
        if not math.isfinite(quality):
            raise InputError(f"{request.quality.name} is {quality}")
        timing = screen(self._call(point), clock_of(self._device), effort("standard"), best_ms=None)
        shape = request.space.shape_of(point)
        return timing, quality, schedules(shape, self._device, request.backward)

    def _call(self, point: Point) -> Run:
        shape = self._request.space.shape_of(point)
        return timed_call(shape, self._device, self._request.backward, self._request.seed)

    def race(self) -> dict[str, Timing]:
        """Time the points that may be on the front against each other, so that what disturbed the
        machine during the search does not decide; empty where they cannot be timed together."""
        names = finalists(self._measured(), self._request.quality.direction)
        if len(names) < 2:
            return {}
        self._say(f"timing {len(names)} finalists against each other")
        try:
            calls = {name: self._call(self._points[name]) for name in names}
            return measure(calls, clock_of(self._device), FINAL_SECONDS)
        except Exception as error:
            if failure_kind(error, "run")[1]:
                raise DeviceLost(str(error)) from error
            self._say(f"the times of the search stand: {type(error).__name__}: {error}")
            return {}

    def _measured(self) -> dict[str, Objectives]:
        """Milliseconds and quality of each measured point."""
        found = {}
        for name, trial in self._tried().items():
            if trial.state is TrialState.COMPLETE:
                outcome = trial.user_attrs["outcome"]
                found[name] = (outcome["timing"]["median_ms"], outcome["quality"])
        return found

    def front(self, hardware: Hardware, raced: Mapping[str, Timing]) -> Front:
        """What was found so far. Times of a race replace the search's, and of those that were not
        in it none is on the front."""
        request, stamp = self._request, self._stamp()
        measured = self._measured()
        final = {name: (timing.median_ms, measured[name][1]) for name, timing in raced.items()}
        best = non_dominated(final or measured, request.quality.direction)
        points, failures = [], []
        for name, trial in self._tried().items():
            if trial.state is not TrialState.COMPLETE:
                given_up = {"kind": "abandoned", "reason": "was in flight when two runs ended"}
                failures.append(Failure(name, **trial.user_attrs.get("failure", given_up)))
                continue
            point, outcome = self._points[name], trial.user_attrs["outcome"]
            timing = raced.get(name, Timing.from_json(outcome["timing"]))
            points.append(
                Measured(
                    point=name,
                    **dataclasses.asdict(point),
                    latency_ms=timing.median_ms,
                    spread_ms=timing.spread_ms,
                    samples=timing.samples,
                    quality=outcome["quality"],
                    schedules=outcome["schedules"],
                    raced=name in raced,
                    on_front=name in best,
                    model=as_config_file(request.space.model_of(point)),
                )
            )
        return Front(
            date=stamp["date"],
            device=device_record(hardware).model_dump(mode="json"),
            versions=stamp,
            settings={
                **request.space.to_json(),
                "backward": request.backward,
                "selection": "local",
                "l2": "cold" if self._device.type == "cuda" else "as it is",
                "trials": request.trials,
                "seconds": request.seconds,
                "seed": request.seed,
            },
            quality=request.quality.to_json(),
            points=tuple(sorted(points, key=lambda m: (m.latency_ms, m.point))),
            illegal=request.space.illegal,
            failures=tuple(failures),
            untried=len(self._points) - len(self._tried()),
        )

    def _stamp(self) -> dict[str, Any]:
        threads = tvm_threads() if self._device.type == "cpu" else None
        return versions(threads).model_dump(mode="json")
