"""Generated for triton:sm_90; schedule: parts=8."""

import triton
import triton.language as tl

@triton.jit(do_not_specialize=['R', 'L', 'Lkv'])
def attend_parts(
    p_q, p_indices, p_k, p_v, p_weights, p_part_out, R, L, Lkv,
):
    # grid: ((L * 8), 1, B)
    tl.extra.cuda.gdc_launch_dependents()
    tl.extra.cuda.gdc_wait()
    i_place = tl.program_id(0)
    x = i_place // 8
    x_1 = i_place % 8
    i_program = tl.program_id(1)
    i_batch = tl.program_id(2)
    x_2 = i_batch * R
    x_3 = x_2.to(tl.int64)
    x_4 = x_3 + x
    x_5 = x_4 * 1
    x_6 = x_5 + 0
    x_7 = x_6 * 32
    x_8 = x_1 * 4
    o_step = tl.arange(0, 4)
    x_9 = x_8 + o_step
    x_10 = x_9 < 32
    x_11 = x_7 + x_8
    x_12 = x_11 + o_step
    b_chosen = tl.load(p_indices + x_12, mask=x_10, other=-1)
    x_13 = b_chosen >= 0
    x_14 = o_step + 1
    x_15 = tl.where(x_13, x_14, 0)
    n_slots = tl.max(x_15, axis=0)
    o_dim = tl.arange(0, 128)
    x_16 = i_batch * L
    x_17 = x_16.to(tl.int64)
    x_18 = x_17 + x
    x_19 = x_18 * 16
    x_20 = i_program * 16
    o_row = tl.arange(0, 16)
    x_21 = x_20 + o_row
    x_22 = x_19 + x_21
    x_23 = x_22 * 128
    x_24 = x_23[:, None]  # [16, 1]
    o_dim_1 = o_dim[None, :]  # [1, 128]
    x_25 = x_24 + o_dim_1  # [16, 128]
    o_row_1 = tl.arange(0, 16)
    b_q = tl.load(p_q + x_25)  # [16, 128]
    b_out = tl.full([16, 128], 0.0, tl.float32)  # [16, 128]
    b_out_1 = b_out
    for i_step in tl.range(0, n_slots, 1, num_stages=2):
        x_26 = x_8 + i_step
        x_27 = x_7 + x_26
        chunk = tl.load(p_indices + x_27)
        chunk_1 = tl.maximum(chunk, 0)
        x_28 = i_program * 16
        x_29 = i_batch * R
        x_30 = x_29.to(tl.int64)
        x_31 = x_30 + x
        x_32 = x_31 * 1
        x_33 = x_32 + 0
        x_34 = x_33 * 32
        x_35 = x_34 + x_26
        b_w = tl.load(p_weights + x_35)
        x_36 = chunk >= 0
        b_w_1 = tl.where(x_36, b_w, 0.0)
        x_37 = chunk_1 * 64
        x_38 = i_batch * Lkv
        x_39 = x_38.to(tl.int64)
        x_40 = x_39 + x_37
        x_41 = x_40 * 1
        x_42 = x_41 + i_program
        x_43 = x_42 * 128
        o_key = tl.arange(0, 64)
        o_dim_2 = tl.arange(0, 128)
        x_44 = o_key * 128
        x_45 = x_44[:, None]  # [64, 1]
        x_46 = x_43 + x_45  # [64, 1]
        o_dim_3 = o_dim_2[None, :]  # [1, 128]
        x_47 = x_46 + o_dim_3  # [64, 128]
        b_k = tl.load(p_k + x_47)  # [64, 128]
        b_v = tl.load(p_v + x_47)  # [64, 128]
        b_k_t = tl.trans(b_k)  # [128, 64]
        b_s = tl.dot(b_q, b_k_t)  # [16, 64]
        b_m = tl.max(b_s, axis=1)
        x_48 = b_m * 0.14426950408889636
        x_49 = b_s * 0.14426950408889636  # [16, 64]
        x_50 = x_48[:, None]  # [16, 1]
        x_51 = x_49 - x_50  # [16, 64]
        b_p = tl.exp2(x_51)  # [16, 64]
        b_l = tl.sum(b_p, axis=1)
        b_rcp_l = 1.0 / b_l
        x_52 = b_rcp_l * b_w_1
        x_53 = x_52[:, None]  # [16, 1]
        b_p_1 = b_p * x_53  # [16, 64]
        b_p_2 = b_p_1.to(tl.bfloat16)  # [16, 64]
        b_dot = tl.dot(b_p_2, b_v, b_out_1)  # [16, 128]
        b_out_1 = b_dot
    x_54 = i_batch * L
    x_55 = x_54.to(tl.int64)
    x_56 = x_55 + x
    x_57 = x_56 * 16
    x_58 = i_program * 16
    o_row_2 = tl.arange(0, 16)
    x_59 = x_58 + o_row_2
    x_60 = x_57 + x_59
    x_61 = x_60 * 8
    x_62 = x_61 + x_1
    o_row_3 = tl.arange(0, 16)
    x_63 = x_62 * 128
    x_64 = x_63[:, None]  # [16, 1]
    o_dim_4 = tl.arange(0, 128)
    o_dim_5 = o_dim_4[None, :]  # [1, 128]
    x_65 = x_64 + o_dim_5  # [16, 128]
    o_row_4 = tl.arange(0, 16)
    tl.store(p_part_out + x_65, b_out_1)


@triton.jit(do_not_specialize=['L'])
def attend_combine(
    p_part_out, p_out, L,
):
    # grid: (L, 16, B)
    tl.extra.cuda.gdc_launch_dependents()
    tl.extra.cuda.gdc_wait()
    i_token = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    b_out = tl.full([1, 128], 0.0, tl.float32)  # [1, 128]
    b_out_1 = b_out
    i_part = 0
    o_part = tl.arange(0, 8)
    x = i_part + o_part
    o_dim = tl.arange(0, 128)
    x_1 = i_batch * L
    x_2 = x_1.to(tl.int64)
    x_3 = x_2 + i_token
    x_4 = x_3 * 16
    x_5 = i_head * 1
    o_row = tl.arange(0, 1)
    x_6 = x_5 + o_row
    x_7 = x_4 + x_6
    row = tl.max(x_7, axis=0)
    x_8 = row * 8
    x_9 = x_8 + x
    x_10 = x_9 * 128
    x_11 = x_10[:, None]  # [8, 1]
    o_dim_1 = o_dim[None, :]  # [1, 128]
    x_12 = x_11 + o_dim_1  # [8, 128]
    b_parts = tl.load(p_part_out + x_12)  # [8, 128]
    b_parts_sum = tl.sum(b_parts, axis=0)
    b_parts_sum_1 = b_parts_sum[None, :]  # [1, 128]
    x_13 = b_out_1 + b_parts_sum_1  # [1, 128]
    b_out_1 = x_13
    o_dim_2 = tl.arange(0, 128)
    x_14 = i_batch * L
    x_15 = x_14.to(tl.int64)
    x_16 = x_15 + i_token
    x_17 = x_16 * 16
    x_18 = i_head * 1
    o_row_1 = tl.arange(0, 1)
    x_19 = x_18 + o_row_1
    x_20 = x_17 + x_19
    x_21 = x_20 * 128
    x_22 = x_21[:, None]  # [1, 1]
    o_dim_3 = o_dim_2[None, :]  # [1, 128]
    x_23 = x_22 + o_dim_3  # [1, 128]
    o_row_2 = tl.arange(0, 1)
    b_out_2 = b_out_1.to(tl.bfloat16)  # [1, 128]
    tl.store(p_out + x_23, b_out_2)
