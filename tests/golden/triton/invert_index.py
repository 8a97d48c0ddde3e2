"""Generated for triton:sm_90; schedule: index_blocks=128."""

import triton
import triton.language as tl

@triton.jit(do_not_specialize=['n_blocks', 'C', 'block_rows', 'R'])
def count_pairs(
    p_indices, p_counts, n_blocks, C, block_rows, R,
):
    # grid: (max(min(cdiv(R, 16), 128), 1), 1, B)
    i_work = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_batch * 1
    x_1 = x + i_head
    x_2 = x_1.to(tl.int64)
    x_3 = x_2 * n_blocks
    x_4 = x_3 + i_work
    x_5 = x_4 * C
    x_6 = i_work * block_rows
    x_7 = x_6 + block_rows
    last = tl.minimum(x_7, R)
    for i_row in tl.range(x_6, last, 1, num_stages=1):
        o_slot = tl.arange(0, 32)
        x_8 = i_batch * R
        x_9 = x_8.to(tl.int64)
        x_10 = x_9 + i_row
        x_11 = x_10 * 1
        x_12 = x_11 + i_head
        x_13 = x_12 * 32
        x_14 = x_13 + o_slot
        b_chosen = tl.load(p_indices + x_14)
        x_15 = x_5 + b_chosen
        x_16 = b_chosen >= 0
        tl.atomic_add(p_counts + x_15, 1, mask=x_16, sem="relaxed")


@triton.jit(do_not_specialize=['C', 'n_blocks'])
def prefix_blocks(
    p_counts, p_totals, C, n_blocks,
):
    # grid: (cdiv(C, 256), 1, B)
    i_work = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_work * 256
    o_chunk = tl.arange(0, 256)
    x_1 = x + o_chunk
    x_2 = x_1 < C
    b_sum = tl.full([256], 0, tl.int32)
    b_sum_1 = b_sum
    for i_block in tl.range(0, n_blocks, 1, num_stages=1):
        x_3 = i_batch * 1
        x_4 = x_3 + i_head
        x_5 = x_4.to(tl.int64)
        x_6 = x_5 * n_blocks
        x_7 = x_6 + i_block
        x_8 = x_7 * C
        x_9 = x_8 + x_1
        b_count = tl.load(p_counts + x_9, mask=x_2, other=0)
        tl.store(p_counts + x_9, b_sum_1, mask=x_2)
        x_10 = b_sum_1 + b_count
        b_sum_1 = x_10
    x_11 = i_batch * 1
    x_12 = x_11 + i_head
    x_13 = x_12.to(tl.int64)
    x_14 = x_13 * C
    x_15 = x_14 + x_1
    tl.store(p_totals + x_15, b_sum_1, mask=x_2)


@triton.jit(do_not_specialize=['C'])
def chunk_offsets(
    p_totals, p_offsets, C,
):
    # grid: (1, 1, B)
    i_work = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_batch * 1
    x_1 = x + i_head
    x_2 = x_1.to(tl.int64)
    x_3 = x_2 * C
    x_4 = i_batch * 1
    x_5 = x_4 + i_head
    x_6 = x_5.to(tl.int64)
    x_7 = C + 1
    x_8 = x_6 * x_7
    n_pairs = tl.full([], 0, tl.int32)
    tl.store(p_offsets + x_8, n_pairs)
    n_pairs_1 = n_pairs
    for i_chunk in tl.range(0, C, 256, num_stages=1):
        o_chunk = tl.arange(0, 256)
        x_9 = i_chunk + o_chunk
        x_10 = x_9 < C
        x_11 = x_3 + x_9
        b_total = tl.load(p_totals + x_11, mask=x_10, other=0)
        b_total_cumsum = tl.cumsum(b_total, axis=0)
        x_12 = n_pairs_1 + b_total_cumsum
        x_13 = x_8 + 1
        x_14 = x_13 + x_9
        tl.store(p_offsets + x_14, x_12, mask=x_10)
        b_total_sum = tl.sum(b_total, axis=0)
        x_15 = n_pairs_1 + b_total_sum
        n_pairs_1 = x_15


@triton.jit(do_not_specialize=['n_blocks', 'C', 'R', 'block_rows'])
def place_pairs(
    p_indices, p_counts, p_offsets, p_order, n_blocks, C, R, block_rows,
):
    # grid: (max(min(cdiv(R, 16), 128), 1), 1, B)
    i_work = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_batch * 1
    x_1 = x + i_head
    x_2 = x_1.to(tl.int64)
    x_3 = x_2 * n_blocks
    x_4 = x_3 + i_work
    x_5 = x_4 * C
    x_6 = i_batch * 1
    x_7 = x_6 + i_head
    x_8 = x_7.to(tl.int64)
    x_9 = C + 1
    x_10 = x_8 * x_9
    x_11 = i_batch * 1
    x_12 = x_11 + i_head
    x_13 = x_12.to(tl.int64)
    x_14 = x_13 * R
    x_15 = x_14 * 32
    o_slot = tl.arange(0, 32)
    x_16 = i_work * block_rows
    x_17 = x_16 + block_rows
    last = tl.minimum(x_17, R)
    for i_row in tl.range(x_16, last, 1, num_stages=1):
        o_slot_1 = tl.arange(0, 32)
        x_18 = i_batch * R
        x_19 = x_18.to(tl.int64)
        x_20 = x_19 + i_row
        x_21 = x_20 * 1
        x_22 = x_21 + i_head
        x_23 = x_22 * 32
        x_24 = x_23 + o_slot_1
        b_chosen = tl.load(p_indices + x_24)
        x_25 = b_chosen >= 0
        x_26 = x_5 + b_chosen
        b_done = tl.load(p_counts + x_26, mask=x_25, other=0)
        x_27 = x_10 + b_chosen
        b_start = tl.load(p_offsets + x_27, mask=x_25, other=0)
        b_chosen_1 = b_chosen[:, None]  # [32, 1]
        b_chosen_2 = b_chosen[None, :]  # [1, 32]
        x_28 = b_chosen_1 == b_chosen_2  # [32, 32]
        o_slot_2 = o_slot[None, :]  # [1, 32]
        o_slot_3 = o_slot[:, None]  # [32, 1]
        x_29 = o_slot_2 < o_slot_3  # [32, 32]
        x_30 = x_28 & x_29  # [32, 32]
        b_zero = tl.full([32, 32], 0, tl.int32)  # [32, 32]
        x_31 = tl.where(x_30, 1, b_zero)  # [32, 32]
        x_32 = x_15 + b_start
        x_33 = x_32 + b_done
        b_twins = tl.sum(x_31, axis=1)
        x_34 = x_33 + b_twins
        x_35 = i_row * 32
        x_36 = x_35 + o_slot
        tl.store(p_order + x_34, x_36, mask=x_25)
        tl.debug_barrier()
        x_37 = x_5 + b_chosen
        tl.atomic_add(p_counts + x_37, 1, mask=x_25, sem="relaxed")
        tl.debug_barrier()
