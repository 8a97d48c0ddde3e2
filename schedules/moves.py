"""Moves of a local search: the schedules next to one."""

from __future__ import annotations

from typing import Any

from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.footprint import MIN_ROWS
from hsa_compiler.schedules.kernel_knobs import (
    CHUNK_KNOBS,
    KNOBS,
    allowed,
    knobs,
    owning,
)
from hsa_compiler.schedules.legality import combine_of
from hsa_compiler.schedules.schedule import Schedule

#: What a search changes beside the order itself when it moves to another one.
ORDER_MOVES: dict[str, dict[str, Any]] = {
    "token": {"tokens": 1},
    "union": {"tokens": 4, "parts": 0},
    "chunk": {"tokens": 1, "parts": 0, "combine": "buffer", "descriptors": "none"},
}
#: The same where programs begin to share a token's chunks.
PARTS_MOVE: dict[str, Any] = {"order": "token", "tokens": 1, "descriptors": "none"}


def neighbours(kind: str, backend: str, schedule: Schedule) -> tuple[Schedule, ...]:
    """Schedules one move away: the next value of an ordinal knob, any value of a categorical one.

    `split`, `window` and `combine` move together where they mean nothing without each other; so do
    the order and the knobs that only one order reads.
    """
    moves: list[Schedule] = []
    for knob in knobs(kind, backend):
        value = getattr(schedule, knob.name)
        at = knob.choices.index(value)
        steps = (at - 1, at + 1) if knob.ordinal else range(len(knob.choices))
        for step in steps:
            if 0 <= step < len(knob.choices) and step != at:
                moves += _moved(kind, backend, schedule, knob.name, knob.choices[step])
    return tuple(moves)


def _owning(kind: str, schedule: Schedule, name: str, value: Any) -> dict[str, Any]:
    """Windows and the programs that own them come and go together where nobody shares them out."""
    if name not in ("combine", "window", "copies"):
        return {}
    if value in ("buffer", 0):
        return {"combine": "buffer", "window": 0, "copies": 0}
    return {"combine": "owned", **owning(kind, schedule), name: value}


def _moved(
    kind: str, backend: str, schedule: Schedule, name: str, value: Any
) -> tuple[Schedule, ...]:
    """The schedule with one knob changed, and what must change with it; nothing where that knob
    does not move by itself."""
    changes: dict[str, Any] = {name: value}
    if KNOBS[kind].has_partials:
        if name in CHUNK_KNOBS and (schedule.order != "chunk" or value == "none"):
            return ()
        if "owned" in allowed(kind, backend, "combine"):
            changes |= _owning(kind, schedule, name, value)
        if name == "descriptors" and (schedule.parts or schedule.order == "chunk"):
            return ()
        if name == "tokens":
            changes["order"] = "union" if value > 1 else "token"
        if name == "parts" and value:
            changes |= PARTS_MOVE
        if "order" in changes and name != "parts":
            changes = {**ORDER_MOVES[changes["order"]], **changes}
        if schedule.order == "chunk" != changes.get("order", "chunk"):
            default = generic(kind, backend)
            changes = {**{knob: getattr(default, knob) for knob in CHUNK_KNOBS}, **changes}
    elif name == "combine":
        return ()
    elif name == "parts" and not value:
        changes["tokens"] = max(schedule.tokens, MIN_ROWS)
    elif name in ("split", "window"):
        changes = {"split": 0, "window": 0, **changes}
    move = schedule.replace(**changes)
    if not KNOBS[kind].has_partials:
        move = move.replace(combine=combine_of(move.split, move.window))
    return (move,)
