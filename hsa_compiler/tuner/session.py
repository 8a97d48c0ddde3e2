"""One `autotune` run: every kernel of every shape on one device, within one time budget.

Each kernel gets an equal part of the time that is left when its turn comes; those with the fewest
schedules go first, so that what they do not use serves the others. Every result is written as soon
as it stands: an interrupted run keeps them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.runtime import validate
from hsa_compiler.schedules import locality
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.tuner.effort import Effort, effort
from hsa_compiler.tuner.export import default_folder, read_entry, write_entries
from hsa_compiler.tuner.fleet import devices, helpers
from hsa_compiler.tuner.results import KernelResult
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.setting import KERNEL_BENCH, SEEDS, Setting, Turn, explained, open_setting
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.storage import OpenedStudy, open_study
from hsa_compiler.tuner.traced import TraceFile, fit
from hsa_compiler.tuner.tune import tune
from hsa_compiler.tuner.workload import Task


@dataclass(frozen=True)
class Request:
    """What to tune, where, and how long.

    `kernels` None means all. A `trace` takes the place of `locality`. `storage` None means a
    journal in the user's cache folder, `out` None the folder of `export.default_folder`,
    `compile_workers` None as many compiling processes as there are usable CPUs. `workers` GPUs
    search side by side, from `device` on. `bench` names what the worker runs. Raises InputError,
    and ConfigError where the trace cannot be read.
    """

    device: str
    shapes: tuple[Shape, ...]
    kernels: tuple[str, ...] | None = None
    effort: str = "quick"
    locality: str = "local"
    trace: TraceFile | None = None
    storage: str | None = None
    resume: bool = False
    out: Path | None = None
    seed: int = 0
    sampler: str = "tpe"
    warm_l2: bool = False
    workers: int = 1
    compile_workers: int | None = None
    bench: str = KERNEL_BENCH

    def __post_init__(self) -> None:
        effort(self.effort)
        validate.kernels(self.kernels or ())
        if not 0 <= self.seed < SEEDS:
            raise InputError(f"seed {self.seed}: give a whole number from 0 to {SEEDS - 1}")
        if self.locality not in locality.KINDS:
            raise InputError(
                f"unknown locality {self.locality!r}: choose from {', '.join(locality.KINDS)}"
            )
        if self.trace is not None:
            trace = self.trace.read()
            for shape in self.shapes:
                fit(trace, shape)

    def tasks(self) -> list[Task]:
        """One task per kernel and shape. Raises InputError when there is none."""
        tasks = []
        for shape in self.shapes:
            first = Task(
                kernel="",
                shape=shape,
                device=self.device,
                locality=self.locality if self.trace is None else "trace",
                seed=self.seed,
                warm_l2=self.warm_l2,
                trace=self.trace,
            )
            tasks += [
                replace(first, kernel=kind)
                for kind in first.groups
                if self.kernels is None or kind in self.kernels
            ]
        if not tasks:
            raise InputError(
                f"none of the kernels {', '.join(self.kernels or ())} is part of the shapes "
                f"{', '.join(shape.name for shape in self.shapes)}"
            )
        return tasks


@dataclass(frozen=True)
class Outcome:
    """What a run gave."""

    device: str
    backend: str
    effort: str
    out: Path
    storage: str
    results: tuple[KernelResult, ...]
    interrupted: bool
    seconds: float

    @property
    def files(self) -> list[str]:
        """Config files written."""
        return sorted({result.file for result in self.results if result.file})

    @property
    def failed(self) -> bool:
        """Whether any kernel could not be tuned."""
        return any(result.outcome == "failed" for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for ``--json``."""
        return {
            "device": self.device,
            "backend": self.backend,
            "effort": self.effort,
            "out": str(self.out),
            "storage": self.storage,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 2),
            "files": self.files,
            "results": [result.to_json() for result in self.results],
        }


class View(Protocol):
    """Shows a run; see `ui`."""

    def begin(self, turn: Turn) -> None: ...

    def update(self, search: Search, stage: str) -> None: ...

    def end(self, result: KernelResult) -> None: ...

    def note(self, text: str) -> None: ...

    def tick(self) -> None: ...


def run(request: Request, view: View) -> Outcome:
    """Tune everything a request names. Ctrl-C ends it early, with what is done so far.

    Raises InputError for a storage that cannot be opened, and ConfigError for an output or cache
    folder that cannot be written, before anything is launched, or for a disk that is full later.
    """
    start = time.monotonic()
    devices(request)  # before anything is written
    out = request.out or default_folder()
    with open_setting(request, view, out) as at:
        results = [*at.refused]
        for result in results:
            view.end(result)
        interrupted = False
        kept_where = f"what is finished is kept there and in {out}: --resume continues"
        try:
            with explained(at.storage_spec, kept_where):
                # All of them now: who helps may be through with one before its turn is over.
                opened = [
                    open_study(at.storage, plan.study_name(), request.resume) for plan in at.plans
                ]
                at.conduct([each.study for each in opened if not _is_done(each, at.limits)])
                for plan, each in zip(at.plans, opened, strict=True):
                    each.study.set_user_attr("plan", asdict(plan.record()))
                with helpers(request, view.note):
                    for number, (plan, study) in enumerate(zip(at.plans, opened, strict=True)):
                        now, end = time.monotonic(), start + at.limits.seconds
                        deadline = now + (end - now) / (len(at.plans) - number)
                        turn = Turn(plan, number, len(at.plans), deadline, end, at.limits)
                        view.begin(turn)
                        result = _write(_one(at, turn, study), out, at.hardware)
                        at.close(study.study)
                        if result.outcome in ("tuned", "default"):
                            kept = {"trials": at.limits.trials, "result": result.to_json()}
                            study.study.set_user_attr("done", kept)
                        elif result.outcome == "failed":
                            study.study.set_user_attr("failed", result.message)
                        results.append(result)
                        view.end(result)
        except KeyboardInterrupt:
            interrupted = True
    return Outcome(
        request.device,
        at.backend,
        request.effort,
        out,
        at.storage_spec,
        tuple(results),
        interrupted,
        time.monotonic() - start,
    )


def _is_done(opened: OpenedStudy, limits: Effort) -> bool:
    """Whether an earlier run finished the study with as many trials."""
    done = opened.study.user_attrs.get("done") if opened.resumed else None
    return done is not None and bool(done["trials"] >= limits.trials)


def _one(at: Setting, turn: Turn, opened: OpenedStudy) -> KernelResult:
    plan, limits, view = turn.plan, turn.limits, at.view
    task = plan.task
    where = f"{task.kernel} {task.shape.name}"
    if _is_done(opened, limits):
        view.note(f"{where}: an earlier run finished it; kept")
        return KernelResult.from_json(opened.study.user_attrs["done"]["result"])
    if opened.earlier:
        view.note(
            f"{where}: tuning anew; an earlier run tried {opened.earlier} candidates "
            "(--resume would continue it)"
        )
    if turn.run_deadline <= time.monotonic():
        return KernelResult(
            task.kernel,
            task.shape.name,
            task.locality,
            "skipped",
            f"the {limits.seconds:.0f} s of this effort are used up; run again with --resume",
        )
    search = at.search(plan, opened.study, conducts=True)
    if opened.resumed and search.trials:
        view.note(f"{where}: continuing after {search.trials} candidates")
    return tune(plan, search, at.worker, limits, turn.deadline, view, at.compiler)


def _write(result: KernelResult, out: Path, hardware: Hardware) -> KernelResult:
    if result.entry is None:
        return result
    entry = read_entry(result.entry)
    files: Sequence[Path] = write_entries(out, hardware, [entry])
    if not files:
        raise ConfigError(f"{out}: no file was written for {result.kernel}")
    return replace(result, file=str(files[0]))
