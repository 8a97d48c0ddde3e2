"""Synthetic search spaces and workers' benches: the tuner's machinery without any compiler."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hsa_compiler.errors import HSAError
from hsa_compiler.schedules.hardware import host_cpu
from hsa_compiler.schedules.kernel_knobs import Knob
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tuner.bench import failure_kind
from hsa_compiler.tuner.correctness import WrongResult
from hsa_compiler.tuner.kernel_bench import BenchInfo, BenchTask
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.results import KernelResult
from hsa_compiler.tuner.search_space import SearchSpace
from hsa_compiler.tuner.session import Request, run
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.worker import CandidateFailed

AXES = (
    Knob("tokens", (1, 2, 4, 8, 16, 32), True, ""),
    Knob("pairs", (1, 2, 4, 8, 16, 32, 64), True, ""),
    Knob("warps", (1, 2, 4, 8), True, ""),
    Knob("stages", (1, 2, 3, 4), True, ""),
    Knob("lanes", ("rows", "cols"), False, ""),
)
GENERIC = Schedule(tokens=1, pairs=1, warps=1, stages=1)
PLANNED = Schedule(tokens=8, pairs=8, warps=1, stages=1)
BEST = Schedule(tokens=16, pairs=16, warps=4, stages=3, lanes="cols")


def is_legal(schedule: Schedule) -> bool:
    """A synthetic resource limit that refuses about a fifth of the grid."""
    return schedule.tokens * schedule.warps <= 64


def listed(axes: tuple[Knob, ...]) -> tuple[Schedule, ...]:
    """Every legal point of a grid."""
    names = [axis.name for axis in axes]
    grid = itertools.product(*(axis.choices for axis in axes))
    points = (GENERIC.replace(**dict(zip(names, values, strict=True))) for values in grid)
    return tuple(point for point in points if is_legal(point))


def moves(schedule: Schedule) -> tuple[Schedule, ...]:
    """One step along each axis."""
    found = []
    for axis in AXES:
        at = axis.choices.index(getattr(schedule, axis.name))
        steps = (at - 1, at + 1) if axis.ordinal else range(len(axis.choices))
        found += [
            schedule.replace(**{axis.name: axis.choices[step]})
            for step in steps
            if 0 <= step < len(axis.choices) and step != at
        ]
    return tuple(found)


def small_space(axes: tuple[Knob, ...] = AXES[:2]) -> SearchSpace:
    """A few dozen points."""
    return SearchSpace(axes, GENERIC, lambda: listed(axes), is_legal, moves)


def large_space() -> SearchSpace:
    """1344 points, more than are enumerated."""
    return small_space(AXES)


def model_ms(schedule: Schedule) -> float:
    """A smooth synthetic time with its minimum at `BEST`."""
    time_ms = 1.0
    for axis in AXES:
        at = axis.choices.index(getattr(schedule, axis.name))
        best = axis.choices.index(getattr(BEST, axis.name))
        time_ms *= 1 + 0.15 * abs(at - best) ** 1.5
    return time_ms


class FakeBench:
    """Times by `model_ms`, and misbehaves as the task tells.

    Task: {"plant": {value of `pairs` or a schedule's text: "hang", "exit", "wrong", "raise",
    "illegal" or "cuda"}, "sleep": seconds per candidate, "log": file that takes a line each}.
    """

    def setup(self, task: dict[str, Any]) -> dict[str, Any]:
        if task.get("broken"):
            raise HSAError("these inputs cannot be made")
        self.task = task
        return {"pid": os.getpid(), "threads": os.environ.get("TVM_NUM_THREADS")}

    def evaluate(
        self, schedule: Schedule, best_ms: float | None, stage: Callable[[str], None]
    ) -> tuple[Timing, float]:
        if "log" in self.task:
            with Path(self.task["log"]).open("a") as log:
                log.write(json.dumps(schedule.to_json()) + "\n")
        plant = self.task.get("plant", {})
        deed = plant.get(str(schedule.pairs)) or plant.get(str(schedule))
        if deed == "hang_compile":
            time.sleep(3600)
        if deed == "illegal":
            raise IllegalSchedule("shared_memory", "needs 1 MiB")
        stage("run")
        time.sleep(self.task.get("sleep", 0))
        if deed == "hang":
            time.sleep(3600)
        if deed == "exit":
            print("about to go")
            os._exit(3)
        if deed == "wrong":
            raise WrongResult("out is off by 0.5")
        if deed == "raise":
            raise ZeroDivisionError("a bug in a kernel")
        if deed == "cuda":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return Timing(self.milliseconds(schedule), 0.01, 20), 1e-7

    def milliseconds(self, schedule: Schedule) -> float:
        return model_ms(schedule)

    def race(
        self,
        schedules: Mapping[str, Schedule],
        rounds: int,
        seconds: float,
        seed: int,
        other_l2: bool,
    ) -> dict[str, list[float]]:
        return {
            name: [self.milliseconds(schedule) * (1 + 0.001 * at) for at in range(rounds)]
            for name, schedule in schedules.items()
        }


class SessionBench(FakeBench):
    """A `FakeBench` for whole runs. Its deeds come from the variable FAKE_BENCH as JSON, with
    "times" on top: milliseconds by the schedule's text, 1.0 for any other. Those with L2 in its
    other state are "other_l2", without which that race fails."""

    def setup(self, bench_task: BenchTask) -> BenchInfo:
        super().setup(json.loads(os.environ.get("FAKE_BENCH", "{}")))
        return BenchInfo(union=1.3, hardware=host_cpu())

    def race(
        self,
        schedules: Mapping[str, Schedule],
        rounds: int,
        seconds: float,
        seed: int,
        other_l2: bool,
    ) -> dict[str, list[float]]:
        if self.task.get("race") == "exit":
            os._exit(4)
        if other_l2 and "other_l2" not in self.task:
            raise RuntimeError("CUDA error: out of luck")
        times = self.task["other_l2"] if other_l2 else self.task.get("times", {})
        jitter = [1 + 0.001 * ((at * 7) % 5) for at in range(rounds)]
        return {
            name: [float(times.get(str(schedule), 1.0)) * factor for factor in jitter]
            for name, schedule in schedules.items()
        }

    def milliseconds(self, schedule: Schedule) -> float:
        return float(self.task.get("times", {}).get(str(schedule), 1.0))


class InProcessWorker:
    """The interface of `worker.Worker` without a process, for tests of everything else."""

    def __init__(self, bench: str, *_: object) -> None:
        self._bench = SessionBench()

    def setup(self, task: Any, timeout: float) -> Any:
        return self._call(self._bench.setup, task)

    def evaluate(
        self, schedule: Schedule, best_ms: float | None, compile_timeout: float, run_timeout: float
    ) -> Any:
        return self._call(self._bench.evaluate, schedule, best_ms, lambda _: None)

    def race(
        self, schedules: Any, rounds: int, seconds: float, seed: int, timeout: float, other_l2: bool
    ) -> Any:
        return self._call(self._bench.race, schedules, rounds, seconds, seed, other_l2)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            raise CandidateFailed(failure_kind(error, "run")[0], str(error)) from error

    def __enter__(self) -> InProcessWorker:
        return self

    def __exit__(self, *_: object) -> None: ...


class SilentView:
    """Collects what a run shows."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.results: list[KernelResult] = []

    def begin(self, *_: object) -> None: ...

    def update(self, *_: object) -> None: ...

    def end(self, result: KernelResult) -> None:
        self.results.append(result)

    def raced(self, *_: object) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def tick(self) -> None: ...


#: Small enough that planning takes no time.
SHAPE = Shape("probe", L=64, Hq=4, H=2, D=16, S=16, K=4, dtype="fp32")


def request(folder: Path, **changes: Any) -> Request:
    """A run of one kernel with the fake bench, all files under `folder`."""
    given = {
        "device": "cpu",
        "shapes": (SHAPE,),
        "kernels": ("attend",),
        "effort": "standard",  # enough trials for every point
        "storage": str(folder / "journal"),
        "out": folder / "out",
        "bench": "tests.tuner.fakes:SessionBench",
    }
    return Request(**(given | changes))


if __name__ == "__main__":
    run(request(Path(sys.argv[1])), SilentView())
