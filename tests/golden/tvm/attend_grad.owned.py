"""Generated for tvm:znver4; schedule: order=chunk pairs=4 window=512 copies=4 combine=owned lanes=cols unroll=4."""

from tvm.script import ir as I
from tvm.script import tirx as T


@I.ir_module
class Module:
    @T.prim_func
    def attend_grad(
        order_ptr: T.handle,
        offsets_ptr: T.handle,
        k_ptr: T.handle,
        v_ptr: T.handle,
        d_weights_ptr: T.handle,
        q_ptr: T.handle,
        d_out_ptr: T.handle,
        weights_ptr: T.handle,
        d_q_sum_ptr: T.handle,
        d_k_copies_ptr: T.handle,
        d_v_copies_ptr: T.handle,
        C: T.int32,
        windows_each: T.int32,
        n_windows: T.int32,
        R: T.int32,
        list_steps: T.int32,
        Lkv: T.int32,
        L: T.int32,
        B: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (4, 1, B)
        n_order = T.int64()
        n_offsets = T.int64()
        n_k = T.int64()
        n_v = T.int64()
        n_d_weights = T.int64()
        n_q = T.int64()
        n_d_out = T.int64()
        n_weights = T.int64()
        n_d_q_sum = T.int64()
        n_d_k_copies = T.int64()
        n_d_v_copies = T.int64()
        p_order = T.match_buffer(order_ptr, (n_order,), "int32", align=4)
        p_offsets = T.match_buffer(offsets_ptr, (n_offsets,), "int32", align=4)
        p_k = T.match_buffer(k_ptr, (n_k,), "float32", align=4)
        p_v = T.match_buffer(v_ptr, (n_v,), "float32", align=4)
        p_d_weights = T.match_buffer(d_weights_ptr, (n_d_weights,), "float32", align=4)
        p_q = T.match_buffer(q_ptr, (n_q,), "float32", align=4)
        p_d_out = T.match_buffer(d_out_ptr, (n_d_out,), "float32", align=4)
        p_weights = T.match_buffer(weights_ptr, (n_weights,), "float32", align=4)
        p_d_q_sum = T.match_buffer(d_q_sum_ptr, (n_d_q_sum,), "float32", align=4)
        p_d_k_copies = T.match_buffer(d_k_copies_ptr, (n_d_k_copies,), "float32", align=4)
        p_d_v_copies = T.match_buffer(d_v_copies_ptr, (n_d_v_copies,), "float32", align=4)
        for tid in T.parallel(2):
            low = T.alloc_buffer((1,), "int32", scope="global")
            high = T.alloc_buffer((1,), "int32", scope="global")
            low_1 = T.alloc_buffer((1,), "int32", scope="global")
            high_1 = T.alloc_buffer((1,), "int32", scope="global")
            b_k = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64], transposed
            b_v = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64], transposed
            x_68 = T.alloc_buffer((64,), "int32", scope="global")
            x_79 = T.alloc_buffer((64,), "int32", scope="global")
            b_dk_1 = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            b_dv_1 = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            x_69 = T.alloc_buffer((64,), "int32", scope="global")
            x_70 = T.alloc_buffer((64,), "int32", scope="global")
            x_76 = T.alloc_buffer((64,), "int32", scope="global")
            x_85 = T.alloc_buffer((64,), "int64", scope="global")
            b_q = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            x_94 = T.alloc_buffer((64,), "int64", scope="global")
            b_do = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            b_s = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            b_dp = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            b_w = T.alloc_buffer((64,), "float32", scope="global")
            b_m = T.alloc_buffer((64,), "float32", scope="global")
            b_l = T.alloc_buffer((64,), "float32", scope="global")
            x_109_sum = T.alloc_buffer((64,), "float32", scope="global")
            x_110 = T.alloc_buffer((64,), "float32", scope="global")
            b_wp = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            x_115 = T.alloc_buffer((64,), "float32", scope="global")
            b_dw_sum = T.alloc_buffer((4,), "float32", scope="global")
            b_part = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            x_150 = T.alloc_buffer((64,), "int64", scope="global")
            b_k_t = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            partial_1 = T.alloc_buffer((4,), "int32", scope="global")
            block_low = T.alloc_buffer((128,), "float32", scope="global")
            block_high = T.alloc_buffer((128,), "float32", scope="global")
            block_next_low = T.alloc_buffer((128,), "float32", scope="global")
            block_next_high = T.alloc_buffer((128,), "float32", scope="global")
            acc = T.alloc_buffer((64,), "float32", scope="global")
            partial_16 = T.alloc_buffer((16,), "float32", scope="global")
            group = T.alloc_buffer((1,), "float32", scope="global")
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_work: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_4: T.let = T.Cast("int64", i_batch) * T.Cast("int64", C + 1)
                x_7: T.let = T.min((i_work + 1) * windows_each, n_windows)
                x_8: T.let = i_work * windows_each
                x_12: T.let = T.Cast("int64", i_batch) * (T.Cast("int64", R) * 16)
                for window_step in range(x_7 - x_8):
                    window: T.let = x_8 + window_step
                    x_16: T.let = window * 512
                    x_18: T.let = x_16 * 16
                    x_19: T.let = T.min(x_16 + 512, R) * 16
                    for chunk in range(C):
                        first: T.let = p_offsets[x_4 + T.Cast("int64", chunk)]
                        last: T.let = p_offsets[x_4 + T.Cast("int64", chunk) + 1]
                        low[0] = first
                        high[0] = last
                        low_1[0] = first
                        high_1[0] = last
                        for i_search in range(list_steps):
                            x_22: T.let = (high[0] - low[0] + 63) // 64
                            partial_1[0] = 0
                            partial_1[1] = 0
                            partial_1[2] = 0
                            partial_1[3] = 0
                            for n in range(16):
                                x_24: T.let = low[0] + n * 4 * x_22
                                x_25: T.let = x_24 < high[0]
                                b_pair: T.let = T.if_then_else(x_25, p_order[x_12 + T.Cast("int64", low[0]) + n * 4 * T.Cast("int64", x_22)], 0)
                                partial_1[0] = partial_1[0] + T.Select(x_25 & (b_pair < x_18), 1, 0)
                                x_24_1: T.let = low[0] + (n * 4 + 1) * x_22
                                x_25_1: T.let = x_24_1 < high[0]
                                b_pair_1: T.let = T.if_then_else(x_25_1, p_order[x_12 + T.Cast("int64", low[0]) + (n * 4 + 1) * T.Cast("int64", x_22)], 0)
                                partial_1[1] = partial_1[1] + T.Select(x_25_1 & (b_pair_1 < x_18), 1, 0)
                                x_24_2: T.let = low[0] + (n * 4 + 2) * x_22
                                x_25_2: T.let = x_24_2 < high[0]
                                b_pair_2: T.let = T.if_then_else(x_25_2, p_order[x_12 + T.Cast("int64", low[0]) + (n * 4 + 2) * T.Cast("int64", x_22)], 0)
                                partial_1[2] = partial_1[2] + T.Select(x_25_2 & (b_pair_2 < x_18), 1, 0)
                                x_24_3: T.let = low[0] + (n * 4 + 3) * x_22
                                x_25_3: T.let = x_24_3 < high[0]
                                b_pair_3: T.let = T.if_then_else(x_25_3, p_order[x_12 + T.Cast("int64", low[0]) + (n * 4 + 3) * T.Cast("int64", x_22)], 0)
                                partial_1[3] = partial_1[3] + T.Select(x_25_3 & (b_pair_3 < x_18), 1, 0)
                            n_before: T.let = partial_1[0] + partial_1[1] + (partial_1[2] + partial_1[3])
                            low_2: T.let = T.Select(n_before > 0, low[0] + (n_before - 1) * x_22 + 1, low[0])
                            high_2: T.let = T.min(high[0], low[0] + n_before * x_22)
                            x_39: T.let = (high_1[0] - low_1[0] + 63) // 64
                            partial_1[0] = 0
                            partial_1[1] = 0
                            partial_1[2] = 0
                            partial_1[3] = 0
                            for n in range(16):
                                x_41: T.let = low_1[0] + n * 4 * x_39
                                x_42: T.let = x_41 < high_1[0]
                                b_pair_1_1: T.let = T.if_then_else(x_42, p_order[x_12 + T.Cast("int64", low_1[0]) + n * 4 * T.Cast("int64", x_39)], 0)
                                partial_1[0] = partial_1[0] + T.Select(x_42 & (b_pair_1_1 < x_19), 1, 0)
                                x_41_1: T.let = low_1[0] + (n * 4 + 1) * x_39
                                x_42_1: T.let = x_41_1 < high_1[0]
                                b_pair_1_2: T.let = T.if_then_else(x_42_1, p_order[x_12 + T.Cast("int64", low_1[0]) + (n * 4 + 1) * T.Cast("int64", x_39)], 0)
                                partial_1[1] = partial_1[1] + T.Select(x_42_1 & (b_pair_1_2 < x_19), 1, 0)
                                x_41_2: T.let = low_1[0] + (n * 4 + 2) * x_39
                                x_42_2: T.let = x_41_2 < high_1[0]
                                b_pair_1_3: T.let = T.if_then_else(x_42_2, p_order[x_12 + T.Cast("int64", low_1[0]) + (n * 4 + 2) * T.Cast("int64", x_39)], 0)
                                partial_1[2] = partial_1[2] + T.Select(x_42_2 & (b_pair_1_3 < x_19), 1, 0)
                                x_41_3: T.let = low_1[0] + (n * 4 + 3) * x_39
                                x_42_3: T.let = x_41_3 < high_1[0]
                                b_pair_1_4: T.let = T.if_then_else(x_42_3, p_order[x_12 + T.Cast("int64", low_1[0]) + (n * 4 + 3) * T.Cast("int64", x_39)], 0)
                                partial_1[3] = partial_1[3] + T.Select(x_42_3 & (b_pair_1_4 < x_19), 1, 0)
                            n_before_1: T.let = partial_1[0] + partial_1[1] + (partial_1[2] + partial_1[3])
                            low_3: T.let = T.Select(n_before_1 > 0, low_1[0] + (n_before_1 - 1) * x_39 + 1, low_1[0])
                            high_3: T.let = T.min(high_1[0], low_1[0] + n_before_1 * x_39)
                            low[0] = low_2
                            high[0] = high_2
                            low_1[0] = low_3
                            high_1[0] = high_3
                        x_54: T.let = low[0] < low_1[0]
                        if x_54:
                            x_55: T.let = low[0] < low_1[0]
                            if x_55:
                                x_62: T.let = (T.Cast("int64", i_batch * Lkv) + T.Cast("int64", chunk * 64)) * 64
                                # b_k = load [64, 64]
                                for m in range(4):
                                    for n in range(4):
                                        for u in T.unroll(8):
                                            block_low[T.Ramp(u * 16, 1, 16)] = p_k[T.Ramp(x_62 + (n * 16 + u) * 64 + m * 16, 1, 16)]
                                        for u in T.unroll(8):
                                            block_high[T.Ramp(u * 16, 1, 16)] = p_k[T.Ramp(x_62 + (n * 16 + (u + 8)) * 64 + m * 16, 1, 16)]
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
                                # b_k_t = b_k, transposed in memory
                                for m in range(4):
                                    for n in range(4):
                                        for u in T.unroll(8):
                                            block_low[T.Ramp(u * 16, 1, 16)] = b_k[T.Ramp(m * 16 + (n * 16 + u) * 64, 1, 16)]
                                        for u in T.unroll(8):
                                            block_high[T.Ramp(u * 16, 1, 16)] = b_k[T.Ramp(m * 16 + (n * 16 + (u + 8)) * 64, 1, 16)]
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
                                            b_k_t[T.Ramp((m * 16 + u) * 64 + n * 16, 1, 16)] = block_low[T.Ramp(u * 16, 1, 16)]
                                        for u in T.unroll(8):
                                            b_k_t[T.Ramp((m * 16 + (u + 8)) * 64 + n * 16, 1, 16)] = block_high[T.Ramp(u * 16, 1, 16)]
                                # b_v = load [64, 64]
                                for m in range(4):
                                    for n in range(4):
                                        for u in T.unroll(8):
                                            block_low[T.Ramp(u * 16, 1, 16)] = p_v[T.Ramp(x_62 + (n * 16 + u) * 64 + m * 16, 1, 16)]
                                        for u in T.unroll(8):
                                            block_high[T.Ramp(u * 16, 1, 16)] = p_v[T.Ramp(x_62 + (n * 16 + (u + 8)) * 64 + m * 16, 1, 16)]
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
                                            b_v[T.Ramp(n * 16 + (m * 16 + u) * 64, 1, 16)] = block_low[T.Ramp(u * 16, 1, 16)]
                                        for u in T.unroll(8):
                                            b_v[T.Ramp(n * 16 + (m * 16 + (u + 8)) * 64, 1, 16)] = block_high[T.Ramp(u * 16, 1, 16)]
                                # x_68 = floordiv [64]
                                for m in range(4):
                                    x_68[T.Ramp(m * 16, 1, 16)] = T.Ramp(m * 16, 1, 16) // 16
                                x_74: T.let = T.Cast("int64", i_batch) * (T.Cast("int64", R) * 16)
                                # x_79 = add [64]
                                for m in range(4):
                                    x_79[T.Ramp(m * 16, 1, 16)] = T.Ramp(m * 16, 1, 16) % 16
                                x_81: T.let = T.Cast("int64", i_batch * L)
                                x_90: T.let = T.Cast("int64", i_batch * L)
                                x_99: T.let = T.Cast("int64", i_batch * R)
                                x_123: T.let = T.Cast("int64", i_batch) * (T.Cast("int64", R) * 16)
                                x_128: T.let = T.Cast("int64", i_batch * L)
                                x_134: T.let = T.Cast("int64", i_batch) * (T.Cast("int64", R) * 16)
                                x_146: T.let = T.Cast("int64", i_batch * L)
                                for m in range(64):
                                    for n in range(4):
                                        b_dk_1[T.Ramp(m * 64 + n * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                                for m in range(64):
                                    for n in range(4):
                                        b_dv_1[T.Ramp(m * 64 + n * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                                for i_pair_step in range((low_1[0] - low[0] + 3) // 4):
                                    i_pair: T.let = low[0] + i_pair_step * 4
                                    # x_69 = add [64]
                                    for m in range(4):
                                        x_69[T.Ramp(m * 16, 1, 16)] = i_pair + x_68[T.Ramp(m * 16, 1, 16)]
                                    # x_70 = lt [64]
                                    for m in range(4):
                                        x_70[T.Ramp(m * 16, 1, 16)] = T.Select(x_69[T.Ramp(m * 16, 1, 16)] < low_1[0], T.Broadcast(1, 16), T.Broadcast(0, 16))
                                    # x_69 = load [64]
                                    for m in range(64):
                                        x_69[m] = T.if_then_else(x_70[m] != 0, p_order[x_74 + T.Cast("int64", x_69[m])], 0)
                                    # x_76 = floordiv [64]
                                    for m in range(4):
                                        x_76[T.Ramp(m * 16, 1, 16)] = x_69[T.Ramp(m * 16, 1, 16)] // 16
                                    # x_85 = mul [64]
                                    for m in range(4):
                                        x_84: T.let = x_81 * 16 + x_76[T.Ramp(m * 16, 1, 16)] * T.int64(16) + T.Cast("int64x16", x_79[T.Ramp(m * 16, 1, 16)])
                                        x_85[T.Ramp(m * 16, 1, 16)] = x_84 * 64
                                    # b_q = load [64, 64]
                                    for m in range(64):
                                        for n in range(4):
                                            b_q[T.Ramp(m * 64 + n * 16, 1, 16)] = T.if_then_else(x_70[m] != 0, p_q[T.Ramp(x_85[m] + n * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                                    # x_94 = mul [64]
                                    for m in range(4):
                                        x_93: T.let = x_90 * 16 + x_76[T.Ramp(m * 16, 1, 16)] * T.int64(16) + T.Cast("int64x16", x_79[T.Ramp(m * 16, 1, 16)])
                                        x_94[T.Ramp(m * 16, 1, 16)] = x_93 * 64
                                    # b_do = load [64, 64]
                                    for m in range(64):
                                        for n in range(4):
                                            b_do[T.Ramp(m * 64 + n * 16, 1, 16)] = T.if_then_else(x_70[m] != 0, p_d_out[T.Ramp(x_94[m] + n * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
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
                                    # b_dp = b_do [64, 64] @ b_v_t [64, 64]
                                    for x in range(4):
                                        for y in range(16):
                                            for u in T.unroll(4):
                                                acc[T.Ramp(u * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                                            for k in range(64):
                                                vector_1: T.let = b_v[T.Ramp(x * 16 + k * 64, 1, 16)]
                                                for u in T.unroll(4):
                                                    acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector_1 * b_do[(y * 4 + u) * 64 + k]
                                            for u in T.unroll(4):
                                                b_dp[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                                    # b_w = load [64]
                                    for m in range(64):
                                        b_w[m] = T.if_then_else(x_70[m] != 0, p_weights[x_99 * 16 + x_76[m] * T.int64(16) + T.Cast("int64", x_69[m] % 16)], T.float32(0.0))
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
                                        x_105: T.let = b_m[m] * 0.14426950408889636
                                        for n in range(4):
                                            x_1: T.let = T.max(T.Broadcast(T.float32(-127.0), 16), T.min(T.Broadcast(T.float32(128.0), 16), b_s[T.Ramp(m * 64 + n * 16, 1, 16)] * 0.14426950408889636 - x_105))
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
                                    # b_l = div [64]
                                    for m in range(4):
                                        b_l[T.Ramp(m * 16, 1, 16)] = 1.0 / b_l[T.Ramp(m * 16, 1, 16)]
                                    # x_109_sum = sum of x_109 along axis 1
                                    for m in range(64):
                                        partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                                        for n in range(4):
                                            partial_16[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + b_s[T.Ramp(m * 64 + n * 16, 1, 16)] * b_dp[T.Ramp(m * 64 + n * 16, 1, 16)]
                                        lanes_2: T.let = partial_16[T.Ramp(0, 1, 16)]
                                        sum_8_1: T.let = T.vectorlow("float32x8", lanes_2) + T.vectorhigh("float32x8", lanes_2)
                                        sum_4_1: T.let = T.vectorlow("float32x4", sum_8_1) + T.vectorhigh("float32x4", sum_8_1)
                                        sum_2_1: T.let = T.vectorlow("float32x2", sum_4_1) + T.vectorhigh("float32x2", sum_4_1)
                                        x_109_sum[m] = T.Shuffle([sum_2_1], [0]) + T.Shuffle([sum_2_1], [1])
                                    # x_109_sum = mul_rn [64]
                                    for m in range(4):
                                        x_109_sum[T.Ramp(m * 16, 1, 16)] = x_109_sum[T.Ramp(m * 16, 1, 16)] * b_l[T.Ramp(m * 16, 1, 16)]
                                    # x_110 = mul [64]
                                    for m in range(4):
                                        x_110[T.Ramp(m * 16, 1, 16)] = b_l[T.Ramp(m * 16, 1, 16)] * b_w[T.Ramp(m * 16, 1, 16)]
                                    # b_wp = mul [64, 64]
                                    for m in range(64):
                                        for n in range(4):
                                            b_wp[T.Ramp(m * 64 + n * 16, 1, 16)] = b_s[T.Ramp(m * 64 + n * 16, 1, 16)] * x_110[m]
                                    # b_l = mul [64]
                                    for m in range(4):
                                        b_l[T.Ramp(m * 16, 1, 16)] = b_l[T.Ramp(m * 16, 1, 16)] * b_w[T.Ramp(m * 16, 1, 16)]
                                    # x_115 = mul [64]
                                    for m in range(4):
                                        x_115[T.Ramp(m * 16, 1, 16)] = x_109_sum[T.Ramp(m * 16, 1, 16)] * b_l[T.Ramp(m * 16, 1, 16)]
                                    # b_s = mul [64, 64]
                                    for m in range(64):
                                        for n in range(4):
                                            b_s[T.Ramp(m * 64 + n * 16, 1, 16)] = b_s[T.Ramp(m * 64 + n * 16, 1, 16)] * (b_dp[T.Ramp(m * 64 + n * 16, 1, 16)] * b_l[m] - x_115[m])
                                    for m in range(4):
                                        group[0] = T.float32(0.0)
                                        for n in range(16):
                                            group[0] = group[0] + x_109_sum[m * 16 + n]
                                        b_dw_sum[m] = group[0]
                                    for m in range(4):
                                        x_129: T.let = i_pair + m
                                        b_pair_4: T.let = T.if_then_else(x_129 < low_1[0], p_order[x_134 + T.Cast("int64", i_pair) + m], 0)
                                        x_118: T.let = i_pair + m
                                        x_119: T.let = x_118 < low_1[0]
                                        if x_119:
                                            p_d_weights[x_128 * 16 + b_pair_4 // 16 * T.int64(16) + T.Cast("int64", T.if_then_else(x_119, p_order[x_123 + T.Cast("int64", i_pair) + m], 0) % 16)] = b_dw_sum[m]
                                    # b_dk_1 = b_ds_t [64, 64] @ b_q [64, 64] + b_dk_1
                                    for x in range(4):
                                        for y in range(16):
                                            for u in T.unroll(4):
                                                acc[T.Ramp(u * 16, 1, 16)] = b_dk_1[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)]
                                            for k in range(64):
                                                vector_2: T.let = b_q[T.Ramp(k * 64 + x * 16, 1, 16)]
                                                for u in T.unroll(4):
                                                    acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector_2 * b_s[k * 64 + (y * 4 + u)]
                                            for u in T.unroll(4):
                                                b_dk_1[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                                    # b_dv_1 = b_wp_t [64, 64] @ b_do [64, 64] + b_dv_1
                                    for x in range(4):
                                        for y in range(16):
                                            for u in T.unroll(4):
                                                acc[T.Ramp(u * 16, 1, 16)] = b_dv_1[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)]
                                            for k in range(64):
                                                vector_3: T.let = b_do[T.Ramp(k * 64 + x * 16, 1, 16)]
                                                for u in T.unroll(4):
                                                    acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector_3 * b_wp[k * 64 + (y * 4 + u)]
                                            for u in T.unroll(4):
                                                b_dv_1[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                                    # b_part = b_ds [64, 64] @ b_k [64, 64]
                                    for x in range(4):
                                        for y in range(16):
                                            for u in T.unroll(4):
                                                acc[T.Ramp(u * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                                            for k in range(64):
                                                vector_4: T.let = b_k_t[T.Ramp(k * 64 + x * 16, 1, 16)]
                                                for u in T.unroll(4):
                                                    acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector_4 * b_s[(y * 4 + u) * 64 + k]
                                            for u in T.unroll(4):
                                                b_part[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                                    # x_150 = mul [64]
                                    for m in range(4):
                                        x_149: T.let = x_146 * 16 + x_76[T.Ramp(m * 16, 1, 16)] * T.int64(16) + T.Cast("int64x16", x_79[T.Ramp(m * 16, 1, 16)])
                                        x_150[T.Ramp(m * 16, 1, 16)] = x_149 * 64
                                    for m in range(64):
                                        for n in range(4):
                                            if x_70[m] != 0:
                                                p_d_q_sum[T.Ramp(x_150[m] + n * 16, 1, 16)] = p_d_q_sum[T.Ramp(x_150[m] + n * 16, 1, 16)] + b_part[T.Ramp(m * 64 + n * 16, 1, 16)] * 0.1
                                x_159: T.let = (T.Cast("int64", i_batch * Lkv) + T.Cast("int64", chunk * 64)) * 64
                                x_168: T.let = T.Cast("int64", i_work * B) * T.Cast("int64", Lkv) * 64
                                for m in range(64):
                                    for n in range(4):
                                        p_d_k_copies[T.Ramp(x_168 + x_159 + m * 64 + n * 16, 1, 16)] = p_d_k_copies[T.Ramp(x_168 + x_159 + m * 64 + n * 16, 1, 16)] + b_dk_1[T.Ramp(m * 64 + n * 16, 1, 16)] * 0.1
                                x_173: T.let = T.Cast("int64", i_work * B) * T.Cast("int64", Lkv) * 64
                                for m in range(64):
                                    for n in range(4):
                                        p_d_v_copies[T.Ramp(x_173 + x_159 + m * 64 + n * 16, 1, 16)] = p_d_v_copies[T.Ramp(x_173 + x_159 + m * 64 + n * 16, 1, 16)] + b_dv_1[T.Ramp(m * 64 + n * 16, 1, 16)]

    @T.prim_func
    def sum_copies(
        d_k_copies_ptr: T.handle,
        d_k_ptr: T.handle,
        d_v_copies_ptr: T.handle,
        d_v_ptr: T.handle,
        Lkv: T.int32,
        B: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (cdiv(Lkv, 16), 1, B)
        n_d_k_copies = T.int64()
        n_d_k = T.int64()
        n_d_v_copies = T.int64()
        n_d_v = T.int64()
        p_d_k_copies = T.match_buffer(d_k_copies_ptr, (n_d_k_copies,), "float32", align=4)
        p_d_k = T.match_buffer(d_k_ptr, (n_d_k,), "float32", align=4)
        p_d_v_copies = T.match_buffer(d_v_copies_ptr, (n_d_v_copies,), "float32", align=4)
        p_d_v = T.match_buffer(d_v_ptr, (n_d_v,), "float32", align=4)
        for tid in T.parallel(2):
            x_2 = T.alloc_buffer((16,), "int32", scope="global")
            b_sum_1 = T.alloc_buffer((1024,), "float32", scope="global")  # [16, 64]
            b_sum_3 = T.alloc_buffer((1024,), "float32", scope="global")  # [16, 64]
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_t: T.let = T.truncmod(pid, grid_0)
                i_b: T.let = T.truncdiv(pid, grid_0)
                x_1: T.let = i_t * 16
                # x_2 = lt [16]
                x_2[T.Ramp(0, 1, 16)] = T.Select(T.Ramp(x_1, 1, 16) < Lkv, T.Broadcast(1, 16), T.Broadcast(0, 16))
                x_10: T.let = (T.Cast("int64", i_b * Lkv) + T.Cast("int64", i_t * 16)) * 64
                for m in range(16):
                    for n in range(4):
                        b_sum_1[T.Ramp(m * 64 + n * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                for i_copy in range(4):
                    x_18: T.let = T.Cast("int64", i_copy * B) * T.Cast("int64", Lkv) * 64
                    # b_sum_1 = add [16, 64]
                    for m in range(16):
                        for n in range(4):
                            b_copy: T.let = T.if_then_else(x_2[m] != 0, p_d_k_copies[T.Ramp(x_18 + x_10 + m * 64 + n * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            b_sum_1[T.Ramp(m * 64 + n * 16, 1, 16)] = b_sum_1[T.Ramp(m * 64 + n * 16, 1, 16)] + b_copy
                for m in range(16):
                    for n in range(4):
                        if x_2[m] != 0:
                            p_d_k[T.Ramp(x_10 + m * 64 + n * 16, 1, 16)] = b_sum_1[T.Ramp(m * 64 + n * 16, 1, 16)]
                for m in range(16):
                    for n in range(4):
                        b_sum_3[T.Ramp(m * 64 + n * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                for i_copy_1 in range(4):
                    x_24: T.let = T.Cast("int64", i_copy_1 * B) * T.Cast("int64", Lkv) * 64
                    # b_sum_3 = add [16, 64]
                    for m in range(16):
                        for n in range(4):
                            b_copy_1: T.let = T.if_then_else(x_2[m] != 0, p_d_v_copies[T.Ramp(x_24 + x_10 + m * 64 + n * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            b_sum_3[T.Ramp(m * 64 + n * 16, 1, 16)] = b_sum_3[T.Ramp(m * 64 + n * 16, 1, 16)] + b_copy_1
                for m in range(16):
                    for n in range(4):
                        if x_2[m] != 0:
                            p_d_v[T.Ramp(x_10 + m * 64 + n * 16, 1, 16)] = b_sum_3[T.Ramp(m * 64 + n * 16, 1, 16)]

    @T.prim_func
    def sum_d_q(
        d_q_sum_ptr: T.handle,
        d_q_ptr: T.handle,
        L: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (L, 1, B)
        n_d_q_sum = T.int64()
        n_d_q = T.int64()
        p_d_q_sum = T.match_buffer(d_q_sum_ptr, (n_d_q_sum,), "float32", align=4)
        p_d_q = T.match_buffer(d_q_ptr, (n_d_q,), "float32", align=4)
        for tid in T.parallel(2):
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_token: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_3: T.let = (T.Cast("int64", i_batch * L) + T.Cast("int64", i_token)) * 16
                x_13: T.let = (T.Cast("int64", i_batch * L) + T.Cast("int64", i_token)) * 16
                for m in range(16):
                    for n in range(4):
                        p_d_q[T.Ramp(x_13 * 64 + m * 64 + n * 16, 1, 16)] = p_d_q_sum[T.Ramp(x_3 * 64 + m * 64 + n * 16, 1, 16)]
