"""Bit layouts: who holds what, and what follows from it."""

from __future__ import annotations

import itertools
import math

import pytest

from hsa_compiler.codegen.cuda import layout as lo
from hsa_compiler.codegen.cuda.layout import Layout

SHAPES = [(16, 16), (64, 128), (128, 64), (16, 128)]


def held(layout: Layout) -> dict[tuple[int, int], tuple[int, ...]]:
    """The element of every (thread, register)."""
    found = {}
    for thread in range(1 << len(layout.threads)):
        for register in range(layout.registers):
            place = [0] * len(layout.shape)
            for number, owners in ((thread, layout.threads), (register, layout.regs)):
                for i, bit in enumerate(owners):
                    if bit is not None and number >> i & 1:
                        place[bit[0]] += 1 << bit[1]
            found[thread, register] = tuple(place)
    return found


def is_complete(layout: Layout) -> bool:
    """Whether every element is held, equally often."""
    elements = list(held(layout).values())
    every = set(itertools.product(*map(range, layout.shape)))
    return set(elements) == every and len(elements) == len(every) << len(layout.replicated)


@pytest.mark.parametrize("warps", [1, 2, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_element_is_held(shape: tuple[int, int], warps: int) -> None:
    result = lo.accumulator(shape, warps)
    made = [result, lo.fma_result(shape, warps), lo.balanced(shape, warps)]
    made += [lo.coalesced(shape, warps, 8, axis) for axis in (0, 1)]
    made += [lo.left_operand(result, 64), lo.ranking(*shape, warps)]
    if shape[0] >= 16 * warps:
        blocks = lo.warpgroup_accumulator(shape, warps)
        made += [blocks, lo.left_operand(blocks, 64)]
    made += [result.without(axis) for axis in (0, 1)]
    made += [result.transposed(), lo.within_warps(result, 0), lo.within_warps(result, 1)]
    made.append(lo.extended(lo.ranking(*shape, warps), 2 * shape[1]))
    made += [lo.widened(result.without(1), shape, 1), result.without(1).inserted(0)]
    made += [result.without(1).grouped(8), lo.ungrouped(result.without(1), 4)]
    assert all(map(is_complete, made))
    assert all(len(layout.warps) == int(math.log2(warps)) for layout in made)


def test_warpgroups_compute_blocks_of_64_rows_as_warps_compute_16() -> None:
    blocks, alone = lo.warpgroup_accumulator((128, 64), 4), lo.accumulator((16, 64), 1)
    placed, own = held(blocks), held(alone)
    for (thread, register), (row, column) in placed.items():
        warp, lane = divmod(thread, 32)
        block, number = divmod(register, alone.registers)
        found = own[lane, number]
        assert (row, column) == (64 * block + 16 * warp + found[0], found[1])


def test_an_axis_within_warps_takes_lanes_that_hold_replicas() -> None:
    rows = lo.accumulator((256, 64), 8).without(1)
    found = lo.within_warps(rows, 0)
    assert is_complete(found)
    assert found.warps == (None, None, None)
    # Two lane bits held replicas.
    assert found.registers == 2 * rows.registers


def test_small_tiles_leave_replicas() -> None:
    layout = lo.coalesced((4,), 4)
    assert layout.registers == 1
    assert layout.replicated == (2, 3, 4, 5, 6)
    assert is_complete(layout)
    assert is_complete(lo.coalesced((), 2))


def test_fragments_are_those_of_the_manual() -> None:
    # "Matrix Fragments for mma.m16n8k16 with floating point type", of the PTX manual.
    result = held(lo.accumulator((16, 16), 1))
    left = held(lo.left_operand(lo.accumulator((16, 16), 1), 16))
    for lane in range(32):
        group, pair = lane // 4, lane % 4 * 2
        for i in range(4):
            row = group if i < 2 else group + 8
            assert result[lane, i] == (row, pair + i % 2)
            assert result[lane, 4 + i] == (row, 8 + pair + i % 2)
        for i in range(8):
            row = group if i % 4 < 2 else group + 8
            assert left[lane, i] == (row, pair + i % 2 + (0 if i < 4 else 8))


@pytest.mark.parametrize("warps", [1, 4])
def test_a_product_of_a_product_moves_nothing(warps: int) -> None:
    # The rows of 4 warps; what one product gives is the operand of the next.
    scores = lo.accumulator((64, 64), warps)
    operand = lo.left_operand(lo.accumulator((64, 128), warps), 64)
    assert scores == operand


def test_summing_up_a_widened_tile_gives_the_layout_back() -> None:
    rows = lo.accumulator((64, 64), 4).without(1)
    wide = lo.widened(rows, (64, 32), 1)
    assert wide.without(1) == rows
    # Lanes that held the same row share its 32 columns.
    assert wide.registers == rows.registers * 8
    assert lo.ungrouped(rows, 4).grouped(4) == rows


def test_a_conversion_within_threads_is_told_from_others() -> None:
    scores = lo.accumulator((64, 64), 4)
    same = lo.left_operand(scores, 64)
    assert lo.is_permutation(scores, same)
    assert not lo.is_permutation(scores, scores.transposed())


def test_neighbours_in_registers() -> None:
    assert lo.coalesced((64, 128), 4, 8).vector(1) == 8
    assert lo.accumulator((64, 128), 4).vector(1) == 2
    assert lo.accumulator((64, 128), 4).vector(0) == 1


def test_sizes_are_powers_of_two() -> None:
    with pytest.raises(ValueError, match="24 is no power of two"):
        lo.coalesced((24,), 4)
