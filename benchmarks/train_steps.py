"""Whole training steps of the model, with our attention and with the same in plain PyTorch: what a
faster attention is worth to `hsa-compiler train`.

Parts of a row:

    step        one optimizer step of `TrainRun`: forward, backward, clipping, AdamW
    attention   the calls of `hsa_attention` that a step makes, forward and backward, by themselves

Every implementation runs in a process of its own, so that its peak memory is its own, and the
processes take turns. From the peer's step and both attentions follows what our step should take;
the note of our step says it.
"""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hsa_compiler import hsa_attention
from hsa_compiler.benchmarks import chunk_major
from hsa_compiler.benchmarks.contest import OURS, CannotRun
from hsa_compiler.benchmarks.results import Measurement
from hsa_compiler.benchmarks.rows import Row
from hsa_compiler.errors import HSAError
from hsa_compiler.model import hsa_ultralong
from hsa_compiler.model.config import HSAConfig
from hsa_compiler.model.training import TrainConfig, TrainRun
from hsa_compiler.tuner.measure import Timing

#: Processes of each implementation, one after the other's, and timed calls in each at least.
TURNS, LEAST = 2, 3
PARTS = ("step", "attention")

#: A function called like `hsa_attention`.
Attention = Callable[..., Any]


class StepFailed(HSAError):
    """An implementation's process ended without a result."""


@dataclass(frozen=True)
class Turn:
    """What one process measured: milliseconds of each step and of each round of attention calls,
    and the memory at the peak of a step beyond what the process held before its first one: AdamW's
    states are in it."""

    step_ms: tuple[float, ...]
    attention_ms: tuple[float, ...]
    peak_bytes: int | None
    note: str


@dataclass
class _Recorder:
    """Stands for `hsa_attention` in the model and keeps the inputs of its calls while asked to."""

    attention: Attention
    calls: list[tuple[tuple[Tensor, ...], dict[str, Any]]] = field(default_factory=list)
    on: bool = False

    def __call__(self, *tensors: Tensor, **options: Any) -> Any:
        if self.on:
            leaves = tuple(x.detach().clone().requires_grad_() for x in tensors)
            self.calls.append((leaves, options))
        return self.attention(*tensors, **options)


def measure(
    row: Row, device: str, peers: Sequence[str], seconds: float
) -> tuple[list[Measurement], dict[str, HSAError]]:
    """Steps and attention of our implementation and of those `peers` that can train a model; and
    the errors of those that could not, by name.

    Raises CannotRun where the device is no CPU.
    """
    if device != "cpu":
        raise CannotRun("training steps beside plain PyTorch are measured on CPUs")
    assert row.model is not None
    failed: dict[str, HSAError] = {
        name: CannotRun("a model's training steps are measured beside chunk_major alone")
        for name in peers
        if name != chunk_major.NAME
    }
    names = [OURS, *(name for name in peers if name == chunk_major.NAME)]
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    for _ in range(TURNS):
        for name in (name for name in names if name not in failed):
            try:
                turns[name].append(_apart(row.model, row.shape.L, name, seconds / TURNS))
            except HSAError as error:
                failed[name] = error
    found = []
    for name, done in turns.items():
        if name in failed:
            continue
        for part in PARTS:
            times = [ms for turn in done for ms in getattr(turn, f"{part}_ms")]
            timing = Timing.of(times)
            found.append(
                Measurement(
                    who=name,
                    part=part,
                    mode="eager",
                    median_ms=timing.median_ms,
                    spread_ms=timing.spread_ms,
                    samples=timing.samples,
                    peak_bytes=_most(done) if part == "step" else None,
                    note=done[-1].note,
                )
            )
    return _compared(found), failed


def _most(turns: Sequence[Turn]) -> int | None:
    peaks = [turn.peak_bytes for turn in turns if turn.peak_bytes is not None]
    return max(peaks) if peaks else None


def _compared(found: Sequence[Measurement]) -> list[Measurement]:
    """Ratios to ours, and our step's prediction from each peer's."""
    by = {(m.who, m.part): m for m in found}
    notes = []
    beside = [m.who for m in found if m.who != OURS] if (OURS, "step") in by else []
    for who in dict.fromkeys(beside):
        step, attention = by[who, "step"].median_ms, by[who, "attention"].median_ms
        expected = step - attention + by[OURS, "attention"].median_ms
        notes.append(f"{expected:.0f} ms expected from {who}'s step and both attentions")
    filled = []
    for m in found:
        base = by.get((OURS, m.part))
        ratio = m.median_ms / base.median_ms if base else None
        note = "; ".join(notes) if (m.who, m.part) == (OURS, "step") else m.note
        filled.append(dataclasses.replace(m, ratio=ratio, note=note))
    return filled


def _apart(model: HSAConfig, length: int, who: str, seconds: float) -> Turn:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_turn, model, length, who, seconds).result()
        except BrokenProcessPool as error:
            raise StepFailed(f"the process of {who} ended: not enough memory?") from error


def _turn(model: HSAConfig, length: int, who: str, seconds: float) -> Turn:
    recorder = _Recorder(hsa_attention)
    # This process belongs to one implementation: the model's name for the call means it from here.
    vars(hsa_ultralong)["hsa_attention"] = recorder
    config = TrainConfig(batch_tokens=length, stages=((0.0, length),), synthetic=1.0)
    with tempfile.TemporaryDirectory() as folder:
        run = TrainRun(model, config, Path(folder))
    before = _resident_bytes("VmRSS")
    step = functools.partial(run.step, length)
    note = ""
    if who == chunk_major.NAME:
        # The peer's own sizes, chosen on the model's own tensors.
        recorder.on = True
        with torch.no_grad():
            run.model(torch.zeros(1, length, dtype=torch.long))
        recorder.on = False
        recorder.attention, note = chunk_major.for_model(*recorder.calls[0])
        recorder.calls.clear()
    step()
    _forget_peak()
    times = _timed(step, seconds)
    peak = _resident_bytes("VmHWM")
    recorder.on = True
    step()
    recorder.on = False
    return Turn(
        step_ms=times,
        attention_ms=_timed(lambda: _forward_and_backward(recorder), seconds),
        peak_bytes=None if before is None or peak is None else peak - before,
        note=note,
    )


def _forward_and_backward(recorder: _Recorder) -> None:
    for leaves, options in recorder.calls:
        out = recorder.attention(*leaves, **options)
        torch.autograd.grad(out, leaves, torch.ones_like(out))


def _timed(call: Callable[[], object], seconds: float) -> tuple[float, ...]:
    call()
    end = time.monotonic() + seconds
    times: list[float] = []
    while len(times) < LEAST or time.monotonic() < end:
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return tuple(times)


def _resident_bytes(name: str) -> int | None:
    """This process's resident memory now (``VmRSS``) or at its peak (``VmHWM``); None where the
    system has no /proc."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(f"{name}:")), None)
    return 1024 * int(found.split()[1]) if found else None


def _forget_peak() -> None:
    """Let the peak begin anew, without what compiling and choosing took."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
