"""Generated for tvm:znver4; schedule: order=chunk pairs=4 combine=buffer unroll=4."""

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
        d_k_ptr: T.handle,
        d_v_ptr: T.handle,
        weights_ptr: T.handle,
        d_q_parts_ptr: T.handle,
        C: T.int32,
        Lkv: T.int32,
        R: T.int32,
        L: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (C, 1, B)
        n_order = T.int64()
        n_offsets = T.int64()
        n_k = T.int64()
        n_v = T.int64()
        n_d_weights = T.int64()
        n_q = T.int64()
        n_d_out = T.int64()
        n_d_k = T.int64()
        n_d_v = T.int64()
        n_weights = T.int64()
        n_d_q_parts = T.int64()
        p_order = T.match_buffer(order_ptr, (n_order,), "int32", align=4)
        p_offsets = T.match_buffer(offsets_ptr, (n_offsets,), "int32", align=4)
        p_k = T.match_buffer(k_ptr, (n_k,), "float32", align=4)
        p_v = T.match_buffer(v_ptr, (n_v,), "float32", align=4)
        p_d_weights = T.match_buffer(d_weights_ptr, (n_d_weights,), "float32", align=4)
        p_q = T.match_buffer(q_ptr, (n_q,), "float32", align=4)
        p_d_out = T.match_buffer(d_out_ptr, (n_d_out,), "float32", align=4)
        p_d_k = T.match_buffer(d_k_ptr, (n_d_k,), "float32", align=4)
        p_d_v = T.match_buffer(d_v_ptr, (n_d_v,), "float32", align=4)
        p_weights = T.match_buffer(weights_ptr, (n_weights,), "float32", align=4)
        p_d_q_parts = T.match_buffer(d_q_parts_ptr, (n_d_q_parts,), "float32", align=4)
        for tid in T.parallel(2):
            x_20 = T.alloc_buffer((64,), "int32", scope="global")
            x_21 = T.alloc_buffer((64,), "int32", scope="global")
            x_32 = T.alloc_buffer((64,), "int32", scope="global")
            b_dk_1 = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            b_dv_1 = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            x_22 = T.alloc_buffer((64,), "int32", scope="global")
            x_23 = T.alloc_buffer((64,), "int32", scope="global")
            x_29 = T.alloc_buffer((64,), "int32", scope="global")
            x_38 = T.alloc_buffer((64,), "int64", scope="global")
            b_q = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64], transposed
            x_47 = T.alloc_buffer((64,), "int64", scope="global")
            b_do = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64], transposed
            b_s = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64], transposed
            b_dp = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64], transposed
            b_w = T.alloc_buffer((64,), "float32", scope="global")
            b_m = T.alloc_buffer((64,), "float32", scope="global")
            b_l = T.alloc_buffer((64,), "float32", scope="global")
            x_62_sum = T.alloc_buffer((64,), "float32", scope="global")
            x_63 = T.alloc_buffer((64,), "float32", scope="global")
            b_wp = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64], transposed
            x_68 = T.alloc_buffer((64,), "float32", scope="global")
            b_dw_sum = T.alloc_buffer((4,), "float32", scope="global")
            b_part = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64], transposed
            x_107 = T.alloc_buffer((64,), "int64", scope="global")
            b_q_t = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            b_do_t = T.alloc_buffer((4096,), "float32", scope="global")  # [64, 64]
            block_low = T.alloc_buffer((128,), "float32", scope="global")
            block_high = T.alloc_buffer((128,), "float32", scope="global")
            block_next_low = T.alloc_buffer((128,), "float32", scope="global")
            block_next_high = T.alloc_buffer((128,), "float32", scope="global")
            acc = T.alloc_buffer((64,), "float32", scope="global")
            partial_16 = T.alloc_buffer((64,), "float32", scope="global")
            group = T.alloc_buffer((1,), "float32", scope="global")
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_work: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_4: T.let = T.Cast("int64", i_batch) * T.Cast("int64", C + 1)
                first: T.let = p_offsets[x_4 + T.Cast("int64", i_work)]
                last: T.let = p_offsets[x_4 + T.Cast("int64", i_work) + 1]
                x_8: T.let = first < last
                if x_8:
                    x_12: T.let = T.Cast("int64", i_batch * Lkv) + T.Cast("int64", i_work * 64)
                    x_15: T.let = x_12 * 64
                    # x_20 = mod [64]
                    for m in range(4):
                        x_20[T.Ramp(m * 16, 1, 16)] = T.Ramp(m * 16, 1, 16) % 16
                    # x_21 = floordiv [64]
                    for m in range(4):
                        x_21[T.Ramp(m * 16, 1, 16)] = T.Ramp(m * 16, 1, 16) // 16
                    x_27: T.let = T.Cast("int64", i_batch) * (T.Cast("int64", R) * 16)
                    # x_32 = add [64]
                    for m in range(4):
                        x_32[T.Ramp(m * 16, 1, 16)] = x_20[T.Ramp(m * 16, 1, 16)]
                    x_34: T.let = T.Cast("int64", i_batch * L)
                    x_43: T.let = T.Cast("int64", i_batch * L)
                    x_52: T.let = T.Cast("int64", i_batch * R)
                    x_76: T.let = T.Cast("int64", i_batch) * (T.Cast("int64", R) * 16)
                    x_81: T.let = T.Cast("int64", i_batch * L)
                    x_87: T.let = T.Cast("int64", i_batch) * (T.Cast("int64", R) * 16)
                    x_101: T.let = T.Cast("int64", i_batch) * T.Cast("int64", L)
                    for m in range(64):
                        for n in range(4):
                            b_dk_1[T.Ramp(m * 64 + n * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                    for m in range(64):
                        for n in range(4):
                            b_dv_1[T.Ramp(m * 64 + n * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                    for i_pair_step in range((last - first + 3) // 4):
                        i_pair: T.let = first + i_pair_step * 4
                        # x_22 = add [64]
                        for m in range(4):
                            x_22[T.Ramp(m * 16, 1, 16)] = i_pair + x_21[T.Ramp(m * 16, 1, 16)]
                        # x_23 = lt [64]
                        for m in range(4):
                            x_23[T.Ramp(m * 16, 1, 16)] = T.Select(x_22[T.Ramp(m * 16, 1, 16)] < last, T.Broadcast(1, 16), T.Broadcast(0, 16))
                        # x_22 = load [64]
                        for m in range(64):
                            x_22[m] = T.if_then_else(x_23[m] != 0, p_order[x_27 + T.Cast("int64", x_22[m])], 0)
                        # x_29 = floordiv [64]
                        for m in range(4):
                            x_29[T.Ramp(m * 16, 1, 16)] = x_22[T.Ramp(m * 16, 1, 16)] // 16
                        # x_22 = mod [64]
                        for m in range(4):
                            x_22[T.Ramp(m * 16, 1, 16)] = x_22[T.Ramp(m * 16, 1, 16)] % 16
                        # x_38 = mul [64]
                        for m in range(4):
                            x_37: T.let = x_34 * 16 + x_29[T.Ramp(m * 16, 1, 16)] * T.int64(16) + T.Cast("int64x16", x_32[T.Ramp(m * 16, 1, 16)])
                            x_38[T.Ramp(m * 16, 1, 16)] = x_37 * 64
                        # b_q = load [64, 64]
                        for m in range(4):
                            for n in range(4):
                                for u in T.unroll(8):
                                    block_low[T.Ramp(u * 16, 1, 16)] = T.if_then_else(x_23[n * 16 + u] != 0, p_q[T.Ramp(x_38[n * 16 + u] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                                for u in T.unroll(8):
                                    block_high[T.Ramp(u * 16, 1, 16)] = T.if_then_else(x_23[n * 16 + (u + 8)] != 0, p_q[T.Ramp(x_38[n * 16 + (u + 8)] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
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
                                    b_q[T.Ramp(n * 16 + (m * 16 + u) * 64, 1, 16)] = block_low[T.Ramp(u * 16, 1, 16)]
                                for u in T.unroll(8):
                                    b_q[T.Ramp(n * 16 + (m * 16 + (u + 8)) * 64, 1, 16)] = block_high[T.Ramp(u * 16, 1, 16)]
                        # b_q_t = b_q, transposed in memory
                        for m in range(4):
                            for n in range(4):
                                for u in T.unroll(8):
                                    block_low[T.Ramp(u * 16, 1, 16)] = b_q[T.Ramp(m * 16 + (n * 16 + u) * 64, 1, 16)]
                                for u in T.unroll(8):
                                    block_high[T.Ramp(u * 16, 1, 16)] = b_q[T.Ramp(m * 16 + (n * 16 + (u + 8)) * 64, 1, 16)]
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
                                    b_q_t[T.Ramp((m * 16 + u) * 64 + n * 16, 1, 16)] = block_low[T.Ramp(u * 16, 1, 16)]
                                for u in T.unroll(8):
                                    b_q_t[T.Ramp((m * 16 + (u + 8)) * 64 + n * 16, 1, 16)] = block_high[T.Ramp(u * 16, 1, 16)]
                        # x_47 = mul [64]
                        for m in range(4):
                            x_46: T.let = x_43 * 16 + x_29[T.Ramp(m * 16, 1, 16)] * T.int64(16) + T.Cast("int64x16", x_32[T.Ramp(m * 16, 1, 16)])
                            x_47[T.Ramp(m * 16, 1, 16)] = x_46 * 64
                        # b_do = load [64, 64]
                        for m in range(4):
                            for n in range(4):
                                for u in T.unroll(8):
                                    block_low[T.Ramp(u * 16, 1, 16)] = T.if_then_else(x_23[n * 16 + u] != 0, p_d_out[T.Ramp(x_47[n * 16 + u] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                                for u in T.unroll(8):
                                    block_high[T.Ramp(u * 16, 1, 16)] = T.if_then_else(x_23[n * 16 + (u + 8)] != 0, p_d_out[T.Ramp(x_47[n * 16 + (u + 8)] + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
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
                                    b_do[T.Ramp(n * 16 + (m * 16 + u) * 64, 1, 16)] = block_low[T.Ramp(u * 16, 1, 16)]
                                for u in T.unroll(8):
                                    b_do[T.Ramp(n * 16 + (m * 16 + (u + 8)) * 64, 1, 16)] = block_high[T.Ramp(u * 16, 1, 16)]
                        # b_do_t = b_do, transposed in memory
                        for m in range(4):
                            for n in range(4):
                                for u in T.unroll(8):
                                    block_low[T.Ramp(u * 16, 1, 16)] = b_do[T.Ramp(m * 16 + (n * 16 + u) * 64, 1, 16)]
                                for u in T.unroll(8):
                                    block_high[T.Ramp(u * 16, 1, 16)] = b_do[T.Ramp(m * 16 + (n * 16 + (u + 8)) * 64, 1, 16)]
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
                                    b_do_t[T.Ramp((m * 16 + u) * 64 + n * 16, 1, 16)] = block_low[T.Ramp(u * 16, 1, 16)]
                                for u in T.unroll(8):
                                    b_do_t[T.Ramp((m * 16 + (u + 8)) * 64 + n * 16, 1, 16)] = block_high[T.Ramp(u * 16, 1, 16)]
                        # b_s = b_q [64, 64] @ b_k_t [64, 64]
                        for x in range(4):
                            for y in range(16):
                                for u in T.unroll(4):
                                    acc[T.Ramp(u * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                                for k in range(64):
                                    vector: T.let = b_q[T.Ramp(x * 16 + k * 64, 1, 16)]
                                    for u in T.unroll(4):
                                        b_k: T.let = p_k[x_15 + (y * 4 + u) * 64 + k]
                                        acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector * b_k
                                for u in T.unroll(4):
                                    b_s[T.Ramp(x * 16 + (y * 4 + u) * 64, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                        # b_dp = b_do [64, 64] @ b_v_t [64, 64]
                        for x in range(4):
                            for y in range(16):
                                for u in T.unroll(4):
                                    acc[T.Ramp(u * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                                for k in range(64):
                                    vector_1: T.let = b_do[T.Ramp(x * 16 + k * 64, 1, 16)]
                                    for u in T.unroll(4):
                                        acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector_1 * p_v[x_15 + (y * 4 + u) * 64 + k]
                                for u in T.unroll(4):
                                    b_dp[T.Ramp(x * 16 + (y * 4 + u) * 64, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                        # b_w = load [64]
                        for m in range(64):
                            b_w[m] = T.if_then_else(x_23[m] != 0, p_weights[x_52 * 16 + x_29[m] * T.int64(16) + T.Cast("int64", x_22[m])], T.float32(0.0))
                        # b_m = max of b_s along axis 1
                        for m in range(4):
                            partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32("-inf"), 16)
                            partial_16[T.Ramp(16, 1, 16)] = T.Broadcast(T.float32("-inf"), 16)
                            partial_16[T.Ramp(32, 1, 16)] = T.Broadcast(T.float32("-inf"), 16)
                            partial_16[T.Ramp(48, 1, 16)] = T.Broadcast(T.float32("-inf"), 16)
                            for n in range(16):
                                partial_16[T.Ramp(0, 1, 16)] = T.max(partial_16[T.Ramp(0, 1, 16)], b_s[T.Ramp(m * 16 + n * 4 * 64, 1, 16)])
                                partial_16[T.Ramp(16, 1, 16)] = T.max(partial_16[T.Ramp(16, 1, 16)], b_s[T.Ramp(m * 16 + (n * 4 + 1) * 64, 1, 16)])
                                partial_16[T.Ramp(32, 1, 16)] = T.max(partial_16[T.Ramp(32, 1, 16)], b_s[T.Ramp(m * 16 + (n * 4 + 2) * 64, 1, 16)])
                                partial_16[T.Ramp(48, 1, 16)] = T.max(partial_16[T.Ramp(48, 1, 16)], b_s[T.Ramp(m * 16 + (n * 4 + 3) * 64, 1, 16)])
                            b_m[T.Ramp(m * 16, 1, 16)] = T.max(T.max(partial_16[T.Ramp(0, 1, 16)], partial_16[T.Ramp(16, 1, 16)]), T.max(partial_16[T.Ramp(32, 1, 16)], partial_16[T.Ramp(48, 1, 16)]))
                        # b_s = exp2 [64, 64]
                        for m in range(4):
                            x_58: T.let = b_m[T.Ramp(m * 16, 1, 16)] * 0.14426950408889636
                            for n in range(64):
                                x_1: T.let = T.max(T.Broadcast(T.float32(-127.0), 16), T.min(T.Broadcast(T.float32(128.0), 16), b_s[T.Ramp(m * 16 + n * 64, 1, 16)] * 0.14426950408889636 - x_58))
                                whole: T.let = T.nearbyint(x_1)
                                rest: T.let = x_1 - whole
                                b_s[T.Ramp(m * 16 + n * 64, 1, 16)] = T.reinterpret("float32x16", T.reinterpret("int32x16", 1.0 + rest * (0.6931470036506653 + rest * (0.24022242426872253 + rest * (0.05550733581185341 + rest * (0.009671512991189957 + rest * 0.001326472731307149))))) + (T.Cast("int32x16", whole) << 23))
                        # b_l = sum of b_p along axis 1
                        for m in range(4):
                            partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                            partial_16[T.Ramp(16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                            partial_16[T.Ramp(32, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                            partial_16[T.Ramp(48, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                            for n in range(16):
                                partial_16[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + b_s[T.Ramp(m * 16 + n * 4 * 64, 1, 16)]
                                partial_16[T.Ramp(16, 1, 16)] = partial_16[T.Ramp(16, 1, 16)] + b_s[T.Ramp(m * 16 + (n * 4 + 1) * 64, 1, 16)]
                                partial_16[T.Ramp(32, 1, 16)] = partial_16[T.Ramp(32, 1, 16)] + b_s[T.Ramp(m * 16 + (n * 4 + 2) * 64, 1, 16)]
                                partial_16[T.Ramp(48, 1, 16)] = partial_16[T.Ramp(48, 1, 16)] + b_s[T.Ramp(m * 16 + (n * 4 + 3) * 64, 1, 16)]
                            b_l[T.Ramp(m * 16, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + partial_16[T.Ramp(16, 1, 16)] + (partial_16[T.Ramp(32, 1, 16)] + partial_16[T.Ramp(48, 1, 16)])
                        # b_l = div [64]
                        for m in range(4):
                            b_l[T.Ramp(m * 16, 1, 16)] = 1.0 / b_l[T.Ramp(m * 16, 1, 16)]
                        # x_62_sum = sum of x_62 along axis 1
                        for m in range(4):
                            partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                            partial_16[T.Ramp(16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                            partial_16[T.Ramp(32, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                            partial_16[T.Ramp(48, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                            for n in range(16):
                                x_62: T.let = b_s[T.Ramp(m * 16 + n * 4 * 64, 1, 16)] * b_dp[T.Ramp(m * 16 + n * 4 * 64, 1, 16)]
                                partial_16[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + x_62
                                x_62_1: T.let = b_s[T.Ramp(m * 16 + (n * 4 + 1) * 64, 1, 16)] * b_dp[T.Ramp(m * 16 + (n * 4 + 1) * 64, 1, 16)]
                                partial_16[T.Ramp(16, 1, 16)] = partial_16[T.Ramp(16, 1, 16)] + x_62_1
                                x_62_2: T.let = b_s[T.Ramp(m * 16 + (n * 4 + 2) * 64, 1, 16)] * b_dp[T.Ramp(m * 16 + (n * 4 + 2) * 64, 1, 16)]
                                partial_16[T.Ramp(32, 1, 16)] = partial_16[T.Ramp(32, 1, 16)] + x_62_2
                                x_62_3: T.let = b_s[T.Ramp(m * 16 + (n * 4 + 3) * 64, 1, 16)] * b_dp[T.Ramp(m * 16 + (n * 4 + 3) * 64, 1, 16)]
                                partial_16[T.Ramp(48, 1, 16)] = partial_16[T.Ramp(48, 1, 16)] + x_62_3
                            x_62_sum[T.Ramp(m * 16, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + partial_16[T.Ramp(16, 1, 16)] + (partial_16[T.Ramp(32, 1, 16)] + partial_16[T.Ramp(48, 1, 16)])
                        # x_62_sum = mul_rn [64]
                        for m in range(4):
                            x_62_sum[T.Ramp(m * 16, 1, 16)] = x_62_sum[T.Ramp(m * 16, 1, 16)] * b_l[T.Ramp(m * 16, 1, 16)]
                        # x_63 = mul [64]
                        for m in range(4):
                            x_63[T.Ramp(m * 16, 1, 16)] = b_l[T.Ramp(m * 16, 1, 16)] * b_w[T.Ramp(m * 16, 1, 16)]
                        # b_wp = mul [64, 64]
                        for m in range(4):
                            for n in range(64):
                                b_wp[T.Ramp(m * 16 + n * 64, 1, 16)] = b_s[T.Ramp(m * 16 + n * 64, 1, 16)] * x_63[T.Ramp(m * 16, 1, 16)]
                        # b_l = mul [64]
                        for m in range(4):
                            b_l[T.Ramp(m * 16, 1, 16)] = b_l[T.Ramp(m * 16, 1, 16)] * b_w[T.Ramp(m * 16, 1, 16)]
                        # x_68 = mul [64]
                        for m in range(4):
                            x_68[T.Ramp(m * 16, 1, 16)] = x_62_sum[T.Ramp(m * 16, 1, 16)] * b_l[T.Ramp(m * 16, 1, 16)]
                        # b_s = mul [64, 64]
                        for m in range(4):
                            for n in range(64):
                                x_70: T.let = b_dp[T.Ramp(m * 16 + n * 64, 1, 16)] * b_l[T.Ramp(m * 16, 1, 16)] - x_68[T.Ramp(m * 16, 1, 16)]
                                b_s[T.Ramp(m * 16 + n * 64, 1, 16)] = b_s[T.Ramp(m * 16 + n * 64, 1, 16)] * x_70
                        for m in range(4):
                            group[0] = T.float32(0.0)
                            for n in range(16):
                                group[0] = group[0] + x_62_sum[m * 16 + n]
                            b_dw_sum[m] = group[0]
                        for m in range(4):
                            x_82: T.let = i_pair + m
                            x_89: T.let = T.if_then_else(x_82 < last, p_order[x_87 + T.Cast("int64", i_pair) + m], 0) // 16
                            x_71: T.let = i_pair + m
                            x_72: T.let = x_71 < last
                            if x_72:
                                p_d_weights[x_81 * 16 + x_89 * T.int64(16) + T.Cast("int64", T.if_then_else(x_72, p_order[x_76 + T.Cast("int64", i_pair) + m], 0) % 16)] = b_dw_sum[m]
                        # b_dk_1 = b_ds_t [64, 64] @ b_q [64, 64] + b_dk_1
                        for x in range(4):
                            for y in range(16):
                                for u in T.unroll(4):
                                    acc[T.Ramp(u * 16, 1, 16)] = b_dk_1[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)]
                                for k in range(64):
                                    vector_2: T.let = b_q_t[T.Ramp(k * 64 + x * 16, 1, 16)]
                                    for u in T.unroll(4):
                                        acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector_2 * b_s[k + (y * 4 + u) * 64]
                                for u in T.unroll(4):
                                    b_dk_1[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                        # b_dv_1 = b_wp_t [64, 64] @ b_do [64, 64] + b_dv_1
                        for x in range(4):
                            for y in range(16):
                                for u in T.unroll(4):
                                    acc[T.Ramp(u * 16, 1, 16)] = b_dv_1[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)]
                                for k in range(64):
                                    vector_3: T.let = b_do_t[T.Ramp(k * 64 + x * 16, 1, 16)]
                                    for u in T.unroll(4):
                                        acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector_3 * b_wp[k + (y * 4 + u) * 64]
                                for u in T.unroll(4):
                                    b_dv_1[T.Ramp((y * 4 + u) * 64 + x * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                        # b_part = b_ds [64, 64] @ b_k [64, 64]
                        for x in range(4):
                            for y in range(16):
                                for u in T.unroll(4):
                                    acc[T.Ramp(u * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                                for k in range(64):
                                    vector_4: T.let = b_s[T.Ramp(x * 16 + k * 64, 1, 16)]
                                    for u in T.unroll(4):
                                        b_k_1: T.let = p_k[x_15 + k * 64 + (y * 4 + u)]
                                        acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector_4 * b_k_1
                                for u in T.unroll(4):
                                    b_part[T.Ramp(x * 16 + (y * 4 + u) * 64, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                        # x_107 = mul [64]
                        for m in range(4):
                            x_106: T.let = x_101 * 16 * 16 + x_29[T.Ramp(m * 16, 1, 16)] * T.int64(256) + x_22[T.Ramp(m * 16, 1, 16)] * T.int64(16) + T.Cast("int64x16", x_20[T.Ramp(m * 16, 1, 16)])
                            x_107[T.Ramp(m * 16, 1, 16)] = x_106 * 64
                        for m in range(4):
                            for n in range(4):
                                for u in T.unroll(8):
                                    block_low[T.Ramp(u * 16, 1, 16)] = b_part[T.Ramp(m * 16 + (n * 16 + u) * 64, 1, 16)] * 0.1
                                for u in T.unroll(8):
                                    block_high[T.Ramp(u * 16, 1, 16)] = b_part[T.Ramp(m * 16 + (n * 16 + (u + 8)) * 64, 1, 16)] * 0.1
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
                                    if x_23[m * 16 + u] != 0:
                                        p_d_q_parts[T.Ramp(x_107[m * 16 + u] + n * 16, 1, 16)] = block_low[T.Ramp(u * 16, 1, 16)]
                                for u in T.unroll(8):
                                    if x_23[m * 16 + (u + 8)] != 0:
                                        p_d_q_parts[T.Ramp(x_107[m * 16 + (u + 8)] + n * 16, 1, 16)] = block_high[T.Ramp(u * 16, 1, 16)]
                    x_113: T.let = T.Cast("int64", i_batch * Lkv) + T.Cast("int64", i_work * 64)
                    x_116: T.let = x_113 * 64
                    for m in range(64):
                        for n in range(4):
                            p_d_k[T.Ramp(x_116 + m * 64 + n * 16, 1, 16)] = b_dk_1[T.Ramp(m * 64 + n * 16, 1, 16)] * 0.1
                    for m in range(64):
                        for n in range(4):
                            p_d_v[T.Ramp(x_116 + m * 64 + n * 16, 1, 16)] = b_dv_1[T.Ramp(m * 64 + n * 16, 1, 16)]

    @T.prim_func
    def sum_d_q(
        d_q_parts_ptr: T.handle,
        indices_ptr: T.handle,
        d_q_ptr: T.handle,
        R: T.int32,
        L: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (L, 1, B)
        n_d_q_parts = T.int64()
        n_indices = T.int64()
        n_d_q = T.int64()
        p_d_q_parts = T.match_buffer(d_q_parts_ptr, (n_d_q_parts,), "float32", align=4)
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=4)
        p_d_q = T.match_buffer(d_q_ptr, (n_d_q,), "float32", align=4)
        for tid in T.parallel(2):
            b_sum_1 = T.alloc_buffer((1024,), "float32", scope="global")  # [16, 64]
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_token: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_5: T.let = (T.Cast("int64", i_batch * R) + T.Cast("int64", i_token)) * 16
                x_12: T.let = T.Cast("int64", i_batch) * T.Cast("int64", L) + T.Cast("int64", i_token)
                x_13: T.let = x_12 * 16
                for m in range(16):
                    for n in range(4):
                        b_sum_1[T.Ramp(m * 64 + n * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                for i_slot in range(16):
                    b_indices: T.let = p_indices[x_5 + T.Cast("int64", i_slot)]
                    x_7: T.let = b_indices >= 0
                    x_15: T.let = (x_13 + T.Cast("int64", i_slot)) * 16
                    # b_sum_1 = add [16, 64]
                    for m in range(16):
                        for n in range(4):
                            b_part: T.let = T.if_then_else(x_7, p_d_q_parts[T.Ramp(x_15 * 64 + m * 64 + n * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                            b_sum_1[T.Ramp(m * 64 + n * 16, 1, 16)] = b_sum_1[T.Ramp(m * 64 + n * 16, 1, 16)] + b_part
                x_24: T.let = (T.Cast("int64", i_batch * L) + T.Cast("int64", i_token)) * 16
                for m in range(16):
                    for n in range(4):
                        p_d_q[T.Ramp(x_24 * 64 + m * 64 + n * 16, 1, 16)] = b_sum_1[T.Ramp(m * 64 + n * 16, 1, 16)]
