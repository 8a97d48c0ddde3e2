"""Which schedule every kernel of this process runs with, and which config tier gave it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from hsa_compiler.configs import Choice
from hsa_compiler.configs.shapes import data_dtype
from hsa_compiler.schedules.problem import Problem, Target


@dataclass(frozen=True)
class Row:
    """One kernel: what it is compiled for, its schedule, and why that one.

    `tier` is one of `hsa_compiler.configs.lookup` (``"exact"``, ``"nearest"``, ... ``"generic"``);
    `source` the config file, empty where there is none; `distance` how far its shape class is from
    the call's, in weighted octaves (infinite without a config); `union` that of the calls'
    selections, where `selection_feedback` measured it and it was chosen for.
    """

    kernel: str
    dtype: str
    dims: tuple[tuple[str, int], ...]
    target: str
    schedule: str
    tier: str
    source: str
    distance: float
    reason: str
    union: float | None = None

    @classmethod
    def of(cls, problem: Problem, target: Target, choice: Choice) -> Row:
        """The row of one choice."""
        return cls(
            kernel=problem.kind,
            dtype=data_dtype(problem.group.program),
            dims=problem.dims,
            target=str(target),
            schedule=str(choice.schedule),
            tier=choice.tier,
            source=str(choice.source or ""),
            distance=choice.distance,
            reason=choice.reason,
            union=choice.union,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite distance becomes null."""
        return {
            "kernel": self.kernel,
            "dtype": self.dtype,
            "dims": dict(self.dims),
            "target": self.target,
            "schedule": self.schedule,
            "tier": self.tier,
            "source": self.source,
            "distance": self.distance if self.distance < float("inf") else None,
            "reason": self.reason,
            "union": self.union,
        }

    def __str__(self) -> str:
        where = f" from {self.source}" if self.source else ""
        measured = "" if self.union is None else f"; measured union {self.union:g} K"
        return (
            f"{self.kernel} {self.dtype} on {self.target}: {self.schedule} "
            f"[{self.tier}{where}: {self.reason}{measured}]"
        )


_lock = threading.Lock()
_used: dict[Row, None] = {}


def note(row: Row) -> bool:
    """Remember a row; True when it is new."""
    with _lock:
        known = row in _used
        _used[row] = None
        return not known


def used() -> list[Row]:
    """Every kernel this process has run so far, in order of first use."""
    with _lock:
        return list(_used)


def forget() -> None:
    """Start the record afresh."""
    with _lock:
        _used.clear()
