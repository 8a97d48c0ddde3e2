"""Generated for triton:sm_90; schedule: default."""

import triton
import triton.language as tl
from triton.language.extra import libdevice

@triton.jit(do_not_specialize=['L', 'R', 'Lkv'])
def attend_grad_q(
    p_indices, p_k, p_v, p_d_out, p_q, p_weights, p_d_weights, p_d_q, L, R, Lkv,
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
    o_dim_2 = tl.arange(0, 128)
    x_10 = i_batch * L
    x_11 = x_10.to(tl.int64)
    x_12 = x_11 + i_token
    x_13 = x_12 * 16
    x_14 = i_program * 16
    o_row_2 = tl.arange(0, 16)
    x_15 = x_14 + o_row_2
    x_16 = x_13 + x_15
    x_17 = x_16 * 128
    x_18 = x_17[:, None]  # [16, 1]
    o_dim_3 = o_dim_2[None, :]  # [1, 128]
    x_19 = x_18 + o_dim_3  # [16, 128]
    o_row_3 = tl.arange(0, 16)
    b_do = tl.load(p_d_out + x_19)  # [16, 128]
    x_20 = i_batch * R
    x_21 = x_20.to(tl.int64)
    x_22 = x_21 + i_token
    x_23 = x_22 * 1
    x_24 = x_23 + 0
    x_25 = x_24 * 32
    o_slot = tl.arange(0, 32)
    x_26 = x_25 + o_slot
    b_chosen = tl.load(p_indices + x_26)
    x_27 = b_chosen >= 0
    x_28 = o_slot + 1
    x_29 = tl.where(x_27, x_28, 0)
    n_slots = tl.max(x_29, axis=0)
    x_30 = i_batch * L
    x_31 = x_30.to(tl.int64)
    x_32 = x_31 + i_token
    x_33 = x_32 * 1
    x_34 = x_33 + i_program
    b_dq = tl.full([16, 128], 0.0, tl.float32)  # [16, 128]
    b_dq_1 = b_dq
    for i_step in tl.range(0, n_slots, 1, num_stages=2):
        x_35 = x_25 + i_step
        chunk = tl.load(p_indices + x_35)
        chunk_1 = tl.maximum(chunk, 0)
        x_36 = i_program * 16
        x_37 = i_batch * R
        x_38 = x_37.to(tl.int64)
        x_39 = x_38 + i_token
        x_40 = x_39 * 1
        x_41 = x_40 + 0
        x_42 = x_41 * 32
        x_43 = x_42 + i_step
        b_w = tl.load(p_weights + x_43)
        x_44 = chunk >= 0
        b_w_1 = tl.where(x_44, b_w, 0.0)
        x_45 = chunk_1 * 64
        x_46 = i_batch * Lkv
        x_47 = x_46.to(tl.int64)
        x_48 = x_47 + x_45
        x_49 = x_48 * 1
        x_50 = x_49 + i_program
        x_51 = x_50 * 128
        o_key = tl.arange(0, 64)
        o_dim_4 = tl.arange(0, 128)
        x_52 = o_key * 128
        x_53 = x_52[:, None]  # [64, 1]
        x_54 = x_51 + x_53  # [64, 1]
        o_dim_5 = o_dim_4[None, :]  # [1, 128]
        x_55 = x_54 + o_dim_5  # [64, 128]
        b_k = tl.load(p_k + x_55)  # [64, 128]
        b_v = tl.load(p_v + x_55)  # [64, 128]
        b_v_t = tl.trans(b_v)  # [128, 64]
        b_dp = tl.dot(b_do, b_v_t)  # [16, 64]
        b_k_t = tl.trans(b_k)  # [128, 64]
        b_s = tl.dot(b_q, b_k_t)  # [16, 64]
        b_m = tl.max(b_s, axis=1)
        x_56 = b_m * 0.14426950408889636
        x_57 = b_s * 0.14426950408889636  # [16, 64]
        x_58 = x_56[:, None]  # [16, 1]
        x_59 = x_57 - x_58  # [16, 64]
        b_p = tl.exp2(x_59)  # [16, 64]
        b_l = tl.sum(b_p, axis=1)
        b_rcp_l = 1.0 / b_l
        x_60 = b_p * b_dp  # [16, 64]
        x_60_sum = tl.sum(x_60, axis=1)
        b_dw = libdevice.mul_rn(x_60_sum, b_rcp_l)
        x_61 = b_rcp_l * b_w_1
        x_62 = x_61[:, None]  # [16, 1]
        x_63 = b_dp * x_62  # [16, 64]
        x_64 = b_dw * x_61
        x_65 = x_64[:, None]  # [16, 1]
        x_66 = x_63 - x_65  # [16, 64]
        b_ds = b_p * x_66  # [16, 64]
        b_ds_1 = b_ds.to(tl.bfloat16)  # [16, 64]
        b_dot = tl.dot(b_ds_1, b_k, b_dq_1)  # [16, 128]
        b_dw_sum = tl.sum(b_dw, axis=0)
        x_67 = chunk >= 0
        b_dw_1 = tl.where(x_67, b_dw_sum, 0.0)
        x_68 = x_34 * 32
        x_69 = x_68 + i_step
        tl.store(p_d_weights + x_69, b_dw_1)
        b_dq_1 = b_dot
    o_dim_6 = tl.arange(0, 128)
    x_70 = i_batch * L
    x_71 = x_70.to(tl.int64)
    x_72 = x_71 + i_token
    x_73 = x_72 * 16
    x_74 = i_program * 16
    o_row_4 = tl.arange(0, 16)
    x_75 = x_74 + o_row_4
    x_76 = x_73 + x_75
    x_77 = x_76 * 128
    x_78 = x_77[:, None]  # [16, 1]
    o_dim_7 = o_dim_6[None, :]  # [1, 128]
    x_79 = x_78 + o_dim_7  # [16, 128]
    x_80 = b_dq_1 * 0.1  # [16, 128]
    o_row_5 = tl.arange(0, 16)
    x_81 = x_80.to(tl.bfloat16)  # [16, 128]
    tl.store(p_d_q + x_79, x_81)
