"""Statistics of a race, and the rule that decides which schedule ships."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Gain:
    """How many times faster than a baseline, with its bootstrap interval (95 %).

    1.25 means that the baseline takes 1.25 times as long.
    """

    ratio: float
    low: float
    high: float

    @property
    def is_faster(self) -> bool:
        """Whether the interval lies wholly above 1."""
        return self.low > 1.0


def paired_gain(baseline: Sequence[float], candidate: Sequence[float], seed: int = 0) -> Gain:
    """Median of the paired time ratios baseline / candidate, and its bootstrap interval.

    Args:
        baseline, candidate: times of the same rounds, in the same order.

    Raises:
        ValueError: the lists differ in length or are empty.
    """
    if len(baseline) != len(candidate) or not baseline:
        raise ValueError(f"paired times differ: {len(baseline)} against {len(candidate)}")
    logs = np.log(np.asarray(baseline)) - np.log(np.asarray(candidate))
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(logs), size=(RESAMPLES, len(logs)))
    medians = np.median(logs[picks], axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return Gain(float(np.exp(np.median(logs))), float(np.exp(low)), float(np.exp(high)))


def fastest(times: Mapping[str, Sequence[float]]) -> list[str]:
    """Names by median time, fastest first."""
    return sorted(times, key=lambda name: statistics.median(times[name]))


def decide(
    times: Mapping[str, Sequence[float]], winner: str, generic: str | None, planned: str | None
) -> str:
    """The name that ships, from one race in which all named candidates ran.

    The defaults stand until beaten: `planned` first, `generic` only where it is shown to be faster
    than `planned` or `planned` did not run. The winner ships only if its interval excludes every
    default that ran; so nothing slower than `planned` ships.
    """
    incumbent = planned or generic
    if incumbent is None:
        return winner
    if planned and generic and paired_gain(times[planned], times[generic]).is_faster:
        incumbent = generic
    defaults = [name for name in {planned, generic} if name is not None and name != winner]
    if all(paired_gain(times[name], times[winner]).is_faster for name in defaults):
        return winner
    return incumbent
