"""Schedules: how one kernel computes, as a frozen, hashable, printable value.

Every knob is declared once, below. Its JSON form, its search space and its command-line help all
derive from the declaration; which knobs mean something for a kernel is in `kernel_knobs.KNOBS`.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

KERNELS = (
    "retrieve",
    "select",
    "weigh",
    "attend",
    "attend_grad_q",
    "invert_index",
    "attend_grad_kv",
    "attend_grad",
    "weigh_grad",
    "landmark_grad",
)


class IllegalSchedule(Exception):
    """A schedule that cannot be lowered, compiled or run for a problem.

    `kind` is a short word the tuner counts by (``"knob"``, ``"order"``, ``"shared_memory"``,
    ``"registers"``, ``"target"``, ``"tokens"``, ``"split"``, ``"ptxas"``, ...); the message says
    what was given and what is allowed.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return (IllegalSchedule, (self.kind, self.message))


def _knob(default: Any, choices: tuple[Any, ...], doc: str, ordinal: bool = True) -> Any:
    return dataclasses.field(
        default=default, metadata={"choices": choices, "doc": doc, "ordinal": ordinal}
    )


@dataclass(frozen=True)
class Schedule:
    """One point of a kernel's search space. Values outside `choices` raise `IllegalSchedule`."""

    order: str = _knob(
        "token",
        ("token", "union", "chunk"),
        "what a program walks: one token's chunks, the union of a tile of tokens' chunks, or "
        "the tokens that chose one chunk",
        ordinal=False,
    )
    tokens: int = _knob(
        1,
        (1, 2, 4, 8, 16, 32, 64, 128),
        "tokens (or retrieval rows) per tile; attention has more than 1 in union order alone",
    )
    chunk_tile: int = _knob(0, (0, 16, 32, 64), "keys of a chunk held at once; 0 = the whole chunk")
    chunk_block: int = _knob(32, (16, 32, 64, 128), "chunks scored at once while selecting")
    top_k: str = _knob(
        "merge",
        ("merge", "threshold"),
        "how the best chunks are found: merge sorts every block of scores into the best so far; "
        "threshold bounds the K-th best score first and then lists the chunks that reach it, which "
        "scores them twice and sorts nothing",
        ordinal=False,
    )
    pairs: int = _knob(8, (1, 2, 4, 8, 16, 32, 64), "(token, slot) pairs per step of chunk order")
    split: int = _knob(
        0,
        (0, 32, 64, 128, 256, 512, 1024),
        "pairs per program in chunk order; 0 = one program walks a chunk's whole list",
    )
    parts: int = _knob(
        0,
        (0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
        "programs that share the chunks which a tile of rows scores, or those which a token chose; "
        "a second launch merges what they found; 0 = one program does it all",
    )
    fan: int = _knob(
        1,
        (1, 4, 16),
        "blocks of chunks that are ranked as one group before each by itself, where several "
        "programs share them; 1 = no groups",
    )
    window: int = _knob(
        0,
        (0, 512, 1024, 2048, 4096, 8192),
        "rows whose pairs programs of chunk order share out side by side, so that a cache can "
        "hold them: one program per chunk and window, or per window with combine='owned'; "
        "0 = all rows",
    )
    copies: int = _knob(
        0,
        (0, 4, 32),
        "programs with combine='owned' that sum over chunks too: each has that share of the rows, "
        "window by window, and a copy of the sums, which a second launch adds up",
    )
    combine: str = _knob(
        "none",
        ("none", "atomic", "buffer", "owned"),
        "how the parts of a result meet: several programs add them atomically, a second launch "
        "adds up a buffer of them, or the program that owns a window's rows adds them in turn",
        ordinal=False,
    )
    dim_block: int = _knob(128, (32, 64, 128, 256), "retrieval dims held at once")
    index_blocks: int = _knob(
        256, (8, 32, 128, 256, 512, 1024), "token blocks counted side by side"
    )
    warps: int = _knob(4, (1, 2, 4, 8), "warps per program (GPU)")
    stages: int = _knob(2, (1, 2, 3, 4), "software pipeline depth (GPU)")
    registers: int = _knob(
        0,
        (0, 128, 168),
        "most registers a thread may use, so that 4 or 3 programs of 4 warps share a "
        "multiprocessor; 0 = as the compiler likes (GPU)",
    )
    lanes: str = _knob(
        "rows",
        ("rows", "cols"),
        "what the CPU's vector lanes hold: query rows, or chunk positions and head dims",
        ordinal=False,
    )
    unroll: int = _knob(8, (1, 2, 4, 8, 16), "accumulators a CPU matrix product keeps at once")
    descriptors: str = _knob(
        "none",
        ("none", "keys", "all"),
        "tiles that the copy engine loads, one instruction each: none, those of keys and values, "
        "or those of query rows too, which then stay in registers (Hopper and newer)",
        ordinal=False,
    )

    def __post_init__(self) -> None:
        for name, choices in _choices():
            value = getattr(self, name)
            # True == 1 == 1.0, but only one of them is what a generated source may hold.
            if value not in choices or type(value) is not type(choices[0]):
                raise IllegalSchedule(
                    "knob", f"{name}={value!r}; allowed: {', '.join(map(repr, choices))}"
                )

    def to_json(self) -> dict[str, Any]:
        """All knobs by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Schedule:
        """Build from knob names and values; unknown knobs raise `IllegalSchedule`."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise IllegalSchedule(
                "knob", f"unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}"
            )
        return cls(**data)

    def replace(self, **changes: Any) -> Schedule:
        """A copy with some knobs changed."""
        return dataclasses.replace(self, **changes)

    def __str__(self) -> str:
        """Only the knobs that differ from their defaults, e.g. ``order=chunk warps=8``."""
        parts = [
            f"{field.name}={getattr(self, field.name)}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return " ".join(parts) or "default"


@functools.cache
def _choices() -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Every knob with its values: a search makes schedules by the ten thousand."""
    return tuple((field.name, field.metadata["choices"]) for field in dataclasses.fields(Schedule))
