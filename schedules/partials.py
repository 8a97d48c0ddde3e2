"""The time of chunk order where every (token, slot) pair leaves a part of its row, on a GPU: the
forward pass, the gradient of queries, all gradients of attention in one. Part of the cost model.

One kernel walks chunks and writes parts, a second adds them up. Constants were fitted to 560
schedules measured on an H100 (benchmarks/results/nvidia_h100_80gb_hbm3/schedules.json, step 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hsa_compiler.schedules.footprint import Footprint
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.rates import attend_seconds
from hsa_compiler.schedules.split import LAUNCH_SECONDS
from hsa_compiler.schedules.traffic import (
    ATOMIC_BYTES,
    Call,
    flushed_bytes,
    gathered_bytes,
    part_elements,
    row_bytes,
)

#: Seconds from a program's start to its first product: its part of a list, keys, values.
VISIT_SECONDS = 4.3e-6
#: How much of a step is lost at the end of a list.
LIST_END_COST = 1.7
#: Instructions for each element of a part.
PART_OPS = 7.0
#: Share of the L2 cache that holds the rows of a window while parts stream through it.
CACHED_SHARE = 0.27
#: Shares of DRAM's bandwidth that scattered writes of parts, and reading them again, reach.
WRITE_SHARE, READ_SHARE = 0.65, 0.67
#: Share of a missed row's bytes that DRAM sends: neighbouring pairs share some.
MISSED_SHARE = 0.75
#: Share of the other resources' times that the binding one does not hide.
PARTIALS_OVERLAP_LOSS = 0.25


@dataclass(frozen=True)
class PartialTimes:
    """Seconds that the walk keeps each resource busy, and of what runs before and after it."""

    compute: float
    l2: float
    dram: float
    around: float


def partial_times(
    call: Call, held: Footprint, flops: float, programs: float, resident: int, hardware: Hardware
) -> PartialTimes:
    """What a schedule in chunk order takes; arguments as of `rates.attend_seconds`."""
    shape, schedule = call.shape, call.schedule
    heads = call.batch * shape.programs
    windows = math.ceil(call.rows / schedule.window) if schedule.window else 1
    # A causal call's early rows see no late chunk: half of the windows of a chunk hold pairs.
    visits = max(call.chunks, 1) * (windows + 1) / 2 * heads
    pairs = max(call.todo.slots * shape.programs, 1.0)
    elements = part_elements(call)
    cut = 1.0 + LIST_END_COST * schedule.pairs * visits / pairs
    compute = attend_seconds(call, held, flops, programs, resident, hardware) * cut
    compute += elements * PART_OPS / (hardware.fp32_rate / 2)
    gathered = gathered_bytes(call)
    side_by_side = (schedule.window or max(call.rows, 1)) * row_bytes(shape)
    missed = gathered * max(0.0, 1.0 - CACHED_SHARE * hardware.l2_bytes / side_by_side)
    l2 = (gathered + flushed_bytes(call)) / hardware.l2_bandwidth
    dram = MISSED_SHARE * missed / (hardware.dram_bandwidth * WRITE_SHARE)
    read = elements * shape.width
    if schedule.combine == "atomic":
        l2 += elements * ATOMIC_BYTES / hardware.l2_bandwidth
        # One fp32 row a token is zeroed, added into, read, and its result written.
        read = call.tokens * heads * shape.row_group * shape.head_dim * (8.0 + shape.width)
    else:
        dram += elements * shape.width / (hardware.dram_bandwidth * WRITE_SHARE)
    # Parts are added by a launch of their own.
    around = LAUNCH_SECONDS + read / (hardware.dram_bandwidth * READ_SHARE)
    running = min(float(resident), max(1.0, programs / hardware.units))
    around += visits * VISIT_SECONDS / (hardware.units * running)
    return PartialTimes(compute, l2, dram, around)
