"""Sums over a chunk's rows where programs own rows, not chunks: every program adds to a copy of its
own, and a second kernel adds the copies up. Nothing is atomic, and always in the same order."""

from __future__ import annotations

from dataclasses import dataclass

from hsa_compiler.lowering.chunk_walk import ChunkWalk
from hsa_compiler.lowering.common import tile_offset
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Size, Var, Workspace

#: Keys of a program that adds copies up.
_KEYS = 16


@dataclass(frozen=True)
class ChunkCopies:
    """Copies ``fp32[N, B, Lkv, H, D]`` of the results `roles` of the walk's op."""

    walk: ChunkWalk
    roles: tuple[str, ...]

    @property
    def _per_kv(self) -> int:
        shape = self.walk.shape
        return shape.programs // shape.kv_heads

    @property
    def _count(self) -> int:
        return self.walk.lists.copies * self._per_kv

    def _space(self, role: str) -> Workspace:
        shape = self.walk.shape
        size = Size.of("B") * "Lkv" * (shape.kv_heads * shape.head_dim * self._count)
        return Workspace(f"{role}_copies", "fp32", size, zeroed=True)

    def _start(self, b: TileBuilder, copy: Var) -> Var:
        """Where a copy starts."""
        shape = self.walk.shape
        keys = (copy * b.scalar("B")).to("i64") * b.scalar("Lkv")
        return keys * (shape.kv_heads * shape.head_dim)

    def add(self, role: str, offsets: Var, part: Var) -> None:
        """Add a part of a chunk's sum at `offsets` of the result."""
        walk, b = self.walk, self.walk.b
        copy = walk.work
        if self._per_kv > 1:
            copy = copy * self._per_kv + walk.head % self._per_kv
        target = walk.low.workspace(b, self._space(role))
        b.atomic_add(target, self._start(b, copy) + offsets, part, exclusive=True)

    def sum(self) -> Kernel:
        """The kernel that adds them up; keys that belong to no chunk get 0."""
        low, shape, b = self.walk.low, self.walk.shape, TileBuilder("sum_copies")
        i_tile, head, batch = (b.program_id(a, f"i_{n}") for a, n in enumerate(("t", "h", "b")))
        o_key = i_tile * _KEYS + b.arange(_KEYS, "o_key")
        mask = (o_key < b.scalar("Lkv")).as_column
        token = (batch * b.scalar("Lkv")).to("i64") + i_tile * _KEYS
        base = (token * shape.kv_heads + head) * shape.head_dim
        o_dim = b.arange(shape.head_dim, "o_dim")
        row = shape.kv_heads * shape.head_dim
        offsets = tile_offset(base, b.arange(_KEYS, "o_row"), row, o_dim)
        for role in self.roles:
            copies = low.workspace(b, self._space(role))
            zero = b.full((_KEYS, shape.head_dim), 0.0, "fp32", "b_sum")
            with b.loop(0, self._count, name="i_copy", carry=[("b_sum", zero)]) as loop:
                place = self._start(b, loop.index) + offsets
                loop.yield_(loop.carried[0] + b.load(copies, place, mask, name="b_copy"))
            b.store(low.result(b, self.walk.op, role), offsets, loop.carried[0], mask)
        return b.finish((Size.of("Lkv").cdiv(_KEYS), shape.kv_heads, "B"))
