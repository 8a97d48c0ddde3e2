"""Search spaces: the legal schedules of a problem.

`kernel_knobs` says which knobs a kernel reads, `legality` which values go together. `check` is the
rule that the tuner, the config store and the cost model share: what it lets through, lowering
accepts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.footprint import (
    MIN_ROWS,
    RANKING,
    KernelShape,
    chunk_size,
)
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.kernel_knobs import (
    CHUNK_KNOBS,
    KNOBS,
    allowed,
    canonical,
    on_gpu,
    owning,
)
from hsa_compiler.schedules.legality import check_knobs, check_together, combine_of
from hsa_compiler.schedules.problem import Problem
from hsa_compiler.schedules.resources import check_resources
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule


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
        "pairs": -(-MIN_ROWS // shape.row_group) if on_gpu(backend) else 1,
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
        if schedule.combine == "owned":
            changes |= owning(kind, schedule)
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
    elif kind in RANKING and on_gpu(backend):
        # Many programs load side by side, which none has to plan ahead, and rank what they find.
        changes |= {"stages": 1, "top_k": "merge", "registers": 0}
    return canonical(kind, backend, adapted(problem, schedule).replace(**changes))


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
                chosen = dict(zip(axes, values, strict=True))
                split, window = chosen.get("split", 0), chosen.get("window", 0)
                if split and window:
                    continue  # a list is shared out by one of them
                # Where the kernel has no choice of how parts meet, these two decide.
                chosen.setdefault("combine", combine_of(split, window))
                yield Schedule(**chosen)


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


def judged(
    problem: Problem, backend: str, hardware: Hardware | None = None
) -> Iterator[tuple[Schedule, IllegalSchedule | None]]:
    """Every one of `candidates`, with the reason why it is refused, or None."""
    for schedule in candidates(problem, backend):
        try:
            check_together(problem.kind, schedule)
            check_resources(problem, schedule, backend, hardware)
        except IllegalSchedule as error:
            yield schedule, error
        else:
            yield schedule, None


def feasible(
    problem: Problem, backend: str, hardware: Hardware | None = None
) -> tuple[Schedule, ...]:
    """All legal schedules of a problem in a fixed order, each kernel once."""
    found = judged(problem, backend, hardware)
    return tuple(schedule for schedule, error in found if error is None)
