"""Generated for triton:sm_90; schedule: order=chunk pairs=4 combine=buffer."""

import triton
import triton.language as tl
from triton.language.extra import libdevice

@triton.jit(do_not_specialize=['C', 'Lkv', 'R', 'L'])
def attend_grad(
    p_order, p_offsets, p_k, p_v, p_d_weights, p_q, p_d_out, p_d_k, p_d_v, p_weights,
    p_d_q_parts, C, Lkv, R, L,
):
    # grid: (C, 1, B)
    i_work = tl.program_id(0)
    i_head = tl.program_id(1)
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
    x_8 = first < last
    if x_8:
        b_dk = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
        b_dv = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
        x_9 = i_work * 64
        x_10 = i_batch * Lkv
        x_11 = x_10.to(tl.int64)
        x_12 = x_11 + x_9
        x_13 = x_12 * 1
        x_14 = x_13 + i_head
        x_15 = x_14 * 128
        o_key = tl.arange(0, 64)
        o_dim = tl.arange(0, 128)
        x_16 = o_key * 128
        x_17 = x_16[:, None]  # [64, 1]
        x_18 = x_15 + x_17  # [64, 1]
        o_dim_1 = o_dim[None, :]  # [1, 128]
        x_19 = x_18 + o_dim_1  # [64, 128]
        b_k = tl.load(p_k + x_19)  # [64, 128]
        b_v = tl.load(p_v + x_19)  # [64, 128]
        b_dk_1 = b_dk
        b_dv_1 = b_dv
        for i_pair in tl.range(first, last, 4, num_stages=2):
            o_x = tl.arange(0, 64)
            x_20 = o_x % 16
            x_21 = o_x // 16
            x_22 = i_pair + x_21
            x_23 = x_22 < last
            R_1 = R.to(tl.int64)
            x_24 = R_1 * 32
            x_25 = i_batch * 1
            x_26 = x_25 + 0
            x_27 = x_26 * x_24
            x_28 = x_27 + x_22
            b_pair = tl.load(p_order + x_28, mask=x_23, other=0)
            x_29 = b_pair // 32
            x_30 = b_pair % 32
            x_31 = i_head * 16
            x_32 = x_31 + x_20
            o_dim_2 = tl.arange(0, 128)
            x_33 = i_batch * L
            x_34 = x_33.to(tl.int64)
            x_35 = x_34 + x_29
            x_36 = x_35 * 16
            x_37 = x_36 + x_32
            x_38 = x_37 * 128
            x_39 = x_38[:, None]  # [64, 1]
            o_dim_3 = o_dim_2[None, :]  # [1, 128]
            x_40 = x_39 + o_dim_3  # [64, 128]
            x_41 = x_23[:, None]  # [64, 1]
            b_q = tl.load(p_q + x_40, mask=x_41, other=0)  # [64, 128]
            o_dim_4 = tl.arange(0, 128)
            x_42 = i_batch * L
            x_43 = x_42.to(tl.int64)
            x_44 = x_43 + x_29
            x_45 = x_44 * 16
            x_46 = x_45 + x_32
            x_47 = x_46 * 128
            x_48 = x_47[:, None]  # [64, 1]
            o_dim_5 = o_dim_4[None, :]  # [1, 128]
            x_49 = x_48 + o_dim_5  # [64, 128]
            x_50 = x_23[:, None]  # [64, 1]
            b_do = tl.load(p_d_out + x_49, mask=x_50, other=0)  # [64, 128]
            b_k_t = tl.trans(b_k)  # [128, 64]
            b_s = tl.dot(b_q, b_k_t)  # [64, 64]
            b_v_t = tl.trans(b_v)  # [128, 64]
            b_dp = tl.dot(b_do, b_v_t)  # [64, 64]
            x_51 = i_batch * R
            x_52 = x_51.to(tl.int64)
            x_53 = x_52 + x_29
            x_54 = x_53 * 1
            x_55 = x_54 + 0
            x_56 = x_55 * 32
            x_57 = x_56 + x_30
            b_w = tl.load(p_weights + x_57, mask=x_23, other=0)
            b_m = tl.max(b_s, axis=1)
            x_58 = b_m * 0.14426950408889636
            x_59 = b_s * 0.14426950408889636  # [64, 64]
            x_60 = x_58[:, None]  # [64, 1]
            x_61 = x_59 - x_60  # [64, 64]
            b_p = tl.exp2(x_61)  # [64, 64]
            b_l = tl.sum(b_p, axis=1)
            b_rcp_l = 1.0 / b_l
            x_62 = b_p * b_dp  # [64, 64]
            x_62_sum = tl.sum(x_62, axis=1)
            b_dw = libdevice.mul_rn(x_62_sum, b_rcp_l)
            x_63 = b_rcp_l * b_w
            x_64 = x_63[:, None]  # [64, 1]
            b_wp = b_p * x_64  # [64, 64]
            x_65 = b_rcp_l * b_w
            x_66 = x_65[:, None]  # [64, 1]
            x_67 = b_dp * x_66  # [64, 64]
            x_68 = b_dw * x_65
            x_69 = x_68[:, None]  # [64, 1]
            x_70 = x_67 - x_69  # [64, 64]
            b_ds = b_p * x_70  # [64, 64]
            b_dw_sum = tl.sum(tl.reshape(b_dw, [4, 16]), axis=1)
            o_pair = tl.arange(0, 4)
            x_71 = i_pair + o_pair
            x_72 = x_71 < last
            R_2 = R.to(tl.int64)
            x_73 = R_2 * 32
            x_74 = i_batch * 1
            x_75 = x_74 + 0
            x_76 = x_75 * x_73
            x_77 = x_76 + x_71
            b_pair_1 = tl.load(p_order + x_77, mask=x_72, other=0)
            x_78 = b_pair_1 // 32
            x_79 = b_pair_1 % 32
            x_80 = i_batch * L
            x_81 = x_80.to(tl.int64)
            o_pair_1 = tl.arange(0, 4)
            x_82 = i_pair + o_pair_1
            x_83 = x_82 < last
            R_3 = R.to(tl.int64)
            x_84 = R_3 * 32
            x_85 = i_batch * 1
            x_86 = x_85 + 0
            x_87 = x_86 * x_84
            x_88 = x_87 + x_82
            b_pair_2 = tl.load(p_order + x_88, mask=x_83, other=0)
            x_89 = b_pair_2 // 32
            x_90 = b_pair_2 % 32
            x_91 = x_81 + x_89
            x_92 = x_91 * 1
            x_93 = x_92 + i_head
            x_94 = x_93 * 32
            x_95 = x_94 + x_79
            tl.store(p_d_weights + x_95, b_dw_sum, mask=x_72)
            b_ds_1 = b_ds.to(tl.bfloat16)  # [64, 64]
            b_ds_1_t = tl.trans(b_ds_1)  # [64, 64]
            b_dot = tl.dot(b_ds_1_t, b_q, b_dk_1)  # [64, 128]
            b_wp_1 = b_wp.to(tl.bfloat16)  # [64, 64]
            b_wp_1_t = tl.trans(b_wp_1)  # [64, 64]
            b_dot_1 = tl.dot(b_wp_1_t, b_do, b_dv_1)  # [64, 128]
            b_part = tl.dot(b_ds_1, b_k)  # [64, 128]
            x_96 = b_part * 0.1  # [64, 128]
            x_97 = x_23[:, None]  # [64, 1]
            x_98 = i_batch * 1
            x_99 = x_98 + i_head
            x_100 = x_99.to(tl.int64)
            x_101 = x_100 * L
            x_102 = x_101 + x_29
            x_103 = x_102 * 32
            x_104 = x_103 + x_30
            x_105 = x_104 * 16
            x_106 = x_105 + x_20
            o_dim_6 = tl.arange(0, 128)
            x_107 = x_106 * 128
            x_108 = x_107[:, None]  # [64, 1]
            o_dim_7 = o_dim_6[None, :]  # [1, 128]
            x_109 = x_108 + o_dim_7  # [64, 128]
            x_110 = x_96.to(tl.bfloat16)  # [64, 128]
            tl.store(p_d_q_parts + x_109, x_110, mask=x_97)
            b_dk_1 = b_dot
            b_dv_1 = b_dot_1
        x_111 = i_work * 64
        x_112 = i_batch * Lkv
        x_113 = x_112.to(tl.int64)
        x_114 = x_113 + x_111
        x_115 = x_114 * 1
        x_116 = x_115 + i_head
        x_117 = x_116 * 128
        o_key_1 = tl.arange(0, 64)
        o_dim_8 = tl.arange(0, 128)
        x_118 = o_key_1 * 128
        x_119 = x_118[:, None]  # [64, 1]
        x_120 = x_117 + x_119  # [64, 1]
        o_dim_9 = o_dim_8[None, :]  # [1, 128]
        x_121 = x_120 + o_dim_9  # [64, 128]
        x_122 = b_dk_1 * 0.1  # [64, 128]
        x_123 = x_122.to(tl.bfloat16)  # [64, 128]
        tl.store(p_d_k + x_121, x_123)
        b_dv_2 = b_dv_1.to(tl.bfloat16)  # [64, 128]
        tl.store(p_d_v + x_121, b_dv_2)


@triton.jit(do_not_specialize=['L', 'R'])
def sum_d_q(
    p_d_q_parts, p_indices, p_d_q, L, R,
):
    # grid: (cdiv(L, 4), 1, B)
    i_tile = tl.program_id(0)
    i_program = tl.program_id(1)
    i_batch = tl.program_id(2)
    first_token = i_tile * 4
    b_sum = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
    b_sum_1 = b_sum
    for i_slot in tl.range(0, 32, 1, num_stages=4):
        o_row = tl.arange(0, 64)
        x = o_row // 16
        x_1 = first_token + x
        o_row_1 = tl.arange(0, 64)
        x_2 = o_row_1 % 16
        o_row_2 = tl.arange(0, 64)
        x_3 = o_row_2 // 16
        x_4 = first_token + x_3
        x_5 = x_4 < L
        x_6 = i_batch * R
        x_7 = x_6.to(tl.int64)
        x_8 = x_7 + x_1
        x_9 = x_8 * 1
        x_10 = x_9 + 0
        x_11 = x_10 * 32
        x_12 = x_11 + i_slot
        b_indices = tl.load(p_indices + x_12, mask=x_5, other=-1)
        x_13 = b_indices >= 0
        m_seen = tl.broadcast_to(x_13, [64])
        m = m_seen & x_5
        x_14 = i_batch * 1
        x_15 = x_14 + i_program
        x_16 = x_15.to(tl.int64)
        x_17 = x_16 * L
        x_18 = x_17 + x_1
        x_19 = x_18 * 32
        x_20 = x_19 + i_slot
        x_21 = x_20 * 16
        o_row_3 = tl.arange(0, 64)
        x_22 = o_row_3 % 16
        x_23 = x_21 + x_22
        o_dim = tl.arange(0, 128)
        x_24 = x_23 * 128
        x_25 = x_24[:, None]  # [64, 1]
        o_dim_1 = o_dim[None, :]  # [1, 128]
        x_26 = x_25 + o_dim_1  # [64, 128]
        m_1 = m[:, None]  # [64, 1]
        b_part = tl.load(p_d_q_parts + x_26, mask=m_1, other=0)  # [64, 128]
        b_part_1 = b_part.to(tl.float32)  # [64, 128]
        x_27 = b_sum_1 + b_part_1  # [64, 128]
        b_sum_1 = x_27
    o_dim_2 = tl.arange(0, 128)
    x_28 = i_batch * L
    x_29 = x_28.to(tl.int64)
    o_row_4 = tl.arange(0, 64)
    x_30 = o_row_4 // 16
    x_31 = first_token + x_30
    x_32 = x_29 + x_31
    x_33 = x_32 * 16
    x_34 = i_program * 16
    o_row_5 = tl.arange(0, 64)
    x_35 = o_row_5 % 16
    x_36 = x_34 + x_35
    x_37 = x_33 + x_36
    x_38 = x_37 * 128
    x_39 = x_38[:, None]  # [64, 1]
    o_dim_3 = o_dim_2[None, :]  # [1, 128]
    x_40 = x_39 + o_dim_3  # [64, 128]
    o_row_6 = tl.arange(0, 64)
    x_41 = o_row_6 % 16
    o_row_7 = tl.arange(0, 64)
    x_42 = o_row_7 // 16
    x_43 = first_token + x_42
    x_44 = x_43 < L
    x_45 = x_44[:, None]  # [64, 1]
    b_sum_2 = b_sum_1.to(tl.bfloat16)  # [64, 128]
    tl.store(p_d_q + x_40, b_sum_2, mask=x_45)
