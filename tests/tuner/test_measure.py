"""Clocks, screening, races, and the statistics that decide."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hsa_compiler.tuner.effort import EFFORTS
from hsa_compiler.tuner.measure import (
    MIN_ROUNDS,
    CpuClock,
    CudaClock,
    Sentinel,
    Timing,
    race,
    screen,
    screen_steadily,
)
from hsa_compiler.tuner.verdict import Gain, decide, fastest, paired_gain

QUICK = EFFORTS["quick"]


class ScriptedClock:
    """Every call tells its own time; drift multiplies all times a little more each call."""

    def __init__(self, drift: float = 0.0) -> None:
        self.calls: list[float] = []
        self.drift = drift

    def samples(self, runs: Sequence[Callable[[], object]]) -> list[float]:
        times = []
        for run in runs:
            value = run()
            assert isinstance(value, float)
            self.calls.append(value)
            times.append(value * (1 + self.drift) ** len(self.calls))
        return times


def takes(milliseconds: float) -> Callable[[], None]:
    return lambda: milliseconds  # type: ignore[return-value]


def test_screening_takes_the_median_of_all_samples() -> None:
    clock = ScriptedClock()
    timing = screen(takes(2.0), clock, QUICK, best_ms=1.9)
    assert timing == Timing(2.0, 0.0, QUICK.samples)
    assert len(clock.calls) == QUICK.samples + 1  # one to warm up


def test_screening_aborts_hopeless_candidates_after_five() -> None:
    clock = ScriptedClock()
    timing = screen(takes(2.0), clock, QUICK, best_ms=1.0)
    assert timing.aborted
    assert timing.samples == 5
    assert len(clock.calls) == 6


class DisturbedClock(ScriptedClock):
    """Slow by `factor` in its calls number `first` up to `last`."""

    def __init__(self, first: int, last: int, factor: float = 2.0) -> None:
        super().__init__()
        self.disturbed, self.factor = range(first, last), factor

    def samples(self, runs: Sequence[Callable[[], object]]) -> list[float]:
        start = len(self.calls)
        times = super().samples(runs)
        return [x * self.factor if start + n in self.disturbed else x for n, x in enumerate(times)]


def screened(clock: ScriptedClock) -> Timing:
    sentinel = Sentinel(takes(1.0), clock)
    return screen_steadily(takes(2.0), clock, QUICK, None, sentinel)


def test_a_candidate_that_was_disturbed_is_timed_again() -> None:
    beats, each = 1 + 3 * 5, 1 + QUICK.samples + 5  # calls of the sentinel before, and of one try
    assert screened(ScriptedClock()) == Timing(2.0, 0.0, QUICK.samples, tries=1)
    clock = DisturbedClock(beats, beats + each)
    assert screened(clock) == Timing(2.0, 0.0, QUICK.samples, tries=2)
    assert len(clock.calls) == beats + 2 * each


def test_a_machine_that_stays_disturbed_is_recorded() -> None:
    clock = DisturbedClock(16, 1000)
    timing = screened(clock)
    assert (timing.median_ms, timing.drift) == (4.0, 2.0)
    assert len(clock.calls) == 16 + 3 * (1 + QUICK.samples + 5)


def test_a_disturbed_start_is_not_what_is_usual() -> None:
    timing = screened(DisturbedClock(0, 6))
    assert (timing.median_ms, timing.drift) == (2.0, 1.0)


def test_a_sentinel_follows_slow_changes() -> None:
    sentinel = Sentinel(takes(1.0), ScriptedClock(drift=0.0005))
    assert max(sentinel.drift() for _ in range(60)) < 1.1


def test_cpu_clock_repeats_what_is_too_short_to_time() -> None:
    calls = 0

    def short() -> None:
        nonlocal calls
        calls += 1

    clock = CpuClock()
    times = clock.samples([short, short])
    assert all(0 < time < 0.1 for time in times)
    assert calls > 100


def test_race_interleaves_and_cancels_drift() -> None:
    clock = ScriptedClock(drift=0.01)
    times = race({"a": takes(1.0), "b": takes(1.1)}, clock, 20, seconds=60, min_seconds=0)
    assert len(times["a"]) == len(times["b"]) == 20
    ratios = [b / a for a, b in zip(times["a"], times["b"], strict=True)]
    assert ratios == pytest.approx([1.1] * 20)
    rounds = [clock.calls[2 + 4 * at : 6 + 4 * at] for at in range(20)]
    assert all(round_[0] == round_[3] and round_[1] == round_[2] for round_ in rounds)
    assert {round_[0] for round_ in rounds} == {1.0, 1.1}


def test_a_race_of_short_kernels_lasts_long_enough() -> None:
    times = race({"a": takes(1.0)}, ScriptedClock(), rounds=8, seconds=60, min_seconds=0.05)
    assert len(times["a"]) > 8


def test_race_out_of_time_still_has_enough_rounds() -> None:
    times = race({"a": takes(1.0)}, ScriptedClock(), rounds=100, seconds=0.0)
    assert len(times["a"]) == MIN_ROUNDS


def noisy(median: float, seed: int, count: int = 30, noise: float = 0.05) -> list[float]:
    rng = np.random.default_rng(seed)
    return list(median * np.exp(rng.normal(0, noise, count)))


def test_paired_gain() -> None:
    gain = paired_gain(noisy(1.2, 1), noisy(1.0, 2))
    assert gain.low < gain.ratio < gain.high
    assert gain.is_faster
    assert gain.ratio == pytest.approx(1.2, rel=0.05)
    assert paired_gain([1.0] * 9, [1.0] * 9) == Gain(1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="30 against 29"):
        paired_gain(noisy(1, 1), noisy(1, 2, count=29))


def test_equal_candidates_rarely_look_different() -> None:
    wrong = sum(paired_gain(noisy(1.0, s), noisy(1.0, s + 1000)).is_faster for s in range(200))
    assert wrong <= 12  # 2.5 % expected, one-sided


@pytest.mark.parametrize(
    ("generic", "planned", "winner", "ships"),
    [
        (1.0, 0.9, 0.5, "winner"),
        (1.0, 0.5, 0.5, "planned"),  # a tie: the default stands
        (0.5, 1.0, 0.6, "generic"),  # faster than planned, not than generic
        (1.0, 1.0, 1.2, "planned"),
    ],
)
def test_verdict(generic: float, planned: float, winner: float, ships: str) -> None:
    times = {
        "generic": noisy(generic, 1, noise=0.01),
        "planned": noisy(planned, 2, noise=0.01),
        "winner": noisy(winner, 3, noise=0.01),
    }
    if winner == planned:
        times["winner"] = list(reversed(times["planned"]))
    assert decide(times, "winner", "generic", "planned") == ships
    assert fastest(times)[0] == min(times, key=lambda name: statistics.median(times[name]))


def test_verdict_without_a_planned_schedule() -> None:
    times = {"generic": [1.0] * 9, "winner": [0.5] * 9}
    assert decide(times, "winner", "generic", None) == "winner"
    assert decide(times, "generic", "generic", None) == "generic"
    assert decide(times, "winner", None, None) == "winner"


def test_cuda_clock_queues_everything_behind_an_idle_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            done.append("record")

        def elapsed_time(self, end: Event) -> float:
            assert done[-1] == "synchronize", "read before the device was done"
            return 1.5

    properties = SimpleNamespace(L2_cache_size=1 << 20, clock_rate=2_000_000)
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(cuda, "Event", Event)
    monkeypatch.setattr(cuda, "_sleep", lambda cycles: done.append("sleep"))
    monkeypatch.setattr(cuda, "synchronize", lambda device: done.append("synchronize"))
    clock = CudaClock(torch.device("cpu"))
    assert clock.samples([lambda: done.append("run")] * 2) == [1.5, 1.5]
    assert done == ["sleep", *["record", "run", "record"] * 2, "synchronize"]
