"""What a schedule makes a kernel move: programs, bytes through L2, bytes that DRAM must send again.

Part of the cost model (`cost_model.predict`), where `Work` says what a call must do in any case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hsa_compiler.schedules.footprint import (
    CHUNK_SUMS,
    RANKING,
    WITH_PARTS,
    KernelShape,
    ranked_block,
    visible_chunks,
)
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.legality import shares_chunks
from hsa_compiler.schedules.schedule import Schedule

#: Bytes of plain traffic that cost as much as adding one fp32 element atomically.
ATOMIC_BYTES = 16.0
#: The least that a scattered access moves.
SECTOR_BYTES = 32.0


@dataclass(frozen=True)
class Work:
    """What a call must do whatever the schedule: FLOPs, bytes that DRAM must move once, and the
    filled slots of how many tokens (or retrieval rows)."""

    flops: float
    bytes: float
    slots: float
    rows: float


@dataclass(frozen=True)
class Call:
    """One kernel under one schedule at given sizes; `union` as `cost_model.predict` takes it."""

    shape: KernelShape
    schedule: Schedule
    sizes: Mapping[str, int]
    chunks: int
    todo: Work
    union: float

    @property
    def batch(self) -> int:
        """B."""
        return self.sizes.get("B", 1)

    @property
    def rows(self) -> int:
        """Retrieval rows."""
        return self.sizes.get("R", self.sizes.get("L", 1))

    @property
    def tokens(self) -> int:
        """Query tokens."""
        return self.sizes.get("L", self.rows)

    @property
    def has_partials(self) -> bool:
        """Whether every pair leaves a part of its row's result: chunk order of a kernel with
        results that belong to rows."""
        return self.schedule.order == "chunk" and self.shape.kind in WITH_PARTS

    @property
    def shared_tiles(self) -> int:
        """Sub-tiles of a chunk that programs share out: each reads all rows of the chunk."""
        return self.shape.key_tiles(self.schedule) if self.shape.kind in CHUNK_SUMS else 1

    @property
    def shared_heads(self) -> int:
        """Programs that share out the heads of a chunk; a program that owns one has all of those
        that share its keys."""
        owned = self.shape.kind in CHUNK_SUMS and not shares_chunks(self.schedule)
        return self.shape.kv_heads if owned else self.shape.programs


def local_union(top_k: int, chunks: int) -> float:
    """Chunks in the union of 16 neighbouring tokens, over K, that `local` selections have: the more
    there are to choose from, the less neighbours agree.

    Within 3 % of what was measured for 16 to 256 times as many chunks as a token chooses. Never
    less than a little more than their own: tokens of a tile share no chunk for nothing.
    """
    return max(1.1, 0.45 + 0.205 * math.sqrt(chunks / top_k))


def union_share(call: Call) -> float:
    """Chunks that a tile of tokens walks in union order, over those that one of its tokens chose;
    1 in the other orders.

    Of the union of 16 neighbours, a smaller tile has its share by powers of two; beyond 16 the
    neighbours' neighbours choose almost independently. No tile walks more than all chunks.
    """
    todo, tokens = call.todo, call.schedule.tokens
    if call.schedule.order != "union" or not todo.slots:
        return 1.0
    doublings = math.log2(tokens)
    near, far = min(doublings, 4.0), max(doublings - 4.0, 0.0)
    share = math.pow(max(call.union, 1.0), near / 4) * math.pow(2.0, 0.8 * far)
    return min(share, max(call.chunks * todo.rows / todo.slots, 1.0))


def programs_and_reads(call: Call, walks: float) -> tuple[float, float]:
    """Programs of the launch, and bytes its programs read through L2 beyond the tensors once.

    `walks`: how often an attention program passes over each of its chunks.
    """
    shape, schedule, todo = call.shape, call.schedule, call.todo
    batch, chunks, rows = call.batch, max(call.chunks, 1), call.rows
    pairs = todo.slots
    if call.has_partials or shape.kind in CHUNK_SUMS:
        count, _ = _shared_lists(call)
        read = gathered_bytes(call) + flushed_bytes(call)
        read += partial_bytes(call) if call.has_partials else 0.0
        return count * call.shared_heads * call.shared_tiles, read
    if shape.kind in ("attend", "attend_grad_q"):
        chunk_bytes = 2.0 * shape.chunk * shape.head_dim * shape.width
        steps = todo.slots * union_share(call) / schedule.tokens * shape.programs
        launched = batch * math.ceil(call.tokens / schedule.tokens) * shape.programs
        launched *= min(schedule.parts, shape.top_k) or 1
        return launched, steps * chunk_bytes * walks
    if shape.kind in RANKING:
        blocks = batch * math.ceil(rows / schedule.tokens) * shape.index_heads
        if schedule.parts:
            # Priced by `split.select_seconds` on a GPU; a CPU's cores share the parts out.
            parts = min(schedule.parts, math.ceil(chunks / schedule.chunk_block))
            return blocks * parts, float(blocks * chunks * shape.retrieval_dim * shape.width)
        block = ranked_block(shape, schedule)
        # Every step reads a block of landmarks, and the tile's queries where they are not held.
        again = schedule.tokens if schedule.dim_block < shape.retrieval_dim else 0
        step = (block + again) * shape.retrieval_dim * shape.width
        passes = 2.0 if schedule.top_k == "threshold" else 1.0
        members = shape.score_heads / shape.index_heads
        steps = max(visible_chunks(chunks, rows) / block, 1.0)
        read = blocks * passes * members * steps * step
        if shape.kind == "retrieve" and schedule.top_k == "merge":
            # A second kernel scores the chosen chunks again.
            read += pairs * shape.weight_heads * row_bytes(shape)
        return blocks, read
    if shape.kind == "landmark_grad":
        read = pairs * shape.score_heads * row_bytes(shape)
        count, flushes = _shared_lists(call)
        tiles = math.ceil(shape.retrieval_dim / schedule.dim_block)
        added = flushes * shape.score_heads * shape.retrieval_dim * ATOMIC_BYTES
        return count * tiles * shape.score_heads, read + added
    if shape.kind == "invert_index":
        counters = 8.0 * schedule.index_blocks * batch * chunks * shape.index_heads
        # A pair's counter is added to twice and read, its list's start read, its place written.
        scattered = pairs * shape.index_heads * 5 * SECTOR_BYTES
        return batch * schedule.index_blocks * shape.index_heads, scattered + counters
    heads = shape.weight_heads if shape.kind == "weigh" else shape.score_heads
    return batch * rows * heads, pairs * heads * row_bytes(shape)


def row_bytes(shape: KernelShape) -> float:
    """Bytes of a row that a pair reads: queries and gradients, or retrieval queries."""
    if shape.kind in (*WITH_PARTS, "attend_grad_kv"):
        return float(shape.query_tensors * shape.row_group * shape.head_dim * shape.width)
    return float(shape.retrieval_dim * shape.width)


def gathered_bytes(call: Call) -> float:
    """Bytes of the rows that pass by the chunks of chunk order."""
    return call.todo.slots * call.shape.programs * row_bytes(call.shape) * call.shared_tiles


def flushed_bytes(call: Call) -> float:
    """Bytes that programs which share a chunk cost: its gradients, added atomically."""
    shape = call.shape
    if shape.kind not in CHUNK_SUMS:
        return 0.0
    _, flushes = _shared_lists(call)
    return flushes * call.shared_heads * 2 * shape.chunk * shape.head_dim * ATOMIC_BYTES


def part_elements(call: Call) -> float:
    """Elements of the parts of chunk order."""
    shape = call.shape
    rows = call.todo.slots * shape.programs * shape.row_group
    return rows * shape.head_dim * call.shared_tiles


def partial_bytes(call: Call) -> float:
    """Bytes that the parts of chunk order cost: written and read again, or added atomically. The
    rows of an owned window stay in the innermost cache; its chunks are read for every window."""
    shape, elements = call.shape, part_elements(call)
    if call.schedule.combine == "owned":
        chunks = call.batch * max(call.chunks, 1) * shape.programs * _windows(call)
        keys = call.batch * call.sizes.get("Lkv", 0) * shape.programs
        # Every copy of both sums is zeroed, and read when they are added up.
        copied = 2 * 2 * 4.0 * call.schedule.copies * keys * shape.head_dim
        return chunks * 2.0 * shape.chunk * shape.head_dim * shape.width + copied
    if call.schedule.combine == "atomic":
        return elements * ATOMIC_BYTES
    return 2.0 * elements * shape.width


def longest_list(call: Call) -> float:
    """Pairs of the busiest program of chunk order.

    Early rows have few chunks to choose from, so the first chunk is chosen by the first K * S rows
    and then ever more rarely; in a window of rows at most once by each of them.
    """
    schedule, shape = call.schedule, call.shape
    if schedule.split:
        return float(schedule.split)
    first = shape.top_k * call.rows / max(call.chunks, 1)
    whole = first * (1 + math.log(max(call.chunks / shape.top_k, 1.0)))
    whole = min(whole, float(call.rows))
    return min(whole, schedule.window) if schedule.window else whole


def missed_bytes(call: Call, read: float, hardware: Hardware) -> float:
    """Bytes of re-reads that the L2 cache cannot serve."""
    shape, schedule, todo = call.shape, call.schedule, call.todo
    if call.has_partials:
        parts = partial_bytes(call)
        rows = (schedule.window or max(call.rows, 1)) * row_bytes(shape)
        missed = (read - parts) * max(0.0, 1.0 - hardware.l2_bytes / rows)
        buffered = schedule.combine == "buffer" and parts > 2 * hardware.l2_bytes
        return missed + (parts if buffered else 0.0)
    if shape.kind in ("attend", "attend_grad_q"):
        # Keys and values that fit are read from DRAM once. Larger ones are missed once for every
        # 16 neighbouring tokens, which share the chunks of their union.
        # Programs side by side are those of one head.
        keys_and_values = 2.0 * call.sizes.get("Lkv", 0) * shape.head_dim * shape.width
        if keys_and_values <= hardware.l2_bytes:
            return 0.0
        # A tile in union order reads for all of its tokens at once.
        return min(read, read * call.union / max(16 / schedule.tokens, 1.0))
    if shape.kind in (*CHUNK_SUMS, "landmark_grad"):
        # Programs side by side read one head's rows of a window, or of the sequence, at random.
        side_by_side = (schedule.window or max(call.rows, 1)) * row_bytes(shape)
        return read * max(0.0, 1.0 - hardware.l2_bytes / side_by_side)
    return 0.0 if todo.bytes <= hardware.l2_bytes else 0.1 * read


def _windows(call: Call) -> float:
    return float(math.ceil(call.rows / call.schedule.window))


def _shared_lists(call: Call) -> tuple[float, float]:
    """Programs that share out the pairs of one head's chunks, and how often one of them adds a
    chunk's part atomically."""
    schedule, chunks = call.schedule, call.batch * max(call.chunks, 1)
    if schedule.combine == "owned":
        if not schedule.copies:
            return call.batch * _windows(call), 0.0
        programs = min(float(schedule.copies), _windows(call))
        return call.batch * programs, chunks * (_windows(call) + 1) / 2
    if schedule.window:
        # A causal call's early rows see no late chunk.
        return chunks * _windows(call), chunks * (_windows(call) + 1) / 2
    if not schedule.split:
        return chunks, 0.0
    programs = math.ceil(call.todo.slots / schedule.split)
    return programs, programs + chunks
