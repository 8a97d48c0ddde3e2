"""Generated for triton:sm_90; schedule: tokens=32 stages=1."""

import triton
import triton.language as tl


@triton.jit
def merge_top_k(running, fresh):
    """The K largest of running [M, K] (descending) and fresh [M, N >= K], descending."""
    K: tl.constexpr = running.shape[1]
    if fresh.shape[1] > K:
        top = tl.topk(fresh, K)
    else:
        top = tl.sort(fresh, descending=True)
    # Paired with the other list reversed, the larger of each pair are the K largest of both.
    best = tl.maximum(running, tl.flip(top, 1))
    return tl.sort(best, descending=True)

@triton.jit(do_not_specialize=['R', 'C'])
def select(
    p_q, p_landmarks, p_lo, p_hi, p_indices, R, C,
):
    # grid: (cdiv(R, 32), 1, B)
    i_tile = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_tile * 32
    o_row = tl.arange(0, 32)
    x_1 = x + o_row
    x_2 = x_1 < R
    x_3 = i_batch * R
    x_4 = x_3.to(tl.int64)
    x_5 = x_4 + x_1
    x_6 = i_batch * R
    x_7 = x_6.to(tl.int64)
    x_8 = x_7 + x_1
    b_lo = tl.load(p_lo + x_8, mask=x_2, other=0)
    b_hi = tl.load(p_hi + x_8, mask=x_2, other=0)
    o_dim = tl.arange(0, 128)
    x_9 = i_head * 1
    x_10 = x_9 + 0
    x_11 = x_2[:, None]  # [32, 1]
    x_12 = x_5 * 1
    x_13 = x_12 + x_10
    x_14 = x_13 * 128
    x_15 = x_14[:, None]  # [32, 1]
    o_dim_1 = o_dim[None, :]  # [1, 128]
    x_16 = x_15 + o_dim_1  # [32, 128]
    b_q = tl.load(p_q + x_16, mask=x_11, other=0)  # [32, 128]
    x_17 = b_hi > b_lo
    x_18 = tl.where(x_17, b_lo, C)
    first = tl.min(x_18, axis=0)
    last = tl.max(b_hi, axis=0)
    b_best = tl.full([32, 32], -9223372036854775807, tl.int64)  # [32, 32]
    x_19 = first // 32
    x_20 = x_19 * 32
    b_best_1 = b_best
    for i_chunk in tl.range(x_20, last, 32, num_stages=1):
        o_chunk = tl.arange(0, 32)
        x_21 = i_chunk + o_chunk
        x_22 = x_21[None, :]  # [1, 32]
        x_23 = i_head * 1
        x_24 = x_23 + 0
        x_25 = x_21 < C
        x_26 = i_batch * C
        x_27 = x_26.to(tl.int64)
        x_28 = x_27 + x_21
        x_29 = x_28 * 1
        x_30 = x_29 + x_24
        x_31 = x_30 * 128
        b_score = tl.full([32, 32], 0.0, tl.float32)  # [32, 32]
        b_score_1 = b_score
        i_dim = 0
        o_dim_2 = tl.arange(0, 128)
        x_32 = i_dim + o_dim_2
        x_33 = x_25[:, None]  # [32, 1]
        x_34 = x_31[:, None]  # [32, 1]
        x_35 = x_32[None, :]  # [1, 128]
        x_36 = x_34 + x_35  # [32, 128]
        b_lmk = tl.load(p_landmarks + x_36, mask=x_33, other=0)  # [32, 128]
        b_lmk_t = tl.trans(b_lmk)  # [128, 32]
        b_dot = tl.dot(b_q, b_lmk_t, b_score_1)  # [32, 32]
        b_score_1 = b_dot
        x_37 = b_score_1 * 0.1  # [32, 32]
        x_38 = x_37 == 0.0  # [32, 32]
        b_value = tl.where(x_38, 0.0, x_37)  # [32, 32]
        b_lo_1 = b_lo[:, None]  # [32, 1]
        x_39 = x_22 >= b_lo_1  # [32, 32]
        b_hi_1 = b_hi[:, None]  # [32, 1]
        x_40 = x_22 < b_hi_1  # [32, 32]
        x_41 = x_39 & x_40  # [32, 32]
        x_42 = b_value.to(tl.int32, bitcast=True)  # [32, 32]
        x_43 = x_42 >> 31  # [32, 32]
        x_44 = x_43 & 2147483647  # [32, 32]
        x_45 = x_42 ^ x_44  # [32, 32]
        x_46 = b_value > float("-inf")  # [32, 32]
        x_47 = x_41 & x_46  # [32, 32]
        b_lo_2 = b_lo[:, None]  # [32, 1]
        b_hi_2 = b_hi[:, None]  # [32, 1]
        x_48 = x_45.to(tl.int64)  # [32, 32]
        x_49 = x_48 << 32  # [32, 32]
        x_50 = x_21[None, :]  # [1, 32]
        x_51 = x_50.to(tl.int64)  # [1, 32]
        x_52 = x_49 | x_51  # [32, 32]
        b_key = tl.where(x_47, x_52, -9223372036854775807)  # [32, 32]
        b_top = merge_top_k(b_best_1, b_key)  # [32, 32]
        b_best_1 = b_top
    o_slot = tl.arange(0, 32)
    x_53 = b_best_1 > -9223372036854775807  # [32, 32]
    x_54 = b_best_1 & 4294967295  # [32, 32]
    b_chunk = tl.where(x_53, x_54, -1)  # [32, 32]
    b_none = tl.full([32, 32], -1, tl.int64)  # [32, 32]
    b_top_1 = merge_top_k(b_none, b_chunk)  # [32, 32]
    x_55 = x_2[:, None]  # [32, 1]
    x_56 = x_5 * 1
    x_57 = x_56 + i_head
    x_58 = x_57 * 32
    x_59 = x_58[:, None]  # [32, 1]
    o_slot_1 = o_slot[None, :]  # [1, 32]
    x_60 = x_59 + o_slot_1  # [32, 32]
    b_top_2 = b_top_1.to(tl.int32)  # [32, 32]
    tl.store(p_indices + x_60, b_top_2, mask=x_55)


@triton.jit(do_not_specialize=['R', 'C'])
def weigh(
    p_indices, p_q, p_landmarks, p_slots, p_weights, R, C,
):
    # grid: (R, 1, B)
    i_row = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_batch * R
    x_1 = x.to(tl.int64)
    x_2 = x_1 + i_row
    o_slot = tl.arange(0, 32)
    x_3 = x_2 * 1
    x_4 = x_3 + 0
    x_5 = x_4 * 32
    x_6 = x_5 + o_slot
    b_chosen = tl.load(p_indices + x_6)
    x_7 = b_chosen >= 0
    b_score = tl.full([32], 0.0, tl.float32)
    b_score_1 = b_score
    i_dim = 0
    o_dim = tl.arange(0, 128)
    x_8 = i_dim + o_dim
    x_9 = i_batch * C
    x_10 = x_9.to(tl.int64)
    x_11 = x_10 + b_chosen
    x_12 = x_11 * 1
    x_13 = x_12 + 0
    x_14 = x_13 * 128
    x_15 = x_7[:, None]  # [32, 1]
    x_16 = x_14[:, None]  # [32, 1]
    x_17 = x_8[None, :]  # [1, 128]
    x_18 = x_16 + x_17  # [32, 128]
    b_lmk = tl.load(p_landmarks + x_18, mask=x_15, other=0)  # [32, 128]
    b_lmk_1 = b_lmk.to(tl.float32)  # [32, 128]
    x_19 = x_2 * 1
    x_20 = x_19 + 0
    x_21 = x_20 * 128
    x_22 = x_21 + x_8
    b_q = tl.load(p_q + x_22)
    b_q_1 = b_q.to(tl.float32)
    b_q_2 = b_q_1[None, :]  # [1, 128]
    x_23 = b_lmk_1 * b_q_2  # [32, 128]
    x_23_sum = tl.sum(x_23, axis=1)
    x_24 = b_score_1 + x_23_sum
    b_score_1 = x_24
    x_25 = b_score_1 * 0.1
    b_score_2 = tl.where(x_7, x_25, float("-inf"))
    x_26 = x_2 * 1
    x_27 = x_26 + 0
    x_28 = x_27 * 32
    x_29 = x_28 + o_slot
    tl.store(p_slots + x_29, b_score_2)
    x_30 = x_2 * 1
    x_31 = x_30 + i_head
    b_x = tl.where(x_7, b_score_2, float("-inf"))
    b_x_max = tl.max(b_x, axis=0)
    b_max = tl.maximum(b_x_max, -1e+30)
    b_max_1 = tl.maximum(b_max, -1e+30)
    x_32 = b_x - b_max_1
    x_33 = x_32 * 1.4426950408889634
    b_e = tl.exp2(x_33)
    b_e_sum = tl.sum(b_e, axis=0)
    x_34 = b_e_sum > 0.0
    x_35 = tl.where(x_34, b_e_sum, 1.0)
    x_36 = b_e / x_35
    x_37 = x_2 * 1
    x_38 = x_37 + i_head
    x_39 = x_38 * 32
    x_40 = x_39 + o_slot
    tl.store(p_weights + x_40, x_36)
