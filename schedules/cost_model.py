"""The cost model: predicted time of a schedule, the best schedule without tuning, the roofline.

A kernel's time is the largest of four: its products at the rate the schedule can reach, its DRAM
traffic, its L2 traffic and the launch; plus a small share of the others. What a schedule changes is
how much it re-reads, how full its matrix tiles are, and how many bytes it keeps in flight. Every
factor stands below as a named number or function; it ranks schedules, it does not promise times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hsa_compiler.ir.dims import evaluate
from hsa_compiler.schedules import space
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.footprint import (
    BYTES,
    MAX_REGISTERS,
    WGMMA_ROWS,
    Footprint,
    KernelShape,
    chunk_count,
    footprint,
)
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import Problem
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule

#: Products over a chunk (each 2 * S * D FLOPs a query head and slot) that a kernel computes.
ATTEND_PRODUCTS = {"attend": 2, "attend_grad_q": 3, "attend_grad_kv": 4}
#: Chunks in the union of 16 neighbouring tokens, over K, where nobody measured it.
DEFAULT_UNION = 1.3
#: Seconds from a load's issue to its data, on a GPU (L2 hit under load).
LOAD_SECONDS = 8e-7
#: Share of the tensor core's rate that tiles of fewer than 64 rows reach (mma.sync, no wgmma).
SMALL_TILE_RATE = 0.6
#: Share of the other resources' times that the binding one does not hide.
OVERLAP_LOSS = 0.1
#: Bytes that adding one fp32 element atomically moves: read and written.
ATOMIC_BYTES = 8.0
#: fp32 lanes of a CPU's multiply-add unit.
CPU_LANES = 8
#: The innermost cache of a CPU core.
CPU_L1_BYTES = 32 * 1024
#: Share of a CPU's rate with lanes over chunk positions (horizontal sums, packing).
COLS_RATE = 0.7
#: Registers of a thread that hold no tile: addresses, masks, loop state.
REGISTERS_AROUND = 40
#: Share of the rate left when a chunk is walked in sub-tiles with a running maximum.
SUB_TILE_RATE = 0.9
#: How many times slower a program gets that spills its accumulators.
SPILL_COST = 3.0
#: Element operations a running top-k costs for each score.
TOP_K_OPS = 24.0


@dataclass(frozen=True)
class Work:
    """What a call must do whatever the schedule: FLOPs, bytes that DRAM must move once, and the
    filled slots of how many tokens (or retrieval rows)."""

    flops: float
    bytes: float
    slots: float
    rows: float


@dataclass(frozen=True)
class Prediction:
    """The predicted seconds of one launch and which resource binds it.

    `bound` is ``"compute"``, ``"dram"``, ``"l2"`` or ``"launch"``; `resident` the programs a
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
    for value in (*program.inputs, *program.outputs):
        count = math.prod(evaluate(dim, dims) for dim in value.type.shape)
        moved += count * BYTES[value.type.dtype]
    if shape.kind in ATTEND_PRODUCTS:
        heads = shape.programs * shape.row_group
        per_slot = 2.0 * shape.chunk * shape.head_dim * ATTEND_PRODUCTS[shape.kind]
        return Work(tokens * heads * slots * per_slot, moved, tokens * slots, tokens)
    retrieval = 2.0 * rows * shape.score_heads * shape.retrieval_dim
    if shape.kind == "select":
        # A causal call sees half of the chunks on average.
        return Work(retrieval * max(chunks / 2, 1), moved, rows * slots, rows)
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
) -> Prediction:
    """The predicted time of one schedule; it should be legal (`space.check`).

    `union` is the measured number of chunks in the union of 16 neighbouring tokens, over K.
    """
    shape = KernelShape.of(problem)
    backend = backend or _backend(hardware)
    todo = work(problem, sizes)
    held = footprint(shape, schedule, backend)
    chunks = chunk_count(problem, sizes)
    walked = _union_share(schedule, union or DEFAULT_UNION, chunks, todo)
    programs, read = _traffic(shape, schedule, sizes, chunks, todo, walked)
    # Without a single chunk or row nothing is launched, but schedules must still be ranked.
    programs = max(programs, 1.0)
    l2_bytes = todo.bytes + read
    dram_bytes = todo.bytes + _misses(shape, schedule, sizes, todo, read, hardware, union)
    flops = todo.flops * held.padded_rows / held.rows * _recomputed(shape, schedule) * walked
    scores = todo.flops / max(2.0 * shape.retrieval_dim, 1) if shape.kind == "select" else 0.0
    if hardware.kind == "cuda":
        resident = _resident(schedule, held, hardware)
        rate, reach = _gpu_reach(shape, schedule, held, programs, resident, hardware)
    else:
        resident = 1
        rate, reach = _cpu_reach(shape, schedule, held, programs, hardware)
    compute = flops / rate + scores * TOP_K_OPS / hardware.fp32_rate
    times = {
        "compute": compute,
        "dram": dram_bytes / (hardware.dram_bandwidth * reach),
        "l2": l2_bytes / (hardware.l2_bandwidth * reach),
        "launch": hardware.launch_seconds,
    }
    bound = max(times, key=lambda name: times[name])
    # The other two overlap with the binding one, but never wholly.
    seconds = times[bound] + OVERLAP_LOSS * (sum(times.values()) - times[bound])
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
    """Every feasible schedule with its prediction, the fastest first; ties by the literal default,
    then by name, so that the order is the same everywhere."""
    backend = backend or _backend(hardware)
    default = generic(problem.kind, backend)
    found = [
        predict(problem, schedule, sizes, hardware, union, backend)
        for schedule in space.feasible(problem, backend, hardware)
    ]
    return tuple(
        sorted(found, key=lambda p: (p.seconds, _moves(p.schedule, default), str(p.schedule)))
    )


def planned(
    problem: Problem,
    sizes: Mapping[str, int],
    hardware: Hardware,
    union: float | None = None,
    backend: str | None = None,
) -> Schedule:
    """The cost model's best schedule for a call on a device.

    Raises:
        IllegalSchedule: kind ``"space"``, when no schedule of the space fits the device.
    """
    best = ranked(problem, sizes, hardware, union, backend)
    if not best:
        raise IllegalSchedule("space", f"no schedule of {problem.kind} fits {hardware.name}")
    return best[0].schedule


def _backend(hardware: Hardware) -> str:
    return "triton" if hardware.kind == "cuda" else "tvm"


def _moves(schedule: Schedule, default: Schedule) -> int:
    """How many knobs differ."""
    mine, theirs = schedule.to_json(), default.to_json()
    return sum(mine[name] != theirs[name] for name in mine)


def _union_share(schedule: Schedule, union: float, chunks: int, todo: Work) -> float:
    """Chunks that a tile of tokens walks in union order, over those that one of its tokens chose;
    1 in the other orders.

    Of `union`, that of 16 neighbours, a smaller tile has its share by powers of two; beyond 16 the
    neighbours' neighbours choose almost independently. No tile walks more than all chunks.
    """
    if schedule.order != "union" or not todo.slots:
        return 1.0
    doublings = math.log2(schedule.tokens)
    share = max(union, 1.0) ** (min(doublings, 4) / 4) * 2 ** (0.8 * max(doublings - 4, 0))
    return min(share, max(chunks * todo.rows / todo.slots, 1.0))


def _traffic(
    shape: KernelShape,
    schedule: Schedule,
    sizes: Mapping[str, int],
    chunks: int,
    todo: Work,
    walked: float,
) -> tuple[float, float]:
    """Programs of the launch, and bytes its programs read through L2 beyond the tensors once."""
    batch, chunks = sizes.get("B", 1), max(chunks, 1)
    rows = sizes.get("R", sizes.get("L", 1))
    tokens = sizes.get("L", rows)
    chunk_bytes = 2.0 * shape.chunk * shape.head_dim * shape.width
    tiles = shape.key_tiles(schedule)
    if shape.kind in ("attend", "attend_grad_q"):
        # Sub-tiled gradients walk a chunk twice: the softmax first, then its gradient.
        walks = 1 if _recomputed(shape, schedule) == 1.0 else 2
        read = todo.slots * walked / schedule.tokens * shape.programs * chunk_bytes * walks
        return batch * math.ceil(tokens / schedule.tokens) * shape.programs, read
    pairs = todo.slots
    if shape.kind == "attend_grad_kv":
        row_bytes = 2.0 * shape.row_group * shape.head_dim * shape.width
        read = pairs * shape.programs * row_bytes * tiles
        count, flushes = _shared_lists(schedule, pairs, batch * chunks)
        heads = shape.programs if schedule.split else shape.kv_heads
        added = flushes * heads * 2 * shape.chunk * shape.head_dim * ATOMIC_BYTES
        return count * heads * tiles, read + added
    if shape.kind == "select":
        blocks = batch * math.ceil(rows / schedule.tokens) * shape.index_heads
        block = max(schedule.chunk_block, shape.top_k)
        # Every step reads a block of landmarks, and the tile's queries again.
        step = (block + schedule.tokens) * shape.retrieval_dim * shape.width
        members = shape.score_heads / shape.index_heads
        return blocks, blocks * members * max(chunks / 2 / block, 1.0) * step
    if shape.kind == "landmark_grad":
        read = pairs * shape.score_heads * shape.retrieval_dim * shape.width
        count, flushes = _shared_lists(schedule, pairs, batch * chunks)
        tiles = math.ceil(shape.retrieval_dim / schedule.dim_block)
        added = flushes * shape.score_heads * shape.retrieval_dim * ATOMIC_BYTES
        return count * tiles * shape.score_heads, read + added
    if shape.kind == "invert_index":
        counters = 8.0 * schedule.index_blocks * batch * chunks
        return batch * schedule.index_blocks, pairs * 8.0 + counters
    heads = shape.weight_heads if shape.kind == "weigh" else shape.score_heads
    return batch * rows * heads, pairs * heads * shape.retrieval_dim * shape.width


def _recomputed(shape: KernelShape, schedule: Schedule) -> float:
    """How many times more products a sub-tiled gradient computes: the softmax statistics of the
    whole chunk (two products) come first, in the gradient of keys and values for every sub-tile.
    The joint softmax knows its statistics."""
    tiles = shape.key_tiles(schedule)
    if tiles == 1 or shape.joint or shape.kind not in ("attend_grad_q", "attend_grad_kv"):
        return 1.0
    again = 2 if shape.kind == "attend_grad_q" else 2 * tiles
    return 1.0 + again / ATTEND_PRODUCTS[shape.kind]


def _shared_lists(schedule: Schedule, pairs: float, chunks: int) -> tuple[float, float]:
    """Programs that share out `pairs` over the lists of all chunks, and how often one of them adds
    a chunk's part atomically."""
    if not schedule.split:
        return chunks, 0.0
    programs = math.ceil(pairs / schedule.split)
    return programs, programs + chunks


def _misses(
    shape: KernelShape,
    schedule: Schedule,
    sizes: Mapping[str, int],
    todo: Work,
    read: float,
    hardware: Hardware,
    union: float | None,
) -> float:
    """Bytes of re-reads that the L2 cache cannot serve.

    Keys and values that fit the cache are read from DRAM once. Larger ones are missed once for
    every 16 neighbouring tokens, which share the chunks of their union.
    """
    if shape.kind not in ("attend", "attend_grad_q"):
        return 0.0 if todo.bytes <= hardware.l2_bytes else 0.1 * read
    keys_and_values = (
        2.0
        * sizes.get("B", 1)
        * sizes.get("Lkv", 0)
        * shape.programs
        * shape.head_dim
        * shape.width
    )
    if keys_and_values <= hardware.l2_bytes:
        return 0.0
    # A tile in union order reads for all of its tokens at once.
    sharing = max(16 / schedule.tokens, 1.0)
    return min(read, read * (union or DEFAULT_UNION) / sharing)


def _resident(schedule: Schedule, held: Footprint, hardware: Hardware) -> int:
    """Programs that fit a multiprocessor at once, by shared memory, registers and threads."""
    threads = 32 * schedule.warps
    registers = min(MAX_REGISTERS, REGISTERS_AROUND + math.ceil(held.live / threads)) * threads
    return max(
        1,
        min(
            hardware.shared_per_unit // max(held.shared_bytes, 1024),
            hardware.registers_per_unit // registers,
            hardware.threads_per_unit // threads,
            32,
        ),
    )


def _gpu_reach(
    shape: KernelShape,
    schedule: Schedule,
    held: Footprint,
    programs: float,
    resident: int,
    hardware: Hardware,
) -> tuple[float, float]:
    """The FLOP/s and the share of the bandwidths that a schedule can use on a GPU."""
    busy = min(1.0, programs / hardware.units)
    running = min(float(resident), max(1.0, programs / hardware.units))
    # Little's law: the bytes a multiprocessor must have in flight to keep its share of L2 busy.
    needed = hardware.l2_bandwidth / hardware.units * LOAD_SECONDS
    in_flight = running * held.step_bytes * max(schedule.stages - 1, 0.5)
    rate = hardware.rate(shape.dtype) * busy * min(1.0, running * schedule.warps / 8)
    wide = held.padded_rows >= WGMMA_ROWS and schedule.warps >= 4
    if not wide:
        # Few rows are shared by several warps, which must meet for every softmax.
        rate /= 1.0 + 0.1 * math.log2(schedule.warps)
        if hardware.arch not in ("sm_80", "sm_86", "sm_89"):
            rate *= SMALL_TILE_RATE
    if shape.key_tiles(schedule) > 1:
        rate *= SUB_TILE_RATE
    if REGISTERS_AROUND + held.live / (32 * schedule.warps) > MAX_REGISTERS:
        rate /= SPILL_COST
    return rate, busy * min(1.0, in_flight / needed)


def _cpu_reach(
    shape: KernelShape, schedule: Schedule, held: Footprint, programs: float, hardware: Hardware
) -> tuple[float, float]:
    """The FLOP/s and the share of the bandwidths that a schedule can use on a CPU."""
    busy = min(1.0, programs / hardware.units)
    rows = held.rows
    rate = hardware.rate(shape.dtype) * busy
    if shape.kind in ATTEND_PRODUCTS or shape.kind == "select":
        full = rows / (CPU_LANES * math.ceil(rows / CPU_LANES))
        rate *= full if schedule.lanes == "rows" else COLS_RATE
        # A core needs about eight independent sums to hide the latency of its multiply-adds.
        rate *= math.sqrt(min(1.0, schedule.unroll / 8))
        if shape.kind == "select" and 4 * held.live > CPU_L1_BYTES:
            rate *= 0.7
    else:
        # Short loops over dims cost their starts and their sums over lanes.
        busy *= schedule.dim_block / (schedule.dim_block + 32)
        rate *= 0.5
    if shape.key_tiles(schedule) > 1:
        rate *= SUB_TILE_RATE
    return rate, busy
