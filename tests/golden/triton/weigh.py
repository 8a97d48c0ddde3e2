"""Generated for triton:sm_90; schedule: dim_block=64."""

import triton
import triton.language as tl

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
    for i_dim in tl.range(0, 128, 64, num_stages=1):
        o_dim = tl.arange(0, 64)
        x_8 = i_dim + o_dim
        x_9 = i_batch * C
        x_10 = x_9.to(tl.int64)
        x_11 = x_10 + b_chosen
        x_12 = x_11 * 1
        x_13 = x_12 + 0
        x_14 = x_13 * 128
        x_15 = x_7[:, None]  # [32, 1]
        x_16 = x_14[:, None]  # [32, 1]
        x_17 = x_8[None, :]  # [1, 64]
        x_18 = x_16 + x_17  # [32, 64]
        b_lmk = tl.load(p_landmarks + x_18, mask=x_15, other=0)  # [32, 64]
        b_lmk_1 = b_lmk.to(tl.float32)  # [32, 64]
        x_19 = x_2 * 1
        x_20 = x_19 + 0
        x_21 = x_20 * 128
        x_22 = x_21 + x_8
        b_q = tl.load(p_q + x_22)
        b_q_1 = b_q.to(tl.float32)
        b_q_2 = b_q_1[None, :]  # [1, 64]
        x_23 = b_lmk_1 * b_q_2  # [32, 64]
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
