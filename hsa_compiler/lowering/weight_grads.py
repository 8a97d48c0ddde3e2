"""Where attention kernels leave the gradients of what several query rows share: fusion weights.

A weight's gradient is D summed over the query heads that share it. Where they belong to several
programs (several KV heads, or the tokens of a query block) each program writes its part and a
second kernel adds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hsa_compiler.ir import Op
from hsa_compiler.lowering.common import Lowering, below
from hsa_compiler.lowering.heads import AttendShape, QueryRows
from hsa_compiler.lowering.pair_rows import PairRows
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, Size, Var, Workspace


@dataclass
class WeightGrads:
    """The gradients of weights that the kernels of one group write.

    `zeroed` are outputs to be zeroed first, since empty slots are never visited; `sums` the kernels
    that add parts up.
    """

    low: Lowering
    shape: AttendShape
    zeroed: list[str] = field(default_factory=list)
    sums: list[Kernel] = field(default_factory=list)

    @property
    def by_row(self) -> bool:
        """Whether every query row has its own list of weights; else every token of a program."""
        return self.shape.own_weights

    @property
    def width(self) -> int:
        """Lists of weights that a token has where they are written."""
        return self.shape.query_heads if self.by_row else self.shape.programs

    def target(self, b: TileBuilder, role: str, op: Op, k: int) -> Pointer:
        """Where a kernel writes gradients of lists of `k` weights: the output, or the parts."""
        low, shape = self.low, self.shape
        if self.width == shape.weight_heads and shape.query_block == 1:
            if role not in self.zeroed:
                self.zeroed.append(role)
            return low.result(b, op, role)
        size = Size.of("B") * "L" * (self.width * k)
        space = Workspace(f"{role}_parts", "fp32", size, zeroed=True)
        if space.name not in low.workspaces:
            self.sums.append(_sum_parts(low, shape, space, role, op, self.width, k))
        return low.workspace(b, space)

    def put_local(self, b: TileBuilder, rows: QueryRows, b_do: Var) -> None:
        """The gradients of a local branch that was merged with a weight, and of that weight."""
        low = self.low
        op = low.op("merge_local_grad")
        local_out = low.operand(b, op, "local_out")
        b_local = b.load(local_out, rows.tile(), rows.mask_tile(), name="b_local").to("fp32")
        local_weight = low.operand(b, op, "local_weight")
        b_wl = b.load(local_weight, rows.per_weight_head(), rows.mask(), name="b_wl")
        d_local = b_wl.as_column * b_do.to("fp32")
        b.store(low.result(b, op, "d_local_out"), rows.tile(), d_local, rows.mask_tile())
        target = self.target(b, "d_local_weight", op, 1)
        d_weight = self.per_list(rows, b.sum(b_local * b_do.to("fp32"), 1, "b_dwl"))
        mask = rows.mask() if self.by_row else rows.token_mask()
        b.store(target, self.lists(rows), d_weight, mask)

    def lists(self, rows: QueryRows | PairRows) -> Var:
        """The numbers of the rows' lists of weights: of every row, or of every token."""
        if self.by_row:
            return rows.per_head()
        token = (rows.batch * rows.b.scalar("L")).to("i64") + rows.token_ids()
        return token * self.width + rows.program

    def per_list(self, rows: QueryRows | PairRows, per_row: Var) -> Var:
        """Gradients by row, summed over the rows that share a list."""
        return per_row if self.by_row else rows.per_token(per_row)


def _sum_parts(
    low: Lowering,
    shape: AttendShape,
    space: Workspace,
    role: str,
    op: Op,
    width: int,
    k: int,
) -> Kernel:
    """``parts[B, L, width, K]`` summed over the tokens of a row and the heads of a weight head."""
    b = TileBuilder(f"sum_{role}")
    parts, out = low.workspace(b, space), low.result(b, op, role)
    i_row, i_head, i_batch = (b.program_id(a, f"i_{n}") for a, n in enumerate(("row", "w", "b")))
    padded = low.caps.pad(k)
    o_slot = b.arange(padded, "o_slot")
    mask = below(o_slot, k, padded)
    n_tokens, per_head = b.scalar("L"), width // shape.weight_heads
    first = i_row * shape.query_block
    last = b.minimum(first + shape.query_block, n_tokens)
    total = b.full((padded,), 0.0, "fp32", "b_sum")
    with b.loop(first, last, name="i_token", carry=[("b_sum", total)]) as tokens:
        with b.loop(0, per_head, name="i_part", carry=[("b_sum", tokens.carried[0])]) as heads:
            token = (i_batch * n_tokens).to("i64") + tokens.index
            base = (token * width + i_head * per_head + heads.index) * k
            heads.yield_(heads.carried[0] + b.load(parts, base + o_slot, mask, name="b_part"))
        tokens.yield_(*heads.carried)
    row = (i_batch * b.scalar("R")).to("i64") + i_row
    base = (row * shape.weight_heads + i_head) * k
    b.store(out, base + o_slot, tokens.carried[0], mask)
    return b.finish(("R", shape.weight_heads, "B"))
