"""Generated for tvm:znver4; schedule: order=chunk pairs=4 window=512 combine=owned lanes=cols unroll=4."""

from tvm.script import ir as I
from tvm.script import tirx as T


@I.ir_module
class Module:
    @T.prim_func
    def attend(
        order_ptr: T.handle,
        offsets_ptr: T.handle,
        k_ptr: T.handle,
        v_ptr: T.handle,
        q_ptr: T.handle,
        weights_ptr: T.handle,
        out_sum_ptr: T.handle,
        C: T.int32,
        R: T.int32,
        list_steps: T.int32,
        Lkv: T.int32,
        L: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (cdiv(R, 512), 1, B)
        n_order = T.int64()
        n_offsets = T.int64()
        n_k = T.int64()
        n_v = T.int64()
        n_q = T.int64()
        n_weights = T.int64()
        n_out_sum = T.int64()
        p_order = T.match_buffer(order_ptr, (n_order,), "int32", align=4)
        p_offsets = T.match_buffer(offsets_ptr, (n_offsets,), "int32", align=4)
        p_k = T.match_buffer(k_ptr, (n_k,), "float32", align=4)
        p_v = T.match_buffer(v_ptr, (n_v,), "float32", align=4)
        p_q = T.match_buffer(q_ptr, (n_q,), "float32", align=4)
        p_weights = T.match_buffer(weights_ptr, (n_weights,), "float32", align=4)
        p_out_sum = T.match_buffer(out_sum_ptr, (n_out_sum,), "float32", align=4)
        for tid in T.parallel(2):
            low = T.alloc_buffer((1,), "int32", scope="global")
            high = T.alloc_buffer((1,), "int32", scope="global")
            low_1 = T.alloc_buffer((1,), "int32", scope="global")
            high_1 = T.alloc_buffer((1,), "int32", scope="global")
            b_k = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64], transposed
            x_63 = T.alloc_buffer((64,), "int32", scope="global")
            x_74 = T.alloc_buffer((64,), "int32", scope="global")
            x_64 = T.alloc_buffer((64,), "int32", scope="global")
            x_65 = T.alloc_buffer((64,), "int32", scope="global")
            x_71 = T.alloc_buffer((64,), "int32", scope="global")
            x_80 = T.alloc_buffer((64,), "int64", scope="global")
            b_q = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            b_s = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            b_m = T.alloc_buffer((64,), "float32", scope="global")
            b_l = T.alloc_buffer((64,), "float32", scope="global")
            b_part = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            x_103 = T.alloc_buffer((64,), "int64", scope="global")
            partial_1 = T.alloc_buffer((4,), "int32", scope="global")
            block_low = T.alloc_buffer((128,), "float32", scope="global")
            block_high = T.alloc_buffer((128,), "float32", scope="global")
            block_next_low = T.alloc_buffer((128,), "float32", scope="global")
            block_next_high = T.alloc_buffer((128,), "float32", scope="global")
            acc = T.alloc_buffer((64,), "float32", scope="global")
            partial_16 = T.alloc_buffer((16,), "float32", scope="global")
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_work: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_4: T.let = T.Cast("int64", i_batch) * T.Cast("int64", C + 1)
                x_8: T.let = T.Cast("int64", i_batch) * (T.Cast("int64", R) * 16)
                x_12: T.let = i_work * 512
                x_14: T.let = x_12 * 16
                x_15: T.let = T.min(x_12 + 512, R) * 16
                for chunk in range(C):
                    first: T.let = p_offsets[x_4 + T.Cast("int64", chunk)]
                    last: T.let = p_offsets[x_4 + T.Cast("int64", chunk) + 1]
                    low[0] = first
                    high[0] = last
                    low_1[0] = first
                    high_1[0] = last
                    for i_search in range(list_steps):
                        x_18: T.let = (high[0] - low[0] + 63) // 64
                        partial_1[0] = 0
                        partial_1[1] = 0
                        partial_1[2] = 0
                        partial_1[3] = 0
                        for n in range(16):
                            x_20: T.let = low[0] + n * 4 * x_18
                            x_21: T.let = x_20 < high[0]
                            b_pair: T.let = T.if_then_else(x_21, p_order[x_8 + T.Cast("int64", low[0]) + n * 4 * T.Cast("int64", x_18)], 0)
                            partial_1[0] = partial_1[0] + T.Select(x_21 & (b_pair < x_14), 1, 0)
                            x_20_1: T.let = low[0] + (n * 4 + 1) * x_18
                            x_21_1: T.let = x_20_1 < high[0]
                            b_pair_1: T.let = T.if_then_else(x_21_1, p_order[x_8 + T.Cast("int64", low[0]) + (n * 4 + 1) * T.Cast("int64", x_18)], 0)
                            partial_1[1] = partial_1[1] + T.Select(x_21_1 & (b_pair_1 < x_14), 1, 0)
                            x_20_2: T.let = low[0] + (n * 4 + 2) * x_18
                            x_21_2: T.let = x_20_2 < high[0]
                            b_pair_2: T.let = T.if_then_else(x_21_2, p_order[x_8 + T.Cast("int64", low[0]) + (n * 4 + 2) * T.Cast("int64", x_18)], 0)
                            partial_1[2] = partial_1[2] + T.Select(x_21_2 & (b_pair_2 < x_14), 1, 0)
                            x_20_3: T.let = low[0] + (n * 4 + 3) * x_18
                            x_21_3: T.let = x_20_3 < high[0]
                            b_pair_3: T.let = T.if_then_else(x_21_3, p_order[x_8 + T.Cast("int64", low[0]) + (n * 4 + 3) * T.Cast("int64", x_18)], 0)
                            partial_1[3] = partial_1[3] + T.Select(x_21_3 & (b_pair_3 < x_14), 1, 0)
                        n_before: T.let = partial_1[0] + partial_1[1] + (partial_1[2] + partial_1[3])
                        low_2: T.let = T.Select(n_before > 0, low[0] + (n_before - 1) * x_18 + 1, low[0])
                        high_2: T.let = T.min(high[0], low[0] + n_before * x_18)
                        x_35: T.let = (high_1[0] - low_1[0] + 63) // 64
                        partial_1[0] = 0
                        partial_1[1] = 0
                        partial_1[2] = 0
                        partial_1[3] = 0
                        for n in range(16):
                            x_37: T.let = low_1[0] + n * 4 * x_35
                            x_38: T.let = x_37 < high_1[0]
                            b_pair_1_1: T.let = T.if_then_else(x_38, p_order[x_8 + T.Cast("int64", low_1[0]) + n * 4 * T.Cast("int64", x_35)], 0)
                            partial_1[0] = partial_1[0] + T.Select(x_38 & (b_pair_1_1 < x_15), 1, 0)
                            x_37_1: T.let = low_1[0] + (n * 4 + 1) * x_35
                            x_38_1: T.let = x_37_1 < high_1[0]
                            b_pair_1_2: T.let = T.if_then_else(x_38_1, p_order[x_8 + T.Cast("int64", low_1[0]) + (n * 4 + 1) * T.Cast("int64", x_35)], 0)
                            partial_1[1] = partial_1[1] + T.Select(x_38_1 & (b_pair_1_2 < x_15), 1, 0)
                            x_37_2: T.let = low_1[0] + (n * 4 + 2) * x_35
                            x_38_2: T.let = x_37_2 < high_1[0]
                            b_pair_1_3: T.let = T.if_then_else(x_38_2, p_order[x_8 + T.Cast("int64", low_1[0]) + (n * 4 + 2) * T.Cast("int64", x_35)], 0)
                            partial_1[2] = partial_1[2] + T.Select(x_38_2 & (b_pair_1_3 < x_15), 1, 0)
                            x_37_3: T.let = low_1[0] + (n * 4 + 3) * x_35
                            x_38_3: T.let = x_37_3 < high_1[0]
                            b_pair_1_4: T.let = T.if_then_else(x_38_3, p_order[x_8 + T.Cast("int64", low_1[0]) + (n * 4 + 3) * T.Cast("int64", x_35)], 0)
                            partial_1[3] = partial_1[3] + T.Select(x_38_3 & (b_pair_1_4 < x_15), 1, 0)
                        n_before_1: T.let = partial_1[0] + partial_1[1] + (partial_1[2] + partial_1[3])
                        low_3: T.let = T.Select(n_before_1 > 0, low_1[0] + (n_before_1 - 1) * x_35 + 1, low_1[0])
                        high_3: T.let = T.min(high_1[0], low_1[0] + n_before_1 * x_35)
                        low[0] = low_2
                        high[0] = high_2
                        low_1[0] = low_3
                        high_1[0] = high_3
                    x_50: T.let = low[0] < low_1[0]
                    if x_50:
                        x_57: T.let = (T.Cast("int64", i_batch * Lkv) + T.Cast("int64", chunk * 64)) * 64
                        # b_k = load [64, 64]
                        for m in range(4):
                            for n in range(4):
                                for u in T.unroll(8):
                                    block_low[T.Ramp(u * 16, 1, 16)] = p_k[T.Ramp(x_57 + (n * 16 + u) * 64 + m * 16, 1, 16)]
                                for u in T.unroll(8):
                                    block_high[T.Ramp(u * 16, 1, 16)] = p_k[T.Ramp(x_57 + (n * 16 + (u + 8)) * 64 + m * 16, 1, 16)]
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
                                    b_k[T.Ramp(n * 16 + (m * 16 + u) * 64, 1, 16)] = block_low[T.Ramp(u * 16, 1, 16)]
                                for u in T.unroll(8):
                                    b_k[T.Ramp(n * 16 + (m * 16 + (u + 8)) * 64, 1, 16)] = block_high[T.Ramp(u * 16, 1, 16)]
                        # x_63 = floordiv [64]
                        for m in range(4):
                            x_63[T.Ramp(m * 16, 1, 16)] = T.Ramp(m * 16, 1, 16) // 16
                        x_69: T.let = T.Cast("int64", i_batch) * (T.Cast("int64", R) * 16)
                        # x_74 = add [64]
                        for m in range(4):
                            x_74[T.Ramp(m * 16, 1, 16)] = T.Ramp(m * 16, 1, 16) % 16
                        x_76: T.let = T.Cast("int64", i_batch * L)
                        x_85: T.let = T.Cast("int64", i_batch * R)
                        x_99: T.let = T.Cast("int64", i_batch * L)
                        for i_pair_step in range((low_1[0] - low[0] + 3) // 4):
                            i_pair: T.let = low[0] + i_pair_step * 4
                            # x_64 = add [64]
                            for m in range(4):
                                x_64[T.Ramp(m * 16, 1, 16)] = i_pair + x_63[T.Ramp(m * 16, 1, 16)]
                            # x_65 = lt [64]
                            for m in range(4):
                                x_65[T.Ramp(m * 16, 1, 16)] = T.Select(x_64[T.Ramp(m * 16, 1, 16)] < low_1[0], T.Broadcast(1, 16), T.Broadcast(0, 16))
                            # x_64 = load [64]
                            for m in range(64):
                                x_64[m] = T.if_then_else(x_65[m] != 0, p_order[x_69 + T.Cast("int64", x_64[m])], 0)
                            # x_71 = floordiv [64]
                            for m in range(4):
                                x_71[T.Ramp(m * 16, 1, 16)] = x_64[T.Ramp(m * 16, 1, 16)] // 16
                            # x_80 = mul [64]
                            for m in range(4):
                                x_79: T.let = x_76 * 16 + x_71[T.Ramp(m * 16, 1, 16)] * T.int64(16) + T.Cast("int64x16", x_74[T.Ramp(m * 16, 1, 16)])
                                x_80[T.Ramp(m * 16, 1, 16)] = x_79 * 64
                            # b_q = load [64, 64]
                            for m in range(64):
                                for n in range(4):
                                    b_q[T.Ramp(m * 64 + n * 16, 1, 16)] = T.if_then_else(x_65[m] != 0, p_q[T.Ramp(x_80[m] + n * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            # b_s = b_q [64, 64] @ b_k_t [64, 64]
                            for x in range(4):
                                for y in range(16):
                                    for u in T.unroll(4):
                                        acc[T.Ramp(u * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                                    for k in range(64):
                                        vector: T.let = b_k[T.Ramp(x * 16 + k * 64, 1, 16)]
                                        for u in T.unroll(4):
                                            acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector * b_q[(y * 4 + u) * 64 + k]
                                    for u in T.unroll(4):
                                        b_s[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                            # b_m = max of b_s along axis 1
                            for m in range(64):
                                partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32("-inf"), 16)
                                for n in range(4):
                                    partial_16[T.Ramp(0, 1, 16)] = T.max(partial_16[T.Ramp(0, 1, 16)], b_s[T.Ramp(m * 64 + n * 16, 1, 16)])
                                lanes: T.let = partial_16[T.Ramp(0, 1, 16)]
                                max_8: T.let = T.max(T.vectorlow("float32x8", lanes), T.vectorhigh("float32x8", lanes))
                                max_4: T.let = T.max(T.vectorlow("float32x4", max_8), T.vectorhigh("float32x4", max_8))
                                max_2: T.let = T.max(T.vectorlow("float32x2", max_4), T.vectorhigh("float32x2", max_4))
                                b_m[m] = T.max(T.Shuffle([max_2], [0]), T.Shuffle([max_2], [1]))
                            # b_s = exp2 [64, 64]
                            for m in range(64):
                                x_91: T.let = b_m[m] * 0.14426950408889636
                                for n in range(4):
                                    x_1: T.let = T.max(T.Broadcast(T.float32(-127.0), 16), T.min(T.Broadcast(T.float32(128.0), 16), b_s[T.Ramp(m * 64 + n * 16, 1, 16)] * 0.14426950408889636 - x_91))
                                    whole: T.let = T.nearbyint(x_1)
                                    rest: T.let = x_1 - whole
                                    b_s[T.Ramp(m * 64 + n * 16, 1, 16)] = T.reinterpret("float32x16", T.reinterpret("int32x16", 1.0 + rest * (0.6931470036506653 + rest * (0.24022242426872253 + rest * (0.05550733581185341 + rest * (0.009671512991189957 + rest * 0.001326472731307149))))) + (T.Cast("int32x16", whole) << 23))
                            # b_l = sum of b_p along axis 1
                            for m in range(64):
                                partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                                for n in range(4):
                                    partial_16[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + b_s[T.Ramp(m * 64 + n * 16, 1, 16)]
                                lanes_1: T.let = partial_16[T.Ramp(0, 1, 16)]
                                sum_8: T.let = T.vectorlow("float32x8", lanes_1) + T.vectorhigh("float32x8", lanes_1)
                                sum_4: T.let = T.vectorlow("float32x4", sum_8) + T.vectorhigh("float32x4", sum_8)
                                sum_2: T.let = T.vectorlow("float32x2", sum_4) + T.vectorhigh("float32x2", sum_4)
                                b_l[m] = T.Shuffle([sum_2], [0]) + T.Shuffle([sum_2], [1])
                            # b_l = mul [64]
                            for m in range(64):
                                b_w: T.let = T.if_then_else(x_65[m] != 0, p_weights[x_85 * 16 + x_71[m] * T.int64(16) + T.Cast("int64", x_64[m] % 16)], T.float32(0.0))
                                b_l[m] = 1.0 / b_l[m] * b_w
                            # b_s = mul [64, 64]
                            for m in range(64):
                                for n in range(4):
                                    b_s[T.Ramp(m * 64 + n * 16, 1, 16)] = b_s[T.Ramp(m * 64 + n * 16, 1, 16)] * b_l[m]
                            # b_part = b_p_1 [64, 64] @ b_v [64, 64]
                            for x in range(4):
                                for y in range(16):
                                    for u in T.unroll(4):
                                        acc[T.Ramp(u * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                                    for k in range(64):
                                        vector_1: T.let = p_v[T.Ramp(x_57 + k * 64 + x * 16, 1, 16)]
                                        for u in T.unroll(4):
                                            acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector_1 * b_s[(y * 4 + u) * 64 + k]
                                    for u in T.unroll(4):
                                        b_part[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                            # x_103 = mul [64]
                            for m in range(4):
                                x_102: T.let = x_99 * 16 + x_71[T.Ramp(m * 16, 1, 16)] * T.int64(16) + T.Cast("int64x16", x_74[T.Ramp(m * 16, 1, 16)])
                                x_103[T.Ramp(m * 16, 1, 16)] = x_102 * 64
                            for m in range(64):
                                for n in range(4):
                                    if x_65[m] != 0:
                                        p_out_sum[T.Ramp(x_103[m] + n * 16, 1, 16)] = p_out_sum[T.Ramp(x_103[m] + n * 16, 1, 16)] + b_part[T.Ramp(m * 64 + n * 16, 1, 16)]

    @T.prim_func
    def sum_parts(
        out_sum_ptr: T.handle,
        out_ptr: T.handle,
        L: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (L, 1, B)
        n_out_sum = T.int64()
        n_out = T.int64()
        p_out_sum = T.match_buffer(out_sum_ptr, (n_out_sum,), "float32", align=4)
        p_out = T.match_buffer(out_ptr, (n_out,), "float32", align=4)
        for tid in T.parallel(2):
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_token: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_3: T.let = (T.Cast("int64", i_batch * L) + T.Cast("int64", i_token)) * 16
                x_13: T.let = (T.Cast("int64", i_batch * L) + T.Cast("int64", i_token)) * 16
                for m in range(16):
                    for n in range(4):
                        p_out[T.Ramp(x_13 * 64 + m * 64 + n * 16, 1, 16)] = p_out_sum[T.Ramp(x_3 * 64 + m * 64 + n * 16, 1, 16)]
