"""Generated for triton:sm_90; schedule: order=chunk pairs=4 combine=buffer."""

import triton
import triton.language as tl

@triton.jit(do_not_specialize=['C', 'Lkv', 'R', 'L'])
def attend_grad(
    p_order, p_offsets, p_k, p_v, p_d_weights, p_q, p_d_out, p_d_k, p_d_v, p_weights,
    p_d_q_parts, C, Lkv, R, L,
):
    # grid: (C, 1, B)
    i_work = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    b_dk = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
    b_dv = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
    b_dk_1 = b_dk
    b_dv_1 = b_dv
    i_program = 0
    x = i_head * 1
    x_1 = x + i_program
    x_2 = i_batch * 1
    x_3 = x_2 + 0
    x_4 = x_3.to(tl.int64)
    x_5 = C + 1
    x_6 = x_4 * x_5
    x_7 = x_6 + i_work
    first = tl.load(p_offsets + x_7)
    x_8 = x_6 + i_work
    x_9 = x_8 + 1
    last = tl.load(p_offsets + x_9)
    x_10 = i_work * 64
    x_11 = i_batch * Lkv
    x_12 = x_11.to(tl.int64)
    x_13 = x_12 + x_10
    x_14 = x_13 * 1
    x_15 = x_14 + i_head
    x_16 = x_15 * 128
    o_key = tl.arange(0, 64)
    o_dim = tl.arange(0, 128)
    x_17 = o_key * 128
    x_18 = x_17[:, None]  # [64, 1]
    x_19 = x_16 + x_18  # [64, 1]
    o_dim_1 = o_dim[None, :]  # [1, 128]
    x_20 = x_19 + o_dim_1  # [64, 128]
    b_k = tl.load(p_k + x_20)  # [64, 128]
    b_v = tl.load(p_v + x_20)  # [64, 128]
    b_dk_2 = b_dk_1
    b_dv_2 = b_dv_1
    for i_pair in tl.range(first, last, 4, num_stages=2):
        o_x = tl.arange(0, 64)
        x_21 = o_x % 16
        x_22 = o_x // 16
        x_23 = i_pair + x_22
        x_24 = x_23 < last
        R_1 = R.to(tl.int64)
        x_25 = R_1 * 32
        x_26 = i_batch * 1
        x_27 = x_26 + 0
        x_28 = x_27 * x_25
        x_29 = x_28 + x_23
        b_pair = tl.load(p_order + x_29, mask=x_24, other=0)
        x_30 = b_pair // 32
        x_31 = b_pair % 32
        x_32 = x_1 * 16
        x_33 = x_32 + x_21
        o_dim_2 = tl.arange(0, 128)
        x_34 = i_batch * L
        x_35 = x_34.to(tl.int64)
        x_36 = x_35 + x_30
        x_37 = x_36 * 16
        x_38 = x_37 + x_33
        x_39 = x_38 * 128
        x_40 = x_39[:, None]  # [64, 1]
        o_dim_3 = o_dim_2[None, :]  # [1, 128]
        x_41 = x_40 + o_dim_3  # [64, 128]
        x_42 = x_24[:, None]  # [64, 1]
        b_q = tl.load(p_q + x_41, mask=x_42, other=0)  # [64, 128]
        o_dim_4 = tl.arange(0, 128)
        x_43 = i_batch * L
        x_44 = x_43.to(tl.int64)
        x_45 = x_44 + x_30
        x_46 = x_45 * 16
        x_47 = x_46 + x_33
        x_48 = x_47 * 128
        x_49 = x_48[:, None]  # [64, 1]
        o_dim_5 = o_dim_4[None, :]  # [1, 128]
        x_50 = x_49 + o_dim_5  # [64, 128]
        x_51 = x_24[:, None]  # [64, 1]
        b_do = tl.load(p_d_out + x_50, mask=x_51, other=0)  # [64, 128]
        b_k_t = tl.trans(b_k)  # [128, 64]
        b_s = tl.dot(b_q, b_k_t)  # [64, 64]
        b_v_t = tl.trans(b_v)  # [128, 64]
        b_dp = tl.dot(b_do, b_v_t)  # [64, 64]
        x_52 = i_batch * R
        x_53 = x_52.to(tl.int64)
        x_54 = x_53 + x_30
        x_55 = x_54 * 1
        x_56 = x_55 + 0
        x_57 = x_56 * 32
        x_58 = x_57 + x_31
        b_w = tl.load(p_weights + x_58, mask=x_24, other=0)
        b_m = tl.max(b_s, axis=1)
        x_59 = b_m * 0.14426950408889636
        x_60 = b_s * 0.14426950408889636  # [64, 64]
        x_61 = x_59[:, None]  # [64, 1]
        x_62 = x_60 - x_61  # [64, 64]
        b_p = tl.exp2(x_62)  # [64, 64]
        b_l = tl.sum(b_p, axis=1)
        b_rcp_l = 1.0 / b_l
        x_63 = b_p * b_dp  # [64, 64]
        x_63_sum = tl.sum(x_63, axis=1)
        b_dw = x_63_sum * b_rcp_l
        x_64 = b_rcp_l * b_w
        x_65 = x_64[:, None]  # [64, 1]
        b_wp = b_p * x_65  # [64, 64]
        x_66 = b_rcp_l * b_w
        x_67 = x_66[:, None]  # [64, 1]
        x_68 = b_dp * x_67  # [64, 64]
        x_69 = b_dw * x_66
        x_70 = x_69[:, None]  # [64, 1]
        x_71 = x_68 - x_70  # [64, 64]
        b_ds = b_p * x_71  # [64, 64]
        b_dw_sum = tl.sum(tl.reshape(b_dw, [4, 16]), axis=1)
        o_pair = tl.arange(0, 4)
        x_72 = i_pair + o_pair
        x_73 = x_72 < last
        R_2 = R.to(tl.int64)
        x_74 = R_2 * 32
        x_75 = i_batch * 1
        x_76 = x_75 + 0
        x_77 = x_76 * x_74
        x_78 = x_77 + x_72
        b_pair_1 = tl.load(p_order + x_78, mask=x_73, other=0)
        x_79 = b_pair_1 // 32
        x_80 = b_pair_1 % 32
        x_81 = i_batch * L
        x_82 = x_81.to(tl.int64)
        o_pair_1 = tl.arange(0, 4)
        x_83 = i_pair + o_pair_1
        x_84 = x_83 < last
        R_3 = R.to(tl.int64)
        x_85 = R_3 * 32
        x_86 = i_batch * 1
        x_87 = x_86 + 0
        x_88 = x_87 * x_85
        x_89 = x_88 + x_83
        b_pair_2 = tl.load(p_order + x_89, mask=x_84, other=0)
        x_90 = b_pair_2 // 32
        x_91 = b_pair_2 % 32
        x_92 = x_82 + x_90
        x_93 = x_92 * 1
        x_94 = x_93 + x_1
        x_95 = x_94 * 32
        x_96 = x_95 + x_80
        tl.store(p_d_weights + x_96, b_dw_sum, mask=x_73)
        b_ds_1 = b_ds.to(tl.bfloat16)  # [64, 64]
        b_ds_1_t = tl.trans(b_ds_1)  # [64, 64]
        b_dot = tl.dot(b_ds_1_t, b_q, b_dk_2)  # [64, 128]
        b_wp_1 = b_wp.to(tl.bfloat16)  # [64, 64]
        b_wp_1_t = tl.trans(b_wp_1)  # [64, 64]
        b_dot_1 = tl.dot(b_wp_1_t, b_do, b_dv_2)  # [64, 128]
        b_part = tl.dot(b_ds_1, b_k)  # [64, 128]
        x_97 = b_part * 0.1  # [64, 128]
        x_98 = x_24[:, None]  # [64, 1]
        x_99 = i_batch * 1
        x_100 = x_99 + x_1
        x_101 = x_100.to(tl.int64)
        x_102 = x_101 * L
        x_103 = x_102 + x_30
        x_104 = x_103 * 32
        x_105 = x_104 + x_31
        x_106 = x_105 * 16
        x_107 = x_106 + x_21
        o_dim_6 = tl.arange(0, 128)
        x_108 = x_107 * 128
        x_109 = x_108[:, None]  # [64, 1]
        o_dim_7 = o_dim_6[None, :]  # [1, 128]
        x_110 = x_109 + o_dim_7  # [64, 128]
        x_111 = x_97.to(tl.bfloat16)  # [64, 128]
        tl.store(p_d_q_parts + x_110, x_111, mask=x_98)
        b_dk_2 = b_dot
        b_dv_2 = b_dot_1
    b_dk_1 = b_dk_2
    b_dv_1 = b_dv_2
    x_112 = i_work * 64
    x_113 = i_batch * Lkv
    x_114 = x_113.to(tl.int64)
    x_115 = x_114 + x_112
    x_116 = x_115 * 1
    x_117 = x_116 + i_head
    x_118 = x_117 * 128
    o_key_1 = tl.arange(0, 64)
    o_dim_8 = tl.arange(0, 128)
    x_119 = o_key_1 * 128
    x_120 = x_119[:, None]  # [64, 1]
    x_121 = x_118 + x_120  # [64, 1]
    o_dim_9 = o_dim_8[None, :]  # [1, 128]
    x_122 = x_121 + o_dim_9  # [64, 128]
    x_123 = b_dk_1 * 0.1  # [64, 128]
    x_124 = x_123.to(tl.bfloat16)  # [64, 128]
    tl.store(p_d_k + x_122, x_124)
    b_dv_3 = b_dv_1.to(tl.bfloat16)  # [64, 128]
    tl.store(p_d_v + x_122, b_dv_3)


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
