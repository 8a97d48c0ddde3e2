"""Generated for cuda:sm_80; schedule: index_blocks=128."""

from tvm.script import ir as I
from tvm.script import tirx as T

ATOMIC_ADD = r"""
template <typename T>
__device__ __forceinline__ void atomic_add(T* to, T x) { atomicAdd(to, x); }
"""
SHUFFLE_XOR = r"""
// The value of the lane whose number differs in the bits of mask.
template <typename T>
__device__ __forceinline__ T shuffle_xor(T x, int mask) {
  return __shfl_xor_sync(0xffffffffu, x, mask);
}
"""


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
        # grid: (max(min(cdiv(R, 16), 128), 1), 1, B)
        T.func_attr({"global_symbol": "count_pairs", "tirx.noalias": True})
        n_indices = T.int64()
        n_counts = T.int64()
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=16)
        p_counts = T.match_buffer(counts_ptr, (n_counts,), "int32", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        b_chosen = T.alloc_buffer((1,), "int32", scope="local")  # i32[32]
        o_axis0: T.let = tid % 32
        x_1: T.let = pid_2 + pid_1
        x_2: T.let = T.Cast("int64", x_1)
        x_3: T.let = x_2 * T.Cast("int64", n_blocks)
        x_4: T.let = x_3 + T.Cast("int64", pid_0)
        x_5: T.let = x_4 * T.Cast("int64", C)
        x_6: T.let = pid_0 * block_rows
        x_7: T.let = x_6 + block_rows
        last: T.let = T.min(x_7, R)
        for i_row in range(x_6, last):
            x_8: T.let = pid_2 * R
            x_9: T.let = T.Cast("int64", x_8)
            x_10: T.let = x_9 + T.Cast("int64", i_row)
            x_12: T.let = x_10 + T.Cast("int64", pid_1)
            x_13: T.let = x_12 * 32
            b_chosen[0] = p_indices[x_13 + T.Cast("int64", o_axis0)]
            x_15: T.let = i_row * 32
            if tid & 96 == 0:
                if b_chosen[0] >= 0:
                    T.cuda.func_call("atomic_add", T.address_of(p_counts[x_5 + T.Cast("int64", b_chosen[0])]), 1, source_code=ATOMIC_ADD)

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
        T.func_attr({"global_symbol": "prefix_blocks", "tirx.noalias": True})
        n_counts = T.int64()
        n_totals = T.int64()
        p_counts = T.match_buffer(counts_ptr, (n_counts,), "int32", align=16)
        p_totals = T.match_buffer(totals_ptr, (n_totals,), "int32", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        b_sum_1 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        b_count = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        b_count_1 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        b_count_2 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        b_count_3 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        b_count_4 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        b_count_5 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        b_count_6 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        b_count_7 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        x_83 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        x_84 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        x_85 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        x_86 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        x_87 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        x_88 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        x_89 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        x_90 = T.alloc_buffer((1,), "int32", scope="local")  # i32[128]
        o_axis0: T.let = tid
        x: T.let = pid_0 * 128
        b_sum_1[0] = 0
        for i_block_round in range((n_blocks + 7) // 8):
            i_block: T.let = i_block_round * 8
            x_3: T.let = i_block
            x_5: T.let = pid_2 + pid_1
            x_6: T.let = T.Cast("int64", x_5)
            x_7: T.let = x_6 * T.Cast("int64", n_blocks)
            x_8: T.let = x_7 + T.Cast("int64", x_3)
            x_9: T.let = x_8 * T.Cast("int64", C)
            x_11: T.let = x_3 < n_blocks
            b_count[0] = T.if_then_else((x + o_axis0 < C) & x_11, p_counts[x_9 + T.Cast("int64", x + o_axis0)], 0)
            x_13: T.let = i_block + 1
            x_15: T.let = pid_2 + pid_1
            x_16: T.let = T.Cast("int64", x_15)
            x_17: T.let = x_16 * T.Cast("int64", n_blocks)
            x_18: T.let = x_17 + T.Cast("int64", x_13)
            x_19: T.let = x_18 * T.Cast("int64", C)
            x_21: T.let = x_13 < n_blocks
            b_count_1[0] = T.if_then_else((x + o_axis0 < C) & x_21, p_counts[x_19 + T.Cast("int64", x + o_axis0)], 0)
            x_23: T.let = i_block + 2
            x_25: T.let = pid_2 + pid_1
            x_26: T.let = T.Cast("int64", x_25)
            x_27: T.let = x_26 * T.Cast("int64", n_blocks)
            x_28: T.let = x_27 + T.Cast("int64", x_23)
            x_29: T.let = x_28 * T.Cast("int64", C)
            x_31: T.let = x_23 < n_blocks
            b_count_2[0] = T.if_then_else((x + o_axis0 < C) & x_31, p_counts[x_29 + T.Cast("int64", x + o_axis0)], 0)
            x_33: T.let = i_block + 3
            x_35: T.let = pid_2 + pid_1
            x_36: T.let = T.Cast("int64", x_35)
            x_37: T.let = x_36 * T.Cast("int64", n_blocks)
            x_38: T.let = x_37 + T.Cast("int64", x_33)
            x_39: T.let = x_38 * T.Cast("int64", C)
            x_41: T.let = x_33 < n_blocks
            b_count_3[0] = T.if_then_else((x + o_axis0 < C) & x_41, p_counts[x_39 + T.Cast("int64", x + o_axis0)], 0)
            x_43: T.let = i_block + 4
            x_45: T.let = pid_2 + pid_1
            x_46: T.let = T.Cast("int64", x_45)
            x_47: T.let = x_46 * T.Cast("int64", n_blocks)
            x_48: T.let = x_47 + T.Cast("int64", x_43)
            x_49: T.let = x_48 * T.Cast("int64", C)
            x_51: T.let = x_43 < n_blocks
            b_count_4[0] = T.if_then_else((x + o_axis0 < C) & x_51, p_counts[x_49 + T.Cast("int64", x + o_axis0)], 0)
            x_53: T.let = i_block + 5
            x_55: T.let = pid_2 + pid_1
            x_56: T.let = T.Cast("int64", x_55)
            x_57: T.let = x_56 * T.Cast("int64", n_blocks)
            x_58: T.let = x_57 + T.Cast("int64", x_53)
            x_59: T.let = x_58 * T.Cast("int64", C)
            x_61: T.let = x_53 < n_blocks
            b_count_5[0] = T.if_then_else((x + o_axis0 < C) & x_61, p_counts[x_59 + T.Cast("int64", x + o_axis0)], 0)
            x_63: T.let = i_block + 6
            x_65: T.let = pid_2 + pid_1
            x_66: T.let = T.Cast("int64", x_65)
            x_67: T.let = x_66 * T.Cast("int64", n_blocks)
            x_68: T.let = x_67 + T.Cast("int64", x_63)
            x_69: T.let = x_68 * T.Cast("int64", C)
            x_71: T.let = x_63 < n_blocks
            b_count_6[0] = T.if_then_else((x + o_axis0 < C) & x_71, p_counts[x_69 + T.Cast("int64", x + o_axis0)], 0)
            x_73: T.let = i_block + 7
            x_75: T.let = pid_2 + pid_1
            x_76: T.let = T.Cast("int64", x_75)
            x_77: T.let = x_76 * T.Cast("int64", n_blocks)
            x_78: T.let = x_77 + T.Cast("int64", x_73)
            x_79: T.let = x_78 * T.Cast("int64", C)
            x_81: T.let = x_73 < n_blocks
            b_count_7[0] = T.if_then_else((x + o_axis0 < C) & x_81, p_counts[x_79 + T.Cast("int64", x + o_axis0)], 0)
            if (x + o_axis0 < C) & x_11:
                p_counts[x_9 + T.Cast("int64", x + o_axis0)] = b_sum_1[0]
            x_83[0] = b_sum_1[0] + b_count[0]
            if (x + o_axis0 < C) & x_21:
                p_counts[x_19 + T.Cast("int64", x + o_axis0)] = x_83[0]
            x_84[0] = x_83[0] + b_count_1[0]
            if (x + o_axis0 < C) & x_31:
                p_counts[x_29 + T.Cast("int64", x + o_axis0)] = x_84[0]
            x_85[0] = x_84[0] + b_count_2[0]
            if (x + o_axis0 < C) & x_41:
                p_counts[x_39 + T.Cast("int64", x + o_axis0)] = x_85[0]
            x_86[0] = x_85[0] + b_count_3[0]
            if (x + o_axis0 < C) & x_51:
                p_counts[x_49 + T.Cast("int64", x + o_axis0)] = x_86[0]
            x_87[0] = x_86[0] + b_count_4[0]
            if (x + o_axis0 < C) & x_61:
                p_counts[x_59 + T.Cast("int64", x + o_axis0)] = x_87[0]
            x_88[0] = x_87[0] + b_count_5[0]
            if (x + o_axis0 < C) & x_71:
                p_counts[x_69 + T.Cast("int64", x + o_axis0)] = x_88[0]
            x_89[0] = x_88[0] + b_count_6[0]
            if (x + o_axis0 < C) & x_81:
                p_counts[x_79 + T.Cast("int64", x + o_axis0)] = x_89[0]
            x_90[0] = x_89[0] + b_count_7[0]
            b_sum_1[0] = x_90[0]
        x_92: T.let = pid_2 + pid_1
        x_93: T.let = T.Cast("int64", x_92)
        x_94: T.let = x_93 * T.Cast("int64", C)
        if x + o_axis0 < C:
            p_totals[x_94 + T.Cast("int64", x + o_axis0)] = b_sum_1[0]

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
        T.func_attr({"global_symbol": "chunk_offsets", "tirx.noalias": True})
        n_totals = T.int64()
        n_offsets = T.int64()
        p_totals = T.match_buffer(totals_ptr, (n_totals,), "int32", align=16)
        p_offsets = T.match_buffer(offsets_ptr, (n_offsets,), "int32", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        shared = T.alloc_buffer((128,), "uint8", scope="shared.dyn", align=1024)
        s_b_total_sum = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        n_pairs_1 = T.alloc_buffer((1,), "int32", scope="local")
        b_total = T.alloc_buffer((2,), "int32", scope="local")  # i32[256]
        b_total_1 = T.alloc_buffer((8,), "int32", scope="local")  # i32[256]
        b_total_cumsum = T.alloc_buffer((8,), "int32", scope="local")  # i32[256]
        b_total_cumsum_total = T.alloc_buffer((8,), "int32", scope="local")
        other = T.alloc_buffer((1,), "int32", scope="local")
        other_1 = T.alloc_buffer((1,), "int32", scope="local")
        other_2 = T.alloc_buffer((1,), "int32", scope="local")
        other_3 = T.alloc_buffer((1,), "int32", scope="local")
        other_4 = T.alloc_buffer((1,), "int32", scope="local")
        b_total_sum = T.alloc_buffer((1,), "int32", scope="local")
        o_axis0: T.let = tid
        o_axis0_1: T.let = tid % 32
        x_1: T.let = pid_2 + pid_1
        x_2: T.let = T.Cast("int64", x_1)
        x_3: T.let = x_2 * T.Cast("int64", C)
        x_5: T.let = pid_2 + pid_1
        x_6: T.let = T.Cast("int64", x_5)
        x_7: T.let = C + 1
        x_8: T.let = x_6 * T.Cast("int64", x_7)
        if tid == 0:
            p_offsets[x_8] = 0
        n_pairs_1[0] = 0
        for i_chunk_round in range((C + 255) // 256):
            i_chunk: T.let = i_chunk_round * 256
            for r in T.unroll(2):
                b_total[r] = T.if_then_else(i_chunk + (o_axis0 + r * 128) < C, p_totals[x_3 + T.Cast("int64", i_chunk + (o_axis0 + r * 128))], 0)
            for r in T.unroll(8):
                b_total_1[r] = T.if_then_else(i_chunk + (o_axis0_1 + (r % 2 * 128 + r // 2 * 32)) < C, p_totals[x_3 + T.Cast("int64", i_chunk + (o_axis0_1 + (r % 2 * 128 + r // 2 * 32)))], 0)
            for r in T.unroll(8):
                b_total_cumsum[r] = b_total_1[r]
                b_total_cumsum_total[r] = b_total_cumsum[r]
            for r in T.unroll(8):
                other[0] = T.cuda.func_call("shuffle_xor", b_total_cumsum_total[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
                if lane & 1 != 0:
                    b_total_cumsum[r] = b_total_cumsum[r] + other[0]
                b_total_cumsum_total[r] = b_total_cumsum_total[r] + other[0]
            for r in T.unroll(8):
                other_1[0] = T.cuda.func_call("shuffle_xor", b_total_cumsum_total[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
                if lane & 2 != 0:
                    b_total_cumsum[r] = b_total_cumsum[r] + other_1[0]
                b_total_cumsum_total[r] = b_total_cumsum_total[r] + other_1[0]
            for r in T.unroll(8):
                other_2[0] = T.cuda.func_call("shuffle_xor", b_total_cumsum_total[r], 4, source_code=SHUFFLE_XOR, return_type="int32")
                if lane & 4 != 0:
                    b_total_cumsum[r] = b_total_cumsum[r] + other_2[0]
                b_total_cumsum_total[r] = b_total_cumsum_total[r] + other_2[0]
            for r in T.unroll(8):
                other_3[0] = T.cuda.func_call("shuffle_xor", b_total_cumsum_total[r], 8, source_code=SHUFFLE_XOR, return_type="int32")
                if lane & 8 != 0:
                    b_total_cumsum[r] = b_total_cumsum[r] + other_3[0]
                b_total_cumsum_total[r] = b_total_cumsum_total[r] + other_3[0]
            for r in T.unroll(8):
                other_4[0] = T.cuda.func_call("shuffle_xor", b_total_cumsum_total[r], 16, source_code=SHUFFLE_XOR, return_type="int32")
                if lane & 16 != 0:
                    b_total_cumsum[r] = b_total_cumsum[r] + other_4[0]
                b_total_cumsum_total[r] = b_total_cumsum_total[r] + other_4[0]
            for r in T.unroll(4):
                b_total_cumsum[r // 2 * 4 + r % 2 + 2] = b_total_cumsum[r // 2 * 4 + r % 2 + 2] + b_total_cumsum_total[r // 2 * 4 + r % 2]
                b_total_cumsum_total[r // 2 * 4 + r % 2] = b_total_cumsum_total[r // 2 * 4 + r % 2] + b_total_cumsum_total[r // 2 * 4 + r % 2 + 2]
                b_total_cumsum_total[r // 2 * 4 + r % 2 + 2] = b_total_cumsum_total[r // 2 * 4 + r % 2]
            for r in T.unroll(4):
                b_total_cumsum[r // 4 * 8 + r % 4 + 4] = b_total_cumsum[r // 4 * 8 + r % 4 + 4] + b_total_cumsum_total[r // 4 * 8 + r % 4]
                b_total_cumsum_total[r // 4 * 8 + r % 4] = b_total_cumsum_total[r // 4 * 8 + r % 4] + b_total_cumsum_total[r // 4 * 8 + r % 4 + 4]
                b_total_cumsum_total[r // 4 * 8 + r % 4 + 4] = b_total_cumsum_total[r // 4 * 8 + r % 4]
            for r in T.unroll(4):
                b_total_cumsum[r * 2 + 1] = b_total_cumsum[r * 2 + 1] + b_total_cumsum_total[r * 2]
                b_total_cumsum_total[r * 2] = b_total_cumsum_total[r * 2] + b_total_cumsum_total[r * 2 + 1]
                b_total_cumsum_total[r * 2 + 1] = b_total_cumsum_total[r * 2]
            x_13: T.let = x_8 + 1
            if tid & 96 == 0:
                for r in T.unroll(8):
                    if i_chunk + (o_axis0_1 + (r % 2 * 128 + r // 2 * 32)) < C:
                        p_offsets[x_13 + T.Cast("int64", i_chunk + (o_axis0_1 + (r % 2 * 128 + r // 2 * 32)))] = n_pairs_1[0] + b_total_cumsum[r]
            b_total_sum[0] = 0
            for r in T.unroll(2):
                b_total_sum[0] = b_total_sum[0] + b_total[r]
            b_total_sum[0] = b_total_sum[0] + T.cuda.func_call("shuffle_xor", b_total_sum[0], 1, source_code=SHUFFLE_XOR, return_type="int32")
            b_total_sum[0] = b_total_sum[0] + T.cuda.func_call("shuffle_xor", b_total_sum[0], 2, source_code=SHUFFLE_XOR, return_type="int32")
            b_total_sum[0] = b_total_sum[0] + T.cuda.func_call("shuffle_xor", b_total_sum[0], 4, source_code=SHUFFLE_XOR, return_type="int32")
            b_total_sum[0] = b_total_sum[0] + T.cuda.func_call("shuffle_xor", b_total_sum[0], 8, source_code=SHUFFLE_XOR, return_type="int32")
            b_total_sum[0] = b_total_sum[0] + T.cuda.func_call("shuffle_xor", b_total_sum[0], 16, source_code=SHUFFLE_XOR, return_type="int32")
            T.cuda.cta_sync()
            if tid & 31 == 0:
                s_b_total_sum[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = b_total_sum[0]
            T.cuda.cta_sync()
            b_total_sum[0] = s_b_total_sum[0]
            b_total_sum[0] = b_total_sum[0] + s_b_total_sum[5]
            b_total_sum[0] = b_total_sum[0] + s_b_total_sum[10]
            b_total_sum[0] = b_total_sum[0] + s_b_total_sum[15]
            x_15: T.let = n_pairs_1[0] + b_total_sum[0]
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
        # grid: (max(min(cdiv(R, 16), 128), 1), 1, B)
        T.func_attr({"global_symbol": "place_pairs", "tirx.noalias": True})
        n_indices = T.int64()
        n_counts = T.int64()
        n_offsets = T.int64()
        n_order = T.int64()
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=16)
        p_counts = T.match_buffer(counts_ptr, (n_counts,), "int32", align=16)
        p_offsets = T.match_buffer(offsets_ptr, (n_offsets,), "int32", align=16)
        p_order = T.match_buffer(order_ptr, (n_order,), "int32", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        b_chosen = T.alloc_buffer((1,), "int32", scope="local")  # i32[32]
        b_chosen_1 = T.alloc_buffer((1,), "int32", scope="local")  # i32[32]
        b_chosen_2 = T.alloc_buffer((8,), "int32", scope="local")  # i32[32]
        x_27 = T.alloc_buffer((1,), "bool", scope="local")  # bool[32]
        x_27_1 = T.alloc_buffer((1,), "bool", scope="local")  # bool[32]
        b_done = T.alloc_buffer((1,), "int32", scope="local")  # i32[32]
        b_start = T.alloc_buffer((1,), "int32", scope="local")  # i32[32]
        b_twins = T.alloc_buffer((1,), "int32", scope="local")  # i32[32]
        b_twins_halves = T.alloc_buffer((2,), "int32", scope="local")
        o_axis0: T.let = tid % 32
        o_axis0_1: T.let = tid // 4
        o_axis0_2: T.let = tid % 4
        x_1: T.let = pid_2 + pid_1
        x_2: T.let = T.Cast("int64", x_1)
        x_3: T.let = x_2 * T.Cast("int64", n_blocks)
        x_4: T.let = x_3 + T.Cast("int64", pid_0)
        x_5: T.let = x_4 * T.Cast("int64", C)
        x_7: T.let = pid_2 + pid_1
        x_8: T.let = T.Cast("int64", x_7)
        x_9: T.let = C + 1
        x_10: T.let = x_8 * T.Cast("int64", x_9)
        x_12: T.let = pid_2 + pid_1
        x_13: T.let = T.Cast("int64", x_12)
        x_14: T.let = x_13 * T.Cast("int64", R)
        x_15: T.let = x_14 * 32
        x_16: T.let = pid_0 * block_rows
        x_17: T.let = x_16 + block_rows
        last: T.let = T.min(x_17, R)
        for i_row in range(x_16, last):
            x_18: T.let = pid_2 * R
            x_19: T.let = T.Cast("int64", x_18)
            x_20: T.let = x_19 + T.Cast("int64", i_row)
            x_22: T.let = x_20 + T.Cast("int64", pid_1)
            x_23: T.let = x_22 * 32
            b_chosen[0] = p_indices[x_23 + T.Cast("int64", o_axis0)]
            b_chosen_1[0] = p_indices[x_23 + T.Cast("int64", o_axis0_1)]
            for r in T.unroll(8):
                b_chosen_2[r] = p_indices[x_23 + T.Cast("int64", o_axis0_2 + r * 4)]
            x_25: T.let = i_row * 32
            x_27[0] = b_chosen[0] >= 0
            x_27_1[0] = b_chosen_1[0] >= 0
            b_done[0] = T.if_then_else(x_27_1[0], p_counts[x_5 + T.Cast("int64", b_chosen_1[0])], 0)
            b_start[0] = T.if_then_else(x_27_1[0], p_offsets[x_10 + T.Cast("int64", b_chosen_1[0])], 0)
            for r in T.unroll(2):
                b_twins_halves[r] = 0
            for r in T.unroll(8):
                b_twins_halves[r // 4] = b_twins_halves[r // 4] + T.Select((b_chosen_1[0] == b_chosen_2[r]) & (o_axis0_2 + r * 4 < o_axis0_1), 1, 0)
            b_twins[0] = b_twins_halves[0] + b_twins_halves[1]
            b_twins[0] = b_twins[0] + T.cuda.func_call("shuffle_xor", b_twins[0], 1, source_code=SHUFFLE_XOR, return_type="int32")
            b_twins[0] = b_twins[0] + T.cuda.func_call("shuffle_xor", b_twins[0], 2, source_code=SHUFFLE_XOR, return_type="int32")
            if tid & 3 == 0:
                if x_27_1[0]:
                    p_order[x_15 + T.Cast("int64", b_start[0]) + T.Cast("int64", b_done[0]) + T.Cast("int64", b_twins[0])] = x_25 + o_axis0_1
            T.cuda.cta_sync()
            if tid & 96 == 0:
                if x_27[0]:
                    T.cuda.func_call("atomic_add", T.address_of(p_counts[x_5 + T.Cast("int64", b_chosen[0])]), 1, source_code=ATOMIC_ADD)
            T.cuda.cta_sync()
