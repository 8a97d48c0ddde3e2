"""Generated for triton:sm_90; schedule: order=chunk combine=atomic."""

import triton
import triton.language as tl
from triton.language.extra import libdevice

@triton.jit(do_not_specialize=['C', 'Lkv', 'R', 'L'])
def attend_grad_q(
    p_order, p_offsets, p_k, p_v, p_d_weights, p_q, p_d_out, p_weights, p_d_q_sum, C, Lkv, R, L,
):
    # grid: (C, 1, B)
    i_work = tl.program_id(0)
    i_program = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_batch * 1
    x_1 = x + 0
    x_2 = x_1.to(tl.int64)
    x_3 = C + 1
    x_4 = x_2 * x_3
    x_5 = x_4 + i_work
    first = tl.load(p_offsets + x_5)
    x_6 = x_4 + i_work
    x_7 = x_6 + 1
    last = tl.load(p_offsets + x_7)
    x_8 = i_work * 64
    x_9 = i_batch * Lkv
    x_10 = x_9.to(tl.int64)
    x_11 = x_10 + x_8
    x_12 = x_11 * 1
    x_13 = x_12 + i_program
    x_14 = x_13 * 128
    o_key = tl.arange(0, 64)
    o_dim = tl.arange(0, 128)
    x_15 = o_key * 128
    x_16 = x_15[:, None]  # [64, 1]
    x_17 = x_14 + x_16  # [64, 1]
    o_dim_1 = o_dim[None, :]  # [1, 128]
    x_18 = x_17 + o_dim_1  # [64, 128]
    b_k = tl.load(p_k + x_18)  # [64, 128]
    b_v = tl.load(p_v + x_18)  # [64, 128]
    for i_pair in tl.range(first, last, 8, num_stages=2):
        o_x = tl.arange(0, 128)
        x_19 = o_x % 16
        x_20 = o_x // 16
        x_21 = i_pair + x_20
        x_22 = x_21 < last
        R_1 = R.to(tl.int64)
        x_23 = R_1 * 32
        x_24 = i_batch * 1
        x_25 = x_24 + 0
        x_26 = x_25 * x_23
        x_27 = x_26 + x_21
        b_pair = tl.load(p_order + x_27, mask=x_22, other=0)
        x_28 = b_pair // 32
        x_29 = b_pair % 32
        x_30 = i_program * 16
        x_31 = x_30 + x_19
        o_dim_2 = tl.arange(0, 128)
        x_32 = i_batch * L
        x_33 = x_32.to(tl.int64)
        x_34 = x_33 + x_28
        x_35 = x_34 * 16
        x_36 = x_35 + x_31
        x_37 = x_36 * 128
        x_38 = x_37[:, None]  # [128, 1]
        o_dim_3 = o_dim_2[None, :]  # [1, 128]
        x_39 = x_38 + o_dim_3  # [128, 128]
        x_40 = x_22[:, None]  # [128, 1]
        b_q = tl.load(p_q + x_39, mask=x_40, other=0)  # [128, 128]
        o_dim_4 = tl.arange(0, 128)
        x_41 = i_batch * L
        x_42 = x_41.to(tl.int64)
        x_43 = x_42 + x_28
        x_44 = x_43 * 16
        x_45 = x_44 + x_31
        x_46 = x_45 * 128
        x_47 = x_46[:, None]  # [128, 1]
        o_dim_5 = o_dim_4[None, :]  # [1, 128]
        x_48 = x_47 + o_dim_5  # [128, 128]
        x_49 = x_22[:, None]  # [128, 1]
        b_do = tl.load(p_d_out + x_48, mask=x_49, other=0)  # [128, 128]
        x_50 = i_batch * R
        x_51 = x_50.to(tl.int64)
        x_52 = x_51 + x_28
        x_53 = x_52 * 1
        x_54 = x_53 + 0
        x_55 = x_54 * 32
        x_56 = x_55 + x_29
        b_w = tl.load(p_weights + x_56, mask=x_22, other=0)
        b_v_t = tl.trans(b_v)  # [128, 64]
        b_dp = tl.dot(b_do, b_v_t)  # [128, 64]
        b_k_t = tl.trans(b_k)  # [128, 64]
        b_s = tl.dot(b_q, b_k_t)  # [128, 64]
        b_m = tl.max(b_s, axis=1)
        x_57 = b_m * 0.14426950408889636
        x_58 = b_s * 0.14426950408889636  # [128, 64]
        x_59 = x_57[:, None]  # [128, 1]
        x_60 = x_58 - x_59  # [128, 64]
        b_p = tl.exp2(x_60)  # [128, 64]
        b_l = tl.sum(b_p, axis=1)
        b_rcp_l = 1.0 / b_l
        x_61 = b_p * b_dp  # [128, 64]
        x_61_sum = tl.sum(x_61, axis=1)
        b_dw = libdevice.mul_rn(x_61_sum, b_rcp_l)
        x_62 = b_rcp_l * b_w
        x_63 = x_62[:, None]  # [128, 1]
        x_64 = b_dp * x_63  # [128, 64]
        x_65 = b_dw * x_62
        x_66 = x_65[:, None]  # [128, 1]
        x_67 = x_64 - x_66  # [128, 64]
        b_ds = b_p * x_67  # [128, 64]
        b_ds_1 = b_ds.to(tl.bfloat16)  # [128, 64]
        b_dot = tl.dot(b_ds_1, b_k)  # [128, 128]
        x_68 = b_dot * 0.1  # [128, 128]
        x_69 = x_22[:, None]  # [128, 1]
        o_dim_6 = tl.arange(0, 128)
        x_70 = i_batch * L
        x_71 = x_70.to(tl.int64)
        x_72 = x_71 + x_28
        x_73 = x_72 * 16
        x_74 = x_73 + x_31
        x_75 = x_74 * 128
        x_76 = x_75[:, None]  # [128, 1]
        o_dim_7 = o_dim_6[None, :]  # [1, 128]
        x_77 = x_76 + o_dim_7  # [128, 128]
        tl.atomic_add(p_d_q_sum + x_77, x_68, mask=x_69, sem="relaxed")
        b_dw_sum = tl.sum(tl.reshape(b_dw, [8, 16]), axis=1)
        o_pair = tl.arange(0, 8)
        x_78 = i_pair + o_pair
        x_79 = x_78 < last
        R_2 = R.to(tl.int64)
        x_80 = R_2 * 32
        x_81 = i_batch * 1
        x_82 = x_81 + 0
        x_83 = x_82 * x_80
        x_84 = x_83 + x_78
        b_pair_1 = tl.load(p_order + x_84, mask=x_79, other=0)
        x_85 = b_pair_1 // 32
        x_86 = b_pair_1 % 32
        x_87 = i_batch * L
        x_88 = x_87.to(tl.int64)
        o_pair_1 = tl.arange(0, 8)
        x_89 = i_pair + o_pair_1
        x_90 = x_89 < last
        R_3 = R.to(tl.int64)
        x_91 = R_3 * 32
        x_92 = i_batch * 1
        x_93 = x_92 + 0
        x_94 = x_93 * x_91
        x_95 = x_94 + x_89
        b_pair_2 = tl.load(p_order + x_95, mask=x_90, other=0)
        x_96 = b_pair_2 // 32
        x_97 = b_pair_2 % 32
        x_98 = x_88 + x_96
        x_99 = x_98 * 1
        x_100 = x_99 + i_program
        x_101 = x_100 * 32
        x_102 = x_101 + x_86
        tl.store(p_d_weights + x_102, b_dw_sum, mask=x_79)


@triton.jit(do_not_specialize=['L'])
def sum_d_q(
    p_d_q_sum, p_d_q, L,
):
    # grid: (cdiv(L, 2), 1, B)
    i_tile = tl.program_id(0)
    i_program = tl.program_id(1)
    i_batch = tl.program_id(2)
    first_token = i_tile * 2
    o_dim = tl.arange(0, 128)
    x = i_batch * L
    x_1 = x.to(tl.int64)
    o_row = tl.arange(0, 32)
    x_2 = o_row // 16
    x_3 = first_token + x_2
    x_4 = x_1 + x_3
    x_5 = x_4 * 16
    x_6 = i_program * 16
    o_row_1 = tl.arange(0, 32)
    x_7 = o_row_1 % 16
    x_8 = x_6 + x_7
    x_9 = x_5 + x_8
    x_10 = x_9 * 128
    x_11 = x_10[:, None]  # [32, 1]
    o_dim_1 = o_dim[None, :]  # [1, 128]
    x_12 = x_11 + o_dim_1  # [32, 128]
    o_row_2 = tl.arange(0, 32)
    x_13 = o_row_2 % 16
    o_row_3 = tl.arange(0, 32)
    x_14 = o_row_3 // 16
    x_15 = first_token + x_14
    x_16 = x_15 < L
    x_17 = x_16[:, None]  # [32, 1]
    b_sum = tl.load(p_d_q_sum + x_12, mask=x_17, other=0)  # [32, 128]
    o_dim_2 = tl.arange(0, 128)
    x_18 = i_batch * L
    x_19 = x_18.to(tl.int64)
    o_row_4 = tl.arange(0, 32)
    x_20 = o_row_4 // 16
    x_21 = first_token + x_20
    x_22 = x_19 + x_21
    x_23 = x_22 * 16
    x_24 = i_program * 16
    o_row_5 = tl.arange(0, 32)
    x_25 = o_row_5 % 16
    x_26 = x_24 + x_25
    x_27 = x_23 + x_26
    x_28 = x_27 * 128
    x_29 = x_28[:, None]  # [32, 1]
    o_dim_3 = o_dim_2[None, :]  # [1, 128]
    x_30 = x_29 + o_dim_3  # [32, 128]
    o_row_6 = tl.arange(0, 32)
    x_31 = o_row_6 % 16
    o_row_7 = tl.arange(0, 32)
    x_32 = o_row_7 // 16
    x_33 = first_token + x_32
    x_34 = x_33 < L
    x_35 = x_34[:, None]  # [32, 1]
    b_sum_1 = b_sum.to(tl.bfloat16)  # [32, 128]
    tl.store(p_d_q + x_30, b_sum_1, mask=x_35)
