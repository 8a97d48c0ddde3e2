"""The parent's side of the worker process: time-outs, restarts and the cause of each failure.

One long-lived process in its own process group does everything that can hang or crash: compiling,
checking, timing. Requests and their replies:

    setup(task)                      -> whatever `Bench.setup` returns
    evaluate(schedule, best_ms)      -> (Timing, error)
    race(schedules, rounds, ...)     -> paired times by name

While it works, the worker names the stage it enters; a stage that outlasts its time-out costs the
worker its life, and the candidate is reported as failed with the stage's name.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hsa_compiler.errors import HSAError
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.threads import settled_openmp, tvm_threads
from hsa_compiler.tuner.measure import Timing

#: How often a waiting parent wakes to refresh its display, in seconds.
TICK = 0.2
#: Lines of a dead worker's output that go into the recorded cause.
TAIL_LINES = 15


class CandidateFailed(HSAError):
    """A candidate did not make it; `kind` is what the tuner counts it by."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def worker_environment() -> dict[str, str]:
    """The worker's environment. Thread counts must stand before TVM and torch are imported."""
    given = {
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "PYTHONUNBUFFERED": "1",
        "TVM_NUM_THREADS": str(tvm_threads()),
    }
    return settled_openmp(os.environ) | given


class Worker:
    """A worker process that is started on first use and again after it died or was killed.

    Args:
        bench: ``module:name`` of the `Bench` to run in it.
        log: file that takes its output; the tail becomes the cause of a crash.
        start_timeout: seconds for the process to come up.
        tick: called while waiting, for a live display.
    """

    def __init__(
        self,
        bench: str,
        log: Path,
        start_timeout: float = 60.0,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._bench = bench
        self._log = log
        self._start_timeout = start_timeout
        self._tick = tick
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._task: tuple[Any, float] | None = None
        self._log_start = 0
        self.starts = 0

    def setup(self, task: Any, timeout: float) -> Any:
        """Prepare for one kernel; remembered, and repeated in a restarted process.

        Raises CandidateFailed (kind ``"setup"`` prefixed) when it cannot be done.
        """
        self._task = (task, timeout)
        if self._process is None:
            self._start()
        return self._setup()

    def evaluate(
        self,
        schedule: Schedule,
        best_ms: float | None,
        compile_timeout: float,
        run_timeout: float,
    ) -> tuple[Timing, float]:
        """Compile, check and time a candidate. Raises CandidateFailed."""
        limits = {"compile": compile_timeout, "run": run_timeout}
        reply: tuple[Timing, float] = self._request("evaluate", (schedule, best_ms), limits)
        return reply

    def race(
        self,
        schedules: Mapping[str, Schedule],
        rounds: int,
        seconds: float,
        seed: int,
        timeout: float,
        other_l2: bool,
    ) -> dict[str, list[float]]:
        """Race candidates that passed `evaluate`. Raises CandidateFailed."""
        arguments = (dict(schedules), rounds, seconds, seed, other_l2)
        reply: dict[str, list[float]] = self._request("race", arguments, {"compile": timeout})
        return reply

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "hsa_compiler.tuner.worker_main",
                    str(theirs.fileno()),
                    self._bench,
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=worker_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()
        self._connection = ours
        self.starts += 1
        self._wait("start", {"start": self._start_timeout})

    def _setup(self) -> Any:
        assert self._task is not None
        assert self._connection is not None
        task, timeout = self._task
        try:
            self._connection.send(("setup", (task,)))
            return self._wait("setup", {"setup": timeout})
        except CandidateFailed as error:
            raise CandidateFailed(f"setup_{error.kind}", str(error)) from error

    def _request(self, name: str, arguments: tuple[Any, ...], limits: dict[str, float]) -> Any:
        if self._process is None:
            self._start()
            self._setup()
        assert self._connection is not None
        try:
            self._connection.send((name, arguments))
        except OSError:
            # It died idle, between two requests: nobody's fault, so start again and ask anew.
            self.close()
            self._start()
            self._setup()
            self._connection.send((name, arguments))
        return self._wait("compile", limits)

    def _wait(self, stage: str, limits: dict[str, float]) -> Any:
        """The reply of a request; kills the process when a stage takes too long."""
        connection = self._connection
        assert connection is not None
        deadline = time.monotonic() + limits[stage]
        while True:
            left = deadline - time.monotonic()
            try:
                # An answer that is there counts, however late a stopped parent (Ctrl-Z) reads it.
                answered = connection.poll(max(0.0, min(TICK, left)))
                answer: tuple[str, Any] = connection.recv() if answered else ("", None)
            except (EOFError, OSError):
                raise CandidateFailed("crash", self._obituary(stage)) from None
            if not answered:
                if left <= 0:
                    self.close()
                    text = f"no answer within {limits[stage]:.1f} s"
                    raise CandidateFailed(f"timeout_{stage}", text)
                self._tick()
                continue
            kind, reply = answer
            if kind == "stage":
                stage = reply
                deadline = time.monotonic() + limits.get(stage, limits["compile"])
            elif kind == "failed":
                failure, message, fatal = reply
                if fatal:
                    self.close()
                raise CandidateFailed(failure, message)
            else:
                return reply

    def _obituary(self, stage: str) -> str:
        """How the process ended, with the last lines that it wrote."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        code = self._process.returncode
        self.close()
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            tail = log.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([f"the worker ended in stage {stage!r} with {how}", *tail])
