"""The worker process: planted hangs, crashes, wrong results and lost CUDA contexts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hsa_compiler.threads import tvm_threads, usable_cpus
from hsa_compiler.tuner.bench import failure_kind
from hsa_compiler.tuner.worker import CandidateFailed, Worker
from tests.tuner.fakes import PLANNED

BENCH = "tests.tuner.fakes:FakeBench"
PLANT = {
    "1": "hang",
    "2": "exit",
    "4": "wrong",
    "16": "raise",
    "32": "illegal",
    "64": "cuda",
}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(BENCH, tmp_path_factory.mktemp("worker") / "log") as worker:
        yield worker


def fail(worker: Worker, pairs: int, run_timeout: float = 30.0) -> CandidateFailed:
    with pytest.raises(CandidateFailed) as caught:
        worker.evaluate(PLANNED.replace(pairs=pairs), None, 30.0, run_timeout)
    return caught.value


def works(worker: Worker) -> bool:
    timing, error = worker.evaluate(PLANNED, None, 30.0, 30.0)
    return timing.median_ms > 0 and error == 1e-7


def test_failures_that_leave_the_worker_alive(worker: Worker) -> None:
    info = worker.setup({"plant": PLANT}, 60.0)
    assert info["pid"] != os.getpid()
    assert info["threads"] == str(tvm_threads())
    starts = worker.starts
    assert fail(worker, 4).kind == "wrong_result"
    bug = fail(worker, 16)
    assert bug.kind == "run_error"
    assert str(bug).startswith("ZeroDivisionError: a bug in a kernel\nTraceback ")
    assert fail(worker, 32).kind == "illegal_shared_memory"
    assert works(worker)
    assert worker.starts == starts


def test_a_hang_costs_its_time_out_and_a_new_process(worker: Worker) -> None:
    old = worker.setup({"plant": PLANT}, 60.0)["pid"]
    start = time.monotonic()
    hang = fail(worker, 1, run_timeout=0.5)
    assert hang.kind == "timeout_run"
    assert time.monotonic() - start < 5
    assert not psutil.pid_exists(old)
    assert works(worker)


def test_an_answer_counts_however_late_the_parent_reads_it(tmp_path: Path) -> None:
    pauses = iter([0.0, 2.0])  # the second one as if by Ctrl-Z, past the time-out
    with Worker(BENCH, tmp_path / "log") as worker:
        worker.setup({"sleep": 0.6}, 60.0)
        worker._tick = lambda: time.sleep(next(pauses, 0.0))
        timing, _ = worker.evaluate(PLANNED, None, 30.0, 1.5)
        assert timing.median_ms > 0
        assert worker.starts == 1


@pytest.mark.parametrize("told", ["", "0", "-1", "1.5", "abc", "²"])
def test_threads_that_are_no_number_mean_all(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("TVM_NUM_THREADS", told)
    assert tvm_threads() == usable_cpus()
    monkeypatch.setenv("TVM_NUM_THREADS", "7")
    assert tvm_threads() == 7


def test_a_crash_is_reported_with_its_last_words(worker: Worker) -> None:
    worker.setup({"plant": PLANT}, 60.0)
    starts = worker.starts
    crash = fail(worker, 2)
    assert crash.kind == "crash"
    assert "exit code 3" in str(crash)
    assert "about to go" in str(crash)
    assert works(worker)
    assert worker.starts == starts + 1


def test_a_cuda_error_replaces_the_process(worker: Worker) -> None:
    worker.setup({"plant": PLANT}, 60.0)
    starts = worker.starts
    assert fail(worker, 64).kind == "cuda_error"
    assert works(worker)
    assert worker.starts == starts + 1


def test_a_worker_killed_while_idle_comes_back(worker: Worker) -> None:
    pid = worker.setup({}, 60.0)["pid"]
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    assert works(worker)


def test_inputs_that_cannot_be_made(worker: Worker) -> None:
    with pytest.raises(CandidateFailed, match="these inputs cannot be made") as caught:
        worker.setup({"broken": True}, 60.0)
    assert caught.value.kind.startswith("setup_")


def test_the_worker_dies_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from hsa_compiler.tuner.worker import Worker\n"
        "from tests.tuner.fakes import PLANNED\n"
        f"worker = Worker({BENCH!r}, Path(sys.argv[1]))\n"
        "print(worker.setup({'plant': {'1': 'hang'}}, 60.0)['pid'], flush=True)\n"
        "worker.evaluate(PLANNED.replace(pairs=1), None, 600.0, 600.0)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.1)


def test_failure_kinds() -> None:
    assert failure_kind(MemoryError("host"), "run") == ("out_of_memory", False)
    assert failure_kind(RuntimeError("CUDA out of memory"), "run") == ("out_of_memory", False)
    assert failure_kind(RuntimeError("CUDA error: misaligned address"), "run")[1]
    assert failure_kind(KeyError("x"), "compile") == ("compile_error", False)
