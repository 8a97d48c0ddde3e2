"""Generated for tvm:znver4; schedule: index_blocks=8."""

from tvm.script import ir as I
from tvm.script import tirx as T


@I.ir_module
class Module:
    @T.prim_func
    def count_pairs(
        indices_ptr: T.handle,
        counts_ptr: T.handle,
        n_blocks: T.int32,
        C: T.int32,
        block_rows: T.int32,
        R: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (max(min(cdiv(R, 16), 8), 1), 1, B)
        n_indices = T.int64()
        n_counts = T.int64()
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=4)
        p_counts = T.match_buffer(counts_ptr, (n_counts,), "int32", align=4)
        for tid in T.parallel(2):
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_work: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_4: T.let = T.Cast("int64", i_batch) * T.Cast("int64", n_blocks) + T.Cast("int64", i_work)
                x_5: T.let = x_4 * T.Cast("int64", C)
                x_6: T.let = i_work * block_rows
                last: T.let = T.min(x_6 + block_rows, R)
                x_9: T.let = T.Cast("int64", i_batch * R)
                for i_row_step in range(last - x_6):
                    i_row: T.let = x_6 + i_row_step
                    x_13: T.let = (x_9 + T.Cast("int64", i_row)) * 16
                    for m in range(16):
                        if p_indices[x_13 + m] >= 0:
                            p_counts[x_5 + T.Cast("int64", p_indices[x_13 + m])] = p_counts[x_5 + T.Cast("int64", p_indices[x_13 + m])] + 1

    @T.prim_func
    def prefix_blocks(
        counts_ptr: T.handle,
        totals_ptr: T.handle,
        C: T.int32,
        n_blocks: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (cdiv(C, 128), 1, B)
        n_counts = T.int64()
        n_totals = T.int64()
        p_counts = T.match_buffer(counts_ptr, (n_counts,), "int32", align=4)
        p_totals = T.match_buffer(totals_ptr, (n_totals,), "int32", align=4)
        for tid in T.parallel(2):
            x_2 = T.alloc_buffer((128,), "int32", scope="global")
            b_sum_1 = T.alloc_buffer((128,), "int32", scope="global")
            x_12 = T.alloc_buffer((128,), "int32", scope="global")
            b_count = T.alloc_buffer((128,), "int32", scope="global")
            x_22 = T.alloc_buffer((128,), "int32", scope="global")
            b_count_1 = T.alloc_buffer((128,), "int32", scope="global")
            x_32 = T.alloc_buffer((128,), "int32", scope="global")
            b_count_2 = T.alloc_buffer((128,), "int32", scope="global")
            x_42 = T.alloc_buffer((128,), "int32", scope="global")
            b_count_3 = T.alloc_buffer((128,), "int32", scope="global")
            x_52 = T.alloc_buffer((128,), "int32", scope="global")
            b_count_4 = T.alloc_buffer((128,), "int32", scope="global")
            x_62 = T.alloc_buffer((128,), "int32", scope="global")
            b_count_5 = T.alloc_buffer((128,), "int32", scope="global")
            x_72 = T.alloc_buffer((128,), "int32", scope="global")
            b_count_6 = T.alloc_buffer((128,), "int32", scope="global")
            x_82 = T.alloc_buffer((128,), "int32", scope="global")
            b_count_7 = T.alloc_buffer((128,), "int32", scope="global")
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_work: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_1: T.let = i_work * 128
                # x_2 = lt [128]
                for m in range(8):
                    x_2[T.Ramp(m * 16, 1, 16)] = T.Select(T.Ramp(x_1 + m * 16, 1, 16) < C, T.Broadcast(1, 16), T.Broadcast(0, 16))
                x_7: T.let = T.Cast("int64", i_batch) * T.Cast("int64", n_blocks)
                x_17: T.let = T.Cast("int64", i_batch) * T.Cast("int64", n_blocks)
                x_27: T.let = T.Cast("int64", i_batch) * T.Cast("int64", n_blocks)
                x_37: T.let = T.Cast("int64", i_batch) * T.Cast("int64", n_blocks)
                x_47: T.let = T.Cast("int64", i_batch) * T.Cast("int64", n_blocks)
                x_57: T.let = T.Cast("int64", i_batch) * T.Cast("int64", n_blocks)
                x_67: T.let = T.Cast("int64", i_batch) * T.Cast("int64", n_blocks)
                x_77: T.let = T.Cast("int64", i_batch) * T.Cast("int64", n_blocks)
                for m in range(8):
                    b_sum_1[T.Ramp(m * 16, 1, 16)] = T.Broadcast(0, 16)
                for i_block_step in range((n_blocks + 7) // 8):
                    i_block: T.let = i_block_step * 8
                    x_9: T.let = (x_7 + T.Cast("int64", i_block)) * T.Cast("int64", C)
                    x_11: T.let = i_block < n_blocks
                    # x_12 = and [128]
                    for m in range(8):
                        x_12[T.Ramp(m * 16, 1, 16)] = T.Select((x_2[T.Ramp(m * 16, 1, 16)] != 0) & T.Broadcast(x_11, 16), T.Broadcast(1, 16), T.Broadcast(0, 16))
                    # b_count = load [128]
                    for m in range(8):
                        b_count[T.Ramp(m * 16, 1, 16)] = T.Select(x_12[T.Ramp(m * 16, 1, 16)] != 0, T.masked_load("int32x16", p_counts, T.Ramp(x_9 + T.Cast("int64", x_1) + m * 16, 1, 16), x_12[T.Ramp(m * 16, 1, 16)] != 0), T.Broadcast(0, 16))
                    x_13: T.let = i_block + 1
                    x_19: T.let = (x_17 + T.Cast("int64", x_13)) * T.Cast("int64", C)
                    x_21: T.let = x_13 < n_blocks
                    # x_22 = and [128]
                    for m in range(8):
                        x_22[T.Ramp(m * 16, 1, 16)] = T.Select((x_2[T.Ramp(m * 16, 1, 16)] != 0) & T.Broadcast(x_21, 16), T.Broadcast(1, 16), T.Broadcast(0, 16))
                    # b_count_1 = load [128]
                    for m in range(8):
                        b_count_1[T.Ramp(m * 16, 1, 16)] = T.Select(x_22[T.Ramp(m * 16, 1, 16)] != 0, T.masked_load("int32x16", p_counts, T.Ramp(x_19 + T.Cast("int64", x_1) + m * 16, 1, 16), x_22[T.Ramp(m * 16, 1, 16)] != 0), T.Broadcast(0, 16))
                    x_23: T.let = i_block + 2
                    x_29: T.let = (x_27 + T.Cast("int64", x_23)) * T.Cast("int64", C)
                    x_31: T.let = x_23 < n_blocks
                    # x_32 = and [128]
                    for m in range(8):
                        x_32[T.Ramp(m * 16, 1, 16)] = T.Select((x_2[T.Ramp(m * 16, 1, 16)] != 0) & T.Broadcast(x_31, 16), T.Broadcast(1, 16), T.Broadcast(0, 16))
                    # b_count_2 = load [128]
                    for m in range(8):
                        b_count_2[T.Ramp(m * 16, 1, 16)] = T.Select(x_32[T.Ramp(m * 16, 1, 16)] != 0, T.masked_load("int32x16", p_counts, T.Ramp(x_29 + T.Cast("int64", x_1) + m * 16, 1, 16), x_32[T.Ramp(m * 16, 1, 16)] != 0), T.Broadcast(0, 16))
                    x_33: T.let = i_block + 3
                    x_39: T.let = (x_37 + T.Cast("int64", x_33)) * T.Cast("int64", C)
                    x_41: T.let = x_33 < n_blocks
                    # x_42 = and [128]
                    for m in range(8):
                        x_42[T.Ramp(m * 16, 1, 16)] = T.Select((x_2[T.Ramp(m * 16, 1, 16)] != 0) & T.Broadcast(x_41, 16), T.Broadcast(1, 16), T.Broadcast(0, 16))
                    # b_count_3 = load [128]
                    for m in range(8):
                        b_count_3[T.Ramp(m * 16, 1, 16)] = T.Select(x_42[T.Ramp(m * 16, 1, 16)] != 0, T.masked_load("int32x16", p_counts, T.Ramp(x_39 + T.Cast("int64", x_1) + m * 16, 1, 16), x_42[T.Ramp(m * 16, 1, 16)] != 0), T.Broadcast(0, 16))
                    x_43: T.let = i_block + 4
                    x_49: T.let = (x_47 + T.Cast("int64", x_43)) * T.Cast("int64", C)
                    x_51: T.let = x_43 < n_blocks
                    # x_52 = and [128]
                    for m in range(8):
                        x_52[T.Ramp(m * 16, 1, 16)] = T.Select((x_2[T.Ramp(m * 16, 1, 16)] != 0) & T.Broadcast(x_51, 16), T.Broadcast(1, 16), T.Broadcast(0, 16))
                    # b_count_4 = load [128]
                    for m in range(8):
                        b_count_4[T.Ramp(m * 16, 1, 16)] = T.Select(x_52[T.Ramp(m * 16, 1, 16)] != 0, T.masked_load("int32x16", p_counts, T.Ramp(x_49 + T.Cast("int64", x_1) + m * 16, 1, 16), x_52[T.Ramp(m * 16, 1, 16)] != 0), T.Broadcast(0, 16))
                    x_53: T.let = i_block + 5
                    x_59: T.let = (x_57 + T.Cast("int64", x_53)) * T.Cast("int64", C)
                    x_61: T.let = x_53 < n_blocks
                    # x_62 = and [128]
                    for m in range(8):
                        x_62[T.Ramp(m * 16, 1, 16)] = T.Select((x_2[T.Ramp(m * 16, 1, 16)] != 0) & T.Broadcast(x_61, 16), T.Broadcast(1, 16), T.Broadcast(0, 16))
                    # b_count_5 = load [128]
                    for m in range(8):
                        b_count_5[T.Ramp(m * 16, 1, 16)] = T.Select(x_62[T.Ramp(m * 16, 1, 16)] != 0, T.masked_load("int32x16", p_counts, T.Ramp(x_59 + T.Cast("int64", x_1) + m * 16, 1, 16), x_62[T.Ramp(m * 16, 1, 16)] != 0), T.Broadcast(0, 16))
                    x_63: T.let = i_block + 6
                    x_69: T.let = (x_67 + T.Cast("int64", x_63)) * T.Cast("int64", C)
                    x_71: T.let = x_63 < n_blocks
                    # x_72 = and [128]
                    for m in range(8):
                        x_72[T.Ramp(m * 16, 1, 16)] = T.Select((x_2[T.Ramp(m * 16, 1, 16)] != 0) & T.Broadcast(x_71, 16), T.Broadcast(1, 16), T.Broadcast(0, 16))
                    # b_count_6 = load [128]
                    for m in range(8):
                        b_count_6[T.Ramp(m * 16, 1, 16)] = T.Select(x_72[T.Ramp(m * 16, 1, 16)] != 0, T.masked_load("int32x16", p_counts, T.Ramp(x_69 + T.Cast("int64", x_1) + m * 16, 1, 16), x_72[T.Ramp(m * 16, 1, 16)] != 0), T.Broadcast(0, 16))
                    x_73: T.let = i_block + 7
                    x_79: T.let = (x_77 + T.Cast("int64", x_73)) * T.Cast("int64", C)
                    x_81: T.let = x_73 < n_blocks
                    # x_82 = and [128]
                    for m in range(8):
                        x_82[T.Ramp(m * 16, 1, 16)] = T.Select((x_2[T.Ramp(m * 16, 1, 16)] != 0) & T.Broadcast(x_81, 16), T.Broadcast(1, 16), T.Broadcast(0, 16))
                    # b_count_7 = load [128]
                    for m in range(8):
                        b_count_7[T.Ramp(m * 16, 1, 16)] = T.Select(x_82[T.Ramp(m * 16, 1, 16)] != 0, T.masked_load("int32x16", p_counts, T.Ramp(x_79 + T.Cast("int64", x_1) + m * 16, 1, 16), x_82[T.Ramp(m * 16, 1, 16)] != 0), T.Broadcast(0, 16))
                    for m in range(8):
                        T.masked_store(p_counts, b_sum_1[T.Ramp(m * 16, 1, 16)], T.Ramp(x_9 + T.Cast("int64", x_1) + m * 16, 1, 16), x_12[T.Ramp(m * 16, 1, 16)] != 0)
                    for m in range(8):
                        x_83: T.let = b_sum_1[T.Ramp(m * 16, 1, 16)] + b_count[T.Ramp(m * 16, 1, 16)]
                        T.masked_store(p_counts, x_83, T.Ramp(x_19 + T.Cast("int64", x_1) + m * 16, 1, 16), x_22[T.Ramp(m * 16, 1, 16)] != 0)
                    for m in range(8):
                        x_84: T.let = b_sum_1[T.Ramp(m * 16, 1, 16)] + b_count[T.Ramp(m * 16, 1, 16)] + b_count_1[T.Ramp(m * 16, 1, 16)]
                        T.masked_store(p_counts, x_84, T.Ramp(x_29 + T.Cast("int64", x_1) + m * 16, 1, 16), x_32[T.Ramp(m * 16, 1, 16)] != 0)
                    for m in range(8):
                        x_85: T.let = b_sum_1[T.Ramp(m * 16, 1, 16)] + b_count[T.Ramp(m * 16, 1, 16)] + b_count_1[T.Ramp(m * 16, 1, 16)] + b_count_2[T.Ramp(m * 16, 1, 16)]
                        T.masked_store(p_counts, x_85, T.Ramp(x_39 + T.Cast("int64", x_1) + m * 16, 1, 16), x_42[T.Ramp(m * 16, 1, 16)] != 0)
                    for m in range(8):
                        x_86: T.let = b_sum_1[T.Ramp(m * 16, 1, 16)] + b_count[T.Ramp(m * 16, 1, 16)] + b_count_1[T.Ramp(m * 16, 1, 16)] + b_count_2[T.Ramp(m * 16, 1, 16)] + b_count_3[T.Ramp(m * 16, 1, 16)]
                        T.masked_store(p_counts, x_86, T.Ramp(x_49 + T.Cast("int64", x_1) + m * 16, 1, 16), x_52[T.Ramp(m * 16, 1, 16)] != 0)
                    for m in range(8):
                        x_87: T.let = b_sum_1[T.Ramp(m * 16, 1, 16)] + b_count[T.Ramp(m * 16, 1, 16)] + b_count_1[T.Ramp(m * 16, 1, 16)] + b_count_2[T.Ramp(m * 16, 1, 16)] + b_count_3[T.Ramp(m * 16, 1, 16)] + b_count_4[T.Ramp(m * 16, 1, 16)]
                        T.masked_store(p_counts, x_87, T.Ramp(x_59 + T.Cast("int64", x_1) + m * 16, 1, 16), x_62[T.Ramp(m * 16, 1, 16)] != 0)
                    for m in range(8):
                        x_88: T.let = b_sum_1[T.Ramp(m * 16, 1, 16)] + b_count[T.Ramp(m * 16, 1, 16)] + b_count_1[T.Ramp(m * 16, 1, 16)] + b_count_2[T.Ramp(m * 16, 1, 16)] + b_count_3[T.Ramp(m * 16, 1, 16)] + b_count_4[T.Ramp(m * 16, 1, 16)] + b_count_5[T.Ramp(m * 16, 1, 16)]
                        T.masked_store(p_counts, x_88, T.Ramp(x_69 + T.Cast("int64", x_1) + m * 16, 1, 16), x_72[T.Ramp(m * 16, 1, 16)] != 0)
                    for m in range(8):
                        x_89: T.let = b_sum_1[T.Ramp(m * 16, 1, 16)] + b_count[T.Ramp(m * 16, 1, 16)] + b_count_1[T.Ramp(m * 16, 1, 16)] + b_count_2[T.Ramp(m * 16, 1, 16)] + b_count_3[T.Ramp(m * 16, 1, 16)] + b_count_4[T.Ramp(m * 16, 1, 16)] + b_count_5[T.Ramp(m * 16, 1, 16)] + b_count_6[T.Ramp(m * 16, 1, 16)]
                        T.masked_store(p_counts, x_89, T.Ramp(x_79 + T.Cast("int64", x_1) + m * 16, 1, 16), x_82[T.Ramp(m * 16, 1, 16)] != 0)
                    # b_sum_1 = add [128]
                    for m in range(8):
                        x_89_1: T.let = b_sum_1[T.Ramp(m * 16, 1, 16)] + b_count[T.Ramp(m * 16, 1, 16)] + b_count_1[T.Ramp(m * 16, 1, 16)] + b_count_2[T.Ramp(m * 16, 1, 16)] + b_count_3[T.Ramp(m * 16, 1, 16)] + b_count_4[T.Ramp(m * 16, 1, 16)] + b_count_5[T.Ramp(m * 16, 1, 16)] + b_count_6[T.Ramp(m * 16, 1, 16)]
                        b_sum_1[T.Ramp(m * 16, 1, 16)] = x_89_1 + b_count_7[T.Ramp(m * 16, 1, 16)]
                x_94: T.let = T.Cast("int64", i_batch) * T.Cast("int64", C)
                for m in range(8):
                    T.masked_store(p_totals, b_sum_1[T.Ramp(m * 16, 1, 16)], T.Ramp(x_94 + T.Cast("int64", x_1) + m * 16, 1, 16), x_2[T.Ramp(m * 16, 1, 16)] != 0)

    @T.prim_func
    def chunk_offsets(
        totals_ptr: T.handle,
        offsets_ptr: T.handle,
        C: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (1, 1, B)
        n_totals = T.int64()
        n_offsets = T.int64()
        p_totals = T.match_buffer(totals_ptr, (n_totals,), "int32", align=4)
        p_offsets = T.match_buffer(offsets_ptr, (n_offsets,), "int32", align=4)
        for tid in T.parallel(2):
            n_pairs_1 = T.alloc_buffer((1,), "int32", scope="global")
            b_total = T.alloc_buffer((256,), "int32", scope="global")
            b_total_cumsum = T.alloc_buffer((256,), "int32", scope="global")
            running = T.alloc_buffer((1,), "int32", scope="global")
            partial_16 = T.alloc_buffer((64,), "int32", scope="global")
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                x_3: T.let = T.Cast("int64", pid) * T.Cast("int64", C)
                x_8: T.let = T.Cast("int64", pid) * T.Cast("int64", C + 1)
                p_offsets[x_8] = 0
                x_13: T.let = x_8 + 1
                n_pairs_1[0] = 0
                for i_chunk_step in range((C + 255) // 256):
                    i_chunk: T.let = i_chunk_step * 256
                    # b_total = load [256]
                    for m in range(16):
                        b_total[T.Ramp(m * 16, 1, 16)] = T.Select(T.Ramp(i_chunk + m * 16, 1, 16) < C, T.masked_load("int32x16", p_totals, T.Ramp(x_3 + T.Cast("int64", i_chunk) + m * 16, 1, 16), T.Ramp(i_chunk + m * 16, 1, 16) < C), T.Broadcast(0, 16))
                    running[0] = 0
                    for m in range(256):
                        running[0] = running[0] + b_total[m]
                        b_total_cumsum[m] = running[0]
                    for m in range(16):
                        T.masked_store(p_offsets, n_pairs_1[0] + b_total_cumsum[T.Ramp(m * 16, 1, 16)], T.Ramp(x_13 + T.Cast("int64", i_chunk) + m * 16, 1, 16), T.Ramp(i_chunk + m * 16, 1, 16) < C)
                    partial_16[T.Ramp(0, 1, 16)] = T.Broadcast(0, 16)
                    partial_16[T.Ramp(16, 1, 16)] = T.Broadcast(0, 16)
                    partial_16[T.Ramp(32, 1, 16)] = T.Broadcast(0, 16)
                    partial_16[T.Ramp(48, 1, 16)] = T.Broadcast(0, 16)
                    for n in range(4):
                        partial_16[T.Ramp(0, 1, 16)] = partial_16[T.Ramp(0, 1, 16)] + b_total[T.Ramp(n * 64, 1, 16)]
                        partial_16[T.Ramp(16, 1, 16)] = partial_16[T.Ramp(16, 1, 16)] + b_total[T.Ramp(n * 64 + 16, 1, 16)]
                        partial_16[T.Ramp(32, 1, 16)] = partial_16[T.Ramp(32, 1, 16)] + b_total[T.Ramp(n * 64 + 32, 1, 16)]
                        partial_16[T.Ramp(48, 1, 16)] = partial_16[T.Ramp(48, 1, 16)] + b_total[T.Ramp(n * 64 + 48, 1, 16)]
                    lanes: T.let = partial_16[T.Ramp(0, 1, 16)] + partial_16[T.Ramp(16, 1, 16)] + (partial_16[T.Ramp(32, 1, 16)] + partial_16[T.Ramp(48, 1, 16)])
                    sum_8: T.let = T.vectorlow("int32x8", lanes) + T.vectorhigh("int32x8", lanes)
                    sum_4: T.let = T.vectorlow("int32x4", sum_8) + T.vectorhigh("int32x4", sum_8)
                    sum_2: T.let = T.vectorlow("int32x2", sum_4) + T.vectorhigh("int32x2", sum_4)
                    b_total_sum: T.let = T.Shuffle([sum_2], [0]) + T.Shuffle([sum_2], [1])
                    x_15: T.let = n_pairs_1[0] + b_total_sum
                    n_pairs_1[0] = x_15

    @T.prim_func
    def place_pairs(
        indices_ptr: T.handle,
        counts_ptr: T.handle,
        offsets_ptr: T.handle,
        order_ptr: T.handle,
        n_blocks: T.int32,
        C: T.int32,
        R: T.int32,
        block_rows: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (max(min(cdiv(R, 16), 8), 1), 1, B)
        n_indices = T.int64()
        n_counts = T.int64()
        n_offsets = T.int64()
        n_order = T.int64()
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=4)
        p_counts = T.match_buffer(counts_ptr, (n_counts,), "int32", align=4)
        p_offsets = T.match_buffer(offsets_ptr, (n_offsets,), "int32", align=4)
        p_order = T.match_buffer(order_ptr, (n_order,), "int32", align=4)
        for tid in T.parallel(2):
            b_chosen = T.alloc_buffer((16,), "int32", scope="global")
            x_27 = T.alloc_buffer((16,), "int32", scope="global")
            b_done = T.alloc_buffer((16,), "int32", scope="global")
            b_twins = T.alloc_buffer((16,), "int32", scope="global")
            for j in range((grid_0 * grid_1 * grid_2 - tid + 1) // 2):
                pid: T.let = j * 2 + tid
                i_work: T.let = T.truncmod(pid, grid_0)
                i_batch: T.let = T.truncdiv(pid, grid_0)
                x_4: T.let = T.Cast("int64", i_batch) * T.Cast("int64", n_blocks) + T.Cast("int64", i_work)
                x_5: T.let = x_4 * T.Cast("int64", C)
                x_10: T.let = T.Cast("int64", i_batch) * T.Cast("int64", C + 1)
                x_15: T.let = T.Cast("int64", i_batch) * T.Cast("int64", R) * 16
                x_16: T.let = i_work * block_rows
                last: T.let = T.min(x_16 + block_rows, R)
                x_19: T.let = T.Cast("int64", i_batch * R)
                for i_row_step in range(last - x_16):
                    i_row: T.let = x_16 + i_row_step
                    x_23: T.let = (x_19 + T.Cast("int64", i_row)) * 16
                    # b_chosen = load [16]
                    b_chosen[T.Ramp(0, 1, 16)] = p_indices[T.Ramp(x_23, 1, 16)]
                    x_25: T.let = i_row * 16
                    # x_27 = ge [16]
                    x_27[T.Ramp(0, 1, 16)] = T.Select(b_chosen[T.Ramp(0, 1, 16)] >= 0, T.Broadcast(1, 16), T.Broadcast(0, 16))
                    # b_done = load [16]
                    for m in range(16):
                        b_done[m] = T.if_then_else(x_27[m] != 0, p_counts[x_5 + T.Cast("int64", b_chosen[m])], 0)
                    # b_twins = sum of x_33 along axis 1
                    for m in range(16):
                        x_33: T.let = T.Select((b_chosen[m] == b_chosen[T.Ramp(0, 1, 16)]) & (T.Ramp(0, 1, 16) < m), T.Broadcast(1, 16), T.Broadcast(0, 16))
                        lanes: T.let = x_33
                        sum_8: T.let = T.vectorlow("int32x8", lanes) + T.vectorhigh("int32x8", lanes)
                        sum_4: T.let = T.vectorlow("int32x4", sum_8) + T.vectorhigh("int32x4", sum_8)
                        sum_2: T.let = T.vectorlow("int32x2", sum_4) + T.vectorhigh("int32x2", sum_4)
                        b_twins[m] = T.Shuffle([sum_2], [0]) + T.Shuffle([sum_2], [1])
                    for m in range(16):
                        if x_27[m] != 0:
                            p_order[x_15 + T.Cast("int64", T.if_then_else(x_27[m] != 0, p_offsets[x_10 + T.Cast("int64", b_chosen[m])], 0)) + T.Cast("int64", b_done[m]) + T.Cast("int64", b_twins[m])] = x_25 + m
                    for m in range(16):
                        if x_27[m] != 0:
                            p_counts[x_5 + T.Cast("int64", b_chosen[m])] = p_counts[x_5 + T.Cast("int64", b_chosen[m])] + 1
