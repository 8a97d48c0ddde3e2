"""Generated for triton:sm_90; schedule: order=union tokens=4."""

import triton
import triton.language as tl

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
def attend(
    p_q, p_indices, p_k, p_v, p_union_chunks, p_union_sizes, p_weights, p_out, L, n_tiles, R,
    Lkv,
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
    i_list = tl.program_id(0)
    x_18 = i_batch * 1
    x_19 = x_18 + 0
    x_20 = x_19.to(tl.int64)
    x_21 = x_20 * n_tiles
    x_22 = x_21 + i_list
    x_23 = x_22 * 128
    n_chunks = tl.load(p_union_sizes + x_22)
    o_token = tl.arange(0, 4)
    x_24 = first_token + o_token
    x_25 = i_batch * R
    x_26 = x_25.to(tl.int64)
    x_27 = x_26 + x_24
    x_28 = x_27 * 1
    x_29 = x_28 + 0
    x_30 = x_29 * 32
    x_31 = x_30[:, None]  # [4, 1]
    o_slot = tl.arange(0, 32)
    o_slot_1 = o_slot[None, :]  # [1, 32]
    x_32 = x_31 + o_slot_1  # [4, 32]
    o_token_1 = tl.arange(0, 4)
    x_33 = first_token + o_token_1
    x_34 = x_33 < L
    o_slot_2 = tl.arange(0, 32)
    x_35 = x_34[:, None]  # [4, 1]
    b_chosen = tl.load(p_indices + x_32, mask=x_35, other=-1)  # [4, 32]
    x_36 = n_chunks > 0
    if x_36:
        b_out = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
        x_37 = i_program * 16
        o_token_2 = tl.arange(0, 4)
        x_38 = first_token + o_token_2
        x_39 = i_batch * R
        x_40 = x_39.to(tl.int64)
        x_41 = x_40 + x_38
        x_42 = x_41 * 1
        x_43 = x_42 + 0
        x_44 = x_43 * 32
        x_45 = x_44[:, None]  # [4, 1]
        o_slot_3 = tl.arange(0, 32)
        o_slot_4 = o_slot_3[None, :]  # [1, 32]
        x_46 = x_45 + o_slot_4  # [4, 32]
        o_token_3 = tl.arange(0, 4)
        x_47 = first_token + o_token_3
        x_48 = x_47 < L
        o_slot_5 = tl.arange(0, 32)
        x_49 = x_48[:, None]  # [4, 1]
        b_weights = tl.load(p_weights + x_46, mask=x_49, other=0)  # [4, 32]
        b_out_1 = b_out
        for i_step in tl.range(0, n_chunks, 1, num_stages=2):
            x_50 = x_23 + i_step
            chunk = tl.load(p_union_chunks + x_50)
            b_match = b_chosen == chunk  # [4, 32]
            x_51 = tl.where(b_match, b_weights, 0.0)  # [4, 32]
            b_w = tl.sum(x_51, axis=1)
            b_w_1 = tl.reshape(tl.broadcast_to(b_w[:, None], [4, 16]), [64])
            x_52 = chunk * 64
            x_53 = i_batch * Lkv
            x_54 = x_53.to(tl.int64)
            x_55 = x_54 + x_52
            x_56 = x_55 * 1
            x_57 = x_56 + i_program
            x_58 = x_57 * 128
            o_key = tl.arange(0, 64)
            o_dim_2 = tl.arange(0, 128)
            x_59 = o_key * 128
            x_60 = x_59[:, None]  # [64, 1]
            x_61 = x_58 + x_60  # [64, 1]
            o_dim_3 = o_dim_2[None, :]  # [1, 128]
            x_62 = x_61 + o_dim_3  # [64, 128]
            b_k = tl.load(p_k + x_62)  # [64, 128]
            b_v = tl.load(p_v + x_62)  # [64, 128]
            b_k_t = tl.trans(b_k)  # [128, 64]
            b_s = tl.dot(b_q, b_k_t)  # [64, 64]
            b_m = tl.max(b_s, axis=1)
            x_63 = b_m * 0.14426950408889636
            x_64 = b_s * 0.14426950408889636  # [64, 64]
            x_65 = x_63[:, None]  # [64, 1]
            x_66 = x_64 - x_65  # [64, 64]
            b_p = tl.exp2(x_66)  # [64, 64]
            b_l = tl.sum(b_p, axis=1)
            b_rcp_l = 1.0 / b_l
            x_67 = b_rcp_l * b_w_1
            x_68 = x_67[:, None]  # [64, 1]
            b_p_1 = b_p * x_68  # [64, 64]
            b_p_2 = b_p_1.to(tl.bfloat16)  # [64, 64]
            b_dot = tl.dot(b_p_2, b_v, b_out_1)  # [64, 128]
            b_out_1 = b_dot
        o_dim_4 = tl.arange(0, 128)
        x_69 = i_batch * L
        x_70 = x_69.to(tl.int64)
        o_row_4 = tl.arange(0, 64)
        x_71 = o_row_4 // 16
        x_72 = first_token + x_71
        x_73 = x_70 + x_72
        x_74 = x_73 * 16
        x_75 = i_program * 16
        o_row_5 = tl.arange(0, 64)
        x_76 = o_row_5 % 16
        x_77 = x_75 + x_76
        x_78 = x_74 + x_77
        x_79 = x_78 * 128
        x_80 = x_79[:, None]  # [64, 1]
        o_dim_5 = o_dim_4[None, :]  # [1, 128]
        x_81 = x_80 + o_dim_5  # [64, 128]
        o_row_6 = tl.arange(0, 64)
        x_82 = o_row_6 % 16
        o_row_7 = tl.arange(0, 64)
        x_83 = o_row_7 // 16
        x_84 = first_token + x_83
        x_85 = x_84 < L
        x_86 = x_85[:, None]  # [64, 1]
        b_out_2 = b_out_1.to(tl.bfloat16)  # [64, 128]
        tl.store(p_out + x_81, b_out_2, mask=x_86)
    x_87 = n_chunks < 1
    if x_87:
        b_out_3 = tl.full([64, 128], 0.0, tl.float32)  # [64, 128]
        o_dim_6 = tl.arange(0, 128)
        x_88 = i_batch * L
        x_89 = x_88.to(tl.int64)
        o_row_8 = tl.arange(0, 64)
        x_90 = o_row_8 // 16
        x_91 = first_token + x_90
        x_92 = x_89 + x_91
        x_93 = x_92 * 16
        x_94 = i_program * 16
        o_row_9 = tl.arange(0, 64)
        x_95 = o_row_9 % 16
        x_96 = x_94 + x_95
        x_97 = x_93 + x_96
        x_98 = x_97 * 128
        x_99 = x_98[:, None]  # [64, 1]
        o_dim_7 = o_dim_6[None, :]  # [1, 128]
        x_100 = x_99 + o_dim_7  # [64, 128]
        o_row_10 = tl.arange(0, 64)
        x_101 = o_row_10 % 16
        o_row_11 = tl.arange(0, 64)
        x_102 = o_row_11 // 16
        x_103 = first_token + x_102
        x_104 = x_103 < L
        x_105 = x_104[:, None]  # [64, 1]
        b_out_4 = b_out_3.to(tl.bfloat16)  # [64, 128]
        tl.store(p_out + x_100, b_out_4, mask=x_105)
