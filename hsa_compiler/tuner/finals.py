"""The last races: one picks the fastest candidate, a duel with fresh samples then judges it.

The first picks the luckiest of several candidates, so its own figures would flatter the winner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.effort import Effort
from hsa_compiler.tuner.measure import MIN_ROUNDS
from hsa_compiler.tuner.verdict import fastest, paired_gain
from hsa_compiler.tuner.worker import CandidateFailed, Worker

#: Part of the time for the first race; the rest is the duel.
PICK_SHARE = 0.5
MIN_RACE_SECONDS = 1.0
#: Time for the race with the L2 cache in its other state.
OTHER_L2_SECONDS = 1.0

#: Schedules by the names that they race under, and their paired milliseconds, one per round.
Duel = tuple[dict[str, Schedule], dict[str, list[float]]]


def contest(
    worker: Worker,
    took: Mapping[Schedule, float],
    incumbents: Sequence[Schedule],
    effort: Effort,
    seconds: float,
    seed: int,
    pick: Callable[[Sequence[Schedule]], Schedule] = lambda ranked: ranked[0],
) -> Duel:
    """Race the incumbents and the fastest others, then the incumbents and the one picked.

    A race has a least number of rounds, so slow kernels get fewer finalists: the contest keeps to
    its time. Where one is left beside the incumbents there is nothing to pick.

    Args:
        took: milliseconds of every candidate, the fastest first.
        pick: chooses from the finalists, the fastest of the first race first.

    Returns:
        names and times of the duel.

    Raises:
        CandidateFailed: a race could not be run to its end.
    """
    finalists = list(dict.fromkeys([*incumbents, *list(took)[: effort.finalists]]))
    rounds = 2 * MIN_ROUNDS  # every round runs each of them twice
    while (
        len(finalists) > len(incumbents) + 1
        and rounds * sum(took[s] / 1e3 for s in finalists) > seconds * PICK_SHARE
    ):
        finalists.pop()
    names = {f"s{at}": schedule for at, schedule in enumerate(finalists)}
    if len(names) <= len(incumbents) + 1:
        return names, _race(worker, names, effort, seconds, seed)
    picked = _race(worker, names, effort, seconds * PICK_SHARE, seed)
    challenger = pick([names[name] for name in fastest(picked)])
    duel = {name: s for name, s in names.items() if s == challenger or s in incumbents}
    return duel, _race(worker, duel, effort, seconds * (1 - PICK_SHARE), seed + 1)


@dataclass(frozen=True)
class OtherL2Race:
    """The duel's schedules once more, with a GPU's L2 cache in the other `state` (``"warm"`` or
    ``"cold"``) than they are tuned for: what wins in one need not win in the other.

    Without `times`, `failure` says why, unless none were asked for.
    """

    state: str = ""
    times: Mapping[str, Sequence[float]] = field(default_factory=dict)
    failure: str = ""

    @classmethod
    def race(
        cls, state: str, worker: Worker, names: Mapping[str, Schedule], effort: Effort, seed: int
    ) -> OtherL2Race:
        """A short race."""
        try:
            times = _race(worker, names, effort, OTHER_L2_SECONDS, seed + 2, other_l2=True)
        except CandidateFailed as error:
            return cls(state, failure=f"{error.kind}: {error}")
        return cls(state, times)

    def note(self, shipped: str, roles: Mapping[str | None, str]) -> str:
        """What to know of it: nothing, unless one is shown to be faster than what ships.

        `roles` says what schedules are, those that the search found excepted.
        """
        if self.failure:
            return f"not timed with a {self.state} L2 cache: {self.failure}"
        if not self.times:
            return ""
        best = fastest(self.times)[0]
        found = paired_gain(self.times[shipped], self.times[best])
        if not found.is_faster:
            return ""
        return (
            f"with a {self.state} L2 cache the {roles.get(best, 'found')} schedule is "
            f"{found.ratio:.2f}x as fast as what ships; `--l2 {self.state}` tunes for that"
        )


def _race(
    worker: Worker,
    names: Mapping[str, Schedule],
    effort: Effort,
    seconds: float,
    seed: int,
    other_l2: bool = False,
) -> dict[str, list[float]]:
    timeout = seconds + effort.run_timeout + effort.compile_timeout * len(names)
    return worker.race(names, effort.race_rounds, seconds, seed, timeout, other_l2)
