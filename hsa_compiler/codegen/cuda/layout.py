"""Who holds which element of a tile: bit layouts.

All axes are powers of two, so that an element's place along an axis is a string of bits. A layout
names the owner of every one of them: a bit of the register number, of the lane (5 bits) or of the
warp. Lane and warp bits that name no bit of the tile hold replicas. The operands and results of
``mma.sync`` are such layouts, and so is every tile that is cut out of them, which is why most ops
need no more than a loop over registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

#: (axis, bit of the place along it).
Bit = tuple[int, int]
LANE_BITS = 5


@dataclass(frozen=True)
class Layout:
    """Owners of the bits of a tile of `shape`, least significant first.

    Every bit of the tile occurs exactly once; None is a replica.
    """

    shape: tuple[int, ...]
    regs: tuple[Bit, ...]
    lanes: tuple[Bit | None, ...]
    warps: tuple[Bit | None, ...]

    @property
    def registers(self) -> int:
        """Elements that one thread holds."""
        return 1 << len(self.regs)

    @property
    def threads(self) -> tuple[Bit | None, ...]:
        """Owners among the bits of the thread number."""
        return self.lanes + self.warps

    @property
    def replicated(self) -> tuple[int, ...]:
        """Bits of the thread number that hold replicas."""
        return tuple(i for i, bit in enumerate(self.threads) if bit is None)

    def remapped(self, shape: tuple[int, ...], rename: Callable[[Bit], Bit | None]) -> Layout:
        """The layout of a tile of `shape` whose bits are these ones by other names; None drops a
        bit: registers of it merge, threads of it become replicas."""

        def threads(bits: Iterable[Bit | None]) -> tuple[Bit | None, ...]:
            return tuple(None if bit is None else rename(bit) for bit in bits)

        kept = (rename(bit) for bit in self.regs)
        regs = tuple(bit for bit in kept if bit is not None)
        return Layout(shape, regs, threads(self.lanes), threads(self.warps))

    def without(self, axis: int) -> Layout:
        """What remains when an axis is summed up."""
        shape = self.shape[:axis] + self.shape[axis + 1 :]
        return self.remapped(
            shape, lambda bit: None if bit[0] == axis else (bit[0] - (bit[0] > axis), bit[1])
        )

    def within(self, shape: tuple[int, ...]) -> Layout:
        """That of a tile which is broadcast to this one: its axes of size 1 have no bits."""
        if shape == self.shape:
            return self
        return self.remapped(shape, lambda bit: bit if shape[bit[0]] > 1 else None)

    def transposed(self) -> Layout:
        """That of the transposed tile."""
        return self.remapped(self.shape[::-1], lambda bit: (1 - bit[0], bit[1]))

    def inserted(self, axis: int) -> Layout:
        """That of the tile with a new axis of size 1."""
        shape = (*self.shape[:axis], 1, *self.shape[axis:])
        return self.remapped(shape, lambda bit: (bit[0] + (bit[0] >= axis), bit[1]))

    def grouped(self, size: int) -> Layout:
        """That of the [N / size] groups of neighbours of a tile [N]."""
        low = log2(size)
        shape = (self.shape[0] // size,)
        return self.remapped(shape, lambda bit: (0, bit[1] - low) if bit[1] >= low else None)

    def vector(self, axis: int) -> int:
        """How many neighbours along an axis lie in neighbouring registers."""
        width = 0
        while width < len(self.regs) and self.regs[width] == (axis, width):
            width += 1
        return 1 << width


def log2(n: int) -> int:
    """The exponent of a power of two."""
    if n < 1 or n & (n - 1):
        raise ValueError(f"{n} is no power of two")
    return n.bit_length() - 1


def axis_bits(axis: int, size: int) -> list[Bit]:
    """The bits of an axis."""
    return [(axis, bit) for bit in range(log2(size))]


class _Deal:
    """Deals the bits of a tile to threads, the rest of them to registers."""

    def __init__(self, shape: tuple[int, ...], warps: int) -> None:
        self.shape, self.warp_bits = shape, log2(warps)
        self.left = [axis_bits(axis, size) for axis, size in enumerate(shape)]
        self.regs: list[Bit] = []
        self.lanes: list[Bit | None] = []
        self.warps: list[Bit | None] = []

    def take(self, axis: int, count: int = 1, keep: int = 0, high: bool = False) -> list[Bit]:
        """Up to `count` bits of an axis, the lowest or highest, leaving at least `keep`."""
        bits = self.left[axis]
        count = max(0, min(count, len(bits) - keep))
        if high:
            taken = bits[len(bits) - count :]
            del bits[len(bits) - count :]
        else:
            taken = bits[:count]
            del bits[:count]
        return taken

    def to_warps(self, axes: Sequence[int], keep: dict[int, int] | None = None) -> None:
        """Fill the warp bits with the highest bits of `axes`, in turn."""
        for axis in axes:
            room = self.warp_bits - len(self.warps)
            self.warps += self.take(axis, room, (keep or {}).get(axis, 0), high=True)

    def to_lanes(self, axes: Sequence[int]) -> None:
        """Fill the lane bits with the lowest bits of `axes`, in turn."""
        for axis in axes:
            self.lanes += self.take(axis, LANE_BITS - len(self.lanes))

    def layout(self, axes: Sequence[int]) -> Layout:
        """All bits that are left go to registers, those of the first of `axes` lowest."""
        for axis in axes:
            self.regs += self.take(axis, len(self.left[axis]))
        lanes = self.lanes + [None] * (LANE_BITS - len(self.lanes))
        warps = self.warps + [None] * (self.warp_bits - len(self.warps))
        return Layout(self.shape, tuple(self.regs), tuple(lanes), tuple(warps))


def coalesced(shape: tuple[int, ...], warps: int, vector: int = 1, fast: int = -1) -> Layout:
    """Neighbouring lanes hold neighbours along axis `fast`, `vector` elements each."""
    if not shape:
        return _Deal(shape, warps).layout(())
    axes = [axis % len(shape) for axis in (fast, *range(len(shape) - 1, -1, -1))]
    axes = list(dict.fromkeys(axes))
    deal = _Deal(shape, warps)
    deal.regs += deal.take(axes[0], log2(vector))
    deal.to_lanes(axes)
    for axis in axes:
        deal.warps += deal.take(axis, deal.warp_bits - len(deal.warps))
    return deal.layout(axes)


def balanced(shape: tuple[int, ...], warps: int) -> Layout:
    """Lanes along both axes, warps along the first: whatever axis is reduced, neither it nor the
    other is left to registers alone."""
    if len(shape) < 2:
        return coalesced(shape, warps)
    deal = _Deal(shape, warps)
    deal.lanes += deal.take(1, 2) + deal.take(0, 3)
    deal.to_lanes((1, 0))
    deal.to_warps((0, 1))
    return deal.layout((1, 0))


def accumulator(shape: tuple[int, int], warps: int) -> Layout:
    """The fp32 results of ``mma.m16n8k16``: warps along rows, then along columns, each with 16
    columns or more."""
    deal = _Deal(shape, warps)
    deal.regs += deal.take(1)
    deal.lanes += deal.take(1, 2) + deal.take(0, 3)
    deal.regs += deal.take(0)
    deal.to_warps((0, 1), keep={1: 1})
    return deal.layout((1, 0))


def warpgroup_accumulator(shape: tuple[int, int], warps: int) -> Layout:
    """The fp32 results of ``wgmma``: blocks of 64 rows, 16 of them for each of four warps."""
    deal = _Deal(shape, warps)
    deal.regs += deal.take(1)
    deal.lanes += deal.take(1, 2) + deal.take(0, 3)
    deal.regs += deal.take(0)
    deal.warps += deal.take(0, deal.warp_bits)
    return deal.layout((1, 0))


def left_operand(result: Layout, depth: int) -> Layout:
    """Operand A of ``mma.m16n8k16`` or ``wgmma`` for an accumulator; warps along its columns hold
    replicas."""
    rows = [bit for bit in result.regs if bit[0] == 0]
    deep = axis_bits(1, depth)
    lanes = (*deep[1:3], *result.lanes[2:])
    warps = tuple(bit if bit is not None and bit[0] == 0 else None for bit in result.warps)
    regs = (deep[0], rows[0], *deep[3:], *rows[1:])
    return Layout((result.shape[0], depth), regs, lanes, warps)


def fma_result(shape: tuple[int, int], warps: int) -> Layout:
    """Results of products without the matrix unit: 4 rows and 8 columns of lanes."""
    deal = _Deal(shape, warps)
    deal.lanes += deal.take(1, 3) + deal.take(0, 2)
    deal.to_warps((0, 1))
    return deal.layout((1, 0))


def widened(layout: Layout, shape: tuple[int, ...], axis: int) -> Layout:
    """A layout of `shape` that becomes `layout` when `axis` is summed up: the axis goes to the
    threads that hold replicas, lanes first, and the rest of it to registers."""
    back = layout.inserted(axis)
    bits = axis_bits(axis, shape[axis])

    def filled(threads: tuple[Bit | None, ...]) -> tuple[Bit | None, ...]:
        return tuple(bits.pop(0) if bit is None and bits else bit for bit in threads)

    lanes = filled(back.lanes)
    return Layout(shape, (*bits, *back.regs), lanes, back.warps)


def within_warps(layout: Layout, axis: int) -> Layout:
    """The same with an axis that no two warps share: its warp bits go to the lanes that hold
    replicas, and the rest to registers."""
    moved = [bit for bit in layout.warps if bit is not None and bit[0] == axis]
    warps = tuple(None if bit in moved else bit for bit in layout.warps)
    lanes = tuple(moved.pop(0) if bit is None and moved else bit for bit in layout.lanes)
    return Layout(layout.shape, (*layout.regs, *moved), lanes, warps)


def ranking(rows: int, kept: int, warps: int) -> Layout:
    """A list of `kept` per row, sorted in place: some of it in registers, some across lanes."""
    deal = _Deal((rows, kept), warps)
    deal.to_warps((0,))
    deal.regs += deal.take(1, 2)
    deal.to_lanes((0, 1) if rows >= 1 << (LANE_BITS + deal.warp_bits) else (1, 0))
    return deal.layout((1, 0))


def extended(layout: Layout, columns: int) -> Layout:
    """The same for more columns, whose further bits are the highest of the register number."""
    rows, kept = layout.shape
    more = axis_bits(1, columns)[log2(kept) :]
    return Layout((rows, columns), (*layout.regs, *more), layout.lanes, layout.warps)


def is_permutation(source: Layout, target: Layout) -> bool:
    """Whether every thread holds already what it needs."""
    return source.threads == target.threads


def ungrouped(layout: Layout, size: int) -> Layout:
    """A layout of [N * size] whose groups of `size` neighbours are in `layout`: the places within
    a group go to the threads that hold replicas, lanes first, and the rest to registers."""
    low = log2(size)
    shape = (layout.shape[0] * size,)
    up = layout.remapped(shape, lambda bit: (0, bit[1] + low))
    bits: list[Bit] = [(0, bit) for bit in range(low)]
    lanes = tuple(bits.pop(0) if bit is None and bits else bit for bit in up.lanes)
    return Layout(shape, (*bits, *up.regs), lanes, up.warps)
