"""Search spaces: which knobs mean something for a kernel, and which of their values are legal.

Choices, order and help of a knob come from its declaration in `schedule.Schedule`; the one table
here, `KNOBS`, says which kernel and back end reads it. `check` is the legality rule that the tuner,
the config store and the cost model share: what it lets through, lowering accepts.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.footprint import (
    MIN_ROWS,
    RANKING,
    KernelShape,
    check_resources,
    chunk_size,
)
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import Problem
from hsa_compiler.schedules.schedule import KERNELS, IllegalSchedule, Schedule

BACKENDS = ("triton", "tvm")


@dataclass(frozen=True)
class KernelKnobs:
    """The knobs that one kernel reads: on every back end, on Triton alone, on TVM alone.

    `orders` are the loop orders it has a lowering for; a kernel with one order does not search it.
    """

    orders: tuple[str, ...]
    shared: tuple[str, ...] = ()
    triton: tuple[str, ...] = ()
    tvm: tuple[str, ...] = ()

    @property
    def has_unions(self) -> bool:
        """Whether `tokens` are those of a tile in union order."""
        return "union" in self.orders

    @property
    def has_partials(self) -> bool:
        """Whether chunk order is one of several, in which every pair has a part of a row's result:
        they meet in a buffer or by atomic adds, and only this order reads the knobs of pairs."""
        return "chunk" in self.orders and len(self.orders) > 1

    def names(self, backend: str) -> tuple[str, ...]:
        """Knob names in search order for ``"triton"`` or ``"tvm"``."""
        own = self.triton if backend == "triton" else self.tvm
        return ("order", *self.shared, *own)


_RANKING = KernelKnobs(
    ("token",),
    ("parts", "fan", "tokens", "chunk_block", "dim_block"),
    ("top_k", "warps", "stages", "registers"),
    ("lanes", "unroll"),
)
KNOBS: dict[str, KernelKnobs] = {
    "retrieve": _RANKING,
    "select": _RANKING,
    "weigh": KernelKnobs(("token",), ("dim_block",), ("warps",)),
    "attend": KernelKnobs(
        ("token", "union", "chunk"),
        ("parts", "tokens", "chunk_tile", "pairs", "combine"),
        ("window", "warps", "stages", "registers", "descriptors"),
        ("lanes", "unroll"),
    ),
    "attend_grad_q": KernelKnobs(
        ("token", "union", "chunk"),
        ("tokens", "chunk_tile", "pairs", "combine"),
        ("window", "warps", "stages", "registers", "descriptors"),
        ("lanes", "unroll"),
    ),
    "invert_index": KernelKnobs(("token",), ("index_blocks",), ("warps",)),
    "attend_grad_kv": KernelKnobs(
        ("chunk",),
        ("pairs", "chunk_tile"),
        ("split", "window", "combine", "warps", "stages", "registers"),
        ("lanes", "unroll"),
    ),
    "weigh_grad": KernelKnobs(("token",), ("dim_block",), ("warps",)),
    "landmark_grad": KernelKnobs(
        ("chunk",), ("pairs", "dim_block"), ("split", "window", "combine", "warps", "stages")
    ),
}

#: Values of a knob that one kernel takes on a back end, where they are fewer than the knob's own
#: choices. A CPU's registers hold few rows, so more tokens a tile than fill its lanes gain nothing.
LIMITS: dict[tuple[str, str, str], tuple[Any, ...]] = {
    **{(kind, backend, "tokens"): (1, 16, 32, 64, 128) for kind in RANKING for backend in BACKENDS},
    **{(kind, "triton", "parts"): (0, 256, 1024) for kind in RANKING},
    **{(kind, "tvm", "parts"): (0, 8, 64) for kind in RANKING},
    ("attend", "triton", "parts"): (0, 2, 4, 8, 16, 32, 64),
    ("attend", "tvm", "parts"): (0, 2, 8),
    ("attend", "tvm", "tokens"): (1, 2, 4, 8, 16),
    ("attend_grad_q", "tvm", "tokens"): (1, 2, 4, 8, 16),
}
#: Knobs that of several orders only chunk order reads.
CHUNK_KNOBS = ("pairs", "window", "combine")


@dataclass(frozen=True)
class Knob:
    """One axis of a search space: its name, legal values in order, and help text.

    `ordinal` says that neighbouring values behave alike, so a sampler may treat it as a number.
    """

    name: str
    choices: tuple[Any, ...]
    ordinal: bool
    doc: str


def knobs(kind: str, backend: str) -> tuple[Knob, ...]:
    """The axes of kernel `kind` on `backend`; a knob with one legal value is not an axis."""
    fields = {field.name: field for field in dataclasses.fields(Schedule)}
    axes = []
    for name in KNOBS[kind].names(backend):
        choices = allowed(kind, backend, name)
        if len(choices) > 1:
            meta = fields[name].metadata
            axes.append(Knob(name, choices, meta["ordinal"], meta["doc"]))
    return tuple(axes)


@functools.cache
def allowed(kind: str, backend: str, name: str) -> tuple[Any, ...]:
    """The values knob `name` may take for a kernel; for a knob it does not read, the default."""
    field = next(f for f in dataclasses.fields(Schedule) if f.name == name)
    if name == "order":
        return KNOBS[kind].orders
    if name not in KNOBS[kind].names(backend):
        return (field.default,)
    if name == "combine":
        buffer = ("buffer",) if KNOBS[kind].has_partials else ()
        return ("none", *buffer) if backend == "tvm" else ("none", *buffer, "atomic")
    choices: tuple[Any, ...] = field.metadata["choices"]
    return LIMITS.get((kind, backend, name), choices)


def canonical(kind: str, backend: str, schedule: Schedule) -> Schedule:
    """The same kernel with every knob it does not read at its default, so equal kernels compare
    equal."""
    read = KNOBS[kind].names(backend)
    return Schedule(**{name: getattr(schedule, name) for name in read})


def normal(problem: Problem, backend: str, schedule: Schedule) -> Schedule:
    """The schedule that stands for all that give the same kernel for this problem.

    Beside `canonical`: tiles larger than a dim hold the whole dim, a block of chunks holds at least
    K, a step of pairs fills at least the fewest rows of a matrix product, union order, and no
    other, has several tokens a tile, and no more programs share a token's chunks than there are.
    """
    shape = KernelShape.of(problem)
    kind, read = problem.kind, KNOBS[problem.kind].names(backend)
    least = {
        # Where one program does it all, a block is merged into the K best at once.
        "chunk_block": shape.top_k if kind in RANKING and not schedule.parts else 1,
        "pairs": -(-MIN_ROWS // shape.row_group) if backend == "triton" else 1,
    }
    changes: dict[str, Any] = {}
    for name, bound in least.items():
        if name in read:
            choices = allowed(kind, backend, name)
            fits = [c for c in choices if c >= bound] or [choices[-1]]
            changes[name] = max(getattr(schedule, name), fits[0])
    if "dim_block" in read:
        choices = allowed(kind, backend, "dim_block")
        fits = [c for c in choices if c >= shape.retrieval_dim] or [choices[-1]]
        changes["dim_block"] = min(schedule.dim_block, fits[0])
    if KNOBS[kind].has_unions:
        changes["tokens"] = max(schedule.tokens, 2) if schedule.order == "union" else 1
    if KNOBS[kind].has_partials and schedule.order == "chunk":
        changes["combine"] = "buffer" if schedule.combine == "none" else schedule.combine
        changes["descriptors"] = "none"
    elif KNOBS[kind].has_partials:
        default = generic(kind, backend)
        changes |= {name: getattr(default, name) for name in CHUNK_KNOBS}
    if kind == "attend":
        slots = [c for c in allowed(kind, backend, "parts") if c <= shape.top_k]
        changes["parts"] = min(schedule.parts, slots[-1]) if schedule.order == "token" else 0
        if changes["parts"]:
            changes["descriptors"] = "none"
    elif kind in RANKING and not schedule.parts:
        changes |= {"tokens": max(schedule.tokens, MIN_ROWS), "fan": 1}
    elif kind in RANKING and backend == "triton":
        # Many programs load side by side, which none has to plan ahead, and rank what they find.
        changes |= {"stages": 1, "top_k": "merge", "registers": 0}
    return canonical(kind, backend, adapted(problem, schedule).replace(**changes))


def knob_values(kind: str, backend: str, schedule: Schedule) -> dict[str, Any]:
    """The knobs that the kernel reads, by name: the JSON form of a tuned schedule."""
    return {name: getattr(schedule, name) for name in KNOBS[kind].names(backend)}


def check(
    problem: Problem, schedule: Schedule, backend: str, hardware: Hardware | None = None
) -> None:
    """Refuse a schedule that cannot be lowered or, with `hardware` given, cannot run.

    Raises:
        IllegalSchedule: kind ``"order"``, ``"knob"``, ``"combine"``, ``"split"``,
            ``"chunk_tile"``, ``"shared_memory"``, ``"registers"`` or ``"target"``; the message
            gives the reason.
    """
    check_knobs(problem.kind, schedule, backend)
    check_resources(problem, schedule, backend, hardware)


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


def without_atomics(kind: str, schedule: Schedule) -> Schedule:
    """The same with parts that meet in a buffer, or without parts."""
    if KNOBS[kind].has_partials:
        return schedule.replace(combine="buffer")
    return schedule.replace(split=0, window=0, combine="none")


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
    if KNOBS[kind].has_partials:
        _check_partials(kind, schedule)
        return
    if schedule.split and schedule.window:
        raise IllegalSchedule(
            "split",
            f"{kind} with split={schedule.split} window={schedule.window}: programs share out a "
            "chunk's list by one of them",
        )
    if schedule.combine != combine_of(schedule.split, schedule.window):
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
                "its token's result; give combine='buffer' or 'atomic'",
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


def is_legal(
    problem: Problem, schedule: Schedule, backend: str, hardware: Hardware | None = None
) -> bool:
    """Whether `check` passes."""
    try:
        check(problem, schedule, backend, hardware)
    except IllegalSchedule:
        return False
    return True


def legal_default(problem: Problem, backend: str, hardware: Hardware | None = None) -> Schedule:
    """`defaults.generic`; where that does not fit, with the most stages, pairs a step and keys a
    sub-tile (given up in the opposite order) that do.

    Raises:
        IllegalSchedule: the literal default's own reason, when no smaller tile is legal either.
    """
    default = generic(problem.kind, backend)
    read = KNOBS[problem.kind].names(backend)
    tiles = (default.chunk_tile, 64, 32, 16) if "chunk_tile" in read else (default.chunk_tile,)
    fewer = [c for c in allowed(problem.kind, backend, "pairs") if c <= default.pairs]
    for stages, pairs in itertools.product(range(default.stages, 0, -1), reversed(fewer)):
        for tile in tiles:
            schedule = default.replace(chunk_tile=tile, stages=stages, pairs=pairs)
            if is_legal(problem, schedule, backend, hardware):
                return schedule
    check(problem, default, backend, hardware)
    return default


def smaller_schedules(problem: Problem, backend: str) -> list[Schedule]:
    """What to try, in order, when a schedule turns out too large for a device: the literal
    default, the same with half the tiles, and the smallest tiles of all."""
    default = generic(problem.kind, backend)
    chunk = chunk_size(problem.group.program)
    read = KNOBS[problem.kind].names(backend)

    def shrunk(divisor: int) -> Schedule:
        changes: dict[str, Any] = {"stages": 1} if "stages" in read else {}
        for name in ("tokens", "chunk_block", "dim_block", "pairs"):
            if name in read:
                values = allowed(problem.kind, backend, name)
                limit = getattr(default, name) // divisor
                changes[name] = max([v for v in values if v <= limit], default=min(values))
        if "chunk_tile" in read:
            tiles = [t for t in allowed(problem.kind, backend, "chunk_tile") if 0 < t < chunk]
            limit = chunk // divisor
            smallest = min(tiles, default=0)
            changes["chunk_tile"] = max([t for t in tiles if t <= limit], default=smallest)
        return normal(problem, backend, default.replace(**changes))

    candidates = (adapted(problem, default), shrunk(2), shrunk(1 << 10))
    return list(dict.fromkeys(candidates))


def adapted(problem: Problem, schedule: Schedule) -> Schedule:
    """A schedule of another shape class for this problem: a sub-tile as large as the chunk becomes
    the whole chunk."""
    if schedule.chunk_tile and schedule.chunk_tile >= chunk_size(problem.group.program):
        return schedule.replace(chunk_tile=0)
    return schedule


def candidates(problem: Problem, backend: str) -> Iterator[Schedule]:
    """Every combination of the knobs' values in a fixed order, each kernel once (`normal`), whether
    it fits or not. Combinations that mean nothing are among them."""
    kind = problem.kind
    for order, parts in itertools.product(KNOBS[kind].orders, allowed(kind, backend, "parts")):
        base = generic(kind, backend).replace(order=order, parts=parts)
        if normal(problem, backend, base).parts == parts:
            axes = _axes_of(problem, backend, base)
            for values in itertools.product(*axes.values()):
                yield with_combine(kind, Schedule(**dict(zip(axes, values, strict=True))))


def _axes_of(problem: Problem, backend: str, base: Schedule) -> dict[str, list[Any]]:
    """The values of every knob in the loop order and parts of `base`; one where nobody reads it."""
    kind = problem.kind
    axes: dict[str, list[Any]] = {}
    for name in KNOBS[kind].names(backend):
        if name in ("order", "parts"):
            axes[name] = [getattr(base, name)]
        elif name == "combine" and not KNOBS[kind].has_partials:
            continue  # follows from split and window
        else:
            # Given these two, normal form treats every knob by itself: it is asked axis by axis.
            found = (
                normal(problem, backend, base.replace(**{name: value}))
                for value in allowed(kind, backend, name)
            )
            axes[name] = list(dict.fromkeys(getattr(schedule, name) for schedule in found))
    return axes


def with_combine(kind: str, schedule: Schedule) -> Schedule:
    """The schedule with the only `combine` that its split and window allow, where they decide."""
    if KNOBS[kind].has_partials:
        return schedule
    return schedule.replace(combine=combine_of(schedule.split, schedule.window))


def feasible(
    problem: Problem, backend: str, hardware: Hardware | None = None
) -> tuple[Schedule, ...]:
    """All legal schedules of a problem in a fixed order, each kernel once."""
    found = []
    for schedule in candidates(problem, backend):
        try:
            check_together(problem.kind, schedule)
            check_resources(problem, schedule, backend, hardware)
        except IllegalSchedule:
            continue
        found.append(schedule)
    return tuple(found)
