"""How fast programs compute under a schedule, on a GPU and on a CPU; part of the cost model.

On a GPU the time of an attention kernel is that of its products plus that of its other
instructions: programs of one multiprocessor tend to meet at the matrix unit and to leave it
together, so that the two hide each other only a little, the more the more warps there are.
Constants were fitted to 1370 schedules measured on an H100 (benchmarks/notes.md).
"""

from __future__ import annotations

import math

from hsa_compiler.schedules.footprint import (
    CHUNK_SUMS,
    MAX_REGISTERS,
    RANKING,
    WGMMA_ROWS,
    WGMMA_WARPS,
    Footprint,
    KernelShape,
    list_capacity,
    power_of_two,
    prefetches,
    ranked_block,
    visible_chunks,
)
from hsa_compiler.schedules.hardware import WARP, Hardware
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.schedules.traffic import Call, longest_list

#: Products over a chunk (each 2 * S * D FLOPs a query head and slot) that a kernel computes.
ATTEND_PRODUCTS = {"attend": 2, "attend_grad_q": 3, "attend_grad_kv": 4, "attend_grad": 5}
#: Other instructions that it issues for each logit.
LOGIT_OPS = {"attend": 13.0, "attend_grad_q": 18.0, "attend_grad_kv": 20.0, "attend_grad": 22.0}
#: Instructions of a comparison of two pairs when unions are listed.
UNION_OPS = 5.0
#: Lanes of a multiprocessor, and how much slower a program that lists a union is when nobody hides
#: its waits.
LANES_PER_UNIT, LIST_STALLS = 128, 2.0
#: Seconds from a load's issue to its data, on a GPU (L2 hit under load).
LOAD_SECONDS = 8e-7
#: Share of the tensor core's rate that tiles of fewer than 64 rows reach (mma.sync, no wgmma).
SMALL_TILE_RATE = 0.6
#: Warps of a multiprocessor over which this share of a program's time stays unhidden.
UNHIDDEN_WARPS = 2.0
#: The same where the products of a step run one by one: registers that do not suffice for those in
#: flight (ptxas says C7512).
UNHIDDEN_SERIAL_WARPS = 3.0
#: How much slower a program is that has its multiprocessor to itself: nothing runs at its barriers.
ALONE_COST = 1.2
#: How much slower warps are that share the rows of a matrix instruction: of the logits, and of the
#: keys' gradients.
SPLIT_ROWS_COST = 1.8
SPLIT_KEYS_COST = 1.3
#: Registers of a thread that hold no tile: addresses, masks, loop state.
REGISTERS_AROUND = 40
#: Share of the rate left when a chunk is walked in sub-tiles with a running maximum: on a GPU,
#: where the sums so far leave the matrix unit to be rescaled, and on a CPU.
SUB_TILE_RATE = 0.6
CPU_SUB_TILE_RATE = 0.9
#: How much slower a program is whose loads are not issued before they are needed, and the time left
#: of one that issues them a whole step ahead.
UNPREFETCHED_COST = 1.17
PREFETCH_GAIN = 0.9
#: Time left when the copy engine loads keys and values (no addresses), and query rows that then
#: stay in registers (half the shared memory that their products read).
DESCRIPTOR_GAIN = {"none": 1.0, "keys": 0.95, "all": 0.87}
#: Share of the registers that, when it is missing, makes a program twice as slow.
SPILLED_SHARE = 0.25
#: Instructions of threshold selection: for each chunk a row passes, for each block of them, for
#: each further head whose scores are reduced, and for each lane and each list entry of a row.
PASS_OPS = 26.0
BLOCK_OPS = 500.0
SCORE_OPS = 12.0
LANE_OPS = 115.0
ENTRY_OPS = 225.0
#: Instructions of merging selection for each chunk a row passes, and for each of these and slot.
MERGE_OPS = 110.0
MERGE_SLOT_OPS = 6.0
#: Registers of threshold selection for each score of a block, while passing, and for each list
#: entry, while choosing.
PASS_REGISTERS = 5.5
LIST_REGISTERS = 4.5
#: Warps of a multiprocessor with which its instructions are half as fast as they could be.
LATENCY_WARPS = 11.0
#: How warps that share 16 rows slow selection (power of their number), how much slower tiles of
#: fewer than 64 rows are, and what missing registers cost: a power of their share of all.
SPLIT_POWER = 0.7
SMALL_TILE_COST = 1.3
#: How much slower more than 4 warps are, which all meet for every block.
MANY_WARPS_COST = 1.15
SPILL_COST = 3.0
SPILL_POWER = 1.5
#: fp32 lanes of a CPU's multiply-add unit.
CPU_LANES = 8
#: Rows from which on a CPU's products reach their rate, and the share of it below.
CPU_ROWS, FEW_ROWS_RATE = 16, 0.75
#: The innermost cache of a CPU core.
CPU_L1_BYTES = 32 * 1024
#: Share of a CPU's rate that is left when every pair's part is written and read again.
CPU_PARTS_RATE = 0.6
#: The same where the program that owns the rows adds them, which lie along their dims.
CPU_OWNED_RATE = {"rows": 0.72, "cols": 1.05}
#: And where it sums over chunks' rows as well: 5 products a chunk for the overhead of one.
CPU_OWNED_SUMS_RATE = {"rows": 0.81, "cols": 1.2}
#: What is left of it where a tile of rows outgrows the innermost cache.
CPU_LARGE_TILE_RATE = 0.85
#: Share of a CPU's rate with lanes over chunk positions (horizontal sums, packing).
COLS_RATE = 0.7


def registers(schedule: Schedule, held: Footprint) -> int:
    """Registers of a GPU thread, before any limit."""
    return REGISTERS_AROUND + math.ceil(held.live / (WARP * schedule.warps))


def allotted_registers(schedule: Schedule, held: Footprint) -> int:
    """Registers of a GPU thread, within its limit."""
    return min(schedule.registers or MAX_REGISTERS, registers(schedule, held))


def resident_programs(schedule: Schedule, held: Footprint, hardware: Hardware) -> int:
    """Programs that fit a multiprocessor at once, by shared memory, registers and threads."""
    each = allotted_registers(schedule, held)
    return programs_that_fit(hardware, WARP * schedule.warps, each, held.shared_bytes)


def programs_that_fit(hardware: Hardware, threads: int, registers: int, shared_bytes: int) -> int:
    """How many programs of `threads` threads, with so many registers each, a multiprocessor holds
    at once; 1 at least."""
    return max(
        1,
        min(
            hardware.shared_per_unit // max(shared_bytes, 1024),
            hardware.registers_per_unit // (registers * threads),
            hardware.threads_per_unit // threads,
            32,
        ),
    )


def attend_seconds(
    call: Call,
    held: Footprint,
    flops: float,
    programs: float,
    resident: int,
    hardware: Hardware,
) -> float:
    """Seconds that an attention kernel computes on a GPU: `flops` in products, and the rest."""
    shape, schedule = call.shape, call.schedule
    rate = hardware.rate(shape.dtype) * _tile_rate(schedule, held, hardware)
    logits = flops / (2.0 * shape.head_dim * ATTEND_PRODUCTS[shape.kind])
    issued = logits * LOGIT_OPS[shape.kind] / (hardware.fp32_rate / 2)
    seconds = flops / rate + issued
    # Several warps that share a few rows must meet for every softmax.
    if held.padded_rows < 16 * schedule.warps:
        seconds *= SPLIT_ROWS_COST
    elif shape.kind in CHUNK_SUMS and shape.key_tile(schedule) < 16 * schedule.warps:
        seconds *= SPLIT_KEYS_COST
    if shape.key_tiles(schedule) > 1:
        seconds /= SUB_TILE_RATE
    if schedule.stages == 1 and (shape.kind in CHUNK_SUMS or not call.has_partials):
        seconds *= UNPREFETCHED_COST
    elif prefetches(shape, schedule):
        seconds *= PREFETCH_GAIN
    seconds *= DESCRIPTOR_GAIN[schedule.descriptors]
    seconds *= _spilling(schedule, held)
    per_unit = max(1.0, programs / hardware.units)
    running = min(float(resident), per_unit)
    serial = 0 < schedule.registers <= registers(schedule, held)
    unhidden = UNHIDDEN_SERIAL_WARPS if serial else UNHIDDEN_WARPS
    stalled = seconds * (1.0 + unhidden / (running * schedule.warps))
    if running < 2:
        stalled *= ALONE_COST
    stalled /= min(1.0, programs / hardware.units)
    if schedule.order == "chunk":
        # The busiest program alone: its share of the work at a multiprocessor's whole rate, but
        # with nobody to hide its waits.
        share = longest_list(call) / max(call.todo.slots * shape.programs, 1.0)
        alone = seconds * hardware.units * (1.0 + UNHIDDEN_WARPS) * share
        stalled = max(stalled, alone)
    if schedule.order == "union":
        lists = call.todo.rows / schedule.tokens * shape.index_heads
        each = UNION_OPS * (schedule.tokens * shape.top_k) ** 2
        # All lists by all lanes of the device, but no list faster than its warps alone.
        lanes = hardware.units * LANES_PER_UNIT
        alone = each * LIST_STALLS * lanes / min(WARP * schedule.warps, LANES_PER_UNIT)
        stalled += max(lists * each, alone) / (hardware.fp32_rate / 2)
    return stalled


def threshold_seconds(
    call: Call,
    held: Footprint,
    flops: float,
    programs: float,
    resident: int,
    hardware: Hardware,
) -> float:
    """Seconds that threshold selection computes on a GPU: `flops` in products of scores, those
    that count a block's candidates, passes, searches and stores."""
    shape, schedule = call.shape, call.schedule
    block = ranked_block(shape, schedule)
    rows = call.batch * call.rows * shape.index_heads
    # A tile of rows passes over whole blocks.
    passes = visible_chunks(max(call.chunks, 1), call.rows) / block + 0.5
    elements = rows * passes * block
    members = shape.score_heads / shape.index_heads
    products = flops + elements * 2.0 * block
    rate = hardware.rate(shape.dtype) * _tile_rate(schedule, held, hardware)
    listed = rows * ENTRY_OPS * list_capacity(shape.top_k)
    searched = rows * LANE_OPS * block
    passed = elements * (PASS_OPS + SCORE_OPS * (members - 1)) + rows * passes * BLOCK_OPS
    # The last rows of a causal call pass twice the average; many programs even that out.
    uneven = 1.0 + min(hardware.units / programs, 1.0) if call.rows > call.chunks else 1.0
    passed, products = passed * uneven, products * uneven
    # Registers that are missing slow the phase that needs them.
    by_dims = schedule.dim_block < shape.retrieval_dim
    passed *= _overfull(schedule, PASS_REGISTERS * block * (1.5 if by_dims else 1.0))
    listed *= _overfull(schedule, LIST_REGISTERS * list_capacity(shape.top_k))
    issued = (passed + searched + listed) * _shared_rows(schedule, held)
    if held.padded_rows < WGMMA_ROWS:
        issued *= SMALL_TILE_COST
    waiting = 0.0
    if by_dims:
        # Loads of dims in blocks are not prefetched past the end of a row.
        steps = 2.0 * passes * members * shape.retrieval_dim / schedule.dim_block
        waves = max(programs / hardware.units / resident, 1.0)
        waiting = steps * waves * LOAD_SECONDS / max(schedule.stages - 1, 0.5)
    return (
        waiting
        + products / rate / _busy(programs, hardware)
        + _issue_seconds(schedule, issued, programs, resident, hardware)
    )


def merge_seconds(
    call: Call,
    held: Footprint,
    flops: float,
    programs: float,
    resident: int,
    hardware: Hardware,
) -> float:
    """Seconds that merging selection computes on a GPU."""
    schedule = call.schedule
    rate = hardware.rate(call.shape.dtype) * _tile_rate(schedule, held, hardware)
    kept = power_of_two(call.shape.top_k)
    # Whole blocks, and the final order.
    block = ranked_block(call.shape, schedule)
    elements = visible_chunks(max(call.chunks, 1), call.rows) + 3 * block
    elements *= call.batch * call.rows * call.shape.index_heads
    issued = elements * (MERGE_OPS + MERGE_SLOT_OPS * kept) * _shared_rows(schedule, held)
    return flops / rate / _busy(programs, hardware) + _issue_seconds(
        schedule, issued, programs, resident, hardware
    )


def _busy(programs: float, hardware: Hardware) -> float:
    """The share of the multiprocessors that have a program."""
    return min(1.0, programs / hardware.units)


def _shared_rows(schedule: Schedule, held: Footprint) -> float:
    """How much slower warps are that share a tile's rows, and so their sums."""
    meeting = MANY_WARPS_COST if schedule.warps > 4 else 1.0
    return meeting * math.pow(max(16 * schedule.warps / held.padded_rows, 1.0), SPLIT_POWER)


def _overfull(schedule: Schedule, per_row: float) -> float:
    """How much slower a phase is that holds so many registers for every row of a tile."""
    need = REGISTERS_AROUND + per_row * schedule.tokens / (WARP * schedule.warps)
    limit = schedule.registers or MAX_REGISTERS
    return 1.0 + SPILL_COST * math.pow(max(need - limit, 0.0) / MAX_REGISTERS, SPILL_POWER)


def _issue_seconds(
    schedule: Schedule, issued: float, programs: float, resident: int, hardware: Hardware
) -> float:
    """Seconds of instructions that wait for each other: few warps hide little of it."""
    running = min(float(resident), max(1.0, programs / hardware.units))
    warps = running * schedule.warps
    rate = hardware.fp32_rate / 2 * warps / (warps + LATENCY_WARPS)
    return issued / rate / _busy(programs, hardware)


def _wide(schedule: Schedule, held: Footprint) -> bool:
    return held.padded_rows >= WGMMA_ROWS and schedule.warps >= WGMMA_WARPS


def _tile_rate(schedule: Schedule, held: Footprint, hardware: Hardware) -> float:
    """The share of the tensor core's rate that a tile of these rows reaches."""
    every_size = hardware.arch in ("sm_80", "sm_86", "sm_89")
    return 1.0 if every_size or _wide(schedule, held) else SMALL_TILE_RATE


def _spilling(schedule: Schedule, held: Footprint) -> float:
    """How many times slower registers that do not suffice make a program: hardly at first, then
    steeply."""
    need = registers(schedule, held)
    short = max(0, need - (schedule.registers or MAX_REGISTERS)) / need
    return 1.0 + min((short / SPILLED_SHARE) ** 6, 9.0)


def gpu_reach(
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
    # A chunk's or a row's address comes from an index: attention prefetches one step at most.
    ahead = min(schedule.stages, 2) if shape.kind in ATTEND_PRODUCTS else schedule.stages
    in_flight = running * held.step_bytes * max(ahead - 1, 0.5)
    rate = hardware.rate(shape.dtype) * busy * min(1.0, running * schedule.warps / 8)
    rate *= _tile_rate(schedule, held, hardware)
    if not _wide(schedule, held):
        rate /= 1.0 + 0.1 * math.log2(schedule.warps)
    return rate / _spilling(schedule, held), busy * min(1.0, in_flight / needed)


def cpu_reach(
    shape: KernelShape, schedule: Schedule, held: Footprint, programs: float, hardware: Hardware
) -> tuple[float, float]:
    """The FLOP/s and the share of the bandwidths that a schedule can use on a CPU."""
    busy = min(1.0, programs / hardware.units)
    rows = held.rows
    rate = hardware.rate(shape.dtype) * busy
    if shape.kind in ATTEND_PRODUCTS or shape.kind in RANKING:
        full = rows / (CPU_LANES * math.ceil(rows / CPU_LANES))
        # A key that is loaded serves few of them.
        full *= FEW_ROWS_RATE if rows < CPU_ROWS else 1.0
        rate *= full if schedule.lanes == "rows" else COLS_RATE
        # A core needs about eight independent sums to hide the latency of its multiply-adds.
        rate *= math.sqrt(min(1.0, schedule.unroll / 8))
        has_partials = schedule.order == "chunk" and shape.kind != "attend_grad_kv"
        owned = schedule.combine == "owned"
        if schedule.copies:
            rate *= CPU_OWNED_SUMS_RATE[schedule.lanes]
            if schedule.lanes == "cols" and rows < CPU_ROWS:
                rate *= FEW_ROWS_RATE
            if 4 * rows * shape.head_dim > CPU_L1_BYTES:
                rate *= CPU_LARGE_TILE_RATE
        elif has_partials:
            rate *= CPU_OWNED_RATE[schedule.lanes] if owned else CPU_PARTS_RATE
        beside = has_partials and not schedule.copies
        if (shape.kind in RANKING or beside) and 4 * held.live > CPU_L1_BYTES:
            rate *= 0.7
    else:
        # Short loops over dims cost their starts and their sums over lanes.
        busy *= schedule.dim_block / (schedule.dim_block + 32)
        rate *= 0.5
    if shape.key_tiles(schedule) > 1:
        rate *= CPU_SUB_TILE_RATE
    return rate, busy
