"""Generated for tvm:znver4; schedule: tokens=16 chunk_block=16 unroll=4."""

from tvm.script import ir as I
from tvm.script import tirx as T


@I.ir_module
class Module:
    @T.prim_func
    def select(
        q_ptr: T.handle,
        landmarks_ptr: T.handle,
        lo_ptr: T.handle,
        hi_ptr: T.handle,
        indices_ptr: T.handle,
        R: T.int32,
        C: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (cdiv(R, 16), 1, B)
        n_q = T.int64()
        n_landmarks = T.int64()
        n_lo = T.int64()
        n_hi = T.int64()
        n_indices = T.int64()
        p_q = T.match_buffer(q_ptr, (n_q,), "float32", align=4)
        p_landmarks = T.match_buffer(landmarks_ptr, (n_landmarks,), "float32", align=4)
        p_lo = T.match_buffer(lo_ptr, (n_lo,), "int32", align=4)
        p_hi = T.match_buffer(hi_ptr, (n_hi,), "int32", align=4)
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=4)
        for tid in T.parallel(2):
            x_2 = T.alloc_buffer((16,), "int32", scope="global")
            b_lo = T.alloc_buffer((16,), "int32", scope="global")
            b_hi = T.alloc_buffer((16,), "int32", scope="global")
            b_q = T.alloc_buffer((2048,), "float32", scope="global")  # [16, 128], transposed
            b_best_1 = T.alloc_buffer((256,), "int64", scope="global")  # [16, 16], transposed
            b_lmk = T.alloc_buffer((2048,), "float32", scope="global")  # [16, 128]
            b_dot = T.alloc_buffer((256,), "float32", scope="global")  # [16, 16], transposed
            b_none = T.alloc_buffer((256,), "int64", scope="global")  # [16, 16], transposed
            block_low = T.alloc_buffer((128,), "float32", scope="global")
            block_high = T.alloc_buffer((128,), "float32", scope="global")
            block_next_low = T.alloc_buffer((128,), "float32", scope="global")
            block_next_high = T.alloc_buffer((128,), "float32", scope="global")
            acc = T.alloc_buffer((64,), "float32", scope="global")
            fresh_16 = T.alloc_buffer((64,), "int64", scope="global")
            block_low_1 = T.alloc_buffer((128,), "int32", scope="global")
            block_high_1 = T.alloc_buffer((128,), "int32", scope="global")
            block_next_low_1 = T.alloc_buffer((128,), "int32", scope="global")
            block_next_high_1 = T.alloc_buffer((128,), "int32", scope="global")
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_tile: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_1: T.let = i_tile * 16
                # x_2 = lt [16]
                x_2[T.Ramp(0, 1, 16)] = T.Select(T.Ramp(x_1, 1, 16) < R, T.Broadcast(1, 16), T.Broadcast(0, 16))
                x_4: T.let = T.Cast("int64", i_batch * R)
                x_7: T.let = T.Cast("int64", i_batch * R)
                # b_lo = load [16]
                b_lo[T.Ramp(0, 1, 16)] = T.Select(x_2[T.Ramp(0, 1, 16)] != 0, T.masked_load("int32x16", p_lo, T.Ramp(x_7 + T.Cast("int64", x_1), 1, 16), x_2[T.Ramp(0, 1, 16)] != 0), T.Broadcast(0, 16))
                # b_hi = load [16]
                b_hi[T.Ramp(0, 1, 16)] = T.Select(x_2[T.Ramp(0, 1, 16)] != 0, T.masked_load("int32x16", p_hi, T.Ramp(x_7 + T.Cast("int64", x_1), 1, 16), x_2[T.Ramp(0, 1, 16)] != 0), T.Broadcast(0, 16))
                # b_q = load [16, 128]
                for m in range(8):
                    for u in T.unroll(8):
                        block_low[T.Ramp(u * 16, 1, 16)] = T.if_then_else(x_2[u] != 0, p_q[T.Ramp((x_4 + T.Cast("int64", x_1)) * 128 + u * 128 + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                    for u in T.unroll(8):
                        block_high[T.Ramp(u * 16, 1, 16)] = T.if_then_else(x_2[u + 8] != 0, p_q[T.Ramp((x_4 + T.Cast("int64", x_1)) * 128 + (u + 8) * 128 + m * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
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
                x_18: T.let = T.Select(b_hi[T.Ramp(0, 1, 16)] > b_lo[T.Ramp(0, 1, 16)], b_lo[T.Ramp(0, 1, 16)], T.Broadcast(C, 16))
                lanes: T.let = x_18
                min_8: T.let = T.min(T.vectorlow("int32x8", lanes), T.vectorhigh("int32x8", lanes))
                min_4: T.let = T.min(T.vectorlow("int32x4", min_8), T.vectorhigh("int32x4", min_8))
                min_2: T.let = T.min(T.vectorlow("int32x2", min_4), T.vectorhigh("int32x2", min_4))
                first: T.let = T.min(T.Shuffle([min_2], [0]), T.Shuffle([min_2], [1]))
                lanes_1: T.let = b_hi[T.Ramp(0, 1, 16)]
                max_8: T.let = T.max(T.vectorlow("int32x8", lanes_1), T.vectorhigh("int32x8", lanes_1))
                max_4: T.let = T.max(T.vectorlow("int32x4", max_8), T.vectorhigh("int32x4", max_8))
                max_2: T.let = T.max(T.vectorlow("int32x2", max_4), T.vectorhigh("int32x2", max_4))
                last: T.let = T.max(T.Shuffle([max_2], [0]), T.Shuffle([max_2], [1]))
                x_20: T.let = first // 16 * 16
                x_27: T.let = T.Cast("int64", i_batch * C)
                for n in range(16):
                    b_best_1[T.Ramp(n * 16, 1, 16)] = T.Broadcast(T.int64(-9223372036854775807), 16)
                for i_chunk_step in range((last - x_20 + 15) // 16):
                    i_chunk: T.let = x_20 + i_chunk_step * 16
                    # b_lmk = load [16, 128]
                    for m in range(16):
                        x_21: T.let = i_chunk + m
                        x_25: T.let = x_21 < C
                        for n in range(8):
                            b_lmk[T.Ramp(m * 128 + n * 16, 1, 16)] = T.if_then_else(x_25, p_landmarks[T.Ramp((x_27 + T.Cast("int64", i_chunk)) * 128 + m * 128 + n * 16, 1, 16)], T.Broadcast(T.float32(0.0), 16))
                    # b_dot = b_q [16, 128] @ b_lmk_t [128, 16] + b_score
                    for y in range(4):
                        for u in T.unroll(4):
                            acc[T.Ramp(u * 16, 1, 16)] = T.Broadcast(T.float32(0.0), 16)
                        for k in range(128):
                            vector: T.let = b_q[T.Ramp(k * 16, 1, 16)]
                            for u in T.unroll(4):
                                acc[T.Ramp(u * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)] + vector * b_lmk[(y * 4 + u) * 128 + k]
                        for u in T.unroll(4):
                            b_dot[T.Ramp((y * 4 + u) * 16, 1, 16)] = acc[T.Ramp(u * 16, 1, 16)]
                    # b_best_1: the 16 largest of itself and b_key, per row
                    for n in range(4):
                        x_21_1: T.let = i_chunk + n * 4
                        x_37: T.let = b_dot[T.Ramp(n * 4 * 16, 1, 16)] * 0.1
                        b_value: T.let = T.Select(x_37 == 0.0, T.Broadcast(T.float32(0.0), 16), x_37)
                        x_42: T.let = T.reinterpret("int32x16", b_value)
                        x_52: T.let = T.Cast("int64x16", x_42 ^ x_42 >> 31 & 2147483647) << 32 | T.Cast("int64", i_chunk) + n * 4
                        b_key: T.let = T.Select((x_21_1 >= b_lo[T.Ramp(0, 1, 16)]) & (x_21_1 < b_hi[T.Ramp(0, 1, 16)]) & (b_value > T.float32("-inf")), x_52, T.Broadcast(T.int64(-9223372036854775807), 16))
                        fresh_16[T.Ramp(0, 1, 16)] = b_key
                        x_21_2: T.let = i_chunk + (n * 4 + 1)
                        x_37_1: T.let = b_dot[T.Ramp((n * 4 + 1) * 16, 1, 16)] * 0.1
                        b_value_1: T.let = T.Select(x_37_1 == 0.0, T.Broadcast(T.float32(0.0), 16), x_37_1)
                        x_42_1: T.let = T.reinterpret("int32x16", b_value_1)
                        x_52_1: T.let = T.Cast("int64x16", x_42_1 ^ x_42_1 >> 31 & 2147483647) << 32 | T.Cast("int64", i_chunk) + (n * 4 + 1)
                        b_key_1: T.let = T.Select((x_21_2 >= b_lo[T.Ramp(0, 1, 16)]) & (x_21_2 < b_hi[T.Ramp(0, 1, 16)]) & (b_value_1 > T.float32("-inf")), x_52_1, T.Broadcast(T.int64(-9223372036854775807), 16))
                        fresh_16[T.Ramp(16, 1, 16)] = b_key_1
                        x_21_3: T.let = i_chunk + (n * 4 + 2)
                        x_37_2: T.let = b_dot[T.Ramp((n * 4 + 2) * 16, 1, 16)] * 0.1
                        b_value_2: T.let = T.Select(x_37_2 == 0.0, T.Broadcast(T.float32(0.0), 16), x_37_2)
                        x_42_2: T.let = T.reinterpret("int32x16", b_value_2)
                        x_52_2: T.let = T.Cast("int64x16", x_42_2 ^ x_42_2 >> 31 & 2147483647) << 32 | T.Cast("int64", i_chunk) + (n * 4 + 2)
                        b_key_2: T.let = T.Select((x_21_3 >= b_lo[T.Ramp(0, 1, 16)]) & (x_21_3 < b_hi[T.Ramp(0, 1, 16)]) & (b_value_2 > T.float32("-inf")), x_52_2, T.Broadcast(T.int64(-9223372036854775807), 16))
                        fresh_16[T.Ramp(32, 1, 16)] = b_key_2
                        x_21_4: T.let = i_chunk + (n * 4 + 3)
                        x_37_3: T.let = b_dot[T.Ramp((n * 4 + 3) * 16, 1, 16)] * 0.1
                        b_value_3: T.let = T.Select(x_37_3 == 0.0, T.Broadcast(T.float32(0.0), 16), x_37_3)
                        x_42_3: T.let = T.reinterpret("int32x16", b_value_3)
                        x_52_3: T.let = T.Cast("int64x16", x_42_3 ^ x_42_3 >> 31 & 2147483647) << 32 | T.Cast("int64", i_chunk) + (n * 4 + 3)
                        b_key_3: T.let = T.Select((x_21_4 >= b_lo[T.Ramp(0, 1, 16)]) & (x_21_4 < b_hi[T.Ramp(0, 1, 16)]) & (b_value_3 > T.float32("-inf")), x_52_3, T.Broadcast(T.int64(-9223372036854775807), 16))
                        fresh_16[T.Ramp(48, 1, 16)] = b_key_3
                        if T.call_llvm_pure_intrin("bool", "llvm.vector.reduce.or", (fresh_16[T.Ramp(0, 1, 16)] > b_best_1[T.Ramp(240, 1, 16)]) | (fresh_16[T.Ramp(16, 1, 16)] > b_best_1[T.Ramp(240, 1, 16)]) | (fresh_16[T.Ramp(32, 1, 16)] > b_best_1[T.Ramp(240, 1, 16)]) | (fresh_16[T.Ramp(48, 1, 16)] > b_best_1[T.Ramp(240, 1, 16)])):
                            for k in range(16):
                                best: T.let = T.max(b_best_1[T.Ramp(k * 16, 1, 16)], fresh_16[T.Ramp(0, 1, 16)])
                                fresh_16[T.Ramp(0, 1, 16)] = T.min(b_best_1[T.Ramp(k * 16, 1, 16)], fresh_16[T.Ramp(0, 1, 16)])
                                best_1: T.let = T.max(best, fresh_16[T.Ramp(16, 1, 16)])
                                fresh_16[T.Ramp(16, 1, 16)] = T.min(best, fresh_16[T.Ramp(16, 1, 16)])
                                best_2: T.let = T.max(best_1, fresh_16[T.Ramp(32, 1, 16)])
                                fresh_16[T.Ramp(32, 1, 16)] = T.min(best_1, fresh_16[T.Ramp(32, 1, 16)])
                                best_3: T.let = T.max(best_2, fresh_16[T.Ramp(48, 1, 16)])
                                fresh_16[T.Ramp(48, 1, 16)] = T.min(best_2, fresh_16[T.Ramp(48, 1, 16)])
                                b_best_1[T.Ramp(k * 16, 1, 16)] = best_3
                # b_none = full [16, 16]
                for n in range(16):
                    b_none[T.Ramp(n * 16, 1, 16)] = T.Broadcast(T.int64(-1), 16)
                # b_none: the 16 largest of itself and b_chunk, per row
                for n in range(4):
                    b_chunk: T.let = T.Select(b_best_1[T.Ramp(n * 4 * 16, 1, 16)] > T.int64(-9223372036854775807), b_best_1[T.Ramp(n * 4 * 16, 1, 16)] & T.int64(4294967295), T.Broadcast(T.int64(-1), 16))
                    fresh_16[T.Ramp(0, 1, 16)] = b_chunk
                    b_chunk_1: T.let = T.Select(b_best_1[T.Ramp((n * 4 + 1) * 16, 1, 16)] > T.int64(-9223372036854775807), b_best_1[T.Ramp((n * 4 + 1) * 16, 1, 16)] & T.int64(4294967295), T.Broadcast(T.int64(-1), 16))
                    fresh_16[T.Ramp(16, 1, 16)] = b_chunk_1
                    b_chunk_2: T.let = T.Select(b_best_1[T.Ramp((n * 4 + 2) * 16, 1, 16)] > T.int64(-9223372036854775807), b_best_1[T.Ramp((n * 4 + 2) * 16, 1, 16)] & T.int64(4294967295), T.Broadcast(T.int64(-1), 16))
                    fresh_16[T.Ramp(32, 1, 16)] = b_chunk_2
                    b_chunk_3: T.let = T.Select(b_best_1[T.Ramp((n * 4 + 3) * 16, 1, 16)] > T.int64(-9223372036854775807), b_best_1[T.Ramp((n * 4 + 3) * 16, 1, 16)] & T.int64(4294967295), T.Broadcast(T.int64(-1), 16))
                    fresh_16[T.Ramp(48, 1, 16)] = b_chunk_3
                    if T.call_llvm_pure_intrin("bool", "llvm.vector.reduce.or", (fresh_16[T.Ramp(0, 1, 16)] > b_none[T.Ramp(240, 1, 16)]) | (fresh_16[T.Ramp(16, 1, 16)] > b_none[T.Ramp(240, 1, 16)]) | (fresh_16[T.Ramp(32, 1, 16)] > b_none[T.Ramp(240, 1, 16)]) | (fresh_16[T.Ramp(48, 1, 16)] > b_none[T.Ramp(240, 1, 16)])):
                        for k in range(16):
                            best_4: T.let = T.max(b_none[T.Ramp(k * 16, 1, 16)], fresh_16[T.Ramp(0, 1, 16)])
                            fresh_16[T.Ramp(0, 1, 16)] = T.min(b_none[T.Ramp(k * 16, 1, 16)], fresh_16[T.Ramp(0, 1, 16)])
                            best_5: T.let = T.max(best_4, fresh_16[T.Ramp(16, 1, 16)])
                            fresh_16[T.Ramp(16, 1, 16)] = T.min(best_4, fresh_16[T.Ramp(16, 1, 16)])
                            best_6: T.let = T.max(best_5, fresh_16[T.Ramp(32, 1, 16)])
                            fresh_16[T.Ramp(32, 1, 16)] = T.min(best_5, fresh_16[T.Ramp(32, 1, 16)])
                            best_7: T.let = T.max(best_6, fresh_16[T.Ramp(48, 1, 16)])
                            fresh_16[T.Ramp(48, 1, 16)] = T.min(best_6, fresh_16[T.Ramp(48, 1, 16)])
                            b_none[T.Ramp(k * 16, 1, 16)] = best_7
                for u in T.unroll(8):
                    block_low_1[T.Ramp(u * 16, 1, 16)] = T.Cast("int32x16", b_none[T.Ramp(u * 16, 1, 16)])
                for u in T.unroll(8):
                    block_high_1[T.Ramp(u * 16, 1, 16)] = T.Cast("int32x16", b_none[T.Ramp((u + 8) * 16, 1, 16)])
                for r in T.unroll(2):
                    for u in T.unroll(4):
                        block_next_low_1[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_low_1[T.Ramp(u * 16, 1, 16)], block_high_1[T.Ramp(u * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                        block_next_low_1[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_low_1[T.Ramp(u * 16, 1, 16)], block_high_1[T.Ramp(u * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                    for u in T.unroll(4):
                        block_next_high_1[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_low_1[T.Ramp((u + 4) * 16, 1, 16)], block_high_1[T.Ramp((u + 4) * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                        block_next_high_1[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_low_1[T.Ramp((u + 4) * 16, 1, 16)], block_high_1[T.Ramp((u + 4) * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                    for u in T.unroll(4):
                        block_low_1[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_next_low_1[T.Ramp(u * 16, 1, 16)], block_next_high_1[T.Ramp(u * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                        block_low_1[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_next_low_1[T.Ramp(u * 16, 1, 16)], block_next_high_1[T.Ramp(u * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                    for u in T.unroll(4):
                        block_high_1[T.Ramp(u * 2 * 16, 1, 16)] = T.Shuffle([block_next_low_1[T.Ramp((u + 4) * 16, 1, 16)], block_next_high_1[T.Ramp((u + 4) * 16, 1, 16)]], [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23])
                        block_high_1[T.Ramp((u * 2 + 1) * 16, 1, 16)] = T.Shuffle([block_next_low_1[T.Ramp((u + 4) * 16, 1, 16)], block_next_high_1[T.Ramp((u + 4) * 16, 1, 16)]], [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31])
                for u in T.unroll(8):
                    if x_2[u] != 0:
                        p_indices[T.Ramp((x_4 + T.Cast("int64", x_1)) * 16 + u * 16, 1, 16)] = block_low_1[T.Ramp(u * 16, 1, 16)]
                for u in T.unroll(8):
                    if x_2[u + 8] != 0:
                        p_indices[T.Ramp((x_4 + T.Cast("int64", x_1)) * 16 + (u + 8) * 16, 1, 16)] = block_high_1[T.Ramp(u * 16, 1, 16)]
