"""Whole runs with a fake bench: budgets, verdicts, export, kill -9, Ctrl-C and --resume."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hsa_compiler.configs import ConfigStore, load_config
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.schedules.cost_model import Roofline
from hsa_compiler.schedules.hardware import host_cpu
from hsa_compiler.schedules.problem import Target
from hsa_compiler.tuner import session, setting, tune
from hsa_compiler.tuner.effort import EFFORTS, Effort
from hsa_compiler.tuner.results import KernelResult
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.tune import Plan
from hsa_compiler.tuner.worker import Worker
from hsa_compiler.tuner.workload import Task
from tests.tuner.fakes import SHAPE, InProcessWorker, SilentView, request


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(setting, "Worker", InProcessWorker)


def plan() -> Plan:
    return Plan.of(Task("attend", SHAPE, "cpu"), "tvm", host_cpu())


def deeds(monkeypatch: pytest.MonkeyPatch, **task: Any) -> None:
    monkeypatch.setenv("FAKE_BENCH", json.dumps(task))


def tuned(folder: Path, **changes: Any) -> KernelResult:
    outcome = session.run(request(folder, **changes), SilentView())
    assert len(outcome.results) == 1
    return outcome.results[0]


def other() -> str:
    """A schedule that is neither of the defaults."""
    return next(str(s) for s in reversed(plan().order) if s not in (plan().generic, plan().planned))


def test_the_winner_is_exported_and_looked_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds(monkeypatch, times={other(): 0.5, str(plan().planned): 0.8})
    result = tuned(tmp_path)
    assert (result.outcome, result.shipped, result.schedule) == ("tuned", "tuned", other())
    assert result.gain == pytest.approx(2.0)
    assert result.gain_over_planned == pytest.approx(1.6)
    assert result.trials == len(plan().order)

    config = load_config(Path(result.file))
    assert Path(result.file) == tmp_path / "out" / host_cpu().slug / "attend.json"
    (entry,) = config.entries
    assert entry.time.median_ms == pytest.approx(0.5, rel=0.01)
    assert entry.default.time.median_ms == pytest.approx(1.0, rel=0.01)
    assert entry.planned is not None
    assert entry.planned.time.median_ms == pytest.approx(0.8, rel=0.01)
    assert entry.gain_over_default.low > 1
    assert entry.roofline is not None
    assert entry.error == 1e-7
    assert (entry.locality.kind, entry.locality.union) == ("local", 1.3)
    assert entry.provenance.threads is not None

    task = plan().task
    store = ConfigStore([tmp_path / "out"])
    choice = store.choose(task.problem, task.sizes, Target("tvm", "x"), host_cpu())
    assert choice.tier == "exact"
    assert str(choice.schedule) == other()


@pytest.mark.parametrize(
    ("planned_ms", "generic_ms", "other_ms", "ships"),
    [(0.5, 1.0, 0.6, "planned"), (1.0, 0.5, 0.6, "generic"), (1.0, 1.0, 1.0, "planned")],
)
def test_a_default_stands_until_it_is_beaten(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    planned_ms: float,
    generic_ms: float,
    other_ms: float,
    ships: str,
) -> None:
    times = {str(plan().planned): planned_ms, str(plan().generic): generic_ms, other(): other_ms}
    deeds(monkeypatch, times=times)
    result = tuned(tmp_path)
    assert (result.outcome, result.shipped) == ("default", ships)
    assert result.is_written


def test_a_fast_wrong_kernel_never_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deeds(monkeypatch, plant={other(): "wrong"}, times={other(): 0.01})
    result = tuned(tmp_path)
    assert (result.outcome, result.shipped) == ("default", "planned")
    assert result.failures == {"wrong_result": 1}
    assert result.trials == len(plan().order)


def test_without_the_default_nothing_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deeds(monkeypatch, plant={str(plan().generic.pairs): "wrong"})
    result = tuned(tmp_path)
    assert result.outcome == "failed"
    assert "cannot be timed: wrong_result: out is off by 0.5" in result.message
    assert result.failures == {"wrong_result": 1}
    assert not list(tmp_path.glob("out/*/*.json"))


def test_inputs_that_cannot_be_made_and_a_race_that_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds(monkeypatch, broken=True)
    result = tuned(tmp_path)
    assert result.outcome == "failed"
    assert "these inputs cannot be made" in result.message
    deeds(monkeypatch, race="exit")
    monkeypatch.setattr(setting, "Worker", Worker)
    result = tuned(tmp_path)
    assert result.outcome == "failed"
    assert "exit code 4" in result.message


def budget(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    fields = {name: getattr(EFFORTS["standard"], name) for name in Effort.__dataclass_fields__}
    monkeypatch.setitem(EFFORTS, "standard", Effort(**(fields | changes)))


def test_a_run_keeps_to_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deeds(monkeypatch, sleep=0.1)
    budget(monkeypatch, seconds=4.0)
    start = time.monotonic()
    kernels = ("attend", "attend_grad_q", "retrieve")
    outcome = session.run(request(tmp_path, kernels=kernels), SilentView())
    assert time.monotonic() - start < 8
    assert {result.kernel for result in outcome.results} == set(kernels)
    assert all(result.is_written for result in outcome.results)

    budget(monkeypatch, trials=7)
    assert tuned(tmp_path).trials == 7


@pytest.mark.parametrize(("floor_ms", "stops"), [(0.49, True), (0.3, False), (0.8, False)])
def test_a_search_ends_close_to_the_roofline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, floor_ms: float, stops: bool
) -> None:
    best = plan().starts[-1]
    deeds(monkeypatch, times={str(best): 0.5})
    monkeypatch.setattr(tune, "roofline", lambda *_: Roofline(floor_ms / 1e3, "compute", 1.0, 1.0))
    result = tuned(tmp_path)
    assert result.schedule == str(best)
    assert result.trials == (len(plan().starts) if stops else len(plan().order))


def test_slow_kernels_race_fewer_finalists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    races: list[int] = []
    run_race = InProcessWorker.race

    def race(worker: InProcessWorker, names: Any, *more: Any) -> Any:
        races.append(len(names))
        return run_race(worker, names, *more)

    monkeypatch.setattr(InProcessWorker, "race", race)
    tuned(tmp_path)
    assert len(races) == 2
    assert races[0] > 3 >= races[1]

    races.clear()
    hour = 3.6e6
    deeds(monkeypatch, times={str(s): hour for s in plan().order} | {other(): hour / 2})
    result = tuned(tmp_path)
    assert (result.outcome, result.schedule) == ("tuned", other())
    assert races == [3], "both defaults and the best: one race, and its least rounds"


def test_kernels_without_time_are_skipped_but_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget(monkeypatch, seconds=0.0)
    result = tuned(tmp_path)
    assert result.outcome == "skipped"
    assert "--resume" in result.message


def wait_for_lines(path: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or len(path.read_text().splitlines()) < count:
        assert time.monotonic() < deadline, "the run did not get far enough"
        time.sleep(0.02)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: signal.Signals
) -> None:
    log = tmp_path / "evaluations"
    deeds(monkeypatch, sleep=0.1, log=str(log), times={other(): 0.5})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tuner.fakes", str(tmp_path)], env=dict(os.environ)
    )
    wait_for_lines(log, 8)
    process.send_signal(stop)
    process.wait(timeout=20)
    before = len(log.read_text().splitlines())

    deeds(monkeypatch, log=str(log), times={other(): 0.5})
    view = SilentView()
    outcome = session.run(request(tmp_path, resume=True), view)
    (result,) = outcome.results
    assert result.outcome == "tuned"
    assert result.trials == len(plan().order)
    assert any("continuing after" in note for note in view.notes)
    counts = Counter(log.read_text().splitlines())
    assert len(counts) == result.trials
    assert sum(counts.values()) <= result.trials + 1, "only the trial in flight may run twice"
    assert sum(counts.values()) > before

    again = SilentView()
    (kept,) = session.run(request(tmp_path, resume=True), again).results
    assert (kept.schedule, kept.trials) == (result.schedule, result.trials)
    assert any("kept" in note for note in again.notes)
    assert len(log.read_text().splitlines()) == sum(counts.values())

    anew = SilentView()
    session.run(request(tmp_path), anew)
    assert any("tuning anew" in note for note in anew.notes)


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--out .*cannot be written"):
        session.run(request(tmp_path, out=tmp_path / "file" / "out"), SilentView())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / host_cpu().slug).write_text("")
    with pytest.raises(ConfigError, match=r"--out .*cannot be written"):
        session.run(request(tmp_path), SilentView())
    (tmp_path / "cache").write_text("")
    with pytest.raises(ConfigError, match=r"the cache folder .*; set XDG_CACHE_HOME"):
        session.run(request(tmp_path, out=tmp_path / "other"), SilentView())
    assert not (tmp_path / "journal").exists()


def test_a_disk_that_is_full_later_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Search, "succeed", full)
    with pytest.raises(ConfigError, match=r"No space left on device.*--resume continues"):
        session.run(request(tmp_path), SilentView())


def test_bad_requests_say_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown kernels attention: choose from retrieve"):
        request(tmp_path, kernels=("attention",))
    with pytest.raises(InputError, match="unknown effort 'huge': choose from quick"):
        request(tmp_path, effort="huge")
    for seed in (-1, 2**31):
        with pytest.raises(InputError, match=f"seed {seed}: give a whole number from 0 to"):
            request(tmp_path, seed=seed)
    with pytest.raises(InputError, match="unknown locality 'x'"):
        request(tmp_path, locality="x")
    joint = SHAPE.resized(normalize="joint")
    with pytest.raises(InputError, match="none of the kernels weigh is part"):
        request(tmp_path, kernels=("weigh",), shapes=(joint,)).tasks()
