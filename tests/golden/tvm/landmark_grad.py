"""Generated for tvm:znver4; schedule: order=chunk pairs=16 dim_block=64."""

from tvm.script import ir as I
from tvm.script import tirx as T


@I.ir_module
class Module:
    @T.prim_func
    def landmark_grad(
        order_ptr: T.handle,
        offsets_ptr: T.handle,
        q_ptr: T.handle,
        d_slots_ptr: T.handle,
        d_landmarks_ptr: T.handle,
        C: T.int32,
        R: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: ((C * 2), 1, B)
        n_order = T.int64()
        n_offsets = T.int64()
        n_q = T.int64()
        n_d_slots = T.int64()
        n_d_landmarks = T.int64()
        p_order = T.match_buffer(order_ptr, (n_order,), "int32", align=4)
        p_offsets = T.match_buffer(offsets_ptr, (n_offsets,), "int32", align=4)
        p_q = T.match_buffer(q_ptr, (n_q,), "float32", align=4)
        p_d_slots = T.match_buffer(d_slots_ptr, (n_d_slots,), "float32", align=4)
        p_d_landmarks = T.match_buffer(d_landmarks_ptr, (n_d_landmarks,), "float32", align=4)
        for tid in T.parallel(2):
            b_dl_2 = T.alloc_buffer((64,), "float32", scope="global")
            b_pair = T.alloc_buffer((16,), "int32", scope="global")
            x_27 = T.alloc_buffer((16,), "int64", scope="global")
            b_ds = T.alloc_buffer((16,), "float32", scope="global")
            x_35_sum = T.alloc_buffer((64,), "float32", scope="global")
            partial_16 = T.alloc_buffer((64,), "float32", scope="global")
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_work: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_1: T.let = i_work // 2
                x_2: T.let = i_work % 2 * 64
                x_10: T.let = T.Cast("int64", i_batch) * T.Cast("int64", C + 1)
                first: T.let = p_offsets[x_10 + T.Cast("int64", x_1)]
                last: T.let = p_offsets[x_10 + T.Cast("int64", x_1) + 1]
                x_19: T.let = T.Cast("int64", i_batch) * (T.Cast("int64", R) * 16)
                x_24: T.let = T.Cast("int64", i_batch * R)
                for m in range(4):
                    b_dl_2[T.Ramp(m * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                for i_pair_step in range((last - first + 15) // 16):
                    i_pair: T.let = first + i_pair_step * 16
                    # b_pair = load [16]
                    b_pair[T.Ramp(0, 1, 16)] = T.Select(T.Ramp(i_pair, 1, 16) < last, T.masked_load("int32x16", p_order, T.Ramp(x_19 + T.Cast("int64", i_pair), 1, 16), T.Ramp(i_pair, 1, 16) < last), T.Broadcast(0, 16))
                    # x_27 = add [16]
                    x_27[T.Ramp(0, 1, 16)] = x_24 + T.Cast("int64x16", b_pair[T.Ramp(0, 1, 16)] // 16)
                    # b_ds = load [16]
                    for m in range(16):
                        x_14: T.let = i_pair + m
                        x_15: T.let = x_14 < last
                        b_ds[m] = T.if_then_else(x_15, p_d_slots[x_27[m] * 16 + T.Cast("int64", b_pair[m] % 16)], T.float32(0.0))
                    # x_27 = mul [16]
                    x_27[T.Ramp(0, 1, 16)] = x_27[T.Ramp(0, 1, 16)] * 128
                    # x_35_sum = sum of x_35 along axis 0
                    for m in range(4):
                        partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        partial_16[T.Ramp(16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        partial_16[T.Ramp(32, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        partial_16[T.Ramp(48, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        for n in range(4):
                            x_14_1: T.let = i_pair + n * 4
                            x_15_1: T.let = x_14_1 < last
                            b_q: T.let = T.if_then_else(x_15_1, p_q[T.Ramp(T.Cast("int64", x_2) + x_27[n * 4] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            partial_16[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + b_q * b_ds[n * 4]
                            x_14_2: T.let = i_pair + (n * 4 + 1)
                            x_15_2: T.let = x_14_2 < last
                            b_q_1: T.let = T.if_then_else(x_15_2, p_q[T.Ramp(T.Cast("int64", x_2) + x_27[n * 4 + 1] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            partial_16[T.Ramp(16, 1, 16)] = partial_16[T.Ramp(16, 1, 16)] + b_q_1 * b_ds[n * 4 + 1]
                            x_14_3: T.let = i_pair + (n * 4 + 2)
                            x_15_3: T.let = x_14_3 < last
                            b_q_2: T.let = T.if_then_else(x_15_3, p_q[T.Ramp(T.Cast("int64", x_2) + x_27[n * 4 + 2] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            partial_16[T.Ramp(32, 1, 16)] = partial_16[T.Ramp(32, 1, 16)] + b_q_2 * b_ds[n * 4 + 2]
                            x_14_4: T.let = i_pair + (n * 4 + 3)
                            x_15_4: T.let = x_14_4 < last
                            b_q_3: T.let = T.if_then_else(x_15_4, p_q[T.Ramp(T.Cast("int64", x_2) + x_27[n * 4 + 3] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            partial_16[T.Ramp(48, 1, 16)] = partial_16[T.Ramp(48, 1, 16)] + b_q_3 * b_ds[n * 4 + 3]
                        x_35_sum[T.Ramp(m * 16, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + partial_16[T.Ramp(16, 1, 16)] + (partial_16[T.Ramp(32, 1, 16)] + partial_16[T.Ramp(48, 1, 16)])
                    # b_dl_2 = add [64]
                    for m in range(4):
                        b_dl_2[T.Ramp(m * 16, 1, 16)] = b_dl_2[T.Ramp(m * 16, 1, 16)] + x_35_sum[T.Ramp(m * 16, 1, 16)]
                x_43: T.let = (T.Cast("int64", i_batch * C) + T.Cast("int64", x_1)) * 128
                for m in range(4):
                    p_d_landmarks[T.Ramp(x_43 + T.Cast("int64", x_2) + m * 16, 1, 16)] = b_dl_2[T.Ramp(m * 16, 1, 16)] * 0.1
