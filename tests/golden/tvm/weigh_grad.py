"""Generated for tvm:znver4; schedule: dim_block=64."""

from tvm.script import ir as I
from tvm.script import tirx as T


@I.ir_module
class Module:
    @T.prim_func
    def weigh_grad(
        indices_ptr: T.handle,
        weights_ptr: T.handle,
        d_weights_ptr: T.handle,
        d_slots_ptr: T.handle,
        landmarks_ptr: T.handle,
        d_q_ptr: T.handle,
        R: T.int32,
        C: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (R, 1, B)
        n_indices = T.int64()
        n_weights = T.int64()
        n_d_weights = T.int64()
        n_d_slots = T.int64()
        n_landmarks = T.int64()
        n_d_q = T.int64()
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=4)
        p_weights = T.match_buffer(weights_ptr, (n_weights,), "float32", align=4)
        p_d_weights = T.match_buffer(d_weights_ptr, (n_d_weights,), "float32", align=4)
        p_d_slots = T.match_buffer(d_slots_ptr, (n_d_slots,), "float32", align=4)
        p_landmarks = T.match_buffer(landmarks_ptr, (n_landmarks,), "float32", align=4)
        p_d_q = T.match_buffer(d_q_ptr, (n_d_q,), "float32", align=4)
        for tid in T.parallel(2):
            b_chosen = T.alloc_buffer((16,), "int32", scope="global")
            x_7 = T.alloc_buffer((16,), "int32", scope="global")
            b_w = T.alloc_buffer((16,), "float32", scope="global")
            b_dw = T.alloc_buffer((16,), "float32", scope="global")
            x_30 = T.alloc_buffer((16,), "int64", scope="global")
            x_35_sum = T.alloc_buffer((64,), "float32", scope="global")
            partial_16 = T.alloc_buffer((64,), "float32", scope="global")
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_row: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_2: T.let = T.Cast("int64", i_batch * R) + T.Cast("int64", i_row)
                x_5: T.let = x_2 * 16
                # b_chosen = load [16]
                b_chosen[T.Ramp(0, 1, 16)] = p_indices[T.Ramp(x_5, 1, 16)]
                # x_7 = ge [16]
                x_7[T.Ramp(0, 1, 16)] = T.Select(b_chosen[T.Ramp(0, 1, 16)] >= 0, T.Broadcast(1, 16), T.Broadcast(0, 16))
                x_12: T.let = x_2 * 16
                # b_w = load [16]
                b_w[T.Ramp(0, 1, 16)] = p_weights[T.Ramp(x_12, 1, 16)]
                # b_dw = load [16]
                b_dw[T.Ramp(0, 1, 16)] = p_d_weights[T.Ramp(x_12, 1, 16)]
                lanes: T.let = b_w[T.Ramp(0, 1, 16)] * b_dw[T.Ramp(0, 1, 16)]
                sum_8: T.let = T.vectorlow("float32x8", lanes) + T.vectorhigh("float32x8", lanes)
                sum_4: T.let = T.vectorlow("float32x4", sum_8) + T.vectorhigh("float32x4", sum_8)
                sum_2: T.let = T.vectorlow("float32x2", sum_4) + T.vectorhigh("float32x2", sum_4)
                x_14_sum: T.let = T.Shuffle([sum_2], [0]) + T.Shuffle([sum_2], [1])
                # b_w = add [16]
                b_w[T.Ramp(0, 1, 16)] = 0.0 + b_w[T.Ramp(0, 1, 16)] * (b_dw[T.Ramp(0, 1, 16)] - x_14_sum)
                x_22: T.let = x_2 * 16
                p_d_slots[T.Ramp(x_22, 1, 16)] = b_w[T.Ramp(0, 1, 16)]
                # b_w = where [16]
                b_w[T.Ramp(0, 1, 16)] = T.Select(x_7[T.Ramp(0, 1, 16)] != 0, b_w[T.Ramp(0, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                x_26: T.let = T.Cast("int64", i_batch * C)
                # x_30 = mul [16]
                x_30[T.Ramp(0, 1, 16)] = (x_26 + T.Cast("int64x16", b_chosen[T.Ramp(0, 1, 16)])) * 128
                x_39: T.let = x_2 * 128
                for i_dim_step in range(2):
                    i_dim: T.let = i_dim_step * 64
                    # x_35_sum = sum of x_35 along axis 0
                    for m in range(4):
                        partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        partial_16[T.Ramp(16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        partial_16[T.Ramp(32, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        partial_16[T.Ramp(48, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        for n in range(4):
                            b_lmk: T.let = T.if_then_else(x_7[n * 4] != 0, p_landmarks[T.Ramp(T.Cast("int64", i_dim) + x_30[n * 4] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            partial_16[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + b_lmk * b_w[n * 4]
                            b_lmk_1: T.let = T.if_then_else(x_7[n * 4 + 1] != 0, p_landmarks[T.Ramp(T.Cast("int64", i_dim) + x_30[n * 4 + 1] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            partial_16[T.Ramp(16, 1, 16)] = partial_16[T.Ramp(16, 1, 16)] + b_lmk_1 * b_w[n * 4 + 1]
                            b_lmk_2: T.let = T.if_then_else(x_7[n * 4 + 2] != 0, p_landmarks[T.Ramp(T.Cast("int64", i_dim) + x_30[n * 4 + 2] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            partial_16[T.Ramp(32, 1, 16)] = partial_16[T.Ramp(32, 1, 16)] + b_lmk_2 * b_w[n * 4 + 2]
                            b_lmk_3: T.let = T.if_then_else(x_7[n * 4 + 3] != 0, p_landmarks[T.Ramp(T.Cast("int64", i_dim) + x_30[n * 4 + 3] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            partial_16[T.Ramp(48, 1, 16)] = partial_16[T.Ramp(48, 1, 16)] + b_lmk_3 * b_w[n * 4 + 3]
                        x_35_sum[T.Ramp(m * 16, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + partial_16[T.Ramp(16, 1, 16)] + (partial_16[T.Ramp(32, 1, 16)] + partial_16[T.Ramp(48, 1, 16)])
                    for m in range(4):
                        p_d_q[T.Ramp(x_39 + T.Cast("int64", i_dim) + m * 16, 1, 16)] = x_35_sum[T.Ramp(m * 16, 1, 16)] * 0.1
