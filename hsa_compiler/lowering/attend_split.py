"""Attention for few tokens: several programs share the chunks that a token chose, a second launch
adds up what they found.

Every part leaves its output in fp32, in the joint softmax beside its maximum and denominator. With
weights from outside a chunk is softmaxed by itself, so that parts are added and nothing else. A
part without a chunk leaves zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hsa_compiler.lowering.attend import JointAttend, WeightedAttend, chunk_tiles
from hsa_compiler.lowering.common import LoweredGroup, Lowering, below
from hsa_compiler.lowering.heads import AttendShape, QueryRows
from hsa_compiler.lowering.walks import OwnSlots
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, Size, Var, Workspace

#: Elements of the parts' outputs that the second launch adds up at once.
_ADDED = 8192


def lower_attend_split(low: Lowering) -> LoweredGroup:
    """``attend + fuse [+ merge_local]`` or ``attend + fuse_joint`` -> a launch with `parts`
    programs for a token and head program, and one that combines them."""
    low.need_order("token")
    op, parts = low.op("attend"), low.schedule.parts
    shape = AttendShape.of(low, op)
    b = TileBuilder("attend_parts")
    q, indices = low.operand(b, op, "q"), low.operand(b, op, "indices")
    i_token, i_part = _token_and_part(b, parts)
    i_program, i_batch = b.program_id(1, "i_program"), b.program_id(2, "i_batch")
    rows = QueryRows(b, shape, i_batch, i_token, i_program)
    tiles = chunk_tiles(low, rows, op)
    walk = _Part(low, b, rows, indices, i_part)
    b_q = b.load(q, rows.tile(), rows.mask_tile(), name="b_q").to(tiles.dtype)
    kind = JointAttend if low.find("fuse_joint") else WeightedAttend
    kernel = kind(low, b, rows)
    found = kernel.loop(tiles, walk, b_q, kernel.start())
    _Found(low, b, rows).store(i_part, found)
    launch = b.finish((Size.of("L") * parts, shape.programs, "B"))
    return LoweredGroup((launch, _combine(low, shape, kind)), overlapped=True)


def _token_and_part(b: TileBuilder, parts: int) -> tuple[Var, Var]:
    place = b.program_id(0, "i_place")
    return place // parts, place % parts


class _Part(OwnSlots):
    """The walk of one part: neighbouring slots of one token."""

    def __init__(
        self, low: Lowering, b: TileBuilder, rows: QueryRows, indices: Pointer, part: Var
    ) -> None:
        shape = rows.shape
        self.b, self.rows, self.indices = b, rows, indices
        self.stages = low.schedule.stages
        self.slots = rows.slots(rows.first_token, shape.index_head(rows.program), shape.index_heads)
        count = -(-shape.top_k // low.schedule.parts)
        self.first = part * count
        padded = low.caps.pad(count)
        o_step = b.arange(padded, "o_step")
        mask = self.first + o_step < shape.top_k
        within = below(o_step, count, padded)
        if within is not None:
            mask = mask & within
        chosen = b.load(indices, self.slots + self.first + o_step, mask, other=-1, name="b_chosen")
        self.steps = b.max(b.where(chosen >= 0, o_step + 1, 0), 0, "n_slots")

    def enter(self, step: Var) -> Var:
        """Begin a step; its chunk, which is 0 for an empty slot."""
        return super().enter(self.first + step)


@dataclass(frozen=True)
class _Found:
    """What parts leave: outputs ``fp32[B, L, Hq, parts, D]`` and in the joint softmax maxima and
    denominators ``fp32[B, L, Hq, parts]``."""

    low: Lowering
    b: TileBuilder
    rows: QueryRows

    def spaces(self, count: int) -> list[Pointer]:
        """The buffers, as many as a part's loop carries."""
        rows = Size.of("B") * "L" * self.rows.shape.query_heads * self.low.schedule.parts
        sizes = (("part_out", rows * self.rows.shape.head_dim), ("part_m", rows), ("part_l", rows))
        return [
            self.low.workspace(self.b, Workspace(name, "fp32", size))
            for name, size in sizes[:count]
        ]

    def place(self, part: Var) -> Var:
        """The number of a part of every row."""
        return self.rows.per_head() * self.low.schedule.parts + part

    def store(self, part: Var, found: tuple[Var, ...]) -> None:
        """Write what one part found for its rows."""
        b, dim = self.b, self.rows.shape.head_dim
        out, *others = self.spaces(len(found))
        place, mask = self.place(part), self.rows.mask()
        tile = (place * dim).as_column + b.arange(dim, "o_dim").as_row
        b.store(out, tile, found[0], self.rows.mask_tile())
        for space, value in zip(others, found[1:], strict=True):
            b.store(space, place, value, mask)


def _combine(low: Lowering, shape: AttendShape, kind: type[JointAttend | WeightedAttend]) -> Kernel:
    """The launch that adds the parts of one token and query head."""
    b, parts = TileBuilder("attend_combine"), low.schedule.parts
    # One query head a program: few tokens leave most multiprocessors idle otherwise.
    single = replace(shape, programs=shape.query_heads, rows=1, padded_rows=1)
    i_token, i_head = b.program_id(0, "i_token"), b.program_id(1, "i_head")
    rows = QueryRows(b, single, b.program_id(2, "i_batch"), i_token, i_head)
    found, dim = _Found(low, b, rows), shape.head_dim
    finished = kind(low, b, rows)
    step = max(1, min(parts, _ADDED // dim))
    carry = finished.start()
    with b.loop(0, parts, step, name="i_part", carry=carry) as loop:
        out, *others = found.spaces(len(carry))
        o_part, o_dim = loop.index + b.arange(step, "o_part"), b.arange(dim, "o_dim")
        base = b.max(rows.per_head(), 0, "row") * parts
        b_parts = b.load(out, ((base + o_part) * dim).as_column + o_dim.as_row, name="b_parts")
        if not others:
            loop.yield_(loop.carried[0] + b.sum(b_parts, 0).as_row)
        else:
            b_out, b_m, b_l = loop.carried
            part_m, part_l = (b.load(space, base + o_part) for space in others)
            new_m = b.maximum(b_m, b.max(part_m, 0), "b_new_m")
            rescale = b.exp2((b_m - new_m) * single.exponent, "b_rescale")
            share = b.exp2((part_m - b.max(new_m, 0)) * single.exponent, "b_share")
            added = b.sum(b_parts * share.as_column, 0)
            loop.yield_(
                b_out * rescale.as_column + added.as_row,
                new_m,
                b_l * rescale + b.sum(part_l * share, 0),
            )
    finished.finish(*loop.carried)
    return b.finish(("L", shape.query_heads, "B"))
