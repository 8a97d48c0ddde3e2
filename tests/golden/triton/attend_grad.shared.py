"""Generated for triton:sm_90; schedule: order=chunk pairs=4 window=2048 combine=atomic."""

import triton
import triton.language as tl
from triton.language.extra import libdevice

@triton.jit(do_not_specialize=['C', 'R', 'list_steps', 'Lkv', 'L'])
def attend_grad(
    p_order, p_offsets, p_k, p_v, p_d_weights, p_q, p_d_out, p_d_k, p_d_k_sum, p_d_v, p_d_v_sum,
    p_weights, p_d_q_sum, C, R, list_steps, Lkv, L,
):
    # grid: ((C * cdiv(R, 2048)), 1, B)
    i_work = tl.program_id(0)
    i_program = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_batch * 1
    x_1 = x + 0
    x_2 = x_1.to(tl.int64)
    x_3 = C + 1
    x_4 = x_2 * x_3
    x_5 = i_work % C
    x_6 = i_work // C
    R_1 = R.to(tl.int64)
    x_7 = R_1 * 32
    x_8 = i_batch * 1
    x_9 = x_8 + 0
    x_10 = x_9 * x_7
    x_11 = x_4 + x_5
    first = tl.load(p_offsets + x_11)
    x_12 = x_4 + x_5
    x_13 = x_12 + 1
    last = tl.load(p_offsets + x_13)
    x_14 = x_6 * 2048
    x_15 = x_14 + 2048
    last_row = tl.minimum(x_15, R)
    x_16 = x_14 * 32
    x_17 = last_row * 32
    o_probe = tl.arange(0, 64)
    low = first
    high = last
    low_1 = first
    high_1 = last
    for i_search in tl.range(0, list_steps, 1, num_stages=1):
        x_18 = high - low
        x_19 = x_18 + 63
        x_20 = x_19 // 64
        x_21 = o_probe * x_20
        x_22 = low + x_21
        x_23 = x_22 < high
        x_24 = x_10 + x_22
        b_pair = tl.load(p_order + x_24, mask=x_23, other=0)
        x_25 = b_pair < x_16
        x_26 = x_23 & x_25
        b_zero = tl.full([64], 0, tl.int32)
        x_27 = tl.where(x_26, 1, b_zero)
        n_before = tl.sum(x_27, axis=0)
        x_28 = n_before > 0
        x_29 = n_before - 1
        x_30 = x_29 * x_20
        x_31 = low + x_30
        x_32 = x_31 + 1
        low_2 = tl.where(x_28, x_32, low)
        x_33 = n_before * x_20
        x_34 = low + x_33
        high_2 = tl.minimum(high, x_34)
        x_35 = high_1 - low_1
        x_36 = x_35 + 63
        x_37 = x_36 // 64
        x_38 = o_probe * x_37
        x_39 = low_1 + x_38
        x_40 = x_39 < high_1
        x_41 = x_10 + x_39
        b_pair_1 = tl.load(p_order + x_41, mask=x_40, other=0)
        x_42 = b_pair_1 < x_17
        x_43 = x_40 & x_42
        b_zero_1 = tl.full([64], 0, tl.int32)
        x_44 = tl.where(x_43, 1, b_zero_1)
        n_before_1 = tl.sum(x_44, axis=0)
        x_45 = n_before_1 > 0
        x_46 = n_before_1 - 1
        x_47 = x_46 * x_37
        x_48 = low_1 + x_47
        x_49 = x_48 + 1
        low_3 = tl.where(x_45, x_49, low_1)
        x_50 = n_before_1 * x_37
        x_51 = low_1 + x_50
        high_3 = tl.minimum(high_1, x_51)
        low = low_2
        high = high_2
        low_1 = low_3
        high_1 = high_3
    x_52 = low < low_1
    if x_52:
        x_53 = low < low_1
        if x_53:
            b_dk = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
            b_dv = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
            x_54 = x_5 * 64
            x_55 = i_batch * Lkv
            x_56 = x_55.to(tl.int64)
            x_57 = x_56 + x_54
            x_58 = x_57 * 1
            x_59 = x_58 + i_program
            x_60 = x_59 * 128
            o_key = tl.arange(0, 64)
            o_dim = tl.arange(0, 128)
            x_61 = o_key * 128
            x_62 = x_61[:, None]  # [64, 1]
            x_63 = x_60 + x_62  # [64, 1]
            o_dim_1 = o_dim[None, :]  # [1, 128]
            x_64 = x_63 + o_dim_1  # [64, 128]
            b_k = tl.load(p_k + x_64)  # [64, 128]
            b_v = tl.load(p_v + x_64)  # [64, 128]
            b_dk_1 = b_dk
            b_dv_1 = b_dv
            for i_pair in tl.range(low, low_1, 4, num_stages=2):
                o_x = tl.arange(0, 64)
                x_65 = o_x % 16
                x_66 = o_x // 16
                x_67 = i_pair + x_66
                x_68 = x_67 < low_1
                R_2 = R.to(tl.int64)
                x_69 = R_2 * 32
                x_70 = i_batch * 1
                x_71 = x_70 + 0
                x_72 = x_71 * x_69
                x_73 = x_72 + x_67
                b_pair_2 = tl.load(p_order + x_73, mask=x_68, other=0)
                x_74 = b_pair_2 // 32
                x_75 = b_pair_2 % 32
                x_76 = i_program * 16
                x_77 = x_76 + x_65
                o_dim_2 = tl.arange(0, 128)
                x_78 = i_batch * L
                x_79 = x_78.to(tl.int64)
                x_80 = x_79 + x_74
                x_81 = x_80 * 16
                x_82 = x_81 + x_77
                x_83 = x_82 * 128
                x_84 = x_83[:, None]  # [64, 1]
                o_dim_3 = o_dim_2[None, :]  # [1, 128]
                x_85 = x_84 + o_dim_3  # [64, 128]
                x_86 = x_68[:, None]  # [64, 1]
                b_q = tl.load(p_q + x_85, mask=x_86, other=0)  # [64, 128]
                o_dim_4 = tl.arange(0, 128)
                x_87 = i_batch * L
                x_88 = x_87.to(tl.int64)
                x_89 = x_88 + x_74
                x_90 = x_89 * 16
                x_91 = x_90 + x_77
                x_92 = x_91 * 128
                x_93 = x_92[:, None]  # [64, 1]
                o_dim_5 = o_dim_4[None, :]  # [1, 128]
                x_94 = x_93 + o_dim_5  # [64, 128]
                x_95 = x_68[:, None]  # [64, 1]
                b_do = tl.load(p_d_out + x_94, mask=x_95, other=0)  # [64, 128]
                b_k_t = tl.trans(b_k)  # [128, 64]
                b_s = tl.dot(b_q, b_k_t)  # [64, 64]
                b_v_t = tl.trans(b_v)  # [128, 64]
                b_dp = tl.dot(b_do, b_v_t)  # [64, 64]
                x_96 = i_batch * R
                x_97 = x_96.to(tl.int64)
                x_98 = x_97 + x_74
                x_99 = x_98 * 1
                x_100 = x_99 + 0
                x_101 = x_100 * 32
                x_102 = x_101 + x_75
                b_w = tl.load(p_weights + x_102, mask=x_68, other=0)
                b_m = tl.max(b_s, axis=1)
                x_103 = b_m * 0.14426950408889636
                x_104 = b_s * 0.14426950408889636  # [64, 64]
                x_105 = x_103[:, None]  # [64, 1]
                x_106 = x_104 - x_105  # [64, 64]
                b_p = tl.exp2(x_106)  # [64, 64]
                b_l = tl.sum(b_p, axis=1)
                b_rcp_l = 1.0 / b_l
                x_107 = b_p * b_dp  # [64, 64]
                x_107_sum = tl.sum(x_107, axis=1)
                b_dw = libdevice.mul_rn(x_107_sum, b_rcp_l)
                x_108 = b_rcp_l * b_w
                x_109 = x_108[:, None]  # [64, 1]
                b_wp = b_p * x_109  # [64, 64]
                x_110 = b_rcp_l * b_w
                x_111 = x_110[:, None]  # [64, 1]
                x_112 = b_dp * x_111  # [64, 64]
                x_113 = b_dw * x_110
                x_114 = x_113[:, None]  # [64, 1]
                x_115 = x_112 - x_114  # [64, 64]
                b_ds = b_p * x_115  # [64, 64]
                b_dw_sum = tl.sum(tl.reshape(b_dw, [4, 16]), axis=1)
                o_pair = tl.arange(0, 4)
                x_116 = i_pair + o_pair
                x_117 = x_116 < low_1
                R_3 = R.to(tl.int64)
                x_118 = R_3 * 32
                x_119 = i_batch * 1
                x_120 = x_119 + 0
                x_121 = x_120 * x_118
                x_122 = x_121 + x_116
                b_pair_3 = tl.load(p_order + x_122, mask=x_117, other=0)
                x_123 = b_pair_3 // 32
                x_124 = b_pair_3 % 32
                x_125 = i_batch * L
                x_126 = x_125.to(tl.int64)
                o_pair_1 = tl.arange(0, 4)
                x_127 = i_pair + o_pair_1
                x_128 = x_127 < low_1
                R_4 = R.to(tl.int64)
                x_129 = R_4 * 32
                x_130 = i_batch * 1
                x_131 = x_130 + 0
                x_132 = x_131 * x_129
                x_133 = x_132 + x_127
                b_pair_4 = tl.load(p_order + x_133, mask=x_128, other=0)
                x_134 = b_pair_4 // 32
                x_135 = b_pair_4 % 32
                x_136 = x_126 + x_134
                x_137 = x_136 * 1
                x_138 = x_137 + i_program
                x_139 = x_138 * 32
                x_140 = x_139 + x_124
                tl.store(p_d_weights + x_140, b_dw_sum, mask=x_117)
                b_ds_1 = b_ds.to(tl.bfloat16)  # [64, 64]
                b_ds_1_t = tl.trans(b_ds_1)  # [64, 64]
                b_dot = tl.dot(b_ds_1_t, b_q, b_dk_1)  # [64, 128]
                b_wp_1 = b_wp.to(tl.bfloat16)  # [64, 64]
                b_wp_1_t = tl.trans(b_wp_1)  # [64, 64]
                b_dot_1 = tl.dot(b_wp_1_t, b_do, b_dv_1)  # [64, 128]
                b_part = tl.dot(b_ds_1, b_k)  # [64, 128]
                x_141 = b_part * 0.1  # [64, 128]
                x_142 = x_68[:, None]  # [64, 1]
                o_dim_6 = tl.arange(0, 128)
                x_143 = i_batch * L
                x_144 = x_143.to(tl.int64)
                x_145 = x_144 + x_74
                x_146 = x_145 * 16
                x_147 = x_146 + x_77
                x_148 = x_147 * 128
                x_149 = x_148[:, None]  # [64, 1]
                o_dim_7 = o_dim_6[None, :]  # [1, 128]
                x_150 = x_149 + o_dim_7  # [64, 128]
                tl.atomic_add(p_d_q_sum + x_150, x_141, mask=x_142, sem="relaxed")
                b_dk_1 = b_dot
                b_dv_1 = b_dot_1
            x_151 = x_5 * 64
            x_152 = i_batch * Lkv
            x_153 = x_152.to(tl.int64)
            x_154 = x_153 + x_151
            x_155 = x_154 * 1
            x_156 = x_155 + i_program
            x_157 = x_156 * 128
            o_key_1 = tl.arange(0, 64)
            o_dim_8 = tl.arange(0, 128)
            x_158 = o_key_1 * 128
            x_159 = x_158[:, None]  # [64, 1]
            x_160 = x_157 + x_159  # [64, 1]
            o_dim_9 = o_dim_8[None, :]  # [1, 128]
            x_161 = x_160 + o_dim_9  # [64, 128]
            x_162 = b_dk_1 * 0.1  # [64, 128]
            tl.atomic_add(p_d_k_sum + x_161, x_162, sem="relaxed")
            tl.atomic_add(p_d_v_sum + x_161, b_dv_1, sem="relaxed")


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
