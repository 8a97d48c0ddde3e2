"""Generated for tvm:znver4; schedule: unroll=4."""

from tvm.script import ir as I
from tvm.script import tirx as T


@I.ir_module
class Module:
    @T.prim_func
    def attend_grad_q(
        indices_ptr: T.handle,
        k_ptr: T.handle,
        v_ptr: T.handle,
        d_out_ptr: T.handle,
        q_ptr: T.handle,
        weights_ptr: T.handle,
        d_weights_ptr: T.handle,
        d_q_ptr: T.handle,
        L: T.int32,
        R: T.int32,
        Lkv: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (L, 1, B)
        n_indices = T.int64()
        n_k = T.int64()
        n_v = T.int64()
        n_d_out = T.int64()
        n_q = T.int64()
        n_weights = T.int64()
        n_d_weights = T.int64()
        n_d_q = T.int64()
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=4)
        p_k = T.match_buffer(k_ptr, (n_k,), "float32", align=4)
        p_v = T.match_buffer(v_ptr, (n_v,), "float32", align=4)
        p_d_out = T.match_buffer(d_out_ptr, (n_d_out,), "float32", align=4)
        p_q = T.match_buffer(q_ptr, (n_q,), "float32", align=4)
        p_weights = T.match_buffer(weights_ptr, (n_weights,), "float32", align=4)
        p_d_weights = T.match_buffer(d_weights_ptr, (n_d_weights,), "float32", align=4)
        p_d_q = T.match_buffer(d_q_ptr, (n_d_q,), "float32", align=4)
        for tid in T.parallel(2):
            b_q = T.alloc_buffer((1024,), "float32", scope="global")  # [16, 64], transposed
            b_do = T.alloc_buffer((1024,), "float32", scope="global")  # [16, 64], transposed
            b_dq_1 = T.alloc_buffer((1024,), "float32", scope="global")  # [16, 64], transposed
            b_dp = T.alloc_buffer((1024,), "float32", scope="global")  # [16, 64], transposed
            b_s = T.alloc_buffer((1024,), "float32", scope="global")  # [16, 64], transposed
            b_m = T.alloc_buffer((16,), "float32", scope="global")
            b_l = T.alloc_buffer((16,), "float32", scope="global")
            x_60_sum = T.alloc_buffer((16,), "float32", scope="global")
            x_64 = T.alloc_buffer((16,), "float32", scope="global")
            block_low = T.alloc_buffer((128,), "float32", scope="global")
            block_high = T.alloc_buffer((128,), "float32", scope="global")
            block_next_low = T.alloc_buffer((128,), "float32", scope="global")
            block_next_high = T.alloc_buffer((128,), "float32", scope="global")
            acc = T.alloc_buffer((64,), "float32", scope="global")
            partial_16 = T.alloc_buffer((64,), "float32", scope="global")
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_token: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_3: T.let = (T.Cast("int64", i_batch * L) + T.Cast("int64", i_token)) * 16
                # b_q = load [16, 64]
                for m in range(4):
                    for u in T.unroll(8):
                        block_low[T.Ramp(u * 16, 1, 16)] = p_q[T.Ramp(x_3 * 64 + u * 64 + m * 16, 1, 16)]
                    for u in T.unroll(8):
                        block_high[T.Ramp(u * 16, 1, 16)] = p_q[T.Ramp(x_3 * 64 + (u + 8) * 64 + m * 16, 1, 16)]
                    for r in T.unroll(2):
                        for u in T.unroll(4):
                            block_next_low[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp(u * 16, 1, 16)], block_high[T.Ramp(u * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_next_low[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp(u * 16, 1, 16)], block_high[T.Ramp(u * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                        for u in T.unroll(4):
                            block_next_high[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp((u + 4) * 16, 1, 16)], block_high[T.Ramp((u + 4) * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_next_high[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp((u + 4) * 16, 1, 16)], block_high[T.Ramp((u + 4) * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                        for u in T.unroll(4):
                            block_low[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp(u * 16, 1, 16)], block_next_high[T.Ramp(u * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_low[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp(u * 16, 1, 16)], block_next_high[T.Ramp(u * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                        for u in T.unroll(4):
                            block_high[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp((u + 4) * 16, 1, 16)], block_next_high[T.Ramp((u + 4) * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_high[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp((u + 4) * 16, 1, 16)], block_next_high[T.Ramp((u + 4) * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                    for u in T.unroll(8):
                        b_q[T.Ramp((m * 16 + u) * 16, 1, 16)] = block_low[T.Ramp(u * 16, 1, 16)]
                    for u in T.unroll(8):
                        b_q[T.Ramp((m * 16 + (u + 8)) * 16, 1, 16)] = block_high[T.Ramp(u * 16, 1, 16)]
                x_13: T.let = (T.Cast("int64", i_batch * L) + T.Cast("int64", i_token)) * 16
                # b_do = load [16, 64]
                for m in range(4):
                    for u in T.unroll(8):
                        block_low[T.Ramp(u * 16, 1, 16)] = p_d_out[T.Ramp(x_13 * 64 + u * 64 + m * 16, 1, 16)]
                    for u in T.unroll(8):
                        block_high[T.Ramp(u * 16, 1, 16)] = p_d_out[T.Ramp(x_13 * 64 + (u + 8) * 64 + m * 16, 1, 16)]
                    for r in T.unroll(2):
                        for u in T.unroll(4):
                            block_next_low[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp(u * 16, 1, 16)], block_high[T.Ramp(u * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_next_low[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp(u * 16, 1, 16)], block_high[T.Ramp(u * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                        for u in T.unroll(4):
                            block_next_high[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp((u + 4) * 16, 1, 16)], block_high[T.Ramp((u + 4) * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_next_high[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp((u + 4) * 16, 1, 16)], block_high[T.Ramp((u + 4) * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                        for u in T.unroll(4):
                            block_low[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp(u * 16, 1, 16)], block_next_high[T.Ramp(u * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_low[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp(u * 16, 1, 16)], block_next_high[T.Ramp(u * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                        for u in T.unroll(4):
                            block_high[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp((u + 4) * 16, 1, 16)], block_next_high[T.Ramp((u + 4) * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_high[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp((u + 4) * 16, 1, 16)], block_next_high[T.Ramp((u + 4) * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                    for u in T.unroll(8):
                        b_do[T.Ramp((m * 16 + u) * 16, 1, 16)] = block_low[T.Ramp(u * 16, 1, 16)]
                    for u in T.unroll(8):
                        b_do[T.Ramp((m * 16 + (u + 8)) * 16, 1, 16)] = block_high[T.Ramp(u * 16, 1, 16)]
                x_25: T.let = (T.Cast("int64", i_batch * R) + T.Cast("int64", i_token)) * 16
                x_29: T.let = T.Select(p_indices[T.Ramp(x_25, 1, 16)] >= 0, T.Ramp(1, 1, 16), T.Broadcast(0, 16))
                lanes: T.let = x_29
                max_8: T.let = T.max(T.vectorlow("int32x8", lanes), T.vectorhigh("int32x8", lanes))
                max_4: T.let = T.max(T.vectorlow("int32x4", max_8), T.vectorhigh("int32x4", max_8))
                max_2: T.let = T.max(T.vectorlow("int32x2", max_4), T.vectorhigh("int32x2", max_4))
                n_slots: T.let = T.max(T.Shuffle([max_2], [0]), T.Shuffle([max_2], [1]))
                x_42: T.let = (T.Cast("int64", i_batch * R) + T.Cast("int64", i_token)) * 16
                x_47: T.let = T.Cast("int64", i_batch * Lkv)
                x_68: T.let = (T.Cast("int64", i_batch * L) + T.Cast("int64", i_token)) * 16
                for n in range(64):
                    b_dq_1[T.Ramp(n * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                for i_step in range(n_slots):
                    chunk: T.let = p_indices[x_25 + T.Cast("int64", i_step)]
                    b_w: T.let = p_weights[x_42 + T.Cast("int64", i_step)]
                    b_w_1: T.let = T.Select(chunk >= 0, b_w, T.float32(0.0))
                    x_51: T.let = (x_47 + T.Cast("int64", T.max(chunk, 0) * 64)) * 64
                    # b_dp = b_do [16, 64] @ b_v_t [64, 64]
                    for y in range(16):
                        for u in T.unroll(4):
                            acc[T.Ramp(u * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        for k in range(64):
                            vector: T.let = b_do[T.Ramp(k * 16, 1, 16)]
                            for u in T.unroll(4):
                                acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector * p_v[x_51 + (y * 4 + u) * 64 + k]
                        for u in T.unroll(4):
                            b_dp[T.Ramp((y * 4 + u) * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                    # b_s = b_q [16, 64] @ b_k_t [64, 64]
                    for y in range(16):
                        for u in T.unroll(4):
                            acc[T.Ramp(u * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        for k in range(64):
                            vector_1: T.let = b_q[T.Ramp(k * 16, 1, 16)]
                            for u in T.unroll(4):
                                b_k: T.let = p_k[x_51 + (y * 4 + u) * 64 + k]
                                acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector_1 * b_k
                        for u in T.unroll(4):
                            b_s[T.Ramp((y * 4 + u) * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                    # b_m = max of b_s along axis 1
                    partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32("-inf"), 16)
                    partial_16[T.Ramp(16, 1, 16)] = T.Broadcast(T.float32("-inf"), 16)
                    partial_16[T.Ramp(32, 1, 16)] = T.Broadcast(T.float32("-inf"), 16)
                    partial_16[T.Ramp(48, 1, 16)] = T.Broadcast(T.float32("-inf"), 16)
                    for n in range(16):
                        partial_16[T.Ramp(0, 1, 16)] = T.max(partial_16[T.Ramp(0, 1, 16)], b_s[T.Ramp(n * 4 * 16, 1, 16)])
                        partial_16[T.Ramp(16, 1, 16)] = T.max(partial_16[T.Ramp(16, 1, 16)], b_s[T.Ramp((n * 4 + 1) * 16, 1, 16)])
                        partial_16[T.Ramp(32, 1, 16)] = T.max(partial_16[T.Ramp(32, 1, 16)], b_s[T.Ramp((n * 4 + 2) * 16, 1, 16)])
                        partial_16[T.Ramp(48, 1, 16)] = T.max(partial_16[T.Ramp(48, 1, 16)], b_s[T.Ramp((n * 4 + 3) * 16, 1, 16)])
                    b_m[T.Ramp(0, 1, 16)] = T.max(T.max(partial_16[T.Ramp(0, 1, 16)], partial_16[T.Ramp(16, 1, 16)]), T.max(partial_16[T.Ramp(32, 1, 16)], partial_16[T.Ramp(48, 1, 16)]))
                    # b_s = exp2 [16, 64]
                    x_56: T.let = b_m[T.Ramp(0, 1, 16)] * 0.14426950408889636
                    for n in range(64):
                        x_1: T.let = T.max(T.Broadcast(T.float32(-127.0), 16), T.min(T.Broadcast(T.float32(128.0), 16), b_s[T.Ramp(n * 16, 1, 16)] * 0.14426950408889636 - x_56))
                        whole: T.let = T.nearbyint(x_1)
                        rest: T.let = x_1 - whole
                        b_s[T.Ramp(n * 16, 1, 16)] = T.reinterpret("float32x16", T.reinterpret("int32x16", 1.0 + rest * (0.6931470036506653 + rest * (0.24022242426872253 + rest * (0.05550733581185341 + rest * (0.009671512991189957 + rest * 0.001326472731307149))))) + (T.Cast("int32x16", whole) << 23))
                    # b_l = sum of b_p along axis 1
                    partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                    partial_16[T.Ramp(16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                    partial_16[T.Ramp(32, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                    partial_16[T.Ramp(48, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                    for n in range(16):
                        partial_16[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + b_s[T.Ramp(n * 4 * 16, 1, 16)]
                        partial_16[T.Ramp(16, 1, 16)] = partial_16[T.Ramp(16, 1, 16)] + b_s[T.Ramp((n * 4 + 1) * 16, 1, 16)]
                        partial_16[T.Ramp(32, 1, 16)] = partial_16[T.Ramp(32, 1, 16)] + b_s[T.Ramp((n * 4 + 2) * 16, 1, 16)]
                        partial_16[T.Ramp(48, 1, 16)] = partial_16[T.Ramp(48, 1, 16)] + b_s[T.Ramp((n * 4 + 3) * 16, 1, 16)]
                    b_l[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + partial_16[T.Ramp(16, 1, 16)] + (partial_16[T.Ramp(32, 1, 16)] + partial_16[T.Ramp(48, 1, 16)])
                    # b_l = div [16]
                    b_l[T.Ramp(0, 1, 16)] = 1.0 / b_l[T.Ramp(0, 1, 16)]
                    # x_60_sum = sum of x_60 along axis 1
                    partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                    partial_16[T.Ramp(16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                    partial_16[T.Ramp(32, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                    partial_16[T.Ramp(48, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                    for n in range(16):
                        partial_16[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + b_s[T.Ramp(n * 4 * 16, 1, 16)] * b_dp[T.Ramp(n * 4 * 16, 1, 16)]
                        partial_16[T.Ramp(16, 1, 16)] = partial_16[T.Ramp(16, 1, 16)] + b_s[T.Ramp((n * 4 + 1) * 16, 1, 16)] * b_dp[T.Ramp((n * 4 + 1) * 16, 1, 16)]
                        partial_16[T.Ramp(32, 1, 16)] = partial_16[T.Ramp(32, 1, 16)] + b_s[T.Ramp((n * 4 + 2) * 16, 1, 16)] * b_dp[T.Ramp((n * 4 + 2) * 16, 1, 16)]
                        partial_16[T.Ramp(48, 1, 16)] = partial_16[T.Ramp(48, 1, 16)] + b_s[T.Ramp((n * 4 + 3) * 16, 1, 16)] * b_dp[T.Ramp((n * 4 + 3) * 16, 1, 16)]
                    x_60_sum[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + partial_16[T.Ramp(16, 1, 16)] + (partial_16[T.Ramp(32, 1, 16)] + partial_16[T.Ramp(48, 1, 16)])
                    # x_60_sum = mul_rn [16]
                    x_60_sum[T.Ramp(0, 1, 16)] = x_60_sum[T.Ramp(0, 1, 16)] * b_l[T.Ramp(0, 1, 16)]
                    # b_l = mul [16]
                    b_l[T.Ramp(0, 1, 16)] = b_l[T.Ramp(0, 1, 16)] * b_w_1
                    # x_64 = mul [16]
                    x_64[T.Ramp(0, 1, 16)] = x_60_sum[T.Ramp(0, 1, 16)] * b_l[T.Ramp(0, 1, 16)]
                    # b_s = mul [16, 64]
                    for n in range(64):
                        b_s[T.Ramp(n * 16, 1, 16)] = b_s[T.Ramp(n * 16, 1, 16)] * (b_dp[T.Ramp(n * 16, 1, 16)] * b_l[T.Ramp(0, 1, 16)] - x_64[T.Ramp(0, 1, 16)])
                    # b_dq_1 = b_ds [16, 64] @ b_k [64, 64] + b_dq_1
                    for y in range(16):
                        for u in T.unroll(4):
                            acc[T.Ramp(u * 16, 1, 16)] = b_dq_1[T.Ramp((y * 4 + u) * 16, 1, 16)]
                        for k in range(64):
                            vector_2: T.let = b_s[T.Ramp(k * 16, 1, 16)]
                            for u in T.unroll(4):
                                b_k_1: T.let = p_k[x_51 + k * 64 + (y * 4 + u)]
                                acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector_2 * b_k_1
                        for u in T.unroll(4):
                            b_dq_1[T.Ramp((y * 4 + u) * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                    lanes_1: T.let = x_60_sum[T.Ramp(0, 1, 16)]
                    sum_8: T.let = T.vectorlow("float32x8", lanes_1) + T.vectorhigh("float32x8", lanes_1)
                    sum_4: T.let = T.vectorlow("float32x4", sum_8) + T.vectorhigh("float32x4", sum_8)
                    sum_2: T.let = T.vectorlow("float32x2", sum_4) + T.vectorhigh("float32x2", sum_4)
                    b_dw_sum: T.let = T.Shuffle([sum_2], [0]) + T.Shuffle([sum_2], [1])
                    b_dw_1: T.let = T.Select(chunk >= 0, b_dw_sum, T.float32(0.0))
                    x_69: T.let = x_68 + T.Cast("int64", i_step)
                    p_d_weights[x_69] = b_dw_1
                x_73: T.let = (T.Cast("int64", i_batch * L) + T.Cast("int64", i_token)) * 16
                for n in range(4):
                    for u in T.unroll(8):
                        block_low[T.Ramp(u * 16, 1, 16)] = b_dq_1[T.Ramp((n * 16 + u) * 16, 1, 16)] * 0.1
                    for u in T.unroll(8):
                        block_high[T.Ramp(u * 16, 1, 16)] = b_dq_1[T.Ramp((n * 16 + (u + 8)) * 16, 1, 16)] * 0.1
                    for r in T.unroll(2):
                        for u in T.unroll(4):
                            block_next_low[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp(u * 16, 1, 16)], block_high[T.Ramp(u * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_next_low[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp(u * 16, 1, 16)], block_high[T.Ramp(u * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                        for u in T.unroll(4):
                            block_next_high[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp((u + 4) * 16, 1, 16)], block_high[T.Ramp((u + 4) * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_next_high[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_low[T.Ramp((u + 4) * 16, 1, 16)], block_high[T.Ramp((u + 4) * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                        for u in T.unroll(4):
                            block_low[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp(u * 16, 1, 16)], block_next_high[T.Ramp(u * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_low[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp(u * 16, 1, 16)], block_next_high[T.Ramp(u * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                        for u in T.unroll(4):
                            block_high[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp((u + 4) * 16, 1, 16)], block_next_high[T.Ramp((u + 4) * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                            block_high[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_next_low[T.Ramp((u + 4) * 16, 1, 16)], block_next_high[T.Ramp((u + 4) * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                    for u in T.unroll(8):
                        p_d_q[T.Ramp(x_73 * 64 + u * 64 + n * 16, 1, 16)] = block_low[T.Ramp(u * 16, 1, 16)]
                    for u in T.unroll(8):
                        p_d_q[T.Ramp(x_73 * 64 + (u + 8) * 64 + n * 16, 1, 16)] = block_high[T.Ramp(u * 16, 1, 16)]
