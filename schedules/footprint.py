"""What one program of a kernel holds: matrix rows, accumulators, bytes per step, shared memory.

Arithmetic on the schedule alone, so it removes what cannot run before anything is compiled. Shared
memory was fitted to kernels compiled for sm_89 and sm_90 and is right within a third: a compiled
kernel's own figure decides in the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hsa_compiler.ir import Program
from hsa_compiler.schedules.problem import Problem
from hsa_compiler.schedules.schedule import Schedule

#: Kernels that rank chunks: all scores of a tile of rows pass through them.
RANKING = ("retrieve", "select")
#: Attention kernels that sum over the rows of a chunk, which they walk in chunk order.
CHUNK_SUMS = ("attend_grad_kv", "attend_grad")
#: Kernels that give the result of a row in parts, in chunk order.
WITH_PARTS = ("attend", "attend_grad_q", "attend_grad")
BYTES = {"fp64": 8, "i64": 8, "fp32": 4, "i32": 4, "u32": 4, "bf16": 2, "fp16": 2, "bool": 1}

#: Registers a GPU thread can have; accumulators beyond it always spill.
MAX_REGISTERS = 255
#: The fewest rows of a matrix product on a tensor core; smaller tiles are padded to it.
MIN_ROWS = 16
#: The most pairs of a tile whose union is listed: they are all compared with each other.
MAX_UNION_PAIRS = 2048
#: The most chunks of a row that a split selection puts in order: they are all compared too.
MAX_RANKED = 512
#: Rows from which Hopper's tensor cores read both operands from shared memory.
WGMMA_ROWS = 64
#: Bytes of a step, and pipeline depth, of the kernel that brings the parts of chunk order together.
SUM_BYTES, SUM_STAGES = 16384, 4
#: Tiles of rows x keys that an attention kernel holds at once, as compiled.
LOGIT_TILES = {"attend": 1.0, "attend_grad_q": 2.25, "attend_grad_kv": 2.0, "attend_grad": 3.5}
#: Warps that such an instruction takes.
WGMMA_WARPS = 4


def power_of_two(size: int) -> int:
    """The smallest power of two that is not less than `size`."""
    return 1 << (size - 1).bit_length()


def fewest_lanes(top_k: int) -> int:
    """The fewest chunks a block of threshold selection may have: two values of each lane, and these
    must be a third more than K to bound the K-th best well."""
    return max(power_of_two(-(-2 * top_k // 3)), MIN_ROWS)


def ranked_block(shape: KernelShape, schedule: Schedule) -> int:
    """Chunks that a kernel of `RANKING` scores at once."""
    least = power_of_two(shape.top_k)
    if schedule.top_k == "threshold":
        least = fewest_lanes(shape.top_k)
    return max(schedule.chunk_block, least)


def visible_chunks(chunks: int, rows: int) -> float:
    """Chunks that a row sees on average: half of them in a causal call; nearly all where there are
    fewer rows than chunks, which then are the end of a sequence."""
    return float(chunks) if rows <= chunks else max(chunks / 2, 1.0)


def list_capacity(top_k: int) -> int:
    """Entries of a row's list of candidates in threshold selection: about twice K, since the bound
    lets a few more than K chunks through."""
    return max(2 * power_of_two(top_k), 32)


@dataclass(frozen=True)
class KernelShape:
    """The static facts of a problem that footprints and costs are made of.

    `row_group` is the number of query (or score) heads that one program serves together,
    `programs` how many programs serve all heads of a token, `width` the bytes of a data element;
    `indexed` whether the kernel is given an inverse index.
    """

    kind: str
    dtype: str
    width: int
    top_k: int
    chunk: int
    head_dim: int
    programs: int
    row_group: int
    retrieval_dim: int
    score_heads: int
    index_heads: int
    weight_heads: int
    kv_heads: int
    joint: bool
    indexed: bool

    @classmethod
    def of(cls, problem: Problem) -> KernelShape:
        """Read them off a problem, once; what its kernel does not have is 1."""
        key = (problem.kind, problem.group.program.hash, problem.dims)
        if key not in _KNOWN:
            _KNOWN[key] = cls._read(problem)
        return _KNOWN[key]

    @classmethod
    def _read(cls, problem: Problem) -> KernelShape:
        dtype = data_dtype(problem.group.program)
        query_heads, kv_heads = problem.get("Hq", 1), problem.get("H", 1)
        index_heads = problem.get("Hi", problem.get("Hr", 1))
        programs = max(index_heads, kv_heads)
        return cls(
            kind=problem.kind,
            dtype=dtype,
            width=BYTES[dtype],
            top_k=problem.get("K", 1),
            chunk=chunk_size(problem.group.program),
            head_dim=problem.get("D", 1),
            programs=programs,
            row_group=max(query_heads // programs, 1),
            retrieval_dim=problem.get("Dr", 1),
            score_heads=problem.get("Hr", 1),
            index_heads=index_heads,
            weight_heads=problem.get("Hw", 1),
            kv_heads=kv_heads,
            joint=any("joint" in op.kind for op in problem.group.program.ops),
            indexed=any(value.name == "order" for value in problem.group.program.inputs),
        )

    @property
    def query_tensors(self) -> int:
        """How many tensors of the queries' shape an attention kernel reads: q, and d_out."""
        return 1 if self.kind == "attend" else 2

    def key_tile(self, schedule: Schedule) -> int:
        """Keys of a chunk held at once."""
        return schedule.chunk_tile or self.chunk

    def key_tiles(self, schedule: Schedule) -> int:
        """Sub-tiles of a chunk."""
        return -(-self.chunk // self.key_tile(schedule))


#: Facts that were read already: a search asks for the same ones thousands of times.
_KNOWN: dict[tuple[str, str, tuple[tuple[str, int], ...]], KernelShape] = {}


def data_dtype(program: Program) -> str:
    """The dtype of the tensors a kernel moves: the narrowest float among its inputs, else i32."""
    present = {value.type.dtype for value in program.inputs}
    for dtype in ("bf16", "fp16", "fp32", "fp64"):
        if dtype in present:
            return dtype
    return "i32"


def chunk_size(program: Program) -> int:
    """Tokens of a chunk, or 1 for kernels that never look inside one."""
    for op in program.ops:
        chunk = op.all_attrs.get("chunk")
        if chunk is not None:
            return int(chunk)
    return 1


def chunk_count(problem: Problem, sizes: Mapping[str, int]) -> int:
    """The chunks of a call: C, else as many as the keys hold, else 0."""
    if "C" in sizes:
        return sizes["C"]
    return sizes.get("Lkv", 0) // chunk_size(problem.group.program)


@dataclass(frozen=True)
class Footprint:
    """One program: the rows of its matrix products, as padded; the fp32 elements it carries through
    its loop, and all that are alive inside a step; the bytes it loads a step; its shared memory."""

    rows: int
    padded_rows: int
    accumulators: int
    live: int
    step_bytes: int
    shared_bytes: int


def footprint(shape: KernelShape, schedule: Schedule, backend: str) -> Footprint:
    """What one program holds under a schedule; shared memory is 0 where there is none (CPU)."""
    rows, accumulators, step = _tiles(shape, schedule)
    padded = rows if backend == "tvm" else max(MIN_ROWS, power_of_two(rows))
    shared = 0 if backend == "tvm" else _shared_bytes(shape, schedule, padded, step)
    # Padded rows are carried too, where rows are what is carried.
    grown = padded / rows if shape.kind in ("attend", "attend_grad_q") else 1
    carried = int(accumulators * grown)
    # Logits, exponentials and their gradients are tiles of rows x keys.
    tiles = LOGIT_TILES.get(shape.kind, 0.0)
    live = carried + int(tiles * padded * shape.key_tile(schedule))
    if schedule.order == "chunk" and shape.kind in ("attend", "attend_grad_q"):
        # A step's part carries nothing over: it replaces the logits that it is made of.
        logits = padded * shape.key_tile(schedule)
        live = max(shape.query_tensors * logits, carried + logits // 2)
    if schedule.descriptors == "all":
        live += _row_operands(shape, padded) // 4
    if shape.kind in RANKING and schedule.top_k == "threshold":
        # As compiled: addresses of list entries beside the scores; entries of 64 bits.
        block, entries = ranked_block(shape, schedule), list_capacity(shape.top_k)
        live = int(rows * max(5.5 * block, 4.5 * entries))
    return Footprint(rows, padded, carried, live, step, shared)


def summed_rows(head_dim: int, width: int) -> int:
    """Rows whose parts a program of chunk order's second kernel adds up at once."""
    return max(1, min(64, SUM_BYTES // (head_dim * width)))


def prefetches(shape: KernelShape, schedule: Schedule) -> bool:
    """Whether an attention program has the loads of later steps under way.

    The address of a chunk or a row comes from an index, so the loads of a step are issued at the
    end of the one before. Union order with 3 stages or more knows its chunks early and issues their
    loads `stages` - 1 steps ahead.
    """
    union = schedule.order == "union" and shape.kind in ("attend", "attend_grad_q")
    return union and schedule.stages > 2 and shape.key_tiles(schedule) == 1


def _row_operands(shape: KernelShape, padded: int) -> int:
    """Bytes of the queries, and in the gradient of d_out, as operands of the products."""
    return shape.query_tensors * padded * shape.head_dim * shape.width


def _shared_bytes(shape: KernelShape, schedule: Schedule, padded: int, step: int) -> int:
    """Shared memory of one program: the steps in flight, and what stays beside them."""
    ahead = max(schedule.stages - 1, 1)
    if shape.kind in ("weigh", "weigh_grad", "invert_index"):
        return 0  # no matrix product, no operands in shared memory
    if shape.kind in ("attend", "attend_grad_q"):
        # What stays becomes an operand in shared memory: the queries, and in the gradient d_out; in
        # chunk order keys and values. The address of what passes comes from an index, so one step
        # is prefetched at most, unless chunks are known early.
        steps = 2 if padded >= WGMMA_ROWS and schedule.stages > 1 else 1
        if prefetches(shape, schedule):
            steps = schedule.stages
        operands = _row_operands(shape, padded)
        if schedule.order == "chunk":
            chunk = 2 * shape.key_tile(schedule) * shape.head_dim * shape.width
            adding = (SUM_STAGES - 1) * SUM_BYTES
            return max(operands * steps + chunk, adding)
        if schedule.descriptors == "all":
            # Rows land in shared memory before they stay in registers.
            return max(step * steps, operands + 2 * step)
        return step * steps + operands
    if shape.kind in RANKING and schedule.top_k == "threshold":
        # Queries stay, blocks of landmarks are in flight, a triangle counts, and scores change
        # their layout on the way to the lists.
        block = ranked_block(shape, schedule)
        dims = min(schedule.dim_block, power_of_two(shape.retrieval_dim))
        queries = schedule.tokens * dims * shape.width
        landmarks = schedule.stages * block * dims * shape.width
        changing = 4 * schedule.tokens * block
        if dims < shape.retrieval_dim:
            # Queries are in flight too, but nothing is while the scores of a block are used.
            queries, changing = queries * schedule.stages, 0
        return queries + landmarks + 2 * block * block + changing
    if shape.kind in CHUNK_SUMS:
        # A row's address comes from its pair, so one step is prefetched at most. Softmax tiles
        # are operands in another layout; sub-tiles are loaded again for the statistics.
        tile = shape.key_tile(schedule)
        chunk = 2 * tile * shape.head_dim * shape.width
        if tile < shape.chunk:
            return step * (2 if padded >= WGMMA_ROWS and shape.width == 2 else 1) + 2 * chunk
        steps = 1 if schedule.stages == 1 and padded >= WGMMA_ROWS else 2
        changing = padded * tile * shape.width
        if shape.kind == "attend_grad" and schedule.combine == "atomic" and steps > 1:
            # So do parts in fp32, which are added in another layout.
            changing = max(changing, 4 * padded * shape.head_dim)
        return step * steps + chunk + changing
    return step * ahead


def _tiles(shape: KernelShape, schedule: Schedule) -> tuple[int, int, int]:
    """Rows, accumulator elements, bytes per step."""
    width, top_k, dim = shape.width, shape.top_k, shape.head_dim
    tile = shape.key_tile(schedule)
    if shape.kind in ("attend", "attend_grad_q"):
        if schedule.order == "chunk":
            rows = schedule.pairs * shape.row_group
            return rows, rows * dim, shape.query_tensors * rows * dim * width
        # In token order a tile has one token.
        rows = schedule.tokens * shape.row_group
        return rows, rows * dim, 2 * tile * dim * width
    if shape.kind in CHUNK_SUMS:
        rows = schedule.pairs * shape.row_group
        return rows, 2 * tile * dim, 2 * rows * dim * width
    dims = min(schedule.dim_block, power_of_two(shape.retrieval_dim))
    if shape.kind in RANKING:
        rows, block = schedule.tokens, ranked_block(shape, schedule)
        step = (rows + block) * dims * width
        if schedule.top_k == "threshold":
            # Two values a lane and the scores of a block; later the lists.
            return rows, rows * max(3 * block, 2 * list_capacity(top_k)), step
        # 64-bit candidates: the best so far, and a block's scores becoming candidates.
        if schedule.parts:
            # Nothing is kept from block to block; one row's products are held until summed.
            block = schedule.chunk_block
            scores = rows * 4 * block + (block * dims if rows == 1 else 0)
            return rows, scores, (rows + block) * dims * width
        return rows, rows * (2 * power_of_two(top_k) + 3 * block), step
    if shape.kind in ("weigh", "weigh_grad"):
        return 1, power_of_two(top_k) * dims, top_k * dims * width
    if shape.kind == "landmark_grad":
        return schedule.pairs, schedule.pairs * dims, schedule.pairs * dims * width
    return 1, 1, 4 * top_k
