"""Generated for triton:sm_90; schedule: dim_block=64."""

import triton
import triton.language as tl

@triton.jit(do_not_specialize=['R', 'C'])
def weigh_grad(
    p_indices, p_weights, p_d_weights, p_d_slots, p_landmarks, p_d_q, R, C,
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
    b_ds = tl.full([32], 0.0, tl.float32)
    b_ds_1 = b_ds
    i_weight = 0
    x_8 = i_head * 1
    x_9 = x_8 + i_weight
    x_10 = x_2 * 1
    x_11 = x_10 + x_9
    x_12 = x_11 * 32
    x_13 = x_12 + o_slot
    b_w = tl.load(p_weights + x_13)
    b_dw = tl.load(p_d_weights + x_13)
    x_14 = b_w * b_dw
    x_14_sum = tl.sum(x_14, axis=0)
    x_15 = x_2 * 1
    x_16 = x_15 + x_9
    x_17 = b_dw - x_14_sum
    x_18 = b_w * x_17
    x_19 = b_ds_1 + x_18
    b_ds_1 = x_19
    x_20 = x_2 * 1
    x_21 = x_20 + i_head
    x_22 = x_21 * 32
    x_23 = x_22 + o_slot
    tl.store(p_d_slots + x_23, b_ds_1)
    b_ds_2 = tl.where(x_7, b_ds_1, 0.0)
    for i_dim in tl.range(0, 128, 64, num_stages=1):
        o_dim = tl.arange(0, 64)
        x_24 = i_dim + o_dim
        x_25 = i_batch * C
        x_26 = x_25.to(tl.int64)
        x_27 = x_26 + b_chosen
        x_28 = x_27 * 1
        x_29 = x_28 + 0
        x_30 = x_29 * 128
        x_31 = x_7[:, None]  # [32, 1]
        x_32 = x_30[:, None]  # [32, 1]
        x_33 = x_24[None, :]  # [1, 64]
        x_34 = x_32 + x_33  # [32, 64]
        b_lmk = tl.load(p_landmarks + x_34, mask=x_31, other=0)  # [32, 64]
        b_lmk_1 = b_lmk.to(tl.float32)  # [32, 64]
        b_ds_3 = b_ds_2[:, None]  # [32, 1]
        x_35 = b_lmk_1 * b_ds_3  # [32, 64]
        x_35_sum = tl.sum(x_35, axis=0)
        x_36 = x_35_sum * 0.1
        x_37 = x_2 * 1
        x_38 = x_37 + 0
        x_39 = x_38 * 128
        x_40 = x_39 + x_24
        x_41 = x_36.to(tl.bfloat16)
        tl.store(p_d_q + x_40, x_41)
