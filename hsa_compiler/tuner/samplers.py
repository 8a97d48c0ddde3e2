"""Ways to propose the next candidate; each sees finished trials and returns a point to try.

A proposer may return any point of the grid. Legality and repetition are judged outside of it
(`search.Search`), because samplers propose illegal or repeated points about half the time and
learn nothing useful from being told so.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import optuna
from optuna.trial import TrialState, create_trial

from hsa_compiler.errors import InputError
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.search_space import SearchSpace

#: Before this many finished trials TPE proposes alone; from then on it alternates with moves.
MOVES_AFTER = 25
#: Neighbour moves start from one of this many best points.
ELITES = 3


@dataclass(frozen=True)
class Finished:
    """A measured candidate: its schedule, median time in milliseconds, error at the gate."""

    schedule: Schedule
    median_ms: float
    error: float = 0.0


class Proposer(Protocol):
    """Proposes a point of the grid, or None when it has no idea left."""

    def propose(
        self, finished: Sequence[Finished], tried: frozenset[Schedule]
    ) -> Schedule | None: ...


class RandomProposer:
    """Uniform over the legal points: the baseline that other proposers have to beat."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._rng = random.Random(seed)

    def propose(self, finished: Sequence[Finished], tried: frozenset[Schedule]) -> Schedule | None:
        return self._rng.choice(self._space.points)


class MoveProposer:
    """An untried legal neighbour of one of the best points."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._rng = random.Random(seed)

    def propose(self, finished: Sequence[Finished], tried: frozenset[Schedule]) -> Schedule | None:
        ranked = sorted(finished, key=lambda trial: trial.median_ms)
        elites = ranked[:ELITES]
        self._rng.shuffle(elites)
        for trial in elites + ranked[ELITES:]:
            near = [p for p in self._space.neighbours(trial.schedule) if p not in tried]
            if near:
                return self._rng.choice(near)
        return None


class OptunaProposer:
    """Any Optuna sampler, asked through a study in memory that mirrors the finished trials.

    Proposals that are thrown away therefore leave no trace in the stored study. The objective is
    the logarithm of the time: a factor counts the same everywhere.
    """

    def __init__(self, space: SearchSpace, sampler: optuna.samplers.BaseSampler) -> None:
        self._space = space
        self._distributions = space.distributions()
        self._study = optuna.create_study(sampler=sampler)
        self._mirrored: set[Schedule] = set()

    def propose(self, finished: Sequence[Finished], tried: frozenset[Schedule]) -> Schedule | None:
        for trial in finished:
            if trial.schedule not in self._mirrored:
                self._mirrored.add(trial.schedule)
                self._study.add_trial(
                    create_trial(
                        params=self._space.encode(trial.schedule),
                        distributions=self._distributions,
                        value=math.log(trial.median_ms),
                    )
                )
        asked = self._study.ask(self._distributions)
        self._study.tell(asked, state=TrialState.FAIL)
        return self._space.decode(asked.params)


class AlternatingProposer:
    """TPE alone at first, then in turn with moves to neighbours of the best."""

    def __init__(self, sampler: Proposer, moves: Proposer) -> None:
        self._sampler = sampler
        self._moves = moves

    def propose(self, finished: Sequence[Finished], tried: frozenset[Schedule]) -> Schedule | None:
        if len(finished) >= MOVES_AFTER and len(tried) % 2:
            point = self._moves.propose(finished, tried)
            if point is not None:
                return point
        return self._sampler.propose(finished, tried)


def _tpe(space: SearchSpace, seed: int) -> Proposer:
    sampler = optuna.samplers.TPESampler(seed=seed)
    return AlternatingProposer(OptunaProposer(space, sampler), MoveProposer(space, seed))


SAMPLERS: dict[str, Callable[[SearchSpace, int], Proposer]] = {
    "tpe": _tpe,
    "random": RandomProposer,
}


def make_proposer(name: str, space: SearchSpace, seed: int) -> Proposer:
    """The proposer called `name`. Raises InputError for an unknown one."""
    if name not in SAMPLERS:
        raise InputError(f"unknown sampler {name!r}: choose from {', '.join(SAMPLERS)}")
    return SAMPLERS[name](space, seed)
