"""The query rows of chunk order: those of some pairs of a chunk's list."""

from __future__ import annotations

from hsa_compiler.lowering.chunk_lists import ChunkLists
from hsa_compiler.lowering.common import Lowering, both
from hsa_compiler.lowering.heads import AttendShape
from hsa_compiler.tile.ir import Pointer, Var


def pairs_per_step(low: Lowering, shape: AttendShape) -> int:
    """Pairs of a step: enough that sums over rows are products a matrix unit can do."""
    return max(low.schedule.pairs, -(-low.caps.min_dot // shape.padded_rows))


class PairRows:
    """`pairs` x `padded_rows` query rows: the pairs from one place of a chunk's list on.

    With query blocks a pair stands for all tokens of its row, so the list is walked once per
    token of a block: pair p of the walk is (list entry p // block, token p % block).
    """

    def __init__(
        self,
        lists: ChunkLists,
        shape: AttendShape,
        pairs: int,
        start: Var,
        last: Var,
        batch: Var,
        program: Var,
        head: Var | int,
    ) -> None:
        self.b, self.shape, self.lists, self.pairs = lists.b, shape, lists, pairs
        self.start, self.last, self.index_head = start, last, head
        self.batch, self.program = batch, program
        b = self.b
        count = pairs * shape.padded_rows
        o_x = b.arange(count, "o_x")
        self._head_row = row_head = o_x % shape.padded_rows
        pair = o_x // shape.padded_rows if shape.padded_rows > 1 else o_x
        exists = None if shape.padded_rows == shape.rows else row_head < shape.rows
        self.row, self.slot, self.token, self.mask = self._pairs(pair, exists)
        self.heads = program * shape.rows + row_head

    def _pairs(self, o_pair: Var, exists: Var | None) -> tuple[Var, Var, Var, Var | None]:
        """Retrieval row, slot, token and mask of the pairs at these distances from the start."""
        b, shape, lists = self.b, self.shape, self.lists
        place = self.start + o_pair
        mask = both(b, place < self.last, exists)
        block = shape.query_block
        entry = place if block == 1 else place // block
        base = lists.pair_base(self.batch, self.index_head)
        pair = b.load(lists.order, base + entry, mask, name="b_pair")
        row, slot = pair // shape.top_k, pair % shape.top_k
        if block == 1:
            return row, slot, row, mask
        token = row * block + place % block
        return row, slot, token, both(b, mask, token < b.scalar("L"))

    def head_row(self) -> Var:
        """The number of every row's head in its program [count]."""
        return self._head_row

    def per_head(self) -> Var:
        """Offsets [count] into a ``[B, L, Hq]`` tensor."""
        token = (self.batch * self.b.scalar("L")).to("i64") + self.token
        return token * self.shape.query_heads + self.heads

    def tile(self) -> Var:
        """Offsets [count, D] into a ``[B, L, Hq, D]`` tensor."""
        o_dim = self.b.arange(self.shape.head_dim, "o_dim")
        return (self.per_head() * self.shape.head_dim).as_column + o_dim.as_row

    def mask_tile(self) -> Var | None:
        """`mask` as a column."""
        return None if self.mask is None else self.mask.as_column

    def load(self, pointer: Pointer, name: str) -> Var:
        """Rows of a ``[B, L, Hq, D]`` tensor; 0 where there is no pair."""
        return self.b.load(pointer, self.tile(), self.mask_tile(), name=name)

    def token_ids(self) -> Var:
        """The token of every pair [pairs]."""
        return self.per_pair()[0]

    def per_pair(self) -> tuple[Var, Var, Var | None]:
        """Token, slot and mask of every pair [pairs]."""
        if self.shape.padded_rows == 1:
            return self.token, self.slot, self.mask
        _, slot, token, mask = self._pairs(self.b.arange(self.pairs, "o_pair"), None)
        return token, slot, mask

    def per_token(self, x: Var) -> Var:
        """Sums over the rows of each pair: [count] -> [pairs]."""
        return self.b.sum_groups(x, self.shape.padded_rows)

    def weight(self, weights: Pointer) -> Var:
        """The fusion weight of every row."""
        b, shape = self.b, self.shape
        place = (self.batch * b.scalar("R")).to("i64") + self.row
        head = place * shape.weight_heads + shape.weight_head(self.heads)
        offsets = head * shape.top_k + self.slot
        return b.load(weights, offsets, self.mask, name="b_w")
