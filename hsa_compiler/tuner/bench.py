"""What runs inside the worker process, and how its failures are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hsa_compiler.errors import BackendError
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tuner.correctness import CorruptedMemory, WrongResult
from hsa_compiler.tuner.measure import Timing

#: Texts in an error that mean the CUDA context is lost: only a new process helps.
CUDA_FATAL = (
    "cuda error",
    "triton error [cuda]",
    "illegal memory access",
    "misaligned address",
    "unspecified launch failure",
    "device-side assert",
)

Stage = Callable[[str], None]


class Bench(Protocol):
    """What the worker runs. Stages (``"compile"``, ``"run"``) tell the parent which time-out
    applies; any exception is a failure of the candidate."""

    def setup(self, task: Any) -> Any:
        """Make inputs and references for one kernel; the reply goes back to the parent."""
        ...

    def evaluate(
        self, schedule: Schedule, best_ms: float | None, stage: Stage
    ) -> tuple[Timing, float]:
        """Compile, check and time; returns the timing and the error against the reference."""
        ...

    def race(
        self,
        schedules: Mapping[str, Schedule],
        rounds: int,
        seconds: float,
        seed: int,
        other_l2: bool,
    ) -> dict[str, list[float]]:
        """Paired times of candidates that passed `evaluate`, one per round; `other_l2` with the L2
        cache in the other state than the task's."""
        ...


def failure_kind(error: BaseException, stage: str) -> tuple[str, bool]:
    """What the tuner counts an exception as, and whether the process must be replaced."""
    text = f"{type(error).__name__}: {error}".lower()
    if isinstance(error, IllegalSchedule):
        return f"illegal_{error.kind}", False
    if isinstance(error, WrongResult):
        return "wrong_result", False
    if isinstance(error, CorruptedMemory):
        return "corrupted_memory", True
    if isinstance(error, MemoryError) or "outofmemory" in text or "out of memory" in text:
        return "out_of_memory", False
    if "outofresources" in text:
        return "out_of_resources", False
    if any(mark in text for mark in CUDA_FATAL):
        return "cuda_error", True
    if stage == "compile" or isinstance(error, BackendError):
        return "compile_error", False
    return "run_error", False
