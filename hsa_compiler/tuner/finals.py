"""The last races: one picks the fastest candidate, a duel with fresh samples then judges it.

The first picks the luckiest of several candidates, so its own figures would flatter the winner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.effort import Effort
from hsa_compiler.tuner.measure import MIN_ROUNDS
from hsa_compiler.tuner.verdict import fastest
from hsa_compiler.tuner.worker import Worker

#: Part of the time for the first race; the rest is the duel.
PICK_SHARE = 0.5
MIN_RACE_SECONDS = 1.0

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


def _race(
    worker: Worker, names: Mapping[str, Schedule], effort: Effort, seconds: float, seed: int
) -> dict[str, list[float]]:
    timeout = seconds + effort.run_timeout + effort.compile_timeout * len(names)
    return worker.race(names, effort.race_rounds, seconds, seed, timeout)
