"""Generated for triton:sm_90; schedule: order=chunk pairs=16 dim_block=64."""

import triton
import triton.language as tl

@triton.jit(do_not_specialize=['C', 'R'])
def landmark_grad(
    p_order, p_offsets, p_q, p_d_slots, p_d_landmarks, C, R,
):
    # grid: ((C * 2), 1, B)
    i_work = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_work // 2
    x_1 = i_work % 2
    o_dim = tl.arange(0, 64)
    x_2 = x_1 * 64
    x_3 = o_dim + x_2
    b_dl = tl.full([64], 0.0, tl.float32)
    b_dl_1 = b_dl
    i_member = 0
    x_4 = i_head * 1
    x_5 = x_4 + i_member
    x_6 = i_batch * 1
    x_7 = x_6 + 0
    x_8 = x_7.to(tl.int64)
    x_9 = C + 1
    x_10 = x_8 * x_9
    x_11 = x_10 + x
    first = tl.load(p_offsets + x_11)
    x_12 = x_10 + x
    x_13 = x_12 + 1
    last = tl.load(p_offsets + x_13)
    b_dl_2 = b_dl_1
    for i_pair in tl.range(first, last, 16, num_stages=2):
        o_pair = tl.arange(0, 16)
        x_14 = i_pair + o_pair
        x_15 = x_14 < last
        R_1 = R.to(tl.int64)
        x_16 = R_1 * 32
        x_17 = i_batch * 1
        x_18 = x_17 + 0
        x_19 = x_18 * x_16
        x_20 = x_19 + x_14
        b_pair = tl.load(p_order + x_20, mask=x_15, other=0)
        x_21 = b_pair // 32
        x_22 = b_pair % 32
        x_23 = i_batch * R
        x_24 = x_23.to(tl.int64)
        x_25 = x_24 + x_21
        x_26 = x_25 * 1
        x_27 = x_26 + x_5
        x_28 = x_27 * 32
        x_29 = x_28 + x_22
        b_ds = tl.load(p_d_slots + x_29, mask=x_15, other=0)
        x_30 = x_27 * 128
        x_31 = x_30[:, None]  # [16, 1]
        x_32 = x_3[None, :]  # [1, 64]
        x_33 = x_31 + x_32  # [16, 64]
        x_34 = x_15[:, None]  # [16, 1]
        b_q = tl.load(p_q + x_33, mask=x_34, other=0)  # [16, 64]
        b_q_1 = b_q.to(tl.float32)  # [16, 64]
        b_ds_1 = b_ds[:, None]  # [16, 1]
        x_35 = b_q_1 * b_ds_1  # [16, 64]
        x_35_sum = tl.sum(x_35, axis=0)
        x_36 = b_dl_2 + x_35_sum
        b_dl_2 = x_36
    b_dl_1 = b_dl_2
    x_37 = i_batch * C
    x_38 = x_37.to(tl.int64)
    x_39 = x_38 + x
    x_40 = x_39 * 1
    x_41 = x_40 + i_head
    x_42 = b_dl_1 * 0.1
    x_43 = x_41 * 128
    x_44 = x_43 + x_3
    x_45 = x_42.to(tl.bfloat16)
    tl.store(p_d_landmarks + x_44, x_45)
