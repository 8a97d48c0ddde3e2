"""Generated for triton:sm_90; schedule: default."""

import triton
import triton.language as tl

@triton.jit(do_not_specialize=['L', 'R', 'Lkv'])
def attend(
    p_q, p_indices, p_k, p_v, p_weights, p_out, L, R, Lkv,
):
    # grid: (L, 1, B)
    i_token = tl.program_id(0)
    i_program = tl.program_id(1)
    i_batch = tl.program_id(2)
    o_dim = tl.arange(0, 128)
    x = i_batch * L
    x_1 = x.to(tl.int64)
    x_2 = x_1 + i_token
    x_3 = x_2 * 16
    x_4 = i_program * 16
    o_row = tl.arange(0, 16)
    x_5 = x_4 + o_row
    x_6 = x_3 + x_5
    x_7 = x_6 * 128
    x_8 = x_7[:, None]  # [16, 1]
    o_dim_1 = o_dim[None, :]  # [1, 128]
    x_9 = x_8 + o_dim_1  # [16, 128]
    o_row_1 = tl.arange(0, 16)
    b_q = tl.load(p_q + x_9)  # [16, 128]
    x_10 = i_batch * R
    x_11 = x_10.to(tl.int64)
    x_12 = x_11 + i_token
    x_13 = x_12 * 1
    x_14 = x_13 + 0
    x_15 = x_14 * 32
    o_slot = tl.arange(0, 32)
    x_16 = x_15 + o_slot
    b_chosen = tl.load(p_indices + x_16)
    x_17 = b_chosen >= 0
    x_18 = o_slot + 1
    x_19 = tl.where(x_17, x_18, 0)
    n_slots = tl.max(x_19, axis=0)
    b_out = tl.full([16, 128], 0.0, tl.float32)  # [16, 128]
    b_out_1 = b_out
    for i_step in tl.range(0, n_slots, 1, num_stages=2):
        x_20 = x_15 + i_step
        chunk = tl.load(p_indices + x_20)
        chunk_1 = tl.maximum(chunk, 0)
        x_21 = i_program * 16
        x_22 = i_batch * R
        x_23 = x_22.to(tl.int64)
        x_24 = x_23 + i_token
        x_25 = x_24 * 1
        x_26 = x_25 + 0
        x_27 = x_26 * 32
        x_28 = x_27 + i_step
        b_w = tl.load(p_weights + x_28)
        x_29 = chunk >= 0
        b_w_1 = tl.where(x_29, b_w, 0.0)
        x_30 = chunk_1 * 64
        x_31 = i_batch * Lkv
        x_32 = x_31.to(tl.int64)
        x_33 = x_32 + x_30
        x_34 = x_33 * 1
        x_35 = x_34 + i_program
        x_36 = x_35 * 128
        o_key = tl.arange(0, 64)
        o_dim_2 = tl.arange(0, 128)
        x_37 = o_key * 128
        x_38 = x_37[:, None]  # [64, 1]
        x_39 = x_36 + x_38  # [64, 1]
        o_dim_3 = o_dim_2[None, :]  # [1, 128]
        x_40 = x_39 + o_dim_3  # [64, 128]
        b_k = tl.load(p_k + x_40)  # [64, 128]
        b_v = tl.load(p_v + x_40)  # [64, 128]
        b_k_t = tl.trans(b_k)  # [128, 64]
        b_s = tl.dot(b_q, b_k_t)  # [16, 64]
        b_m = tl.max(b_s, axis=1)
        x_41 = b_m * 0.14426950408889636
        x_42 = b_s * 0.14426950408889636  # [16, 64]
        x_43 = x_41[:, None]  # [16, 1]
        x_44 = x_42 - x_43  # [16, 64]
        b_p = tl.exp2(x_44)  # [16, 64]
        b_l = tl.sum(b_p, axis=1)
        b_rcp_l = 1.0 / b_l
        x_45 = b_rcp_l * b_w_1
        x_46 = x_45[:, None]  # [16, 1]
        b_p_1 = b_p * x_46  # [16, 64]
        b_p_2 = b_p_1.to(tl.bfloat16)  # [16, 64]
        b_dot = tl.dot(b_p_2, b_v, b_out_1)  # [16, 128]
        b_out_1 = b_dot
    o_dim_4 = tl.arange(0, 128)
    x_47 = i_batch * L
    x_48 = x_47.to(tl.int64)
    x_49 = x_48 + i_token
    x_50 = x_49 * 16
    x_51 = i_program * 16
    o_row_2 = tl.arange(0, 16)
    x_52 = x_51 + o_row_2
    x_53 = x_50 + x_52
    x_54 = x_53 * 128
    x_55 = x_54[:, None]  # [16, 1]
    o_dim_5 = o_dim_4[None, :]  # [1, 128]
    x_56 = x_55 + o_dim_5  # [16, 128]
    o_row_3 = tl.arange(0, 16)
    b_out_2 = b_out_1.to(tl.bfloat16)  # [16, 128]
    tl.store(p_out + x_56, b_out_2)
