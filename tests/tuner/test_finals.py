"""The race with a GPU's L2 cache in its other state: what it leaves and says, if there is one."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import optuna
import pytest
import torch
from rich.console import Console

from hsa_compiler.schedules.hardware import host_cpu, named
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner import kernel_bench
from hsa_compiler.tuner.effort import EFFORTS
from hsa_compiler.tuner.export import read_entry
from hsa_compiler.tuner.kernel_bench import BenchTask, KernelBench
from hsa_compiler.tuner.measure import Run
from hsa_compiler.tuner.results import KernelResult
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.session import Outcome
from hsa_compiler.tuner.tune import Plan, tune
from hsa_compiler.tuner.ui import print_outcome
from hsa_compiler.tuner.workload import Task
from tests.tuner.fakes import SHAPE, InProcessWorker, SilentView

QUICK = EFFORTS["quick"]


def gpu_plan(warm_l2: bool = False) -> Plan:
    task = Task("attend", SHAPE, "cuda", warm_l2=warm_l2)
    return Plan.of(task, "triton", named("nvidia_h100_80gb_hbm3"))


def winner(plan: Plan) -> Schedule:
    """What is tried after the defaults."""
    return next(schedule for schedule in plan.starts if schedule not in plan.defaults)


def tuned(plan: Plan) -> KernelResult:
    search = Search(plan.space, optuna.create_study(), starts=plan.starts, trials=6)
    deadline = time.monotonic() + 60
    worker = InProcessWorker("")
    return tune(plan, search, worker, QUICK, deadline, SilentView())  # type: ignore[arg-type]


@pytest.mark.parametrize(("warm_l2", "other"), [(False, "warm"), (True, "cold")])
def test_a_winner_that_loses_with_the_other_l2_is_noted(
    monkeypatch: pytest.MonkeyPatch, warm_l2: bool, other: str
) -> None:
    plan = gpu_plan(warm_l2)
    best, planned = str(winner(plan)), str(plan.planned)
    deeds = {"times": {best: 0.5}, "other_l2": {best: 0.4, planned: 0.2}}
    monkeypatch.setenv("FAKE_BENCH", json.dumps(deeds))
    result = tuned(plan)
    assert (result.shipped, result.schedule) == ("tuned", best)
    assert result.note == (
        f"with a {other} L2 cache the planned schedule is 2.00x as fast as what ships; "
        f"`--l2 {other}` tunes for that"
    )
    assert result.entry is not None
    found = read_entry(json.loads(json.dumps(result.entry))).other_l2
    assert found is not None
    assert found.warm is (other == "warm")
    assert found.planned is not None
    medians = [timing.median_ms for timing in (found.time, found.default, found.planned)]
    assert medians == pytest.approx([0.4, 1.0, 0.2], rel=0.01)

    text = StringIO()
    outcome = Outcome("cuda", "triton", "quick", Path(), "journal", (result,), False, 1.0)
    print_outcome(outcome, Console(file=text, width=200))
    assert text.getvalue().count(f"attend probe: {result.note}") == 1


@pytest.mark.parametrize("best_ms", [0.4, 1.0])
def test_an_order_that_is_not_shown_to_turn_is_not_noted(
    monkeypatch: pytest.MonkeyPatch, best_ms: float
) -> None:
    plan = gpu_plan()
    best = str(winner(plan))
    deeds = {"times": {best: 0.5}, "other_l2": {best: best_ms}}
    monkeypatch.setenv("FAKE_BENCH", json.dumps(deeds))
    result = tuned(plan)
    assert result.note == ""
    assert result.entry is not None
    assert result.entry["other_l2"]["warm"]


def test_a_default_that_stands_may_lose_too(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = gpu_plan()
    deeds = {"times": {str(plan.planned): 0.5}, "other_l2": {str(plan.generic): 0.25}}
    monkeypatch.setenv("FAKE_BENCH", json.dumps(deeds))
    result = tuned(plan)
    assert result.shipped == "planned"
    assert result.note.startswith("with a warm L2 cache the generic schedule is 4.00x as fast")
    assert result.entry is not None
    assert result.entry["other_l2"]["time"] == result.entry["other_l2"]["planned"]


def test_a_verdict_outlives_a_race_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = gpu_plan()
    monkeypatch.setenv("FAKE_BENCH", json.dumps({"times": {str(winner(plan)): 0.5}}))
    result = tuned(plan)
    assert (result.outcome, result.shipped) == ("tuned", "tuned")
    assert result.note.startswith("not timed with a warm L2 cache: cuda_error: CUDA error")
    assert result.entry is not None
    assert result.entry["other_l2"] is None


def test_a_cpu_has_one_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAKE_BENCH", raising=False)
    plan = Plan.of(Task("attend", SHAPE, "cpu"), "tvm", host_cpu())
    result = tuned(plan)
    assert result.note == ""
    assert result.entry is not None
    assert result.entry["other_l2"] is None


def test_results_of_earlier_versions_are_read() -> None:
    data = KernelResult("attend", "a8", "local", "tuned").to_json()
    del data["note"]
    assert KernelResult.from_json(data).note == ""


@pytest.mark.parametrize("warm_l2", [False, True])
def test_the_bench_turns_the_clock_for_the_other_state(
    monkeypatch: pytest.MonkeyPatch, warm_l2: bool
) -> None:
    class StatefulClock:
        def __init__(self, device: torch.device, warm: bool) -> None:
            self._ms = 1.0 if warm else 2.0

        def samples(self, runs: Sequence[Run]) -> list[float]:
            return [self._ms for _ in runs]

    monkeypatch.setattr(kernel_bench, "_clock", StatefulClock)
    monkeypatch.setattr(kernel_bench, "_measured_hardware", lambda device: host_cpu())
    monkeypatch.setattr(KernelBench, "_prepare", lambda self, schedule: (lambda: None, 0.0))
    bench = KernelBench()
    bench.setup(BenchTask(Task("retrieve", SHAPE, "cpu", warm_l2=warm_l2), QUICK))
    for other in (False, True):
        times = bench.race({"s": Schedule()}, 8, 0.0, 0, other)
        assert set(times["s"]) == {1.0 if warm_l2 is not other else 2.0}
