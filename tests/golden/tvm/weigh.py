"""Generated for tvm:znver4; schedule: dim_block=64."""

from tvm.script import ir as I
from tvm.script import tirx as T


@I.ir_module
class Module:
    @T.prim_func
    def weigh(
        indices_ptr: T.handle,
        q_ptr: T.handle,
        landmarks_ptr: T.handle,
        slots_ptr: T.handle,
        weights_ptr: T.handle,
        R: T.int32,
        C: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (R, 1, B)
        n_indices = T.int64()
        n_q = T.int64()
        n_landmarks = T.int64()
        n_slots = T.int64()
        n_weights = T.int64()
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=4)
        p_q = T.match_buffer(q_ptr, (n_q,), "float32", align=4)
        p_landmarks = T.match_buffer(landmarks_ptr, (n_landmarks,), "float32", align=4)
        p_slots = T.match_buffer(slots_ptr, (n_slots,), "float32", align=4)
        p_weights = T.match_buffer(weights_ptr, (n_weights,), "float32", align=4)
        for tid in T.parallel(2):
            b_chosen = T.alloc_buffer((16,), "int32", scope="global")
            x_7 = T.alloc_buffer((16,), "int32", scope="global")
            x_14 = T.alloc_buffer((16,), "int64", scope="global")
            b_score_1 = T.alloc_buffer((16,), "float32", scope="global")
            b_q = T.alloc_buffer((64,), "float32", scope="global")
            x_23_sum = T.alloc_buffer((16,), "float32", scope="global")
            partial_16 = T.alloc_buffer((16,), "float32", scope="global")
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
                x_10: T.let = T.Cast("int64", i_batch * C)
                # x_14 = mul [16]
                x_14[T.Ramp(0, 1, 16)] = (x_10 + T.Cast("int64x16", b_chosen[T.Ramp(0, 1, 16)])) * 128
                x_21: T.let = x_2 * 128
                b_score_1[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                for i_dim_step in range(2):
                    i_dim: T.let = i_dim_step * 64
                    # b_q = load [64]
                    for m in range(4):
                        b_q[T.Ramp(m * 16, 1, 16)] = p_q[T.Ramp(x_21 + T.Cast("int64", i_dim) + m * 16, 1, 16)]
                    # x_23_sum = sum of x_23 along axis 1
                    for m in range(16):
                        partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        for n in range(4):
                            b_lmk: T.let = T.if_then_else(x_7[m] != 0, p_landmarks[T.Ramp(T.Cast("int64", i_dim) + x_14[m] + n * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            partial_16[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + b_lmk * b_q[T.Ramp(n * 16, 1, 16)]
                        lanes: T.let = partial_16[T.Ramp(0, 1, 16)]
                        sum_8: T.let = T.vectorlow("float32x8", lanes) + T.vectorhigh("float32x8", lanes)
                        sum_4: T.let = T.vectorlow("float32x4", sum_8) + T.vectorhigh("float32x4", sum_8)
                        sum_2: T.let = T.vectorlow("float32x2", sum_4) + T.vectorhigh("float32x2", sum_4)
                        x_23_sum[m] = T.Shuffle([sum_2], [0]) + T.Shuffle([sum_2], [1])
                    # b_score_1 = add [16]
                    b_score_1[T.Ramp(0, 1, 16)] = b_score_1[T.Ramp(0, 1, 16)] + x_23_sum[T.Ramp(0, 1, 16)]
                # b_score_1 = where [16]
                b_score_1[T.Ramp(0, 1, 16)] = T.Select(x_7[T.Ramp(0, 1, 16)] != 0, b_score_1[T.Ramp(0, 1, 16)] * 0.1, T.Broadcast(T.float32("-inf"), 16))
                x_28: T.let = x_2 * 16
                p_slots[T.Ramp(x_28, 1, 16)] = b_score_1[T.Ramp(0, 1, 16)]
                # b_score_1 = where [16]
                b_score_1[T.Ramp(0, 1, 16)] = T.Select(x_7[T.Ramp(0, 1, 16)] != 0, b_score_1[T.Ramp(0, 1, 16)], T.Broadcast(T.float32("-inf"), 16))
                lanes_1: T.let = b_score_1[T.Ramp(0, 1, 16)]
                max_8: T.let = T.max(T.vectorlow("float32x8", lanes_1), T.vectorhigh("float32x8", lanes_1))
                max_4: T.let = T.max(T.vectorlow("float32x4", max_8), T.vectorhigh("float32x4", max_8))
                max_2: T.let = T.max(T.vectorlow("float32x2", max_4), T.vectorhigh("float32x2", max_4))
                b_x_max: T.let = T.max(T.Shuffle([max_2], [0]), T.Shuffle([max_2], [1]))
                b_max_1: T.let = T.max(T.max(b_x_max, T.float32(-1e+30)), T.float32(-1e+30))
                # b_score_1 = exp2 [16]
                x_1: T.let = T.max(T.Broadcast(T.float32(-127.0), 16), T.min(T.Broadcast(T.float32(128.0), 16), (b_score_1[T.Ramp(0, 1, 16)] - b_max_1) * 1.4426950408889634))
                whole: T.let = T.nearbyint(x_1)
                rest: T.let = x_1 - whole
                b_score_1[T.Ramp(0, 1, 16)] = T.reinterpret("float32x16", T.reinterpret("int32x16", 1.0 + rest * (0.6931470036506653 + rest * (0.24022242426872253 + rest * (0.05550733581185341 + rest * (0.009671512991189957 + rest * 0.001326472731307149))))) + (T.Cast("int32x16", whole) << 23))
                lanes_2: T.let = b_score_1[T.Ramp(0, 1, 16)]
                sum_8_1: T.let = T.vectorlow("float32x8", lanes_2) + T.vectorhigh("float32x8", lanes_2)
                sum_4_1: T.let = T.vectorlow("float32x4", sum_8_1) + T.vectorhigh("float32x4", sum_8_1)
                sum_2_1: T.let = T.vectorlow("float32x2", sum_4_1) + T.vectorhigh("float32x2", sum_4_1)
                b_e_sum: T.let = T.Shuffle([sum_2_1], [0]) + T.Shuffle([sum_2_1], [1])
                x_35: T.let = T.Select(b_e_sum > 0.0, b_e_sum, T.float32(1.0))
                x_39: T.let = x_2 * 16
                p_weights[T.Ramp(x_39, 1, 16)] = b_score_1[T.Ramp(0, 1, 16)] / x_35
