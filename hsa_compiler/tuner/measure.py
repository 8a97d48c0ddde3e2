"""Timing: clocks for CPU and GPU, screening with early abort, and interleaved races.

Times are milliseconds. A clock times calls in the order it is given them, so that one process
can interleave candidates and compare them by ratio: machine-wide drift then cancels.
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from pydantic import TypeAdapter

from hsa_compiler.tuner.effort import ABORT_AFTER, ABORT_RATIO, Effort
from hsa_compiler.tuner.nvml import DISTURBING, POWER_CAP, Gpu, Reading

Run = Callable[[], None]

#: Shortest span a CPU sample may cover; quicker kernels are repeated inside one sample.
MIN_CPU_SAMPLE_MS = 2.0

#: Drift from which on a candidate is timed again, how often at most, and the readings whose median
#: is what is usual.
DISTURBED, TRIES, MEMORY, FIRST_READINGS = 1.1, 3, 16, 3
#: A clock's least time: logarithms and ratios are taken of it.
LEAST_MS = 1e-6

#: A race never ends before this many rounds, however long they take, ...
MIN_ROUNDS = 8
#: ... and goes on for this many seconds, so that a passing disturbance cannot decide it.
MIN_RACE_SECONDS = 0.5


class Clock(Protocol):
    """Times calls one after another."""

    def samples(self, runs: Sequence[Run]) -> list[float]:
        """Run each call once, in order; milliseconds of each."""
        ...


class CpuClock:
    """`time.perf_counter_ns` around each call, repeated inside a sample when it is very short."""

    def __init__(self) -> None:
        self._repeats: dict[Run, int] = {}

    def samples(self, runs: Sequence[Run]) -> list[float]:
        times = []
        for run in runs:
            count = self._repeats.get(run) or self._calibrate(run)
            start = time.perf_counter_ns()
            for _ in range(count):
                run()
            times.append((time.perf_counter_ns() - start) / 1e6 / count)
        return times

    def _calibrate(self, run: Run) -> int:
        start = time.perf_counter_ns()
        run()
        once = (time.perf_counter_ns() - start) / 1e6
        self._repeats[run] = max(1, min(1000, int(MIN_CPU_SAMPLE_MS / max(once, 1e-6))))
        return self._repeats[run]


class CudaClock:
    """CUDA events around each launch; the L2 cache is overwritten before it unless `warm_l2`.

    The stream first idles for a moment, so that all launches are queued before the first one
    runs: Python's launch time then never shows up between two events.
    """

    #: Host time to queue one timed launch, generously (events, flush and a Python launch).
    QUEUE_MS = 0.5

    def __init__(self, device: torch.device, warm_l2: bool = False) -> None:
        self._device = device
        properties = torch.cuda.get_device_properties(device)
        l2_bytes = int(getattr(properties, "L2_cache_size", 0)) or 64 << 20
        self._flush = None
        if not warm_l2:
            self._flush = torch.empty(2 * l2_bytes, dtype=torch.int8, device=device)
        self._cycles_per_ms = int(getattr(properties, "clock_rate", 0)) or 2_000_000  # kHz

    def samples(self, runs: Sequence[Run]) -> list[float]:
        events = [(self._event(), self._event()) for _ in runs]
        with torch.cuda.device(self._device):
            torch.cuda._sleep(  # type: ignore[no-untyped-call]
                int(self._cycles_per_ms * self.QUEUE_MS * len(runs))
            )
            for run, (start, end) in zip(runs, events, strict=True):
                if self._flush is not None:
                    self._flush.zero_()
                start.record()
                run()
                end.record()
            torch.cuda.synchronize(self._device)
        return [start.elapsed_time(end) for start, end in events]

    @staticmethod
    def _event() -> torch.cuda.Event:
        return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Timing:
    """What screening says of one candidate.

    `spread_ms` is the interquartile range; `aborted` says that it was cut short as hopeless;
    `drift` how many times as slow as usual the device was (`Sentinel`); `tries` how often it was
    timed, 0 where nobody counted. `clock_mhz` is a GPU's SM clock and `watts` its power right
    afterwards, None where nobody tells; `throttled` what held its clocks down before or then
    (`nvml.REASONS`).
    """

    median_ms: float
    spread_ms: float
    samples: int
    aborted: bool = False
    drift: float = 1.0
    clock_mhz: int | None = None
    watts: float | None = None
    throttled: tuple[str, ...] = ()
    tries: int = 0

    @classmethod
    def of(cls, times: Sequence[float], aborted: bool = False) -> Timing:
        """Summarise raw samples."""
        median = max(statistics.median(times), LEAST_MS)
        return cls(median, interquartile(times), len(times), aborted)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Timing:
        """Read back its fields, those of earlier versions too. Raises ValueError."""
        return _TIMING.validate_python(dict(data))

    @property
    def is_disturbed(self) -> bool:
        """Whether the device was not at its usual speed."""
        return self.drift > DISTURBED or not DISTURBING.isdisjoint(self.throttled)


_TIMING = TypeAdapter(Timing)


def interquartile(times: Sequence[float]) -> float:
    """The interquartile range; 0 for a single sample."""
    if len(times) < 2:
        return 0.0
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return high - low


def screen(run: Run, clock: Clock, effort: Effort, best_ms: float | None) -> Timing:
    """Time a candidate: warm up, 5 samples, and the rest unless it is 1.5 x slower than the best.

    Sampling also ends when `effort.sample_seconds` have passed.
    """
    clock.samples([run])  # first launch: lazy loading, page faults, cold caches
    start = time.monotonic()
    times = list(clock.samples([run] * ABORT_AFTER))
    if best_ms is not None and statistics.median(times) > ABORT_RATIO * best_ms:
        return Timing.of(times, aborted=True)
    while len(times) < effort.samples and time.monotonic() - start < effort.sample_seconds:
        times += clock.samples([run] * min(ABORT_AFTER, effort.samples - len(times)))
    return Timing.of(times)


class Usual:
    """What readings of something that ought not to change usually are: their median of late."""

    def __init__(self, first: float) -> None:
        self._seen = deque([first] * MEMORY, maxlen=MEMORY)

    def share(self, now: float) -> float:
        """A reading, which counts from then on, over what was usual."""
        usual = statistics.median(self._seen)
        self._seen.append(now)
        return now / usual


class Sentinel:
    """Says how the device fared while a candidate was timed.

    Where a fixed call takes longer than usual right afterwards, clocks were throttled or something
    else used the device, and what was timed meanwhile says little. A GPU's driver says more.
    """

    def __init__(self, run: Run, clock: Clock, gpu: Gpu | None = None) -> None:
        self._run = run
        self._clock = clock
        self._gpu = gpu
        clock.samples([run])
        # The least disturbed of a few readings is what is usual, until there are others.
        self._usual = Usual(min(self._now() for _ in range(FIRST_READINGS)))
        self._usual_mhz: Usual | None = None

    def _now(self) -> float:
        return max(statistics.median(self._clock.samples([self._run] * ABORT_AFTER)), LEAST_MS)

    def drift(self) -> float:
        """How many times as long as usual the fixed call takes now."""
        return self._usual.share(self._now())

    def watch(self, window: Callable[[], Timing]) -> Timing:
        """Time something, asking the driver before and after, never meanwhile."""
        reasons = self._gpu.reasons() if self._gpu else frozenset()
        timing = window()
        after = self._gpu.read() if self._gpu else Reading()
        reasons |= after.reasons
        slower = self._slower(after.clock_mhz)
        return replace(
            timing,
            drift=max(self.drift(), slower if POWER_CAP in reasons else 0.0),
            clock_mhz=after.clock_mhz,
            watts=after.watts,
            throttled=tuple(sorted(reasons)),
        )

    def _slower(self, mhz: int | None) -> float:
        """How many times as slow as usual a clock is; 0 where there is none."""
        if not mhz:
            return 0.0
        self._usual_mhz = self._usual_mhz or Usual(mhz)
        return 1 / self._usual_mhz.share(mhz)


def screen_steadily(
    run: Run, clock: Clock, effort: Effort, best_ms: float | None, sentinel: Sentinel
) -> Timing:
    """`screen`, and again where the machine was disturbed; of all tries the steadiest."""
    tries: list[Timing] = []
    while len(tries) < TRIES and (not tries or tries[-1].is_disturbed):
        tries.append(sentinel.watch(lambda: screen(run, clock, effort, best_ms)))
    steadiest = min(tries, key=lambda timing: (timing.is_disturbed, timing.drift))
    return replace(steadiest, tries=len(tries))


def race(
    runs: Mapping[str, Run],
    clock: Clock,
    rounds: int,
    seconds: float,
    seed: int = 0,
    min_seconds: float = MIN_RACE_SECONDS,
    min_rounds: int = MIN_ROUNDS,
) -> dict[str, list[float]]:
    """Time candidates against each other, interleaved; one paired value per candidate and round.

    Every round runs all of them in a random order and then in the reverse one (ABBA), and takes
    the geometric mean of a candidate's two times: linear drift within a round cancels. Ends after
    `rounds` that took at least `min_seconds`, or after `seconds`, but not before `min_rounds`.
    """
    rng = random.Random(seed)
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    clock.samples([runs[name] for name in names])
    start = time.monotonic()
    for done in itertools.count():
        took = time.monotonic() - start
        if done >= min_rounds and (took >= seconds or (done >= rounds and took >= min_seconds)):
            break
        order = rng.sample(names, len(names))
        order += reversed(order)
        samples = clock.samples([runs[name] for name in order])
        for at, name in enumerate(order[: len(names)]):
            times[name].append((samples[at] * samples[-1 - at]) ** 0.5)
    return times
