"""Timing of whole calls: the tuner's clocks and races, a wall clock, CUDA graphs, peak memory.

Three modes, all with a cold L2 cache on a GPU:

    device   GPU time of a call whose launches are queued beforehand (CUDA events)
    eager    wall time of a call, the host's work included
    graph    GPU time of the call replayed as a CUDA graph

A CPU has ``eager`` alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch

from hsa_compiler.tuner.measure import (
    MIN_RACE_SECONDS,
    Clock,
    CpuClock,
    CudaClock,
    Run,
    Timing,
    race,
)

#: Rounds after which a race ends, if it took its least time, and before which it never does: a
#: race is here to measure, not to decide, and dense attention to long contexts takes seconds.
ROUNDS, MIN_ROUNDS = 30, 4
#: Turns that every call has on a CPU, and counted calls of each at least.
TURNS, MIN_IN_TURN = 3, 2
#: Calls before a capture: lazy loading and autotuning must not be captured.
WARM_UP = 3


class QueuedClock(CudaClock):
    """GPU time. Calls of many kernels and of autograd take longer to queue than one launch."""

    QUEUE_MS = 4.0


class WallClock(CudaClock):
    """Wall time of each call on an idle GPU: the host's work and the GPU's."""

    def samples(self, runs: Sequence[Run]) -> list[float]:
        times = []
        with torch.cuda.device(self._device):
            for run in runs:
                if self._flush is not None:
                    self._flush.zero_()
                torch.cuda.synchronize(self._device)
                start = time.perf_counter_ns()
                run()
                torch.cuda.synchronize(self._device)
                times.append((time.perf_counter_ns() - start) / 1e6)
        return times


def clocks(device: torch.device) -> dict[str, Clock]:
    """The clock of every mode that a device has."""
    if device.type == "cpu":
        return {"eager": CpuClock()}
    queued = QueuedClock(device)
    return {"device": queued, "eager": WallClock(device), "graph": queued}


def measure(runs: Mapping[str, Run], clock: Clock, seconds: float) -> dict[str, Timing]:
    """Time calls against each other for about `seconds` each: interleaved on a GPU, in turns of
    several calls on a CPU.

    Slow calls get a few rounds at least, whatever they take.
    """
    if not runs:
        return {}
    if isinstance(clock, CpuClock):
        return _in_turns(runs, clock, seconds)
    times = race(
        runs,
        clock,
        ROUNDS,
        seconds * len(runs),
        min_seconds=min(MIN_RACE_SECONDS, seconds),
        min_rounds=MIN_ROUNDS,
    )
    return {name: Timing.of(values) for name, values in times.items()}


def _in_turns(runs: Mapping[str, Run], clock: Clock, seconds: float) -> dict[str, Timing]:
    """Every call by itself for a while, again and again.

    Each library has threads of its own, and those that have just worked spin for a moment
    (`hsa_compiler.threads`), so that the first call of a turn is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, run in runs.items():
            clock.samples([run])
            end = time.monotonic() + seconds / TURNS
            counted = 0
            while counted < MIN_IN_TURN or (counted < ROUNDS and time.monotonic() < end):
                times[name] += clock.samples([run])
                counted += 1
    return {name: Timing.of(values) for name, values in times.items()}


def captured(run: Run, device: torch.device) -> Run:
    """The call as a CUDA graph: what it returns replays it on the same tensors.

    Raises whatever the capture raises: a call that waits for the GPU cannot be captured.
    """
    with torch.cuda.device(device):
        side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                run()
        torch.cuda.current_stream(device).wait_stream(side)
        torch.cuda.synchronize(device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            run()
    replay: Callable[[], None] = graph.replay
    return replay


def peak_bytes(run: Run, device: torch.device) -> int | None:
    """What a call allocates on a GPU beyond what stood before it; None on a CPU.

    Outputs that the call gives up at its end count, since they stand until then.
    """
    if device.type == "cpu":
        return None
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before
