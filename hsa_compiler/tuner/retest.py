"""Whether stored winners still win: races them again, with the software of today.

    stored entry -> task (rebuild) -> rivals -> contest (rematch) -> outcome
                 -> the commands that tune again what does not stand

Nothing is written but the worker's log and the caches of kernels.
"""

from __future__ import annotations

import itertools
import math
import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import optuna
import torch
from optuna.storages import BaseStorage

from hsa_compiler.configs import ConfigStore, Entry, Winner, packaged_folder, versions
from hsa_compiler.errors import InputError
from hsa_compiler.runtime.dispatch import resolve_backend
from hsa_compiler.schedules import space
from hsa_compiler.schedules.hardware import Hardware, detect
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.threads import tvm_threads
from hsa_compiler.tuner.compile_pool import CompilePool
from hsa_compiler.tuner.effort import effort
from hsa_compiler.tuner.export import default_folder
from hsa_compiler.tuner.rebuild import task_of
from hsa_compiler.tuner.rematch import Match, Retested, rematch
from hsa_compiler.tuner.rivals import rival_from, rivals_of
from hsa_compiler.tuner.setting import KERNEL_BENCH, require_caches
from hsa_compiler.tuner.shapes import spelled
from hsa_compiler.tuner.storage import default_journal, open_storage, studies_folder
from hsa_compiler.tuner.tune import Plan
from hsa_compiler.tuner.worker import Worker

#: Whose time-outs and sample counts hold: a winner must not fail because a machine is busy.
EFFORT = "standard"
#: The fastest of all that race, with the winner, for the duel with it.
FINALISTS = 4
#: What of an entry's provenance may explain another time.
SOFTWARE = ("driver", "ptxas", "triton", "torch", "tvm", "project", "threads")


@dataclass(frozen=True)
class Request:
    """What to race again, where, and how long.

    `kernels` None means all, `folders` None the user's and the packaged one, `limit` None every
    winner, `seconds` None as long as it takes, `storage` None the device's journal in the cache
    folder, `workers` None as many compiling processes as there are usable CPUs. With `against`,
    another device's slug, what won there is the only rival. `bench` names what the worker runs.
    Raises InputError.
    """

    device: str
    kernels: tuple[str, ...] | None = None
    folders: tuple[Path, ...] | None = None
    limit: int | None = None
    seconds: float | None = None
    storage: str | None = None
    workers: int | None = None
    against: str | None = None
    bench: str = KERNEL_BENCH

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit {self.limit}: give a whole number above 0, or leave it out")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise InputError(f"seconds {self.seconds}: give a number above 0, or leave it out")
        if self.storage is not None and not self.storage.strip():
            raise InputError("the storage is empty: give a path, or leave it out")
        if self.against is not None and not self.against.strip():
            raise InputError("--against is empty: give a device's folder name, or leave it out")
        if self.against is not None and self.storage is not None:
            raise InputError("--against races no recorded runners-up: leave --storage out")


@dataclass(frozen=True)
class Outcome:
    """What a run gave; `commands` tune again what does not stand."""

    device: str
    slug: str
    results: tuple[Retested, ...]
    commands: tuple[str, ...]
    interrupted: bool
    seconds: float

    @property
    def stands(self) -> bool:
        """Whether winners were raced and every one of them stands."""
        raced = [result for result in self.results if result.outcome != "skipped"]
        return bool(raced) and not any(result.is_lost for result in raced)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for ``--json``."""
        return {**asdict(self), "stands": self.stands, "seconds": round(self.seconds, 2)}


class View(Protocol):
    """Shows a run; see `ui`."""

    def raced(self, result: Retested, number: int, total: int) -> None: ...

    def tick(self) -> None: ...


def run(request: Request, view: View) -> Outcome:
    """Race the stored winners of a device again. Ctrl-C ends it early, with what is done so far.

    Raises InputError where no winner is stored or the storage cannot be opened, and ConfigError for
    a config file that is not valid or a cache folder that cannot be written, before anything is
    launched.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    start = time.monotonic()
    deadline = start + (math.inf if request.seconds is None else request.seconds)
    hardware = detect(request.device)
    if request.against == hardware.slug:
        raise InputError(f"--against {request.against} is this device: name another one's folder")
    store = ConfigStore(request.folders)
    winners = store.winners(hardware.slug, request.kernels)
    storage = _storage(request, hardware)
    elsewhere: dict[Hashable, Entry] = {}
    if request.against is not None:
        found = store.winners(request.against, request.kernels)
        elsewhere = {winner.entry.key(): winner.entry for winner in found}
        winners = [winner for winner in winners if winner.entry.key() in elsewhere]
        if not winners:
            raise InputError(
                f"--against {request.against}: it has no winner of a shape class and kind of "
                f"selection that {hardware.slug} has one of"
            )
    winners = _in_turn(winners)[: request.limit]

    def rivals(plan: Plan, winner: Schedule, entry: Entry) -> dict[Schedule, str]:
        if request.against is None:
            return rivals_of(plan, winner, entry, storage)
        return rival_from(plan, winner, elsewhere[entry.key()], request.against)

    require_caches()
    limits = replace(effort(EFFORT), finalists=FINALISTS)
    backend = resolve_backend("auto", torch.device(request.device))
    results: list[Retested] = []
    interrupted = False
    log = studies_folder() / f"{hardware.slug}-worker.log"
    with (
        Worker(request.bench, log, limits.setup_timeout, view.tick) as worker,
        CompilePool(request.workers, view.tick) as pool,
    ):
        compiler = pool if request.bench == KERNEL_BENCH else None
        try:
            for number, winner in enumerate(winners):
                result, now = _about(winner), time.monotonic()
                share = now + (deadline - now) / (len(winners) - number)
                if now >= deadline:
                    result = result.ended("skipped", f"the {request.seconds:g} s are used up")
                else:
                    match = _match(result, winner.entry, request.device, backend, hardware, rivals)
                    if isinstance(match, Match):
                        result = rematch(match, worker, limits, share, compiler)
                    else:
                        result = match
                results.append(result)
                view.raced(result, number, len(winners))
        except KeyboardInterrupt:
            interrupted = True
    lost = [winner for winner, found in zip(winners, results, strict=False) if found.is_lost]
    return Outcome(
        request.device,
        hardware.slug,
        tuple(results),
        tuple(commands(lost, request.device)),
        interrupted,
        time.monotonic() - start,
    )


def _in_turn(winners: Iterable[Winner]) -> list[Winner]:
    """Kernels take turns, so that a limit leaves none of them out."""
    by_kernel: dict[str, list[Winner]] = defaultdict(list)
    for winner in winners:
        by_kernel[winner.entry.shape.kernel].append(winner)
    turns = itertools.zip_longest(*by_kernel.values())
    return [winner for turn in turns for winner in turn if winner is not None]


def _storage(request: Request, hardware: Hardware) -> BaseStorage | None:
    """The recorded studies; None where nothing was recorded here."""
    spec = request.storage or str(default_journal(hardware.slug))
    path = Path(spec.removeprefix("journal://")).expanduser()
    if "://" not in spec.removeprefix("journal://") and not path.exists():
        if request.storage:
            raise InputError(f"--storage {spec!r}: no such journal; leave it out to do without")
        return None
    return open_storage(spec)


def _about(winner: Winner) -> Retested:
    """What is known of a winner before it is raced."""
    entry = winner.entry
    then = entry.provenance
    now = versions(tvm_threads() if entry.shape.backend == "tvm" else None)
    return Retested(
        kernel=entry.shape.kernel,
        shape=str(entry.shape),
        locality=entry.locality.kind,
        file=str(winner.path),
        schedule=str(entry.as_schedule()),
        recorded_ms=entry.time.median_ms,
        changed={
            name: (getattr(then, name), getattr(now, name))
            for name in SOFTWARE
            if getattr(then, name) != getattr(now, name)
        },
    )


def _match(
    about: Retested,
    entry: Entry,
    device: str,
    backend: str,
    hardware: Hardware,
    rivals: Callable[[Plan, Schedule, Entry], dict[Schedule, str]],
) -> Match | Retested:
    """What is raced for an entry, or the outcome where nothing can be."""
    if entry.shape.backend != backend:
        message = f"tuned for back end {entry.shape.backend}; the tuner runs {backend} here"
        return about.ended("skipped", message)
    try:
        task = task_of(entry, device)
        plan = Plan.of(task, backend, hardware)
        winner = space.adapted(task.problem, entry.as_schedule())
        space.check(task.problem, winner, backend, hardware)
    except InputError as error:
        return about.ended("skipped", str(error))
    except IllegalSchedule as error:
        return about.ended("fails", str(error))
    return Match(about, plan, winner, rivals(plan, winner, entry))


def commands(lost: Iterable[Winner], device: str) -> list[str]:
    """The `autotune` commands that tune these entries again, each shape with its kernels alone.

    What comes of them is written where it replaces the entry, or is read before it.
    """
    kernels: dict[tuple[Path, str, int, str], list[str]] = defaultdict(list)
    for winner in lost:
        task = task_of(winner.entry, device)
        key = (winner.path.parent.parent, task.locality, task.seed, spelled(task.shape))
        kernels[key].append(task.kernel)
    shapes: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for (folder, locality, seed, shape), names in kernels.items():
        shapes[(folder, locality, seed, ",".join(names))].append(shape)
    written = []
    for (folder, locality, seed, names), spelling in shapes.items():
        words = ["hsa-compiler", "autotune", "--device", device, "--kernels", names]
        words += [word for shape in spelling for word in ("--shapes", shape)]
        words += ["--locality", locality, "--effort", EFFORT]
        words += ["--seed", str(seed)] if seed else []
        if folder not in (packaged_folder(), default_folder()):
            words += ["--out", str(folder)]
        written.append(shlex.join(words))
    return written
