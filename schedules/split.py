"""What it costs that several programs share a row (`Schedule.parts`); part of the cost model.

Such launches are short: what counts is how many bytes are in flight, how long the longest chain of
steps is, and that every launch costs its start. Constants were fitted to schedules measured on an
H100 (benchmarks/notes.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hsa_compiler.schedules.footprint import (
    RANKING,
    Footprint,
    power_of_two,
    ranked_block,
    visible_chunks,
)
from hsa_compiler.schedules.hardware import WARP, Hardware
from hsa_compiler.schedules.traffic import Call, longest_list

#: Seconds that one more launch of a chain adds on a GPU.
LAUNCH_SECONDS = 1.9e-6
#: Seconds from a load's issue to its data from DRAM, many programs loading.
DRAM_SECONDS = 1.05e-6
#: Share of the DRAM bandwidth that streaming landmarks reaches.
STREAM_RATE = 0.7
#: Seconds of one step of an attention program that has the multiprocessor for itself: it waits for
#: the chunk.
STEP_SECONDS = 1.5e-6
#: Seconds in which a program that does it all merges one block of chunks into its K best, and in
#: which it compares one with a threshold, once for each pass.
MERGE_SECONDS, THRESHOLD_SECONDS = 8e-6, 1e-6
#: What each halving of eight warps adds to a launch that ranks, and each doubling or halving of
#: four to one that combines.
RANK_WARPS_COST, COMBINE_WARPS_COST = 0.05, 0.1
#: What each doubling of the warps away from four adds to it.
WARPS_COST = 0.03
#: Element operations of a score that is summed without the matrix unit, per dim, and of comparing
#: two candidates.
DIM_OPS, PAIR_OPS = 3.0, 8.0
#: Share of its rate that the matrix unit reaches on a few rows, and of its time that loads do not
#: hide.
FEW_ROWS_RATE, UNHIDDEN = 0.3, 0.3
#: Candidates that one program ranks, and how many others it compares them with at once.
RANKED, COMPARED = 8, 512
#: Seconds in which a program that builds an inverse index counts and places its next pairs, and the
#: further seconds for the square of their number, since each is compared with each; seconds in
#: which the counts of a few blocks are added up, and how many those are.
PLACE_SECONDS, TWINS_SECONDS, PREFIX_SECONDS, PREFIX_BLOCKS = 7e-7, 1.6e-10, 3e-7, 8
#: How many times as long comparing takes across warps.
TWINS_ACROSS_WARPS = 3.0
#: Seconds of a launch that adds up the rows of landmarks, and of one more pair in its longest list,
#: whatever a step holds: each row's address waits for its pair.
LIST_SECONDS, LIST_PAIR_SECONDS = 1.1e-5, 2e-8
#: Seconds that a program costs a launch, whether it has work or not.
PROGRAM_SECONDS = 4e-10


@dataclass(frozen=True)
class Ranking:
    """What choosing costs for one row and index head: launches, programs, comparisons of two
    candidates, and bytes that programs read through L2."""

    launches: int
    programs: float
    pairs: float
    bytes: float

    @classmethod
    def of(cls, call: Call) -> Ranking:
        """Every level ranks its candidates, each against all: groups of blocks, blocks, chunks."""
        schedule, top_k = call.schedule, call.shape.top_k
        blocks = math.ceil(max(call.chunks, 1) / schedule.chunk_block)
        # Candidates, bytes of each, and the programs that a launch starts, needed or not.
        levels = [(blocks, 4 * schedule.fan, blocks / RANKED)]
        if schedule.fan > 1:
            groups = math.ceil(blocks / schedule.fan)
            inner = min(groups, top_k) * schedule.fan
            levels = [
                (groups, 4 * schedule.fan, groups / RANKED),
                (inner, 8, top_k * schedule.fan / RANKED),
            ]
        most = top_k * schedule.chunk_block
        levels.append((min(levels[-1][0], top_k) * schedule.chunk_block, 8, most / RANKED))
        return cls(
            launches=len(levels),
            programs=sum(programs for _, _, programs in levels),
            pairs=sum(float(n) * max(n, COMPARED) for n, _, _ in levels),
            bytes=sum(n / RANKED * n * size for n, size, _ in levels),
        )


def select_seconds(call: Call, held: Footprint, resident: int, hardware: Hardware) -> float:
    """Seconds of a split selection on a GPU: scores, ranks, order."""
    shape, schedule = call.shape, call.schedule
    lists = call.batch * call.rows * shape.index_heads
    tiles = call.batch * math.ceil(call.rows / schedule.tokens) * shape.index_heads
    # Without rows nothing is launched, but schedules must still be ranked.
    tiles = max(tiles, 1)
    programs = tiles * min(schedule.parts, max(math.ceil(call.chunks / schedule.chunk_block), 1))
    members = shape.score_heads / shape.index_heads
    chunks = visible_chunks(call.chunks, call.rows) * tiles * members
    read = chunks * shape.retrieval_dim * shape.width
    busy = min(1.0, programs / hardware.units)
    running = min(float(resident), max(1.0, programs / hardware.units))
    in_flight = running * schedule.chunk_block * shape.retrieval_dim * shape.width
    needed = hardware.dram_bandwidth / hardware.units * DRAM_SECONDS
    stream = read / (hardware.dram_bandwidth * STREAM_RATE * busy * min(1.0, in_flight / needed))
    if schedule.tokens == 1:
        ops = chunks * shape.retrieval_dim * DIM_OPS
        compute = ops / (hardware.fp32_rate / 2 * busy)
    else:
        flops = 2.0 * chunks * shape.retrieval_dim * held.padded_rows
        compute = flops / (hardware.rate(shape.dtype) * FEW_ROWS_RATE * busy)
    ranking = Ranking.of(call)
    # Every score is written, and read again where its block is chosen.
    scores = 4.0 * lists * call.chunks
    written = scores / hardware.l2_bandwidth
    written += max(scores - hardware.l2_bytes / 2, 0.0) / hardware.dram_bandwidth
    ranks = lists * (
        ranking.pairs * PAIR_OPS / (hardware.fp32_rate / 2)
        + ranking.bytes / hardware.l2_bandwidth
        + ranking.programs * PROGRAM_SECONDS
    )
    scan = max(stream, compute) + UNHIDDEN * min(stream, compute)
    slower = 1.0 + RANK_WARPS_COST * math.log2(8 / schedule.warps)
    return scan + written + ranks + (ranking.launches + 2) * LAUNCH_SECONDS * slower


def chain_seconds(call: Call, slots: float) -> float:
    """The least seconds of a launch on a GPU: one program's steps, one after another. `slots` are
    the chunks that an attention program walks where nobody shares them."""
    if call.shape.kind in RANKING:
        blocks = visible_chunks(call.chunks, call.rows) / ranked_block(call.shape, call.schedule)
        threshold = call.schedule.top_k == "threshold"
        return blocks * (2 * THRESHOLD_SECONDS if threshold else MERGE_SECONDS)
    if call.shape.kind == "attend":
        return math.ceil(slots / max(call.schedule.parts, 1)) * STEP_SECONDS
    if call.shape.kind == "landmark_grad":
        return LIST_SECONDS + longest_list(call) * LIST_PAIR_SECONDS
    return 0.0


def combine_seconds(call: Call, query_heads: int, hardware: Hardware) -> float:
    """Seconds in which attention's parts are written and added up."""
    parts = call.batch * call.tokens * query_heads * call.schedule.parts
    moved = 2.0 * 4.0 * parts * call.shape.head_dim / hardware.l2_bandwidth
    if hardware.kind != "cuda":
        return hardware.launch_seconds + moved
    slower = 1.0 + COMBINE_WARPS_COST * abs(math.log2(call.schedule.warps / 4))
    return LAUNCH_SECONDS * slower + moved


def cpu_choose_seconds(call: Call, hardware: Hardware) -> float:
    """Seconds in which a CPU ranks what a split selection scored."""
    ranking = Ranking.of(call)
    lists = call.batch * call.rows * call.shape.index_heads
    launches = (ranking.launches + 1) * hardware.launch_seconds
    return launches + lists * ranking.pairs * PAIR_OPS / (hardware.fp32_rate / 2)


def invert_seconds(call: Call) -> float:
    """The longest chain of steps in building an inverse index on a GPU: a block's rows one after
    the other, then all blocks' counts of a chunk."""
    schedule = call.schedule
    blocks = max(1.0, min(schedule.index_blocks, call.rows / 16))
    steps = math.ceil(call.rows / blocks / schedule.tokens)
    lanes = schedule.tokens * power_of_two(call.shape.top_k)
    twins = TWINS_SECONDS * lanes**2
    if lanes > WARP and schedule.warps > 1:
        twins *= TWINS_ACROSS_WARPS
    place = steps * (PLACE_SECONDS + twins)
    return place + blocks / PREFIX_BLOCKS * PREFIX_SECONDS + 4 * LAUNCH_SECONDS
