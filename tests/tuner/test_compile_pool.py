"""Compiling in parallel processes: what is left behind, and how each failure is reported."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
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


def call_a_compiler_that_hangs(told: Path) -> None:
    """Runs in the pool."""
    with subprocess.Popen(["sleep", "600"]) as compiler:
        told.write_text(str(compiler.pid))


def pid(_: str) -> int:
    """Runs in the pool."""
    return os.getpid()


def wait_for_end(process: int) -> None:
    """Until a process is gone, within seconds; of one that is not ours a zombie may be left."""
    deadline = time.monotonic() + 10
    with contextlib.suppress(FileNotFoundError):
        while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline, "still running"
            time.sleep(0.02)


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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_killed_process_called_ends_with_it(tmp_path: Path) -> None:
    with CompilePool(1) as pool:
        hung = pool.run(call_a_compiler_that_hangs, [tmp_path / "a"], timeout=1)[tmp_path / "a"]
        assert isinstance(hung, CandidateFailed)
        wait_for_end(int((tmp_path / "a").read_text()))
        pool.begin(call_a_compiler_that_hangs, tmp_path / "b", timeout=60)
        while not (tmp_path / "b").exists() or not (tmp_path / "b").read_text():
            time.sleep(0.02)
    wait_for_end(int((tmp_path / "b").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_being_compiled_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from hsa_compiler.tuner.compile_pool import CompilePool\n"
        "from tests.tuner.test_compile_pool import call_a_compiler_that_hangs\n"
        "if __name__ == '__main__':\n"
        "    with CompilePool(1) as pool:\n"
        f"        pool.run(call_a_compiler_that_hangs, [Path({str(tmp_path / 'a')!r})])\n"
    )
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *sys.path])}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as asks:
        while not (tmp_path / "a").exists() or not (tmp_path / "a").read_text():
            assert asks.poll() is None
            time.sleep(0.02)
        asks.kill()
    wait_for_end(int((tmp_path / "a").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_is_killed_with_nothing_to_do_is_replaced() -> None:
    with CompilePool(1) as pool:
        first = pool.run(pid, [""])[""]
        assert isinstance(first, int)
        os.kill(first, signal.SIGKILL)
        assert pool._pool is not None
        while pool._pool.active:  # until it has seen it
            time.sleep(0.02)
        second = pool.run(pid, [""])[""]
    assert isinstance(second, int)
    assert second != first


def test_a_script_without_a_file_is_told_so() -> None:
    script = (
        "import math\n"
        "from hsa_compiler.tuner.compile_pool import CompilePool\n"
        "with CompilePool(1) as pool:\n"
        "    pool.run(math.sqrt, [4.0])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-"], input=script, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "must be a file, not standard input" in ended.stderr.splitlines()[-1]


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
