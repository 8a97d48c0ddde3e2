"""A config store that answers every lookup with a random legal schedule of the kernel's space."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hsa_compiler.configs import Choice, ConfigStore, default_store, set_default_store
from hsa_compiler.schedules import space
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import Problem, Target


class DrawnSchedules(ConfigStore):
    """Schedules drawn from `seed`."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = random.Random(seed)

    def choose(
        self,
        problem: Problem,
        sizes: Mapping[str, int],
        target: Target,
        hardware: Hardware,
        union: float | None = None,
    ) -> Choice:
        """Any schedule that the tuner might measure."""
        found = space.feasible(problem, target.backend, hardware)
        schedule = self._dice.choice(found)
        return Choice(schedule, "generic", None, float("inf"), f"one of {len(found)}, drawn")


@contextmanager
def drawn_schedules(seed: int | None) -> Iterator[None]:
    """Kernels get drawn schedules inside; with None, those they always get."""
    if seed is None:
        yield
        return
    before = default_store()
    set_default_store(DrawnSchedules(seed))
    try:
        yield
    finally:
        set_default_store(before)
