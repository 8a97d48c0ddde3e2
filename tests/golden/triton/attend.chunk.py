"""Generated for triton:sm_90; schedule: order=chunk window=2048 combine=buffer."""

import triton
import triton.language as tl

@triton.jit(do_not_specialize=['C', 'R', 'list_steps', 'Lkv', 'L'])
def attend(
    p_order, p_offsets, p_k, p_v, p_q, p_weights, p_out_parts, C, R, list_steps, Lkv, L,
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
        x_53 = x_5 * 64
        x_54 = i_batch * Lkv
        x_55 = x_54.to(tl.int64)
        x_56 = x_55 + x_53
        x_57 = x_56 * 1
        x_58 = x_57 + i_program
        x_59 = x_58 * 128
        o_key = tl.arange(0, 64)
        o_dim = tl.arange(0, 128)
        x_60 = o_key * 128
        x_61 = x_60[:, None]  # [64, 1]
        x_62 = x_59 + x_61  # [64, 1]
        o_dim_1 = o_dim[None, :]  # [1, 128]
        x_63 = x_62 + o_dim_1  # [64, 128]
        b_k = tl.load(p_k + x_63)  # [64, 128]
        b_v = tl.load(p_v + x_63)  # [64, 128]
        for i_pair in tl.range(low, low_1, 8, num_stages=2):
            o_x = tl.arange(0, 128)
            x_64 = o_x % 16
            x_65 = o_x // 16
            x_66 = i_pair + x_65
            x_67 = x_66 < low_1
            R_2 = R.to(tl.int64)
            x_68 = R_2 * 32
            x_69 = i_batch * 1
            x_70 = x_69 + 0
            x_71 = x_70 * x_68
            x_72 = x_71 + x_66
            b_pair_2 = tl.load(p_order + x_72, mask=x_67, other=0)
            x_73 = b_pair_2 // 32
            x_74 = b_pair_2 % 32
            x_75 = i_program * 16
            x_76 = x_75 + x_64
            o_dim_2 = tl.arange(0, 128)
            x_77 = i_batch * L
            x_78 = x_77.to(tl.int64)
            x_79 = x_78 + x_73
            x_80 = x_79 * 16
            x_81 = x_80 + x_76
            x_82 = x_81 * 128
            x_83 = x_82[:, None]  # [128, 1]
            o_dim_3 = o_dim_2[None, :]  # [1, 128]
            x_84 = x_83 + o_dim_3  # [128, 128]
            x_85 = x_67[:, None]  # [128, 1]
            b_q = tl.load(p_q + x_84, mask=x_85, other=0)  # [128, 128]
            x_86 = i_batch * R
            x_87 = x_86.to(tl.int64)
            x_88 = x_87 + x_73
            x_89 = x_88 * 1
            x_90 = x_89 + 0
            x_91 = x_90 * 32
            x_92 = x_91 + x_74
            b_w = tl.load(p_weights + x_92, mask=x_67, other=0)
            b_k_t = tl.trans(b_k)  # [128, 64]
            b_s = tl.dot(b_q, b_k_t)  # [128, 64]
            b_m = tl.max(b_s, axis=1)
            x_93 = b_m * 0.14426950408889636
            x_94 = b_s * 0.14426950408889636  # [128, 64]
            x_95 = x_93[:, None]  # [128, 1]
            x_96 = x_94 - x_95  # [128, 64]
            b_p = tl.exp2(x_96)  # [128, 64]
            b_l = tl.sum(b_p, axis=1)
            b_rcp_l = 1.0 / b_l
            x_97 = b_rcp_l * b_w
            x_98 = x_97[:, None]  # [128, 1]
            b_p_1 = b_p * x_98  # [128, 64]
            b_p_2 = b_p_1.to(tl.bfloat16)  # [128, 64]
            b_part = tl.dot(b_p_2, b_v)  # [128, 128]
            x_99 = x_67[:, None]  # [128, 1]
            x_100 = i_batch * 1
            x_101 = x_100 + i_program
            x_102 = x_101.to(tl.int64)
            x_103 = x_102 * L
            x_104 = x_103 + x_73
            x_105 = x_104 * 32
            x_106 = x_105 + x_74
            x_107 = x_106 * 16
            x_108 = x_107 + x_64
            o_dim_4 = tl.arange(0, 128)
            x_109 = x_108 * 128
            x_110 = x_109[:, None]  # [128, 1]
            o_dim_5 = o_dim_4[None, :]  # [1, 128]
            x_111 = x_110 + o_dim_5  # [128, 128]
            b_part_1 = b_part.to(tl.bfloat16)  # [128, 128]
            tl.store(p_out_parts + x_111, b_part_1, mask=x_99)


@triton.jit(do_not_specialize=['L', 'R'])
def sum_parts(
    p_out_parts, p_indices, p_out, L, R,
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
        b_part = tl.load(p_out_parts + x_26, mask=m_1, other=0)  # [64, 128]
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
    tl.store(p_out + x_40, b_sum_2, mask=x_45)
