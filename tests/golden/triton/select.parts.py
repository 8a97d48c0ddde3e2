"""Generated for triton:sm_90; schedule: parts=1024 fan=4 stages=1."""

import triton
import triton.language as tl

@triton.jit(do_not_specialize=['R', 'C', 'n_blocks'])
def select_parts(
    p_q, p_landmarks, p_lo, p_hi, p_scores, p_block_best, R, C, n_blocks,
):
    # grid: ((R * 1), min(cdiv(C, 32), 1024), B)
    tl.extra.cuda.gdc_launch_dependents()
    tl.extra.cuda.gdc_wait()
    i_rest = tl.program_id(0)
    x = i_rest // 1
    x_1 = i_rest % 1
    i_batch = tl.program_id(2)
    x_2 = x * 1
    o_row = tl.arange(0, 1)
    x_3 = x_2 + o_row
    x_4 = x_3 < R
    x_5 = i_batch * R
    x_6 = x_5.to(tl.int64)
    x_7 = x_6 + x_3
    x_8 = i_batch * R
    x_9 = x_8.to(tl.int64)
    x_10 = x_9 + x_3
    b_lo = tl.load(p_lo + x_10, mask=x_4, other=0)
    b_hi = tl.load(p_hi + x_10, mask=x_4, other=0)
    o_dim = tl.arange(0, 128)
    x_11 = x_1 * 1
    x_12 = x_11 + 0
    x_13 = x_4[:, None]  # [1, 1]
    x_14 = x_7 * 1
    x_15 = x_14 + x_12
    x_16 = x_15 * 128
    x_17 = x_16[:, None]  # [1, 1]
    o_dim_1 = o_dim[None, :]  # [1, 128]
    x_18 = x_17 + o_dim_1  # [1, 128]
    b_q = tl.load(p_q + x_18, mask=x_13, other=0)  # [1, 128]
    x_19 = b_hi > b_lo
    x_20 = tl.where(x_19, b_lo, C)
    first = tl.min(x_20, axis=0)
    last = tl.max(b_hi, axis=0)
    x_21 = x_7 * 1
    x_22 = x_21 + x_1
    x_23 = x_22 * n_blocks
    x_24 = first // 32
    x_25 = x_24 * 32
    i_part = tl.program_id(1)
    x_26 = i_part * 32
    x_27 = x_25 + x_26
    for i_chunk in tl.range(x_27, last, 32768, num_stages=1):
        o_chunk = tl.arange(0, 32)
        x_28 = i_chunk + o_chunk
        x_29 = x_28[None, :]  # [1, 32]
        x_30 = x_1 * 1
        x_31 = x_30 + 0
        x_32 = x_28 < C
        x_33 = i_batch * C
        x_34 = x_33.to(tl.int64)
        x_35 = x_34 + x_28
        x_36 = x_35 * 1
        x_37 = x_36 + x_31
        x_38 = x_37 * 128
        b_score = tl.full([1, 32], 0.0, tl.float32)  # [1, 32]
        b_score_1 = b_score
        i_dim = 0
        o_dim_2 = tl.arange(0, 128)
        x_39 = i_dim + o_dim_2
        x_40 = x_32[:, None]  # [32, 1]
        x_41 = x_38[:, None]  # [32, 1]
        x_42 = x_39[None, :]  # [1, 128]
        x_43 = x_41 + x_42  # [32, 128]
        b_lmk = tl.load(p_landmarks + x_43, mask=x_40, other=0)  # [32, 128]
        b_lmk_1 = b_lmk.to(tl.float32)  # [32, 128]
        b_q_1 = b_q.to(tl.float32)  # [1, 128]
        x_44 = b_lmk_1 * b_q_1  # [32, 128]
        x_44_sum = tl.sum(x_44, axis=1)
        x_44_sum_1 = x_44_sum[None, :]  # [1, 32]
        x_45 = b_score_1 + x_44_sum_1  # [1, 32]
        b_score_1 = x_45
        x_46 = b_score_1 * 0.1  # [1, 32]
        x_47 = x_46 == 0.0  # [1, 32]
        b_value = tl.where(x_47, 0.0, x_46)  # [1, 32]
        b_lo_1 = b_lo[:, None]  # [1, 1]
        x_48 = x_29 >= b_lo_1  # [1, 32]
        b_hi_1 = b_hi[:, None]  # [1, 1]
        x_49 = x_29 < b_hi_1  # [1, 32]
        x_50 = x_48 & x_49  # [1, 32]
        x_51 = b_value.to(tl.int32, bitcast=True)  # [1, 32]
        x_52 = x_51 >> 31  # [1, 32]
        x_53 = x_52 & 2147483647  # [1, 32]
        x_54 = x_51 ^ x_53  # [1, 32]
        x_55 = b_value > float("-inf")  # [1, 32]
        x_56 = x_50 & x_55  # [1, 32]
        b_lo_2 = b_lo[:, None]  # [1, 1]
        b_hi_2 = b_hi[:, None]  # [1, 1]
        b_score_2 = tl.where(x_56, x_54, -2147483647)  # [1, 32]
        x_57 = x_4[:, None]  # [1, 1]
        x_58 = x_23 * 32
        x_59 = x_58[:, None]  # [1, 1]
        x_60 = x_28[None, :]  # [1, 32]
        x_61 = x_59 + x_60  # [1, 32]
        tl.store(p_scores + x_61, b_score_2, mask=x_57)
        b_best = tl.max(b_score_2, axis=1)
        x_62 = i_chunk // 32
        x_63 = x_23 + x_62
        tl.store(p_block_best + x_63, b_best, mask=x_4)


@triton.jit(do_not_specialize=['R', 'n_blocks'])
def select_rank_groups(
    p_lo, p_hi, p_scores, p_block_best, p_block_keys, R, n_blocks,
):
    # grid: ((R * 1), cdiv(cdiv(cdiv(C, 32), 4), 8), B)
    tl.extra.cuda.gdc_launch_dependents()
    tl.extra.cuda.gdc_wait()
    i_rest = tl.program_id(0)
    i_tile = tl.program_id(1)
    x = i_rest // 1
    x_1 = i_rest % 1
    i_batch = tl.program_id(2)
    x_2 = i_batch * R
    x_3 = x_2.to(tl.int64)
    x_4 = x_3 + x
    x_5 = x_4 * 1
    x_6 = x_5 + x_1
    x_7 = i_batch * R
    x_8 = x_7.to(tl.int64)
    x_9 = x_8 + x
    b_lo = tl.load(p_lo + x_9)
    b_hi = tl.load(p_hi + x_9)
    x_10 = b_lo // 32
    x_11 = b_hi + 31
    x_12 = x_11 // 32
    x_13 = b_hi > b_lo
    x_14 = x_12 - x_10
    n_visible = tl.where(x_13, x_14, 0)
    x_15 = n_visible + 3
    x_16 = x_15 // 4
    x_17 = tl.minimum(x_16, 32)
    x_18 = x_17 * 4
    x_19 = tl.minimum(x_18, 32)
    x_20 = x_19 * 32
    x_21 = x_4 * 1
    x_22 = x_21 + x_1
    x_23 = x_22 * n_blocks
    x_24 = x_23 + x_10
    o_in = tl.arange(0, 4)
    o_in_1 = o_in[None, :]  # [1, 4]
    x_25 = i_tile * 8
    x_26 = x_25 < x_16
    if x_26:
        o = tl.arange(0, 8)
        x_27 = x_25 + o
        x_28 = x_27 < x_16
        x_29 = x_27 * 4
        x_30 = x_29[:, None]  # [8, 1]
        x_31 = x_30 + o_in_1  # [8, 4]
        x_32 = x_31 < n_visible  # [8, 4]
        x_33 = x_24 + x_31  # [8, 4]
        b_best = tl.load(p_block_best + x_33, mask=x_32, other=-2147483647)  # [8, 4]
        b_best_max = tl.max(b_best, axis=1)
        b_best_max_1 = b_best_max.to(tl.int64)
        x_34 = b_best_max_1 << 32
        x_35 = x_27.to(tl.int64)
        x_36 = x_34 | x_35
        b_key = tl.where(x_28, x_36, -9223372036854775807)
        b_larger = tl.full([8, 512], 0, tl.int32)  # [8, 512]
        b_larger_1 = b_larger
        for i_other in tl.range(0, x_16, 512, num_stages=1):
            o_other = tl.arange(0, 512)
            x_37 = i_other + o_other
            x_38 = x_37 < x_16
            x_39 = x_37 * 4
            x_40 = x_39[:, None]  # [512, 1]
            x_41 = x_40 + o_in_1  # [512, 4]
            x_42 = x_41 < n_visible  # [512, 4]
            x_43 = x_24 + x_41  # [512, 4]
            b_best_1 = tl.load(p_block_best + x_43, mask=x_42, other=-2147483647)  # [512, 4]
            b_best_1_max = tl.max(b_best_1, axis=1)
            b_best_1_max_1 = b_best_1_max.to(tl.int64)
            x_44 = b_best_1_max_1 << 32
            x_45 = x_37.to(tl.int64)
            x_46 = x_44 | x_45
            b_key_1 = tl.where(x_38, x_46, -9223372036854775807)
            b_key_2 = b_key_1[None, :]  # [1, 512]
            b_key_3 = b_key[:, None]  # [8, 1]
            x_47 = b_key_2 > b_key_3  # [8, 512]
            x_48 = b_larger_1 + 1  # [8, 512]
            x_49 = tl.where(x_47, x_48, b_larger_1)  # [8, 512]
            b_larger_1 = x_49
        b_rank = tl.sum(b_larger_1, axis=1)
        x_50 = b_rank < 32
        x_51 = x_28 & x_50
        x_52 = b_key & 4294967295
        x_53 = x_52.to(tl.int32)
        x_54 = x_53 * 4
        x_55 = x_54[:, None]  # [8, 1]
        x_56 = x_55 + o_in_1  # [8, 4]
        x_57 = x_51[:, None]  # [8, 1]
        x_58 = x_56 < n_visible  # [8, 4]
        x_59 = x_57 & x_58  # [8, 4]
        x_60 = x_24 + x_56  # [8, 4]
        b_best_2 = tl.load(p_block_best + x_60, mask=x_59, other=-2147483647)  # [8, 4]
        x_61 = x_6 * 128
        x_62 = b_rank * 4
        x_63 = x_61 + x_62
        x_64 = x_63[:, None]  # [8, 1]
        x_65 = x_64 + o_in_1  # [8, 4]
        b_best_3 = b_best_2.to(tl.int64)  # [8, 4]
        x_66 = b_best_3 << 32  # [8, 4]
        x_67 = x_56.to(tl.int64)  # [8, 4]
        x_68 = x_66 | x_67  # [8, 4]
        x_69 = x_51[:, None]  # [8, 1]
        tl.store(p_block_keys + x_65, x_68, mask=x_69)


@triton.jit(do_not_specialize=['R', 'n_blocks'])
def select_rank_blocks(
    p_lo, p_hi, p_scores, p_block_best, p_block_keys, p_chunk_keys, R, n_blocks,
):
    # grid: ((R * 1), cdiv(128, 8), B)
    tl.extra.cuda.gdc_launch_dependents()
    tl.extra.cuda.gdc_wait()
    i_rest = tl.program_id(0)
    i_tile = tl.program_id(1)
    x = i_rest // 1
    x_1 = i_rest % 1
    i_batch = tl.program_id(2)
    x_2 = i_batch * R
    x_3 = x_2.to(tl.int64)
    x_4 = x_3 + x
    x_5 = x_4 * 1
    x_6 = x_5 + x_1
    x_7 = i_batch * R
    x_8 = x_7.to(tl.int64)
    x_9 = x_8 + x
    b_lo = tl.load(p_lo + x_9)
    b_hi = tl.load(p_hi + x_9)
    x_10 = b_lo // 32
    x_11 = b_hi + 31
    x_12 = x_11 // 32
    x_13 = b_hi > b_lo
    x_14 = x_12 - x_10
    n_visible = tl.where(x_13, x_14, 0)
    x_15 = n_visible + 3
    x_16 = x_15 // 4
    x_17 = tl.minimum(x_16, 32)
    x_18 = x_17 * 4
    x_19 = tl.minimum(x_18, 32)
    x_20 = x_19 * 32
    x_21 = x_4 * 1
    x_22 = x_21 + x_1
    x_23 = x_22 * n_blocks
    x_24 = x_23 + x_10
    x_25 = i_tile * 8
    x_26 = x_25 < x_18
    if x_26:
        o = tl.arange(0, 8)
        x_27 = x_25 + o
        x_28 = x_27 < x_18
        x_29 = x_6 * 128
        x_30 = x_29 + x_27
        b_key = tl.load(p_block_keys + x_30, mask=x_28, other=-9223372036854775807)
        b_larger = tl.full([8, 512], 0, tl.int32)  # [8, 512]
        b_larger_1 = b_larger
        for i_other in tl.range(0, x_18, 512, num_stages=1):
            o_other = tl.arange(0, 512)
            x_31 = i_other + o_other
            x_32 = x_31 < x_18
            x_33 = x_6 * 128
            x_34 = x_33 + x_31
            b_key_1 = tl.load(p_block_keys + x_34, mask=x_32, other=-9223372036854775807)
            b_key_2 = b_key_1[None, :]  # [1, 512]
            b_key_3 = b_key[:, None]  # [8, 1]
            x_35 = b_key_2 > b_key_3  # [8, 512]
            x_36 = b_larger_1 + 1  # [8, 512]
            x_37 = tl.where(x_35, x_36, b_larger_1)  # [8, 512]
            b_larger_1 = x_37
        b_rank = tl.sum(b_larger_1, axis=1)
        x_38 = b_rank < 32
        x_39 = x_28 & x_38
        o_in = tl.arange(0, 32)
        o_in_1 = o_in[None, :]  # [1, 32]
        x_40 = b_key & 4294967295
        x_41 = x_40.to(tl.int32)
        x_42 = x_41 < n_visible
        x_43 = x_39 & x_42
        x_44 = x_43[:, None]  # [8, 1]
        x_45 = x_24 + x_41
        x_46 = x_45 * 32
        x_47 = x_46[:, None]  # [8, 1]
        x_48 = x_47 + o_in_1  # [8, 32]
        b_score = tl.load(p_scores + x_48, mask=x_44, other=-2147483647)  # [8, 32]
        x_49 = x_10 + x_41
        x_50 = x_49 * 32
        x_51 = x_50[:, None]  # [8, 1]
        x_52 = x_51 + o_in_1  # [8, 32]
        x_53 = x_6 * 1024
        x_54 = b_rank * 32
        x_55 = x_53 + x_54
        x_56 = x_55[:, None]  # [8, 1]
        x_57 = x_56 + o_in_1  # [8, 32]
        b_score_1 = b_score.to(tl.int64)  # [8, 32]
        x_58 = b_score_1 << 32  # [8, 32]
        x_59 = x_52.to(tl.int64)  # [8, 32]
        x_60 = x_58 | x_59  # [8, 32]
        x_61 = x_39[:, None]  # [8, 1]
        tl.store(p_chunk_keys + x_57, x_60, mask=x_61)


@triton.jit(do_not_specialize=['R'])
def select_rank_chunks(
    p_lo, p_hi, p_chunk_keys, p_best_chunks, R,
):
    # grid: ((R * 1), cdiv(1024, 8), B)
    tl.extra.cuda.gdc_launch_dependents()
    tl.extra.cuda.gdc_wait()
    i_rest = tl.program_id(0)
    i_tile = tl.program_id(1)
    x = i_rest // 1
    x_1 = i_rest % 1
    i_batch = tl.program_id(2)
    x_2 = i_batch * R
    x_3 = x_2.to(tl.int64)
    x_4 = x_3 + x
    x_5 = x_4 * 1
    x_6 = x_5 + x_1
    x_7 = i_batch * R
    x_8 = x_7.to(tl.int64)
    x_9 = x_8 + x
    b_lo = tl.load(p_lo + x_9)
    b_hi = tl.load(p_hi + x_9)
    x_10 = b_lo // 32
    x_11 = b_hi + 31
    x_12 = x_11 // 32
    x_13 = b_hi > b_lo
    x_14 = x_12 - x_10
    n_visible = tl.where(x_13, x_14, 0)
    x_15 = n_visible + 3
    x_16 = x_15 // 4
    x_17 = tl.minimum(x_16, 32)
    x_18 = x_17 * 4
    x_19 = tl.minimum(x_18, 32)
    x_20 = x_19 * 32
    x_21 = i_tile * 8
    x_22 = x_21 < x_20
    if x_22:
        o = tl.arange(0, 8)
        x_23 = x_21 + o
        x_24 = x_23 < x_20
        x_25 = x_6 * 1024
        x_26 = x_25 + x_23
        b_key = tl.load(p_chunk_keys + x_26, mask=x_24, other=-9223372036854775807)
        b_larger = tl.full([8, 512], 0, tl.int32)  # [8, 512]
        b_larger_1 = b_larger
        for i_other in tl.range(0, x_20, 512, num_stages=1):
            o_other = tl.arange(0, 512)
            x_27 = i_other + o_other
            x_28 = x_27 < x_20
            x_29 = x_6 * 1024
            x_30 = x_29 + x_27
            b_key_1 = tl.load(p_chunk_keys + x_30, mask=x_28, other=-9223372036854775807)
            b_key_2 = b_key_1[None, :]  # [1, 512]
            b_key_3 = b_key[:, None]  # [8, 1]
            x_31 = b_key_2 > b_key_3  # [8, 512]
            x_32 = b_larger_1 + 1  # [8, 512]
            x_33 = tl.where(x_31, x_32, b_larger_1)  # [8, 512]
            b_larger_1 = x_33
        b_rank = tl.sum(b_larger_1, axis=1)
        x_34 = b_rank < 32
        x_35 = x_24 & x_34
        x_36 = x_6 * 32
        x_37 = x_36 + b_rank
        tl.store(p_best_chunks + x_37, b_key, mask=x_35)


@triton.jit(do_not_specialize=['R'])
def select_order(
    p_lo, p_hi, p_best_chunks, p_slots_in_order, p_indices, R,
):
    # grid: (R, 1, B)
    tl.extra.cuda.gdc_launch_dependents()
    tl.extra.cuda.gdc_wait()
    i_row = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_batch * R
    x_1 = x.to(tl.int64)
    x_2 = x_1 + i_row
    x_3 = x_2 * 1
    x_4 = x_3 + i_head
    x_5 = i_batch * R
    x_6 = x_5.to(tl.int64)
    x_7 = x_6 + i_row
    b_lo = tl.load(p_lo + x_7)
    b_hi = tl.load(p_hi + x_7)
    x_8 = b_lo // 32
    x_9 = b_hi + 31
    x_10 = x_9 // 32
    x_11 = b_hi > b_lo
    x_12 = x_10 - x_8
    n_visible = tl.where(x_11, x_12, 0)
    x_13 = n_visible + 3
    x_14 = x_13 // 4
    x_15 = tl.minimum(x_14, 32)
    x_16 = x_15 * 4
    x_17 = tl.minimum(x_16, 32)
    x_18 = x_17 * 32
    x_19 = tl.minimum(x_18, 32)
    o_slot = tl.arange(0, 32)
    x_20 = o_slot < x_19
    x_21 = x_4 * 32
    x_22 = x_21 + o_slot
    b_key = tl.load(p_best_chunks + x_22, mask=x_20, other=-9223372036854775807)
    x_23 = b_key & 4294967295
    x_24 = x_23 << 32
    x_25 = b_key >> 32
    x_26 = x_25 & 4294967295
    x_27 = x_24 | x_26
    x_28 = b_key >> 32
    x_29 = x_28 > -2147483647
    b_slot = tl.where(x_29, x_27, -1)
    b_newer = tl.full([32, 32], 0, tl.int32)  # [32, 32]
    b_newer_1 = b_newer
    i_other = 0
    o_other = tl.arange(0, 32)
    x_30 = i_other + o_other
    x_31 = x_30 < x_19
    x_32 = x_4 * 32
    x_33 = x_32 + x_30
    b_key_1 = tl.load(p_best_chunks + x_33, mask=x_31, other=-9223372036854775807)
    x_34 = b_key_1 & 4294967295
    x_35 = x_34 << 32
    x_36 = b_key_1 >> 32
    x_37 = x_36 & 4294967295
    x_38 = x_35 | x_37
    x_39 = b_key_1 >> 32
    x_40 = x_39 > -2147483647
    b_slot_1 = tl.where(x_40, x_38, -1)
    b_slot_2 = b_slot_1[None, :]  # [1, 32]
    b_slot_3 = b_slot[:, None]  # [32, 1]
    x_41 = b_slot_2 > b_slot_3  # [32, 32]
    x_42 = b_newer_1 + 1  # [32, 32]
    x_43 = tl.where(x_41, x_42, b_newer_1)  # [32, 32]
    b_newer_1 = x_43
    b_newer_2 = tl.sum(b_newer_1, axis=1)
    x_44 = x_4 * 32
    x_45 = x_44 + b_newer_2
    x_46 = b_slot >= 0
    tl.store(p_slots_in_order + x_45, b_slot, mask=x_46)
    tl.debug_barrier()
    x_47 = b_slot >= 0
    b_one = tl.full([32], 1, tl.int32)
    x_48 = tl.where(x_47, b_one, 0)
    n_slots = tl.sum(x_48, axis=0)
    x_49 = o_slot < n_slots
    x_50 = x_44 + o_slot
    b_slot_4 = tl.load(p_slots_in_order + x_50, mask=x_49, other=-1)
    o_slot_1 = tl.arange(0, 32)
    x_51 = b_slot_4 >> 32
    x_52 = x_51.to(tl.int32)
    x_53 = x_4 * 32
    x_54 = x_53 + o_slot_1
    tl.store(p_indices + x_54, x_52)
