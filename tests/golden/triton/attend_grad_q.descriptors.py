"""Generated for triton:sm_90; schedule: order=union tokens=4 stages=3 descriptors=all."""

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
    p_indices, p_union_chunks, p_union_sizes, p_weights, p_d_weights, p_d_q, t_k, t_v, t_q,
    t_d_out, L, n_tiles, R, Lkv,
):
    # grid: (cdiv(L, 4), 1, B)
    i_tile = tl.program_id(0)
    i_program = tl.program_id(1)
    i_batch = tl.program_id(2)
    first_token = i_tile * 4
    x = i_batch * L
    x_1 = x + first_token
    x_2 = i_program * 16
    b_q = tl.reshape(t_q.load([x_1, x_2, 0]), [64, 128])  # [64, 128]
    x_3 = i_batch * L
    x_4 = x_3 + first_token
    x_5 = i_program * 16
    b_do = tl.reshape(t_d_out.load([x_4, x_5, 0]), [64, 128])  # [64, 128]
    i_list = tl.program_id(0)
    x_6 = i_batch * 1
    x_7 = x_6 + 0
    x_8 = x_7.to(tl.int64)
    x_9 = x_8 * n_tiles
    x_10 = x_9 + i_list
    x_11 = x_10 * 128
    n_chunks = tl.load(p_union_sizes + x_10)
    o_token = tl.arange(0, 4)
    x_12 = first_token + o_token
    x_13 = i_batch * R
    x_14 = x_13.to(tl.int64)
    x_15 = x_14 + x_12
    x_16 = x_15 * 1
    x_17 = x_16 + 0
    x_18 = x_17 * 32
    x_19 = x_18[:, None]  # [4, 1]
    o_slot = tl.arange(0, 32)
    o_slot_1 = o_slot[None, :]  # [1, 32]
    x_20 = x_19 + o_slot_1  # [4, 32]
    o_token_1 = tl.arange(0, 4)
    x_21 = first_token + o_token_1
    x_22 = x_21 < L
    o_slot_2 = tl.arange(0, 32)
    x_23 = x_22[:, None]  # [4, 1]
    b_chosen = tl.load(p_indices + x_20, mask=x_23, other=-1)  # [4, 32]
    x_24 = i_program * 16
    o_token_2 = tl.arange(0, 4)
    x_25 = first_token + o_token_2
    x_26 = i_batch * R
    x_27 = x_26.to(tl.int64)
    x_28 = x_27 + x_25
    x_29 = x_28 * 1
    x_30 = x_29 + 0
    x_31 = x_30 * 32
    x_32 = x_31[:, None]  # [4, 1]
    o_slot_3 = tl.arange(0, 32)
    o_slot_4 = o_slot_3[None, :]  # [1, 32]
    x_33 = x_32 + o_slot_4  # [4, 32]
    o_token_3 = tl.arange(0, 4)
    x_34 = first_token + o_token_3
    x_35 = x_34 < L
    o_slot_5 = tl.arange(0, 32)
    x_36 = x_35[:, None]  # [4, 1]
    b_weights = tl.load(p_weights + x_33, mask=x_36, other=0)  # [4, 32]
    x_37 = i_batch * L
    x_38 = x_37.to(tl.int64)
    o_token_4 = tl.arange(0, 4)
    x_39 = first_token + o_token_4
    x_40 = x_38 + x_39
    x_41 = x_40 * 1
    x_42 = x_41 + i_program
    x_43 = n_chunks > 0
    if x_43:
        b_dq = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
        b_dweights = tl.full([4, 32], 0.0, tl.float32)  # [4, 32]
        chunk = tl.load(p_union_chunks + x_11)
        b_dq_1 = b_dq
        b_dweights_1 = b_dweights
        chunk_1 = chunk
        for i_step in tl.range(0, n_chunks, 1, num_stages=3):
            b_match = b_chosen == chunk_1  # [4, 32]
            x_44 = tl.where(b_match, b_weights, 0.0)  # [4, 32]
            b_w = tl.sum(x_44, axis=1)
            b_w_1 = tl.reshape(tl.broadcast_to(b_w[:, None], [4, 16]), [64])
            x_45 = chunk_1 * 64
            x_46 = i_batch * Lkv
            x_47 = x_46 + x_45
            x_48 = i_program * 128
            b_k = t_k.load([x_47, x_48])  # [64, 128]
            x_49 = i_program * 128
            b_v = t_v.load([x_47, x_49])  # [64, 128]
            b_v_t = tl.trans(b_v)  # [128, 64]
            b_dp = tl.dot(b_do, b_v_t)  # [64, 64]
            b_k_t = tl.trans(b_k)  # [128, 64]
            b_s = tl.dot(b_q, b_k_t)  # [64, 64]
            b_m = tl.max(b_s, axis=1)
            x_50 = b_m * 0.14426950408889636
            x_51 = b_s * 0.14426950408889636  # [64, 64]
            x_52 = x_50[:, None]  # [64, 1]
            x_53 = x_51 - x_52  # [64, 64]
            b_p = tl.exp2(x_53)  # [64, 64]
            b_l = tl.sum(b_p, axis=1)
            b_rcp_l = 1.0 / b_l
            x_54 = b_p * b_dp  # [64, 64]
            x_54_sum = tl.sum(x_54, axis=1)
            b_dw = libdevice.mul_rn(x_54_sum, b_rcp_l)
            x_55 = b_rcp_l * b_w_1
            x_56 = x_55[:, None]  # [64, 1]
            x_57 = b_dp * x_56  # [64, 64]
            x_58 = b_dw * x_55
            x_59 = x_58[:, None]  # [64, 1]
            x_60 = x_57 - x_59  # [64, 64]
            b_ds = b_p * x_60  # [64, 64]
            b_ds_1 = b_ds.to(tl.bfloat16)  # [64, 64]
            b_dot = tl.dot(b_ds_1, b_k, b_dq_1)  # [64, 128]
            b_dw_sum = tl.sum(tl.reshape(b_dw, [4, 16]), axis=1)
            b_dw_sum_1 = b_dw_sum[:, None]  # [4, 1]
            x_61 = tl.where(b_match, b_dw_sum_1, 0.0)  # [4, 32]
            x_62 = b_dweights_1 + x_61  # [4, 32]
            x_63 = i_step + 1
            x_64 = n_chunks - 1
            x_65 = tl.minimum(x_63, x_64)
            x_66 = x_11 + x_65
            chunk_2 = tl.load(p_union_chunks + x_66)
            b_dq_1 = b_dot
            b_dweights_1 = x_62
            chunk_1 = chunk_2
        x_67 = x_42 * 32
        x_68 = x_67[:, None]  # [4, 1]
        o_slot_6 = tl.arange(0, 32)
        o_slot_7 = o_slot_6[None, :]  # [1, 32]
        x_69 = x_68 + o_slot_7  # [4, 32]
        o_token_5 = tl.arange(0, 4)
        x_70 = first_token + o_token_5
        x_71 = x_70 < L
        o_slot_8 = tl.arange(0, 32)
        x_72 = x_71[:, None]  # [4, 1]
        tl.store(p_d_weights + x_69, b_dweights_1, mask=x_72)
        o_dim = tl.arange(0, 128)
        x_73 = i_batch * L
        x_74 = x_73.to(tl.int64)
        o_row = tl.arange(0, 64)
        x_75 = o_row // 16
        x_76 = first_token + x_75
        x_77 = x_74 + x_76
        x_78 = x_77 * 16
        x_79 = i_program * 16
        o_row_1 = tl.arange(0, 64)
        x_80 = o_row_1 % 16
        x_81 = x_79 + x_80
        x_82 = x_78 + x_81
        x_83 = x_82 * 128
        x_84 = x_83[:, None]  # [64, 1]
        o_dim_1 = o_dim[None, :]  # [1, 128]
        x_85 = x_84 + o_dim_1  # [64, 128]
        x_86 = b_dq_1 * 0.1  # [64, 128]
        o_row_2 = tl.arange(0, 64)
        x_87 = o_row_2 % 16
        o_row_3 = tl.arange(0, 64)
        x_88 = o_row_3 // 16
        x_89 = first_token + x_88
        x_90 = x_89 < L
        x_91 = x_90[:, None]  # [64, 1]
        x_92 = x_86.to(tl.bfloat16)  # [64, 128]
        tl.store(p_d_q + x_85, x_92, mask=x_91)
    x_93 = n_chunks < 1
    if x_93:
        b_dq_2 = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
        b_dweights_2 = tl.full([4, 32], 0.0, tl.float32)  # [4, 32]
        x_94 = x_42 * 32
        x_95 = x_94[:, None]  # [4, 1]
        o_slot_9 = tl.arange(0, 32)
        o_slot_10 = o_slot_9[None, :]  # [1, 32]
        x_96 = x_95 + o_slot_10  # [4, 32]
        o_token_6 = tl.arange(0, 4)
        x_97 = first_token + o_token_6
        x_98 = x_97 < L
        o_slot_11 = tl.arange(0, 32)
        x_99 = x_98[:, None]  # [4, 1]
        tl.store(p_d_weights + x_96, b_dweights_2, mask=x_99)
        o_dim_2 = tl.arange(0, 128)
        x_100 = i_batch * L
        x_101 = x_100.to(tl.int64)
        o_row_4 = tl.arange(0, 64)
        x_102 = o_row_4 // 16
        x_103 = first_token + x_102
        x_104 = x_101 + x_103
        x_105 = x_104 * 16
        x_106 = i_program * 16
        o_row_5 = tl.arange(0, 64)
        x_107 = o_row_5 % 16
        x_108 = x_106 + x_107
        x_109 = x_105 + x_108
        x_110 = x_109 * 128
        x_111 = x_110[:, None]  # [64, 1]
        o_dim_3 = o_dim_2[None, :]  # [1, 128]
        x_112 = x_111 + o_dim_3  # [64, 128]
        x_113 = b_dq_2 * 0.1  # [64, 128]
        o_row_6 = tl.arange(0, 64)
        x_114 = o_row_6 % 16
        o_row_7 = tl.arange(0, 64)
        x_115 = o_row_7 // 16
        x_116 = first_token + x_115
        x_117 = x_116 < L
        x_118 = x_117[:, None]  # [64, 1]
        x_119 = x_113.to(tl.bfloat16)  # [64, 128]
        tl.store(p_d_q + x_112, x_119, mask=x_118)
