"""Rules about a schedule by itself: every knob's value, and which go together.

`space.check` adds those about a problem and a device.
"""

from __future__ import annotations

import dataclasses

from hsa_compiler.schedules.footprint import MIN_ROWS, RANKING
from hsa_compiler.schedules.kernel_knobs import BACKENDS, KNOBS, allowed
from hsa_compiler.schedules.schedule import KERNELS, IllegalSchedule, Schedule


def check_knobs(kind: str, schedule: Schedule, backend: str) -> None:
    """The part of `check` that needs no problem: every knob's value, and how they go together.

    Raises:
        IllegalSchedule: kind ``"order"``, ``"knob"``, ``"combine"``, ``"split"``, ``"tokens"`` or
            ``"target"``.
    """
    if kind not in KNOBS:
        raise IllegalSchedule("knob", f"no kernel {kind!r}; kernels: {', '.join(KERNELS)}")
    if backend not in BACKENDS:
        raise IllegalSchedule("target", f"no back end {backend!r}; known: {', '.join(BACKENDS)}")
    if schedule.order not in KNOBS[kind].orders:
        raise IllegalSchedule(
            "order",
            f"{kind} has no lowering in {schedule.order} order; "
            f"it has: {', '.join(KNOBS[kind].orders)}",
        )
    for field in dataclasses.fields(Schedule):
        value = getattr(schedule, field.name)
        choices = allowed(kind, backend, field.name)
        if value not in choices:
            raise IllegalSchedule(
                "knob",
                f"{field.name}={value!r} for {kind} on {backend}; "
                f"allowed: {', '.join(map(repr, choices))}",
            )
    check_together(kind, schedule)


def shares_chunks(schedule: Schedule) -> bool:
    """Whether several programs of chunk order work on a chunk."""
    return combine_of(schedule.split, schedule.window) != "none"


def combine_of(split: int, window: int) -> str:
    """How the parts of programs that share chunks by these knobs meet."""
    return "atomic" if split or window else "none"


def adds_atomically(kind: str, schedule: Schedule) -> bool:
    """Whether programs add to a result in whatever order they run in."""
    shared = KNOBS[kind].sums_chunks and shares_chunks(schedule)
    return schedule.combine == "atomic" or (shared and schedule.combine != "owned")


def without_atomics(kind: str, schedule: Schedule) -> Schedule:
    """The same with parts that meet in a buffer, and programs that own their chunks."""
    knobs = KNOBS[kind]
    if knobs.has_partials and not knobs.sums_chunks:
        return schedule.replace(combine="buffer")
    combine = "buffer" if knobs.has_partials else "none"
    return schedule.replace(split=0, window=0, combine=combine)


def check_together(kind: str, schedule: Schedule) -> None:
    """The part of `check_knobs` that is about several knobs at once.

    Raises:
        IllegalSchedule: kind ``"combine"``, ``"split"``, ``"tokens"`` or ``"registers"``.
    """
    if KNOBS[kind].has_unions and (schedule.tokens > 1) != (schedule.order == "union"):
        raise IllegalSchedule(
            "tokens",
            f"{kind} with tokens={schedule.tokens} order={schedule.order}: union order has 2 "
            "tokens a tile or more, the others have 1",
        )
    if schedule.parts and kind == "attend" and schedule.order != "token":
        raise IllegalSchedule(
            "parts",
            f"{kind} with parts={schedule.parts} in {schedule.order} order: programs share the "
            "chunks of one token, in token order",
        )
    if schedule.parts and schedule.descriptors != "none":
        raise IllegalSchedule(
            "parts",
            f"{kind} with parts={schedule.parts} descriptors={schedule.descriptors!r}: programs "
            "that share a token's chunks load them without; give descriptors='none'",
        )
    if kind in RANKING and schedule.parts and schedule.top_k != "merge":
        raise IllegalSchedule(
            "parts",
            f"{kind} with parts={schedule.parts} top_k={schedule.top_k!r}: parts rank their "
            "candidates themselves; give top_k='merge'",
        )
    if kind in RANKING and schedule.tokens < MIN_ROWS and not schedule.parts:
        raise IllegalSchedule(
            "parts",
            f"{kind} with tokens={schedule.tokens} and parts=0: a program that does it all has "
            f"{MIN_ROWS} rows at least",
        )
    if schedule.split and schedule.window:
        raise IllegalSchedule(
            "split",
            f"{kind} with split={schedule.split} window={schedule.window}: programs share out a "
            "chunk's list by one of them",
        )
    if KNOBS[kind].has_partials:
        _check_partials(kind, schedule)
    elif schedule.combine != combine_of(schedule.split, schedule.window):
        raise IllegalSchedule(
            "combine",
            f"{kind} with split={schedule.split} window={schedule.window} "
            f"combine={schedule.combine!r}: programs that share a chunk (split or window > 0) need "
            "combine='atomic', and a whole chunk needs none",
        )
    if schedule.registers and schedule.top_k == "merge" and kind in RANKING:
        raise IllegalSchedule(
            "registers",
            f"{kind} with registers={schedule.registers}: only top_k='threshold' limits them",
        )
    if 0 < schedule.split < schedule.pairs:
        raise IllegalSchedule(
            "split",
            f"{kind} with split={schedule.split} is less than one step of pairs={schedule.pairs}",
        )


def _check_partials(kind: str, schedule: Schedule) -> None:
    """Chunk order combines the parts of a row's result; no other order has any."""
    if schedule.order == "chunk":
        if schedule.combine == "none":
            raise IllegalSchedule(
                "combine",
                f"{kind} with order=chunk combine='none': every (token, slot) pair has a part of "
                "its token's result; give combine='buffer', or 'atomic' on a GPU and 'owned' on a "
                "CPU",
            )
        if schedule.combine == "owned" and not schedule.window:
            raise IllegalSchedule(
                "combine",
                f"{kind} with combine='owned' window=0: a program owns the rows of a window; give "
                "window > 0",
            )
        owns_sums = schedule.combine == "owned" and KNOBS[kind].sums_chunks
        if bool(schedule.copies) != owns_sums:
            raise IllegalSchedule(
                "combine",
                f"{kind} with combine={schedule.combine!r} copies={schedule.copies}: programs that "
                "own rows, and they alone, have copies of the sums over chunks",
            )
        return
    default = Schedule()
    given = {name: getattr(schedule, name) for name in ("window", "combine")}
    if any(value != getattr(default, name) for name, value in given.items()):
        raise IllegalSchedule(
            "combine",
            f"{kind} with order={schedule.order} window={schedule.window} "
            f"combine={schedule.combine!r}: only order=chunk has windows and parts to combine",
        )
