"""Generated for triton:sm_90; schedule: order=union tokens=4."""

import triton
import triton.language as tl
from triton.language.extra import libdevice

@triton.jit(do_not_specialize=['R', 'L', 'n_tiles'])
def union_chunks(
    p_indices, p_union_chunks, p_union_sizes, R, L, n_tiles,
):
    # grid: (cdiv(L, 4), 1, B)
    i_tile = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_tile * 4
    o_pair = tl.arange(0, 128)
    x_1 = o_pair // 32
    x_2 = x + x_1
    x_3 = o_pair % 32
    x_4 = i_batch * R
    x_5 = x_4.to(tl.int64)
    x_6 = x_5 + x_2
    x_7 = x_6 * 1
    x_8 = x_7 + i_head
    x_9 = x_8 * 32
    x_10 = x_9 + x_3
    x_11 = x_2 < L
    b_chosen = tl.load(p_indices + x_10, mask=x_11, other=-1)
    b_twins = tl.full([128, 32], 0, tl.int32)  # [128, 32]
    b_twins_1 = b_twins
    for i_pair in tl.range(0, 128, 32, num_stages=1):
        o_other = tl.arange(0, 32)
        x_12 = i_pair + o_other
        x_13 = x_12 // 32
        x_14 = x + x_13
        x_15 = x_12 % 32
        x_16 = i_batch * R
        x_17 = x_16.to(tl.int64)
        x_18 = x_17 + x_14
        x_19 = x_18 * 1
        x_20 = x_19 + i_head
        x_21 = x_20 * 32
        x_22 = x_21 + x_15
        x_23 = x_14 < L
        b_other = tl.load(p_indices + x_22, mask=x_23, other=-1)
        b_chosen_1 = b_chosen[:, None]  # [128, 1]
        b_other_1 = b_other[None, :]  # [1, 32]
        x_24 = b_chosen_1 == b_other_1  # [128, 32]
        x_25 = x_12[None, :]  # [1, 32]
        o_pair_1 = o_pair[:, None]  # [128, 1]
        x_26 = x_25 < o_pair_1  # [128, 32]
        x_27 = x_24 & x_26  # [128, 32]
        x_28 = tl.where(x_27, 1, b_twins_1)  # [128, 32]
        b_twins_1 = x_28
    b_twins_2 = tl.max(b_twins_1, axis=1)
    x_29 = b_chosen >= 0
    x_30 = b_twins_2 == 0
    x_31 = x_29 & x_30
    b_zero = tl.full([128], 0, tl.int32)
    b_first = tl.where(x_31, 1, b_zero)
    x_32 = i_batch * 1
    x_33 = x_32 + i_head
    x_34 = x_33.to(tl.int64)
    x_35 = x_34 * n_tiles
    x_36 = x_35 + i_tile
    x_37 = x_36 * 128
    b_first_cumsum = tl.cumsum(b_first, axis=0)
    x_38 = b_first_cumsum - 1
    x_39 = x_37 + x_38
    tl.store(p_union_chunks + x_39, b_chosen, mask=x_31)
    n_chunks = tl.sum(b_first, axis=0)
    tl.store(p_union_sizes + x_36, n_chunks)


@triton.jit(do_not_specialize=['L', 'n_tiles', 'R', 'Lkv'])
def attend_grad_q(
    p_indices, p_k, p_v, p_d_out, p_q, p_union_chunks, p_union_sizes, p_weights, p_d_weights,
    p_d_q, L, n_tiles, R, Lkv,
):
    # grid: (cdiv(L, 4), 1, B)
    i_tile = tl.program_id(0)
    i_program = tl.program_id(1)
    i_batch = tl.program_id(2)
    first_token = i_tile * 4
    o_dim = tl.arange(0, 128)
    x = i_batch * L
    x_1 = x.to(tl.int64)
    o_row = tl.arange(0, 64)
    x_2 = o_row // 16
    x_3 = first_token + x_2
    x_4 = x_1 + x_3
    x_5 = x_4 * 16
    x_6 = i_program * 16
    o_row_1 = tl.arange(0, 64)
    x_7 = o_row_1 % 16
    x_8 = x_6 + x_7
    x_9 = x_5 + x_8
    x_10 = x_9 * 128
    x_11 = x_10[:, None]  # [64, 1]
    o_dim_1 = o_dim[None, :]  # [1, 128]
    x_12 = x_11 + o_dim_1  # [64, 128]
    o_row_2 = tl.arange(0, 64)
    x_13 = o_row_2 % 16
    o_row_3 = tl.arange(0, 64)
    x_14 = o_row_3 // 16
    x_15 = first_token + x_14
    x_16 = x_15 < L
    x_17 = x_16[:, None]  # [64, 1]
    b_q = tl.load(p_q + x_12, mask=x_17, other=0)  # [64, 128]
    o_dim_2 = tl.arange(0, 128)
    x_18 = i_batch * L
    x_19 = x_18.to(tl.int64)
    o_row_4 = tl.arange(0, 64)
    x_20 = o_row_4 // 16
    x_21 = first_token + x_20
    x_22 = x_19 + x_21
    x_23 = x_22 * 16
    x_24 = i_program * 16
    o_row_5 = tl.arange(0, 64)
    x_25 = o_row_5 % 16
    x_26 = x_24 + x_25
    x_27 = x_23 + x_26
    x_28 = x_27 * 128
    x_29 = x_28[:, None]  # [64, 1]
    o_dim_3 = o_dim_2[None, :]  # [1, 128]
    x_30 = x_29 + o_dim_3  # [64, 128]
    o_row_6 = tl.arange(0, 64)
    x_31 = o_row_6 % 16
    o_row_7 = tl.arange(0, 64)
    x_32 = o_row_7 // 16
    x_33 = first_token + x_32
    x_34 = x_33 < L
    x_35 = x_34[:, None]  # [64, 1]
    b_do = tl.load(p_d_out + x_30, mask=x_35, other=0)  # [64, 128]
    i_list = tl.program_id(0)
    x_36 = i_batch * 1
    x_37 = x_36 + 0
    x_38 = x_37.to(tl.int64)
    x_39 = x_38 * n_tiles
    x_40 = x_39 + i_list
    x_41 = x_40 * 128
    n_chunks = tl.load(p_union_sizes + x_40)
    o_token = tl.arange(0, 4)
    x_42 = first_token + o_token
    x_43 = i_batch * R
    x_44 = x_43.to(tl.int64)
    x_45 = x_44 + x_42
    x_46 = x_45 * 1
    x_47 = x_46 + 0
    x_48 = x_47 * 32
    x_49 = x_48[:, None]  # [4, 1]
    o_slot = tl.arange(0, 32)
    o_slot_1 = o_slot[None, :]  # [1, 32]
    x_50 = x_49 + o_slot_1  # [4, 32]
    o_token_1 = tl.arange(0, 4)
    x_51 = first_token + o_token_1
    x_52 = x_51 < L
    o_slot_2 = tl.arange(0, 32)
    x_53 = x_52[:, None]  # [4, 1]
    b_chosen = tl.load(p_indices + x_50, mask=x_53, other=-1)  # [4, 32]
    x_54 = i_program * 16
    o_token_2 = tl.arange(0, 4)
    x_55 = first_token + o_token_2
    x_56 = i_batch * R
    x_57 = x_56.to(tl.int64)
    x_58 = x_57 + x_55
    x_59 = x_58 * 1
    x_60 = x_59 + 0
    x_61 = x_60 * 32
    x_62 = x_61[:, None]  # [4, 1]
    o_slot_3 = tl.arange(0, 32)
    o_slot_4 = o_slot_3[None, :]  # [1, 32]
    x_63 = x_62 + o_slot_4  # [4, 32]
    o_token_3 = tl.arange(0, 4)
    x_64 = first_token + o_token_3
    x_65 = x_64 < L
    o_slot_5 = tl.arange(0, 32)
    x_66 = x_65[:, None]  # [4, 1]
    b_weights = tl.load(p_weights + x_63, mask=x_66, other=0)  # [4, 32]
    x_67 = i_batch * L
    x_68 = x_67.to(tl.int64)
    o_token_4 = tl.arange(0, 4)
    x_69 = first_token + o_token_4
    x_70 = x_68 + x_69
    x_71 = x_70 * 1
    x_72 = x_71 + i_program
    x_73 = n_chunks > 0
    if x_73:
        b_dq = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
        b_dweights = tl.full([4, 32], 0.0, tl.float32)  # [4, 32]
        b_dq_1 = b_dq
        b_dweights_1 = b_dweights
        for i_step in tl.range(0, n_chunks, 1, num_stages=2):
            x_74 = x_41 + i_step
            chunk = tl.load(p_union_chunks + x_74)
            b_match = b_chosen == chunk  # [4, 32]
            x_75 = tl.where(b_match, b_weights, 0.0)  # [4, 32]
            b_w = tl.sum(x_75, axis=1)
            b_w_1 = tl.reshape(tl.broadcast_to(b_w[:, None], [4, 16]), [64])
            x_76 = chunk * 64
            x_77 = i_batch * Lkv
            x_78 = x_77.to(tl.int64)
            x_79 = x_78 + x_76
            x_80 = x_79 * 1
            x_81 = x_80 + i_program
            x_82 = x_81 * 128
            o_key = tl.arange(0, 64)
            o_dim_4 = tl.arange(0, 128)
            x_83 = o_key * 128
            x_84 = x_83[:, None]  # [64, 1]
            x_85 = x_82 + x_84  # [64, 1]
            o_dim_5 = o_dim_4[None, :]  # [1, 128]
            x_86 = x_85 + o_dim_5  # [64, 128]
            b_k = tl.load(p_k + x_86)  # [64, 128]
            b_v = tl.load(p_v + x_86)  # [64, 128]
            b_v_t = tl.trans(b_v)  # [128, 64]
            b_dp = tl.dot(b_do, b_v_t)  # [64, 64]
            b_k_t = tl.trans(b_k)  # [128, 64]
            b_s = tl.dot(b_q, b_k_t)  # [64, 64]
            b_m = tl.max(b_s, axis=1)
            x_87 = b_m * 0.14426950408889636
            x_88 = b_s * 0.14426950408889636  # [64, 64]
            x_89 = x_87[:, None]  # [64, 1]
            x_90 = x_88 - x_89  # [64, 64]
            b_p = tl.exp2(x_90)  # [64, 64]
            b_l = tl.sum(b_p, axis=1)
            b_rcp_l = 1.0 / b_l
            x_91 = b_p * b_dp  # [64, 64]
            x_91_sum = tl.sum(x_91, axis=1)
            b_dw = libdevice.mul_rn(x_91_sum, b_rcp_l)
            x_92 = b_rcp_l * b_w_1
            x_93 = x_92[:, None]  # [64, 1]
            x_94 = b_dp * x_93  # [64, 64]
            x_95 = b_dw * x_92
            x_96 = x_95[:, None]  # [64, 1]
            x_97 = x_94 - x_96  # [64, 64]
            b_ds = b_p * x_97  # [64, 64]
            b_ds_1 = b_ds.to(tl.bfloat16)  # [64, 64]
            b_dot = tl.dot(b_ds_1, b_k, b_dq_1)  # [64, 128]
            b_dw_sum = tl.sum(tl.reshape(b_dw, [4, 16]), axis=1)
            b_dw_sum_1 = b_dw_sum[:, None]  # [4, 1]
            x_98 = tl.where(b_match, b_dw_sum_1, 0.0)  # [4, 32]
            x_99 = b_dweights_1 + x_98  # [4, 32]
            b_dq_1 = b_dot
            b_dweights_1 = x_99
        x_100 = x_72 * 32
        x_101 = x_100[:, None]  # [4, 1]
        o_slot_6 = tl.arange(0, 32)
        o_slot_7 = o_slot_6[None, :]  # [1, 32]
        x_102 = x_101 + o_slot_7  # [4, 32]
        o_token_5 = tl.arange(0, 4)
        x_103 = first_token + o_token_5
        x_104 = x_103 < L
        o_slot_8 = tl.arange(0, 32)
        x_105 = x_104[:, None]  # [4, 1]
        tl.store(p_d_weights + x_102, b_dweights_1, mask=x_105)
        o_dim_6 = tl.arange(0, 128)
        x_106 = i_batch * L
        x_107 = x_106.to(tl.int64)
        o_row_8 = tl.arange(0, 64)
        x_108 = o_row_8 // 16
        x_109 = first_token + x_108
        x_110 = x_107 + x_109
        x_111 = x_110 * 16
        x_112 = i_program * 16
        o_row_9 = tl.arange(0, 64)
        x_113 = o_row_9 % 16
        x_114 = x_112 + x_113
        x_115 = x_111 + x_114
        x_116 = x_115 * 128
        x_117 = x_116[:, None]  # [64, 1]
        o_dim_7 = o_dim_6[None, :]  # [1, 128]
        x_118 = x_117 + o_dim_7  # [64, 128]
        x_119 = b_dq_1 * 0.1  # [64, 128]
        o_row_10 = tl.arange(0, 64)
        x_120 = o_row_10 % 16
        o_row_11 = tl.arange(0, 64)
        x_121 = o_row_11 // 16
        x_122 = first_token + x_121
        x_123 = x_122 < L
        x_124 = x_123[:, None]  # [64, 1]
        x_125 = x_119.to(tl.bfloat16)  # [64, 128]
        tl.store(p_d_q + x_118, x_125, mask=x_124)
    x_126 = n_chunks < 1
    if x_126:
        b_dq_2 = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
        b_dweights_2 = tl.full([4, 32], 0.0, tl.float32)  # [4, 32]
        x_127 = x_72 * 32
        x_128 = x_127[:, None]  # [4, 1]
        o_slot_9 = tl.arange(0, 32)
        o_slot_10 = o_slot_9[None, :]  # [1, 32]
        x_129 = x_128 + o_slot_10  # [4, 32]
        o_token_6 = tl.arange(0, 4)
        x_130 = first_token + o_token_6
        x_131 = x_130 < L
        o_slot_11 = tl.arange(0, 32)
        x_132 = x_131[:, None]  # [4, 1]
        tl.store(p_d_weights + x_129, b_dweights_2, mask=x_132)
        o_dim_8 = tl.arange(0, 128)
        x_133 = i_batch * L
        x_134 = x_133.to(tl.int64)
        o_row_12 = tl.arange(0, 64)
        x_135 = o_row_12 // 16
        x_136 = first_token + x_135
        x_137 = x_134 + x_136
        x_138 = x_137 * 16
        x_139 = i_program * 16
        o_row_13 = tl.arange(0, 64)
        x_140 = o_row_13 % 16
        x_141 = x_139 + x_140
        x_142 = x_138 + x_141
        x_143 = x_142 * 128
        x_144 = x_143[:, None]  # [64, 1]
        o_dim_9 = o_dim_8[None, :]  # [1, 128]
        x_145 = x_144 + o_dim_9  # [64, 128]
        x_146 = b_dq_2 * 0.1  # [64, 128]
        o_row_14 = tl.arange(0, 64)
        x_147 = o_row_14 % 16
        o_row_15 = tl.arange(0, 64)
        x_148 = o_row_15 // 16
        x_149 = first_token + x_148
        x_150 = x_149 < L
        x_151 = x_150[:, None]  # [64, 1]
        x_152 = x_146.to(tl.bfloat16)  # [64, 128]
        tl.store(p_d_q + x_145, x_152, mask=x_151)
