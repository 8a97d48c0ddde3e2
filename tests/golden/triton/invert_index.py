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
        o_pair = tl.arange(0, 32)
        x_8 = i_batch * R
        x_9 = x_8.to(tl.int64)
        x_10 = x_9 + i_row
        x_11 = x_10 * 1
        x_12 = x_11 + i_head
        x_13 = x_12 * 32
        x_14 = x_13 + o_pair
        b_chosen = tl.load(p_indices + x_14)
        x_15 = i_row * 32
        x_16 = x_15 + o_pair
        x_17 = x_5 + b_chosen
        x_18 = b_chosen >= 0
        tl.atomic_add(p_counts + x_17, 1, mask=x_18, sem="relaxed")


@triton.jit(do_not_specialize=['C', 'n_blocks'])
def prefix_blocks(
    p_counts, p_totals, C, n_blocks,
):
    # grid: (cdiv(C, 128), 1, B)
    i_work = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_work * 128
    o_chunk = tl.arange(0, 128)
    x_1 = x + o_chunk
    x_2 = x_1 < C
    b_sum = tl.full([128], 0, tl.int32)
    b_sum_1 = b_sum
    for i_block in tl.range(0, n_blocks, 8, num_stages=1):
        x_3 = i_block + 0
        x_4 = i_batch * 1
        x_5 = x_4 + i_head
        x_6 = x_5.to(tl.int64)
        x_7 = x_6 * n_blocks
        x_8 = x_7 + x_3
        x_9 = x_8 * C
        x_10 = x_9 + x_1
        x_11 = x_3 < n_blocks
        x_12 = x_2 & x_11
        b_count = tl.load(p_counts + x_10, mask=x_12, other=0)
        x_13 = i_block + 1
        x_14 = i_batch * 1
        x_15 = x_14 + i_head
        x_16 = x_15.to(tl.int64)
        x_17 = x_16 * n_blocks
        x_18 = x_17 + x_13
        x_19 = x_18 * C
        x_20 = x_19 + x_1
        x_21 = x_13 < n_blocks
        x_22 = x_2 & x_21
        b_count_1 = tl.load(p_counts + x_20, mask=x_22, other=0)
        x_23 = i_block + 2
        x_24 = i_batch * 1
        x_25 = x_24 + i_head
        x_26 = x_25.to(tl.int64)
        x_27 = x_26 * n_blocks
        x_28 = x_27 + x_23
        x_29 = x_28 * C
        x_30 = x_29 + x_1
        x_31 = x_23 < n_blocks
        x_32 = x_2 & x_31
        b_count_2 = tl.load(p_counts + x_30, mask=x_32, other=0)
        x_33 = i_block + 3
        x_34 = i_batch * 1
        x_35 = x_34 + i_head
        x_36 = x_35.to(tl.int64)
        x_37 = x_36 * n_blocks
        x_38 = x_37 + x_33
        x_39 = x_38 * C
        x_40 = x_39 + x_1
        x_41 = x_33 < n_blocks
        x_42 = x_2 & x_41
        b_count_3 = tl.load(p_counts + x_40, mask=x_42, other=0)
        x_43 = i_block + 4
        x_44 = i_batch * 1
        x_45 = x_44 + i_head
        x_46 = x_45.to(tl.int64)
        x_47 = x_46 * n_blocks
        x_48 = x_47 + x_43
        x_49 = x_48 * C
        x_50 = x_49 + x_1
        x_51 = x_43 < n_blocks
        x_52 = x_2 & x_51
        b_count_4 = tl.load(p_counts + x_50, mask=x_52, other=0)
        x_53 = i_block + 5
        x_54 = i_batch * 1
        x_55 = x_54 + i_head
        x_56 = x_55.to(tl.int64)
        x_57 = x_56 * n_blocks
        x_58 = x_57 + x_53
        x_59 = x_58 * C
        x_60 = x_59 + x_1
        x_61 = x_53 < n_blocks
        x_62 = x_2 & x_61
        b_count_5 = tl.load(p_counts + x_60, mask=x_62, other=0)
        x_63 = i_block + 6
        x_64 = i_batch * 1
        x_65 = x_64 + i_head
        x_66 = x_65.to(tl.int64)
        x_67 = x_66 * n_blocks
        x_68 = x_67 + x_63
        x_69 = x_68 * C
        x_70 = x_69 + x_1
        x_71 = x_63 < n_blocks
        x_72 = x_2 & x_71
        b_count_6 = tl.load(p_counts + x_70, mask=x_72, other=0)
        x_73 = i_block + 7
        x_74 = i_batch * 1
        x_75 = x_74 + i_head
        x_76 = x_75.to(tl.int64)
        x_77 = x_76 * n_blocks
        x_78 = x_77 + x_73
        x_79 = x_78 * C
        x_80 = x_79 + x_1
        x_81 = x_73 < n_blocks
        x_82 = x_2 & x_81
        b_count_7 = tl.load(p_counts + x_80, mask=x_82, other=0)
        tl.store(p_counts + x_10, b_sum_1, mask=x_12)
        x_83 = b_sum_1 + b_count
        tl.store(p_counts + x_20, x_83, mask=x_22)
        x_84 = x_83 + b_count_1
        tl.store(p_counts + x_30, x_84, mask=x_32)
        x_85 = x_84 + b_count_2
        tl.store(p_counts + x_40, x_85, mask=x_42)
        x_86 = x_85 + b_count_3
        tl.store(p_counts + x_50, x_86, mask=x_52)
        x_87 = x_86 + b_count_4
        tl.store(p_counts + x_60, x_87, mask=x_62)
        x_88 = x_87 + b_count_5
        tl.store(p_counts + x_70, x_88, mask=x_72)
        x_89 = x_88 + b_count_6
        tl.store(p_counts + x_80, x_89, mask=x_82)
        x_90 = x_89 + b_count_7
        b_sum_1 = x_90
    x_91 = i_batch * 1
    x_92 = x_91 + i_head
    x_93 = x_92.to(tl.int64)
    x_94 = x_93 * C
    x_95 = x_94 + x_1
    tl.store(p_totals + x_95, b_sum_1, mask=x_2)


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
    o_pair = tl.arange(0, 32)
    x_16 = i_work * block_rows
    x_17 = x_16 + block_rows
    last = tl.minimum(x_17, R)
    for i_row in tl.range(x_16, last, 1, num_stages=1):
        o_pair_1 = tl.arange(0, 32)
        x_18 = i_batch * R
        x_19 = x_18.to(tl.int64)
        x_20 = x_19 + i_row
        x_21 = x_20 * 1
        x_22 = x_21 + i_head
        x_23 = x_22 * 32
        x_24 = x_23 + o_pair_1
        b_chosen = tl.load(p_indices + x_24)
        x_25 = i_row * 32
        x_26 = x_25 + o_pair_1
        x_27 = b_chosen >= 0
        x_28 = x_5 + b_chosen
        b_done = tl.load(p_counts + x_28, mask=x_27, other=0)
        x_29 = x_10 + b_chosen
        b_start = tl.load(p_offsets + x_29, mask=x_27, other=0)
        b_chosen_1 = b_chosen[:, None]  # [32, 1]
        b_chosen_2 = b_chosen[None, :]  # [1, 32]
        x_30 = b_chosen_1 == b_chosen_2  # [32, 32]
        o_pair_2 = o_pair[None, :]  # [1, 32]
        o_pair_3 = o_pair[:, None]  # [32, 1]
        x_31 = o_pair_2 < o_pair_3  # [32, 32]
        x_32 = x_30 & x_31  # [32, 32]
        b_zero = tl.full([32, 32], 0, tl.int32)  # [32, 32]
        x_33 = tl.where(x_32, 1, b_zero)  # [32, 32]
        x_34 = x_15 + b_start
        x_35 = x_34 + b_done
        b_twins = tl.sum(x_33, axis=1)
        x_36 = x_35 + b_twins
        tl.store(p_order + x_36, x_26, mask=x_27)
        tl.debug_barrier()
        x_37 = x_5 + b_chosen
        tl.atomic_add(p_counts + x_37, 1, mask=x_27, sem="relaxed")
        tl.debug_barrier()
