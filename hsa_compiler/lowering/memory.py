"""How kernels of a decoding step see their cache: the visible chunks from its length, and rows that
lie in pages.

Both are ops without a kernel (`interval` and `page` in `ir/spec.py`): every kernel that reads their
results computes them again, so that a step has no launch for them and nothing is copied.
"""

from __future__ import annotations

from dataclasses import dataclass

from hsa_compiler.ir import Op
from hsa_compiler.lowering.common import Lowering
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Pointer, Var


@dataclass(frozen=True)
class Paging:
    """A block table ``i32[B, N]`` and how many rows its blocks hold."""

    b: TileBuilder
    table: Pointer
    rows: int

    def place(self, batch: Var, row: Var, mask: Var | None = None) -> Var:
        """The number of a sequence's rows in the pool (i64); where the mask is false, any."""
        block = row // self.rows
        page = self.b.load(self.table, batch * self.b.scalar("N") + block, mask, name="page")
        return page.to("i64") * self.rows + row % self.rows


def memory(low: Lowering, b: TileBuilder, op: Op, name: str) -> tuple[Pointer, Paging | None]:
    """The pointer of an operand with rows along its second axis, and how they are paged."""
    page = next((o for o in low.problem.group.program.ops if op[name] in o.results), None)
    if page is None:
        return low.operand(b, op, name), None
    pool, table = page["pool"], low.operand(b, page, "table", "block_table")
    pointer = low.bind(b, name, pool.name, pool.type.dtype)
    return pointer, Paging(b, table, low.dim(str(pool.type.shape[1])))


def visible(
    low: Lowering, b: TileBuilder, batch: Var, row: Var, mask: Var | None
) -> tuple[Var, Var]:
    """The visible chunks ``lo <= c < hi`` of retrieval rows (``[n]`` or a scalar); rows that the
    mask leaves out see the empty interval [0, 0)."""
    interval = low.find("interval")
    if interval is None:
        select = low.op("select")
        place = (batch * b.scalar("R")).to("i64") + row
        first, last = low.operand(b, select, "lo"), low.operand(b, select, "hi")
        return b.load(first, place, mask, name="b_lo"), b.load(last, place, mask, name="b_hi")
    chunk, window = int(interval.attr("chunk")), int(interval.attr("window"))
    kv_len = b.load(low.operand(b, interval, "kv_len"), batch, name="kv_len")
    position = row + (kv_len - b.scalar("R"))
    hi = b.maximum(position, 0) // chunk
    if window:
        # floor((t - window) / chunk) + 1, of a number made positive by adding whole chunks; in 64
        # bits, where nothing wraps.
        chunks = -(-window // chunk) + (1 << 20)
        outside = (position.to("i64") + (chunks * chunk - window)) // chunk - (chunks - 1)
        hi = b.minimum(hi, b.maximum(outside, 0).to("i32"))
    # A length past the end of the memory shows what there is.
    hi = b.minimum(hi, b.scalar("C"), "b_hi")
    if mask is not None:
        hi = b.where(mask, hi, 0, "b_hi")
    return b.full(hi.shape, 0, "i32", "b_lo"), hi
