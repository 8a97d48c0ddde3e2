"""Compiling in parallel processes: what is left behind, and how each failure is reported."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hsa_compiler.cache import KernelCache, set_default_cache
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tuner.compile_pool import CompilePool, Job
from hsa_compiler.tuner.worker import CandidateFailed
from tests.problems import make


def job(schedule: Schedule, target: Target) -> Job:
    problem, _ = make("invert_index")
    return Job(problem, schedule, target)


def deed(what: str) -> str:
    """What a compiling process may do; runs in the pool."""
    if what == "hang":
        time.sleep(600)
    if what == "die":
        os._exit(3)
    if what == "refuse":
        raise IllegalSchedule("shared_memory", "needs 1 MiB")
    if what == "break":
        raise ZeroDivisionError("a bug")
    return what


def test_every_failure_has_its_cause_and_the_others_go_on() -> None:
    with CompilePool(2) as pool:
        pool.run(deed, ["start", "up"])
        given = ["fine", "hang", "die", "refuse", "break", "too"]
        outcomes = pool.run(deed, given, timeout=10)
        # The processes live on.
        assert pool.run(deed, ["again"]) == {"again": "again"}
    assert (outcomes["fine"], outcomes["too"]) == ("fine", "too")
    kinds = {
        what: found.kind for what, found in outcomes.items() if isinstance(found, CandidateFailed)
    }
    assert kinds == {
        "hang": "timeout_compile",
        "die": "crash",
        "refuse": "illegal_shared_memory",
        "break": "compile_error",
    }
    assert "10 s" in str(outcomes["hang"])


def test_kernels_are_compiled_where_a_launch_looks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    schedule = Schedule(index_blocks=32)
    jobs = [job(schedule, Target("triton", "sm_90")), job(schedule, Target("triton", "sm_90"))]
    wrong = job(schedule, Target("nowhere", "sm_90"))
    with CompilePool(2) as pool:
        failed = pool.build([*jobs, wrong])
    assert set(failed) == {wrong}
    assert "no back end 'nowhere'" in str(failed[wrong])
    assert len(list(tmp_path.rglob("invert_index_*.py"))) == 1
    assert len(list((tmp_path / "triton").rglob("*.cubin"))) == 4  # its launches


def test_a_compiled_library_is_found_by_the_process_that_launches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsa_compiler.codegen.tvm import host_target

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wanted = job(Schedule(index_blocks=8), host_target())
    with CompilePool(1) as pool:
        assert not pool.build([wanted])
    (library,) = tmp_path.rglob("*.so")
    before = library.stat().st_ino
    set_default_cache(KernelCache())
    from hsa_compiler.compiler import compile_kernel

    kernel = compile_kernel(Problem(wanted.problem.group, wanted.problem.dims), *_rest(wanted))
    assert kernel.source_paths[0].parent == library.parent
    assert library.stat().st_ino == before


def _rest(wanted: Job) -> tuple[Schedule, Target]:
    return wanted.schedule, wanted.target
