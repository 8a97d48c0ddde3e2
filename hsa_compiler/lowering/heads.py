"""How query, key, index and weight heads map onto the programs of an attention kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hsa_compiler.errors import LoweringError
from hsa_compiler.ir import Op
from hsa_compiler.lowering.common import (
    LOG2E,
    LOWEST,
    Lowering,
    below,
    both,
    share_head,
    tile_offset,
)
from hsa_compiler.lowering.memory import Paging
from hsa_compiler.schedules.schedule import IllegalSchedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Descriptor, Pointer, Var

#: Scales that are not larger, or larger, are multiplied into the logits.
_LEAST_SCALE, _MOST_SCALE = 2.0**-32, 2.0**20


@dataclass(frozen=True)
class AttendShape:
    """The static facts of an attend op (or one of its gradients).

    A *head program* covers the `rows` query heads that share an index list and a KV head:
    ``programs = max(Hi, H)`` of them, program n with query heads ``n*rows .. n*rows+rows-1``.
    """

    query_heads: int
    kv_heads: int
    head_dim: int
    chunk: int
    top_k: int
    index_heads: int
    weight_heads: int
    query_block: int
    scale: float
    plus_one: bool
    hide_last: bool
    key_tile: int
    programs: int
    rows: int
    padded_rows: int

    @classmethod
    def of(cls, low: Lowering, op: Op) -> AttendShape:
        """Read the facts off the op and the problem's dims."""
        problem = low.problem
        chunk = int(op.attr("chunk"))
        tile = low.schedule.chunk_tile or chunk
        if chunk % tile:
            raise IllegalSchedule("knob", f"chunk_tile={tile} does not divide the chunk {chunk}")
        query_heads, kv_heads, index_heads = problem["Hq"], problem["H"], problem["Hi"]
        programs = max(index_heads, kv_heads)
        if query_heads % programs or programs % kv_heads or programs % index_heads:
            raise LoweringError(
                f"{query_heads} query heads, {kv_heads} KV heads and {index_heads} index heads "
                "do not divide each other"
            )
        return cls(
            query_heads=query_heads,
            kv_heads=kv_heads,
            head_dim=problem["D"],
            chunk=chunk,
            top_k=problem["K"],
            index_heads=index_heads,
            weight_heads=problem.get("Hw", query_heads),
            query_block=int(op.attr("query_block")),
            scale=float(op.attr("scale")),
            plus_one=bool(op.attr("plus_one")),
            hide_last=bool(op.attr("hide_last")),
            key_tile=tile,
            programs=programs,
            rows=query_heads // programs,
            padded_rows=low.caps.pad(query_heads // programs),
        )

    @property
    def exponent(self) -> float:
        """What `ChunkTiles.logits` are multiplied with so that ``exp2`` gives their exponentials.

        The scale is left to the exponential's argument, where the multiplication is free, unless
        it would turn the order of the logits around or LOWEST into a common number or infinity.
        """
        return LOG2E * (1.0 if self.scales_logits else self.scale)

    @property
    def scales_logits(self) -> bool:
        """Whether `ChunkTiles.logits` hold the scale."""
        return not _LEAST_SCALE < self.scale <= _MOST_SCALE

    @property
    def first_maximum(self) -> float:
        """Where a running maximum starts; the extra logit 0 of `plus_one` is seen from the start,
        so that ``exp2(-max)`` cannot overflow."""
        return 0.0 if self.plus_one else LOWEST

    @property
    def key_tiles(self) -> int:
        """Sub-tiles per chunk; 1 when a chunk is held whole."""
        return self.chunk // self.key_tile

    @property
    def own_weights(self) -> bool:
        """Whether the rows of a head program may have different fusion weights."""
        return self.weight_heads > self.programs

    def index_head(self, program: Var) -> Var | int:
        """The index head of a head program."""
        return share_head(program, self.index_heads, self.programs)

    def kv_head(self, program: Var) -> Var:
        """The KV head of a head program."""
        if self.kv_heads == self.programs:
            return program
        return program * self.kv_heads // self.programs

    def weight_head(self, query_head: Var) -> Var | int:
        """The weight head of a query head."""
        return share_head(query_head, self.weight_heads, self.query_heads)


@dataclass(frozen=True)
class ChunkTiles:
    """Loads key and value sub-tiles ``[key_tile, D]`` of a chunk: element by element, or in one
    piece where there are `blocks` of the keys and of the values."""

    b: TileBuilder
    shape: AttendShape
    keys: Pointer
    values: Pointer
    chunk_start: Pointer | None
    batch: Var
    kv_head: Var
    dtype: str
    paging: Paging | None = None
    blocks: tuple[Descriptor, Descriptor] | None = None

    def in_blocks(self, low: Lowering) -> ChunkTiles:
        """The same, loading as the schedule asks."""
        if low.schedule.descriptors == "none":
            return self
        s, axes = self.shape, (self.shape.kv_heads * self.shape.head_dim,)
        keys, values = (
            low.blocks(self.b, tensor, axes, s.key_tile, s.head_dim)
            for tensor in (self.keys, self.values)
        )
        return replace(self, blocks=(keys, values))

    def first_token(self, chunk: Var) -> Var:
        """The key token at which a chunk starts."""
        if self.chunk_start is None:
            return chunk * self.shape.chunk
        return self.b.load(self.chunk_start, chunk, name="chunk_start")

    def offsets(self, chunk: Var, tile: Var | int) -> Var:
        """Where a sub-tile lies, the same for keys and values: element offsets [key_tile, D], or
        with `blocks` its first row."""
        b, s = self.b, self.shape
        start = self.first_token(chunk)
        if s.key_tiles > 1:
            start = start + tile * s.key_tile
        if self.paging is not None:
            token = self.paging.place(self.batch, start)
        elif self.blocks:
            return self.batch * b.scalar("Lkv") + start
        else:
            token = (self.batch * b.scalar("Lkv")).to("i64") + start
        if self.blocks:
            return token.to("i32")  # the copy engine counts rows in 32 bits
        base = (token * s.kv_heads + self.kv_head) * s.head_dim
        o_key, o_dim = b.arange(s.key_tile, "o_key"), b.arange(s.head_dim, "o_dim")
        return tile_offset(base, o_key, s.kv_heads * s.head_dim, o_dim)

    def load_keys(self, offsets: Var) -> Var:
        """The keys at `offsets` as matrix-product operands."""
        return self._load(0, offsets, "b_k")

    def load_values(self, offsets: Var) -> Var:
        """The values at `offsets` as matrix-product operands."""
        return self._load(1, offsets, "b_v")

    def _load(self, which: int, offsets: Var, name: str) -> Var:
        b = self.b
        if self.blocks:
            start = (offsets, self.kv_head * self.shape.head_dim)
            return b.load_block(self.blocks[which], start, name).to(self.dtype)
        return b.load((self.keys, self.values)[which], offsets, name=name).to(self.dtype)

    def logits(self, queries: Var, keys: Var, tile: Var | int) -> Var:
        """Logits ``[rows, key_tile]`` over `AttendShape.exponent`; a hidden last token gets
        -inf."""
        b, s = self.b, self.shape
        logits = b.dot(queries, keys.t, name="b_s")
        if s.scales_logits:
            logits = b.binary("mul", logits, s.scale, "b_s")
        if not s.hide_last or (isinstance(tile, int) and tile != s.key_tiles - 1):
            return logits
        position = b.arange(s.key_tile, "o_key") + tile * s.key_tile
        return b.where((position < s.chunk - 1).as_row, logits, float("-inf"), "b_s")

    def power(self, logits: Var, base: Var) -> Var:
        """``exp(logit - base)`` of logits ``[rows, key_tile]``; `base` ``[rows]`` in base 2."""
        b = self.b
        return b.exp2(logits * self.shape.exponent - base.as_column, "b_p")


@dataclass(frozen=True)
class QueryRows:
    """Addresses of a tile's query rows for one head program: `tokens` neighbouring tokens from
    `first_token` on, each with its `padded_rows` query heads.

    With one token, what is the same for all rows is a scalar.
    """

    b: TileBuilder
    shape: AttendShape
    batch: Var
    first_token: Var
    program: Var
    tokens: int = 1

    @property
    def count(self) -> int:
        """Rows, padded ones included."""
        return self.tokens * self.shape.padded_rows

    def token(self) -> Var:
        """The token of every row [count]; a scalar for one token."""
        if self.tokens == 1:
            return self.first_token
        o_row, per_token = self.b.arange(self.count, "o_row"), self.shape.padded_rows
        return self.first_token + (o_row if per_token == 1 else o_row // per_token)

    def heads(self) -> Var:
        """The query head of every row [count]."""
        return self.program * self.shape.rows + self.head_row()

    def head_row(self) -> Var:
        """The number of every row's head in its program [count]."""
        o_row = self.b.arange(self.count, "o_row")
        return o_row if self.tokens == 1 else o_row % self.shape.padded_rows

    def mask(self) -> Var | None:
        """Which rows exist [count]; None when all do."""
        exists = below(self.head_row(), self.shape.rows, self.shape.padded_rows)
        if self.tokens == 1:
            return exists
        return both(self.b, self.token() < self.b.scalar("L"), exists)

    def mask_tile(self) -> Var | None:
        """`mask` as a column."""
        mask = self.mask()
        return None if mask is None else mask.as_column

    def per_head(self) -> Var:
        """Offsets [count] into a ``[B, L, Hq]`` tensor."""
        token = (self.batch * self.b.scalar("L")).to("i64") + self.token()
        return token * self.shape.query_heads + self.heads()

    def tile(self) -> Var:
        """Offsets [count, D] into a ``[B, L, Hq, D]`` tensor."""
        o_dim = self.b.arange(self.shape.head_dim, "o_dim")
        return (self.per_head() * self.shape.head_dim).as_column + o_dim.as_row

    def load(self, low: Lowering, tensor: Pointer, name: str) -> Var:
        """These rows of a ``[B, L, Hq, D]`` tensor, in one piece where the schedule asks for it.

        Rows that do not exist are then another batch's, or 0: nothing of them may be stored, and no
        row may reach another.
        """
        b, s = self.b, self.shape
        if low.schedule.descriptors != "all":
            return b.load(tensor, self.tile(), self.mask_tile(), name=name)
        if s.padded_rows != s.rows:
            raise IllegalSchedule(
                "descriptors",
                f"descriptors='all' with {s.rows} query heads a program: a block needs a power of "
                "two; allowed: 'none', 'keys'",
            )
        axes = (s.query_heads, s.head_dim)
        blocks = low.blocks(b, tensor, axes, self.tokens, s.rows, s.head_dim)
        token = self.batch * b.scalar("L") + self.first_token
        return b.load_block(blocks, (token, self.program * s.rows, 0), name)

    # -- retrieval rows ---------------------------------------------------------------------------
    def place(self, token: Var) -> Var:
        """The place of tokens' retrieval rows in a ``[B, R, ...]`` tensor (i64)."""
        block = self.shape.query_block
        row = token if block == 1 else token // block
        return (self.batch * self.b.scalar("R")).to("i64") + row

    def slots(self, token: Var, head: Var | int, heads: int) -> Var:
        """Offsets of tokens' slot 0 in a ``[B, R, heads, K]`` tensor."""
        return (self.place(token) * heads + head) * self.shape.top_k

    def per_weight_head(self) -> Var:
        """Offsets [count] into a ``[B, R, Hw]`` tensor."""
        place = self.place(self.token())
        if self.shape.weight_heads == 1:
            return place + self.b.full((self.count,), 0, "i64", "o_head")
        return place * self.shape.weight_heads + self.shape.weight_head(self.heads())

    # -- tokens -----------------------------------------------------------------------------------
    def token_ids(self) -> Var:
        """The tokens [tokens]; a scalar for one."""
        if self.tokens == 1:
            return self.first_token
        return self.first_token + self.b.arange(self.tokens, "o_token")

    def token_mask(self) -> Var | None:
        """Which tokens exist [tokens]; None for one."""
        return None if self.tokens == 1 else self.token_ids() < self.b.scalar("L")

    def per_token(self, x: Var) -> Var:
        """Sums over the rows of each token: [count] -> [tokens], or a scalar for one token."""
        if self.tokens == 1:
            return self.b.sum(x, 0)
        return self.b.sum_groups(x, self.shape.padded_rows)
