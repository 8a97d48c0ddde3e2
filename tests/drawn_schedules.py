"""Config stores that answer as a test asks: with a random legal schedule of the kernel's space, or
with one form of a program."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hsa_compiler.configs import (
    Choice,
    ConfigStore,
    FormTimes,
    default_store,
    set_default_store,
)
from hsa_compiler.schedules import space
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import Problem, Target


class DrawnSchedules(ConfigStore):
    """Schedules drawn from `seed`; of a `kind`, as `sweep_cases` explains them, where there are
    such."""

    def __init__(self, seed: int, kind: str) -> None:
        super().__init__()
        self._dice, self._kind = random.Random(seed), kind

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
        if self._kind == "tiled":
            found = tuple(s for s in found if s.order in ("union", "chunk") or s.window) or found
        if self._kind == "blocks":
            found = tuple(s for s in found if s.descriptors != "none") or found
        # Orders first: some have many more schedules than others.
        order = self._dice.choice(sorted({s.order for s in found}))
        schedule = self._dice.choice([s for s in found if s.order == order])
        return Choice(schedule, "drawn", None, float("inf"), f"one of {len(found)}")

    def choose_form(self, forms: Mapping[str, FormTimes]) -> tuple[str, str]:
        """Any form, or the last."""
        names = list(forms)
        return names[-1] if self._kind == "fused" else self._dice.choice(names), "drawn"


class OneForm(ConfigStore):
    """Usual schedules, and one form of every program that has it."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form

    def choose_form(self, forms: Mapping[str, FormTimes]) -> tuple[str, str]:
        """The given one, or the first."""
        return self._form if self._form in forms else next(iter(forms)), "as asked"


@contextmanager
def drawn_schedules(kind: str, seed: int) -> Iterator[None]:
    """Kernels get schedules of a `kind` inside, as `sweep_cases` explains them."""
    if kind == "chosen":
        yield
        return
    with store(DrawnSchedules(seed, kind)):
        yield


@contextmanager
def store(used: ConfigStore) -> Iterator[None]:
    """Calls inside ask this store."""
    before = default_store()
    set_default_store(used)
    try:
        yield
    finally:
        set_default_store(before)
