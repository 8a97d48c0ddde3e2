"""The cost model: predicted time of a schedule, the best schedule without tuning, the roofline.

A kernel's time is the largest of four: its products at the rate the schedule can reach, its DRAM
traffic, its L2 traffic and the launch; plus a small share of the others. What a schedule changes is
how much it re-reads (`traffic`), how full its matrix tiles are and how many bytes it keeps in
flight (`rates`). Every factor is a named number or function; it ranks schedules, it does not
promise times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hsa_compiler.ir.dims import evaluate
from hsa_compiler.schedules import space, split
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.footprint import (
    BYTES,
    CHUNK_SUMS,
    RANKING,
    KernelShape,
    chunk_count,
    footprint,
    visible_chunks,
)
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.partials import PARTIALS_OVERLAP_LOSS, partial_times
from hsa_compiler.schedules.problem import Problem
from hsa_compiler.schedules.rates import (
    ATTEND_PRODUCTS,
    attend_seconds,
    cpu_reach,
    gpu_reach,
    merge_seconds,
    resident_programs,
    threshold_seconds,
)
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.schedules.traffic import (
    Call,
    Work,
    local_union,
    missed_bytes,
    programs_and_reads,
    union_share,
)
from hsa_compiler.schedules.workspace import affordable

#: Share of the other resources' times that the binding one does not hide: on a GPU whose attention
#: programs compute, of selection on a GPU, and elsewhere.
ATTEND_OVERLAP_LOSS = 0.2
RANKING_OVERLAP_LOSS = 0.4
OVERLAP_LOSS = 0.1
#: Element operations a running top-k costs for each score.
TOP_K_OPS = 24.0


@dataclass(frozen=True)
class Prediction:
    """The predicted seconds of one launch and which resource binds it.

    `bound` is ``"compute"``, ``"dram"``, ``"l2"`` or ``"launch"`` (its start, or the steps of one
    program, which wait for each other); `resident` the programs a
    multiprocessor holds at once.
    """

    schedule: Schedule
    seconds: float
    bound: str
    flops: float
    dram_bytes: float
    l2_bytes: float
    shared_bytes: int
    resident: int


@dataclass(frozen=True)
class Roofline:
    """The least seconds any schedule needs on a device, and why."""

    seconds: float
    bound: str
    flops: float
    bytes: float

    def share(self, measured_seconds: float) -> float:
        """The share of the roofline that a measured time reaches, 0 to about 1."""
        return self.seconds / measured_seconds


def work(problem: Problem, sizes: Mapping[str, int]) -> Work:
    """The work of a call: `sizes` binds the dynamic dims its types mention.

    Only slots that a causal call fills count (`mean_slots`).
    """
    shape = KernelShape.of(problem)
    dims = {**dict(problem.dims), **sizes}
    rows = sizes.get("B", 1) * sizes.get("R", sizes.get("L", 1))
    tokens = sizes.get("B", 1) * sizes.get("L", sizes.get("R", 1))
    chunks = chunk_count(problem, sizes) or shape.top_k
    slots = mean_slots(shape.top_k, chunks, sizes.get("R", sizes.get("L", 1)))
    moved = 0.0
    program = problem.group.program
    # Kernels of rows find their chunks by the indices, or by their inverse index: not by both.
    unread = ("order", "offsets") if shape.kind in ("attend", "attend_grad_q") else ()
    # What is read at chosen chunks alone, and the most elements of it that the slots name.
    each = shape.chunk * shape.head_dim * shape.programs
    gathered = {"k": each, "v": each}
    if shape.kind not in RANKING:
        gathered["landmarks"] = shape.retrieval_dim * shape.score_heads
    for value in (*program.inputs, *program.outputs):
        if value.name in unread:
            continue
        count = float(math.prod(evaluate(dim, dims) for dim in value.type.shape))
        if value.name in gathered:
            count = min(count, tokens * slots * gathered[value.name])
        moved += count * BYTES[value.type.dtype]
    if shape.kind in ATTEND_PRODUCTS:
        heads = shape.programs * shape.row_group
        per_slot = 2.0 * shape.chunk * shape.head_dim * ATTEND_PRODUCTS[shape.kind]
        return Work(tokens * heads * slots * per_slot, moved, tokens * slots, tokens)
    retrieval = 2.0 * rows * shape.score_heads * shape.retrieval_dim
    if shape.kind in RANKING:
        visible = visible_chunks(chunks, sizes.get("R", sizes.get("L", 1)))
        return Work(retrieval * visible, moved, rows * slots, rows)
    if shape.kind == "invert_index":
        return Work(0.0, moved, rows * slots, rows)
    return Work(retrieval * slots, moved, rows * slots, rows)


def mean_slots(top_k: int, chunks: int, rows: int) -> float:
    """Slots that a row fills on average: row r of `rows` sees ``floor(r * chunks / rows)`` chunks.

    Fewer rows than chunks are the end of a sequence (decoding, or a segment of a prefill): they see
    nearly all chunks.
    """
    if rows <= chunks:
        return min(top_k, chunks)
    full = min(top_k, chunks)
    return full - full * (full + 1) / (2 * chunks)


def roofline(problem: Problem, sizes: Mapping[str, int], hardware: Hardware) -> Roofline:
    """The floor of a call on a device: its FLOPs at the peak rate, or its bytes once over DRAM.

    Selected chunks count once however often they are read: what a cache could serve, it might.
    """
    todo = work(problem, sizes)
    compute = todo.flops / hardware.rate(KernelShape.of(problem).dtype)
    memory = todo.bytes / hardware.dram_bandwidth
    bound = "compute" if compute >= memory else "dram"
    return Roofline(max(compute, memory), bound, todo.flops, todo.bytes)


def predict(
    problem: Problem,
    schedule: Schedule,
    sizes: Mapping[str, int],
    hardware: Hardware,
    union: float | None = None,
    backend: str | None = None,
    todo: Work | None = None,
) -> Prediction:
    """The predicted time of one schedule; it should be legal (`space.check`).

    `union` is the measured number of chunks in the union of 16 neighbouring tokens, over K; `todo`
    the call's `work`, where it is known.
    """
    shape = KernelShape.of(problem)
    backend = backend or _backend(hardware)
    todo = todo or work(problem, sizes)
    held = footprint(shape, schedule, backend)
    chunks = chunk_count(problem, sizes)
    union = union or local_union(shape.top_k, max(chunks, 1))
    call = Call(shape, schedule, sizes, chunks, todo, union)
    recomputed = _recomputed(shape, schedule)
    # Sub-tiled gradients walk a chunk twice: the softmax first, then its gradient.
    programs, read = programs_and_reads(call, 1.0 if recomputed == 1.0 else 2.0)
    # Without a single chunk or row nothing is launched, but schedules must still be ranked.
    programs = max(programs, 1.0)
    l2_bytes = todo.bytes + read
    dram_bytes = todo.bytes + missed_bytes(call, read, hardware)
    flops = todo.flops * held.padded_rows / held.rows * recomputed * union_share(call)
    scores = todo.flops / max(2.0 * shape.retrieval_dim, 1) if shape.kind in RANKING else 0.0
    lost = OVERLAP_LOSS
    if hardware.kind == "cuda":
        resident = resident_programs(schedule, held, hardware)
        rate, reach = gpu_reach(shape, schedule, held, programs, resident, hardware)
    else:
        resident = 1
        rate, reach = cpu_reach(shape, schedule, held, programs, hardware)
    around = 0.0
    times = {
        "dram": dram_bytes / (hardware.dram_bandwidth * reach),
        "l2": l2_bytes / (hardware.l2_bandwidth * reach),
        "launch": hardware.launch_seconds,
    }
    if hardware.kind == "cuda" and shape.kind in RANKING and schedule.parts:
        times = {"dram": split.select_seconds(call, held, resident, hardware)}
    elif hardware.kind == "cuda" and shape.kind == "invert_index":
        times = {"l2": l2_bytes / hardware.l2_bandwidth, "launch": split.invert_seconds(call)}
    elif hardware.kind == "cuda" and call.has_partials:
        parts = partial_times(call, held, flops, programs, resident, hardware)
        times |= {"compute": parts.compute, "l2": parts.l2, "dram": parts.dram}
        lost, around = PARTIALS_OVERLAP_LOSS, parts.around
    elif hardware.kind == "cuda" and shape.kind in ATTEND_PRODUCTS:
        times["compute"] = attend_seconds(call, held, flops, programs, resident, hardware)
        lost = ATTEND_OVERLAP_LOSS
    elif hardware.kind == "cuda" and shape.kind in RANKING:
        of_kernel = threshold_seconds if schedule.top_k == "threshold" else merge_seconds
        times["compute"] = of_kernel(call, held, flops, programs, resident, hardware)
        lost = RANKING_OVERLAP_LOSS
    else:
        times["compute"] = flops / rate + scores * TOP_K_OPS / hardware.fp32_rate
    if hardware.kind == "cuda" and "launch" in times:
        walked = todo.slots / max(todo.rows, 1.0) * union_share(call)
        times["launch"] = max(times["launch"], split.chain_seconds(call, walked))
    bound = max(times, key=lambda name: times[name])
    # The others overlap with the binding one, but never wholly.
    seconds = times[bound] + lost * (sum(times.values()) - times[bound]) + around
    if hardware.kind != "cuda" and call.has_partials:
        seconds += hardware.launch_seconds  # of the kernel that adds parts
    if hardware.kind != "cuda" and shape.kind in RANKING and schedule.parts:
        seconds += split.cpu_choose_seconds(call, hardware)
    if shape.kind == "attend" and schedule.parts:
        seconds += split.combine_seconds(call, shape.programs * shape.row_group, hardware)
    return Prediction(
        schedule, seconds, bound, flops, dram_bytes, l2_bytes, held.shared_bytes, resident
    )


def ranked(
    problem: Problem,
    sizes: Mapping[str, int],
    hardware: Hardware,
    union: float | None = None,
    backend: str | None = None,
) -> tuple[Prediction, ...]:
    """Every feasible schedule whose buffers the device can afford, with its prediction, the fastest
    first; ties by the literal default, then by name, so that the order is the same everywhere."""
    backend = backend or _backend(hardware)
    found = _predictions(problem, sizes, hardware, union, backend)
    return tuple(sorted(found, key=place(problem, backend)))


def best(
    problem: Problem,
    sizes: Mapping[str, int],
    hardware: Hardware,
    union: float | None = None,
    backend: str | None = None,
) -> Prediction:
    """The first of `ranked`.

    Raises:
        IllegalSchedule: kind ``"space"``, when no schedule of the space fits the device.
    """
    backend = backend or _backend(hardware)
    found = _predictions(problem, sizes, hardware, union, backend)
    if not found:
        raise IllegalSchedule("space", f"no schedule of {problem.kind} fits {hardware.name}")
    # Only those that tie need the rest of the order.
    least = min(p.seconds for p in found)
    return min((p for p in found if p.seconds == least), key=place(problem, backend))


def _predictions(
    problem: Problem,
    sizes: Mapping[str, int],
    hardware: Hardware,
    union: float | None,
    backend: str,
) -> list[Prediction]:
    """Every feasible schedule whose buffers the device can afford."""
    todo = work(problem, sizes)
    return [
        predict(problem, schedule, sizes, hardware, union, backend, todo)
        for schedule in space.feasible(problem, backend, hardware)
        if affordable(problem, schedule, sizes, hardware)
    ]


def planned(
    problem: Problem,
    sizes: Mapping[str, int],
    hardware: Hardware,
    union: float | None = None,
    backend: str | None = None,
) -> Schedule:
    """The cost model's best schedule for a call on a device; raises like `best`."""
    return best(problem, sizes, hardware, union, backend).schedule


def _backend(hardware: Hardware) -> str:
    return "triton" if hardware.kind == "cuda" else "tvm"


def place(problem: Problem, backend: str) -> Callable[[Prediction], tuple[float, int, str]]:
    """What orders predictions: time, then knobs that differ from the literal default, then name."""
    default = vars(generic(problem.kind, backend))

    def key(prediction: Prediction) -> tuple[float, int, str]:
        # Not by to_json, which copies: thousands are compared.
        knobs = vars(prediction.schedule).items()
        moves = sum(value != default[name] for name, value in knobs)
        return prediction.seconds, moves, str(prediction.schedule)

    return key


def _recomputed(shape: KernelShape, schedule: Schedule) -> float:
    """How many times more products a sub-tiled gradient computes: the softmax statistics of the
    whole chunk (two products) come first, in sums over a chunk's rows for every sub-tile.
    The joint softmax knows its statistics. Threshold selection scores every chunk twice."""
    if schedule.top_k == "threshold":
        return 2.0
    tiles = shape.key_tiles(schedule)
    if tiles == 1 or shape.joint or shape.kind not in ("attend_grad_q", *CHUNK_SUMS):
        return 1.0
    again = 2 if shape.kind == "attend_grad_q" else 2 * tiles
    return 1.0 + again / ATTEND_PRODUCTS[shape.kind]
