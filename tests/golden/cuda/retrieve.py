"""Generated for cuda:sm_80; schedule: tokens=32 stages=1."""

from tvm.script import ir as I
from tvm.script import tirx as T

COPY_16 = r"""
// 16 bytes in one access.
__device__ __forceinline__ void copy_16(void* to, const void* from) {
  *(uint4*)to = *(const uint4*)from;
}
"""
LOAD_MATRIX = r"""
// Four 8 x 8 matrices of 2-byte elements, as they lie: lane i points to row i % 8 of matrix i / 8.
__device__ __forceinline__ void load_matrix(void* to, const void* row) {
  unsigned* x = (unsigned*)to;
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
      : "r"((unsigned)__cvta_generic_to_shared(row))
      : "memory");
}
"""
SHUFFLE_XOR = r"""
// The value of the lane whose number differs in the bits of mask.
template <typename T>
__device__ __forceinline__ T shuffle_xor(T x, int mask) {
  return __shfl_xor_sync(0xffffffffu, x, mask);
}
"""
MMA_BF16 = r"""
// acc[16, 8] += a[16, 16] b[16, 8] of a warp.
__device__ __forceinline__ void mma_bf16(float* acc, const void* a, const void* b) {
  const unsigned* x = (const unsigned*)a;
  const unsigned* y = (const unsigned*)b;
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
}
"""
EXP2_APPROX = r"""
// 2 to the power x within 2 units in the last place, subnormal results as 0.
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
"""


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
        # grid: (cdiv(R, 32), 1, B)
        T.func_attr({"global_symbol": "select", "tirx.noalias": True})
        n_q = T.int64()
        n_landmarks = T.int64()
        n_lo = T.int64()
        n_hi = T.int64()
        n_indices = T.int64()
        p_q = T.match_buffer(q_ptr, (n_q,), "bfloat16", align=16)
        p_landmarks = T.match_buffer(landmarks_ptr, (n_landmarks,), "bfloat16", align=16)
        p_lo = T.match_buffer(lo_ptr, (n_lo,), "int32", align=16)
        p_hi = T.match_buffer(hi_ptr, (n_hi,), "int32", align=16)
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        shared = T.alloc_buffer((8704,), "uint8", scope="shared.dyn", align=1024)
        s_b_q = T.decl_buffer((4352,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [32, 128]
        s_lmk = T.decl_buffer((4352,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [32, 128]
        s_b_key = T.decl_buffer((1088,), "int64", data=shared.data, byte_offset=0, scope="shared.dyn")  # [32, 32]
        s_b_top_1 = T.decl_buffer((1088,), "int64", data=shared.data, byte_offset=0, scope="shared.dyn")  # [32, 32]
        b_lo = T.alloc_buffer((2,), "int32", scope="local")  # i32[32]
        b_lo_1 = T.alloc_buffer((1,), "int32", scope="local")  # i32[32]
        b_hi = T.alloc_buffer((2,), "int32", scope="local")  # i32[32]
        b_hi_1 = T.alloc_buffer((1,), "int32", scope="local")  # i32[32]
        b_q = T.alloc_buffer((32,), "bfloat16", scope="local")  # bf16[32, 128]
        b_q_1 = T.alloc_buffer((64,), "bfloat16", scope="local")  # bf16[32, 128]
        first = T.alloc_buffer((1,), "int32", scope="local")
        last = T.alloc_buffer((1,), "int32", scope="local")
        b_best_1 = T.alloc_buffer((8,), "int64", scope="local")  # i64[32, 32]
        b_score_1 = T.alloc_buffer((8,), "float32", scope="local")  # fp32[32, 32]
        b_lmk = T.alloc_buffer((32,), "bfloat16", scope="local")  # bf16[32, 128]
        b_lmk_t_part = T.alloc_buffer((8,), "bfloat16", scope="local")
        x_37 = T.alloc_buffer((8,), "float32", scope="local")  # fp32[32, 32]
        b_value = T.alloc_buffer((8,), "float32", scope="local")  # fp32[32, 32]
        x_42 = T.alloc_buffer((8,), "int32", scope="local")  # i32[32, 32]
        b_key = T.alloc_buffer((8,), "int64", scope="local")  # i64[32, 32]
        b_key_1 = T.alloc_buffer((8,), "int64", scope="local")  # i64[32, 32]
        b_top = T.alloc_buffer((8,), "int64", scope="local")  # i64[32, 32]
        b_top_new = T.alloc_buffer((8,), "int64", scope="local")
        low = T.alloc_buffer((1,), "int64", scope="local")
        high = T.alloc_buffer((1,), "int64", scope="local")
        low_1 = T.alloc_buffer((1,), "int64", scope="local")
        high_1 = T.alloc_buffer((1,), "int64", scope="local")
        low_2 = T.alloc_buffer((1,), "int64", scope="local")
        high_2 = T.alloc_buffer((1,), "int64", scope="local")
        other = T.alloc_buffer((1,), "int64", scope="local")
        low_3 = T.alloc_buffer((1,), "int64", scope="local")
        high_3 = T.alloc_buffer((1,), "int64", scope="local")
        low_4 = T.alloc_buffer((1,), "int64", scope="local")
        high_4 = T.alloc_buffer((1,), "int64", scope="local")
        other_1 = T.alloc_buffer((1,), "int64", scope="local")
        other_2 = T.alloc_buffer((1,), "int64", scope="local")
        low_5 = T.alloc_buffer((1,), "int64", scope="local")
        high_5 = T.alloc_buffer((1,), "int64", scope="local")
        low_6 = T.alloc_buffer((1,), "int64", scope="local")
        high_6 = T.alloc_buffer((1,), "int64", scope="local")
        other_3 = T.alloc_buffer((1,), "int64", scope="local")
        other_4 = T.alloc_buffer((1,), "int64", scope="local")
        other_5 = T.alloc_buffer((1,), "int64", scope="local")
        low_7 = T.alloc_buffer((1,), "int64", scope="local")
        high_7 = T.alloc_buffer((1,), "int64", scope="local")
        low_8 = T.alloc_buffer((1,), "int64", scope="local")
        high_8 = T.alloc_buffer((1,), "int64", scope="local")
        other_6 = T.alloc_buffer((1,), "int64", scope="local")
        other_7 = T.alloc_buffer((1,), "int64", scope="local")
        other_8 = T.alloc_buffer((1,), "int64", scope="local")
        low_9 = T.alloc_buffer((1,), "int64", scope="local")
        high_9 = T.alloc_buffer((1,), "int64", scope="local")
        low_10 = T.alloc_buffer((1,), "int64", scope="local")
        high_10 = T.alloc_buffer((1,), "int64", scope="local")
        b_chunk = T.alloc_buffer((8,), "int64", scope="local")  # i64[32, 32]
        b_top_1 = T.alloc_buffer((8,), "int64", scope="local")  # i64[32, 32]
        b_top_1_new = T.alloc_buffer((8,), "int64", scope="local")
        low_11 = T.alloc_buffer((1,), "int64", scope="local")
        high_11 = T.alloc_buffer((1,), "int64", scope="local")
        low_12 = T.alloc_buffer((1,), "int64", scope="local")
        high_12 = T.alloc_buffer((1,), "int64", scope="local")
        low_13 = T.alloc_buffer((1,), "int64", scope="local")
        high_13 = T.alloc_buffer((1,), "int64", scope="local")
        other_9 = T.alloc_buffer((1,), "int64", scope="local")
        low_14 = T.alloc_buffer((1,), "int64", scope="local")
        high_14 = T.alloc_buffer((1,), "int64", scope="local")
        low_15 = T.alloc_buffer((1,), "int64", scope="local")
        high_15 = T.alloc_buffer((1,), "int64", scope="local")
        other_10 = T.alloc_buffer((1,), "int64", scope="local")
        other_11 = T.alloc_buffer((1,), "int64", scope="local")
        low_16 = T.alloc_buffer((1,), "int64", scope="local")
        high_16 = T.alloc_buffer((1,), "int64", scope="local")
        low_17 = T.alloc_buffer((1,), "int64", scope="local")
        high_17 = T.alloc_buffer((1,), "int64", scope="local")
        other_12 = T.alloc_buffer((1,), "int64", scope="local")
        other_13 = T.alloc_buffer((1,), "int64", scope="local")
        other_14 = T.alloc_buffer((1,), "int64", scope="local")
        low_18 = T.alloc_buffer((1,), "int64", scope="local")
        high_18 = T.alloc_buffer((1,), "int64", scope="local")
        low_19 = T.alloc_buffer((1,), "int64", scope="local")
        high_19 = T.alloc_buffer((1,), "int64", scope="local")
        other_15 = T.alloc_buffer((1,), "int64", scope="local")
        other_16 = T.alloc_buffer((1,), "int64", scope="local")
        other_17 = T.alloc_buffer((1,), "int64", scope="local")
        low_20 = T.alloc_buffer((1,), "int64", scope="local")
        high_20 = T.alloc_buffer((1,), "int64", scope="local")
        low_21 = T.alloc_buffer((1,), "int64", scope="local")
        high_21 = T.alloc_buffer((1,), "int64", scope="local")
        b_top_1_1 = T.alloc_buffer((8,), "int64", scope="local")  # i64[32, 32]
        vector = T.alloc_buffer((4,), "int32", scope="local")
        o_axis0: T.let = tid // 4 % 8 + tid // 32 % 2 * 16
        o_axis0_1: T.let = tid % 32
        o_axis0_2: T.let = tid // 16
        o_axis0_3: T.let = tid % 16 * 8
        o_axis1: T.let = tid % 16 * 8
        o_axis0_4: T.let = tid // 32 % 2 * 16
        o_axis0_5: T.let = tid
        o_axis1_1: T.let = tid
        o_axis1_2: T.let = tid // 64 * 16
        o_axis0_6: T.let = tid % 4 * 2 + tid // 64 * 16
        o_axis1_3: T.let = tid % 4 * 2 + tid // 64 * 16
        o_axis0_7: T.let = tid // 8 % 4 + tid // 32 * 8
        o_axis1_4: T.let = tid % 8 * 4
        o_axis0_8: T.let = tid // 8
        o_axis0_9: T.let = tid % 8 * 4
        x: T.let = pid_0 * 32
        x_3: T.let = pid_2 * R
        x_4: T.let = T.Cast("int64", x_3)
        x_6: T.let = pid_2 * R
        x_7: T.let = T.Cast("int64", x_6)
        for r in T.unroll(2):
            b_lo[r] = T.if_then_else(x + (o_axis0 + r * 8) < R, p_lo[x_7 + T.Cast("int64", x + (o_axis0 + r * 8))], 0)
        b_lo_1[0] = T.if_then_else(x + o_axis0_1 < R, p_lo[x_7 + T.Cast("int64", x + o_axis0_1)], 0)
        for r in T.unroll(2):
            b_hi[r] = T.if_then_else(x + (o_axis0 + r * 8) < R, p_hi[x_7 + T.Cast("int64", x + (o_axis0 + r * 8))], 0)
        b_hi_1[0] = T.if_then_else(x + o_axis0_1 < R, p_hi[x_7 + T.Cast("int64", x + o_axis0_1)], 0)
        for r in T.unroll(4):
            for u in T.unroll(8):
                b_q[r * 8 + u] = T.Cast("bfloat16", T.float32(0.0))
            if x + (o_axis0_2 + r * 8) < R:
                T.cuda.func_call("copy_16", T.address_of(b_q[r * 8]), T.address_of(p_q[(x_4 + T.Cast("int64", x + (o_axis0_2 + r * 8)) + T.Cast("int64", pid_1)) * 128 + T.Cast("int64", o_axis0_3)]), source_code=COPY_16)
        for r in T.unroll(4):
            T.cuda.func_call("copy_16", T.address_of(s_b_q[(o_axis0_2 + r * 8) * 136 + o_axis1]), T.address_of(b_q[r * 8]), source_code=COPY_16)
        T.cuda.cta_sync()
        for r in T.unroll(8):
            T.cuda.func_call("load_matrix", T.address_of(b_q_1[r * 8]), T.address_of(s_b_q[(o_axis0_4 + (lane % 8 + lane // 8 % 2 * 8)) * 136 + (r * 16 + lane // 16 % 2 * 8)]), source_code=LOAD_MATRIX)
        first[0] = 2147483647
        first[0] = T.min(first[0], T.Select(b_hi_1[0] > b_lo_1[0], b_lo_1[0], C))
        first[0] = T.min(first[0], T.cuda.func_call("shuffle_xor", first[0], 1, source_code=SHUFFLE_XOR, return_type="int32"))
        first[0] = T.min(first[0], T.cuda.func_call("shuffle_xor", first[0], 2, source_code=SHUFFLE_XOR, return_type="int32"))
        first[0] = T.min(first[0], T.cuda.func_call("shuffle_xor", first[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
        first[0] = T.min(first[0], T.cuda.func_call("shuffle_xor", first[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
        first[0] = T.min(first[0], T.cuda.func_call("shuffle_xor", first[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
        last[0] = -2147483648
        last[0] = T.max(last[0], b_hi_1[0])
        last[0] = T.max(last[0], T.cuda.func_call("shuffle_xor", last[0], 1, source_code=SHUFFLE_XOR, return_type="int32"))
        last[0] = T.max(last[0], T.cuda.func_call("shuffle_xor", last[0], 2, source_code=SHUFFLE_XOR, return_type="int32"))
        last[0] = T.max(last[0], T.cuda.func_call("shuffle_xor", last[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
        last[0] = T.max(last[0], T.cuda.func_call("shuffle_xor", last[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
        last[0] = T.max(last[0], T.cuda.func_call("shuffle_xor", last[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
        x_19: T.let = first[0] // 32
        x_20: T.let = x_19 * 32
        for r in T.unroll(8):
            b_best_1[r] = T.int64(-9223372036854775807)
        for i_chunk_round in range((last[0] - x_20 + 31) // 32):
            i_chunk: T.let = x_20 + i_chunk_round * 32
            x_26: T.let = pid_2 * C
            x_27: T.let = T.Cast("int64", x_26)
            for r in T.unroll(8):
                b_score_1[r] = T.float32(0.0)
            for r in T.unroll(32):
                b_lmk[r] = T.if_then_else(i_chunk + r < C, p_landmarks[(x_27 + T.Cast("int64", i_chunk + r) + T.Cast("int64", pid_1)) * 128 + T.Cast("int64", o_axis0_5)], T.Cast("bfloat16", T.float32(0.0)))
            T.cuda.cta_sync()
            for r in T.unroll(32):
                s_lmk[r * 136 + o_axis1_1] = b_lmk[r]
            # b_dot [32, 32] = b_q [32, 128] @ b_lmk_t [128, 32] + acc
            T.cuda.cta_sync()
            for k in T.unroll(8):
                T.cuda.func_call("load_matrix", T.address_of(b_lmk_t_part[0]), T.address_of(s_lmk[(o_axis1_2 + (lane % 8 + lane // 16 * 8)) * 136 + (k * 16 + lane // 8 % 2 * 8)]), source_code=LOAD_MATRIX)
                T.cuda.func_call("mma_bf16", T.address_of(b_score_1[0]), T.address_of(b_q_1[k * 8]), T.address_of(b_lmk_t_part[0]), source_code=MMA_BF16)
                T.cuda.func_call("mma_bf16", T.address_of(b_score_1[4]), T.address_of(b_q_1[k * 8]), T.address_of(b_lmk_t_part[4]), source_code=MMA_BF16)
            for r in T.unroll(8):
                x_37[r] = b_score_1[r] * 0.1
            for r in T.unroll(8):
                b_value[r] = T.Select(x_37[r] == 0.0, T.float32(0.0), x_37[r])
            for r in T.unroll(8):
                x_42[r] = T.reinterpret("int32", b_value[r])
            for r in T.unroll(8):
                b_key[r] = T.Select((i_chunk + (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8)) >= b_lo[r // 2 % 2]) & (i_chunk + (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8)) < b_hi[r // 2 % 2]) & (b_value[r] > T.float32("-inf")), T.Cast("int64", x_42[r] ^ x_42[r] >> 31 & 2147483647) << 32 | T.Cast("int64", i_chunk + (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8))), T.int64(-9223372036854775807))
            T.cuda.cta_sync()
            for r in T.unroll(4):
                T.cuda.func_call("copy_16", T.address_of(s_b_key[(o_axis0 + r % 2 * 8) * 34 + (o_axis1_3 + r // 2 * 8)]), T.address_of(b_key[r * 2]), source_code=COPY_16)
            T.cuda.cta_sync()
            for r in T.unroll(4):
                T.cuda.func_call("copy_16", T.address_of(b_key_1[r * 2]), T.address_of(s_b_key[(o_axis0_7 + r // 2 * 4) * 34 + (o_axis1_4 + r % 2 * 2)]), source_code=COPY_16)
            for r in T.unroll(8):
                b_top_new[r] = b_key_1[r]
            for r in T.unroll(4):
                low[0] = T.min(b_top_new[r * 2], b_top_new[r * 2 + 1])
                high[0] = T.max(b_top_new[r * 2], b_top_new[r * 2 + 1])
                b_top_new[r * 2] = T.Select((o_axis1_4 + r * 2 % 4) // 2 % 2 != 0, high[0], low[0])
                b_top_new[r * 2 + 1] = T.Select((o_axis1_4 + r * 2 % 4) // 2 % 2 != 0, low[0], high[0])
            for r in T.unroll(4):
                low_1[0] = T.min(b_top_new[r // 2 * 4 + r % 2], b_top_new[r // 2 * 4 + r % 2 + 2])
                high_1[0] = T.max(b_top_new[r // 2 * 4 + r % 2], b_top_new[r // 2 * 4 + r % 2 + 2])
                b_top_new[r // 2 * 4 + r % 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 4 % 2 != 0, high_1[0], low_1[0])
                b_top_new[r // 2 * 4 + r % 2 + 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 4 % 2 != 0, low_1[0], high_1[0])
            for r in T.unroll(4):
                low_2[0] = T.min(b_top_new[r * 2], b_top_new[r * 2 + 1])
                high_2[0] = T.max(b_top_new[r * 2], b_top_new[r * 2 + 1])
                b_top_new[r * 2] = T.Select((o_axis1_4 + r * 2 % 4) // 4 % 2 != 0, high_2[0], low_2[0])
                b_top_new[r * 2 + 1] = T.Select((o_axis1_4 + r * 2 % 4) // 4 % 2 != 0, low_2[0], high_2[0])
            for r in T.unroll(8):
                other[0] = T.cuda.func_call("shuffle_xor", b_top_new[r], 1, source_code=SHUFFLE_XOR, return_type="int64")
                b_top_new[r] = T.Select(T.Cast("int32", lane & 1 != 0) != T.Cast("int32", (o_axis1_4 + r % 4) // 8 % 2 != 0), T.max(b_top_new[r], other[0]), T.min(b_top_new[r], other[0]))
            for r in T.unroll(4):
                low_3[0] = T.min(b_top_new[r // 2 * 4 + r % 2], b_top_new[r // 2 * 4 + r % 2 + 2])
                high_3[0] = T.max(b_top_new[r // 2 * 4 + r % 2], b_top_new[r // 2 * 4 + r % 2 + 2])
                b_top_new[r // 2 * 4 + r % 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 8 % 2 != 0, high_3[0], low_3[0])
                b_top_new[r // 2 * 4 + r % 2 + 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 8 % 2 != 0, low_3[0], high_3[0])
            for r in T.unroll(4):
                low_4[0] = T.min(b_top_new[r * 2], b_top_new[r * 2 + 1])
                high_4[0] = T.max(b_top_new[r * 2], b_top_new[r * 2 + 1])
                b_top_new[r * 2] = T.Select((o_axis1_4 + r * 2 % 4) // 8 % 2 != 0, high_4[0], low_4[0])
                b_top_new[r * 2 + 1] = T.Select((o_axis1_4 + r * 2 % 4) // 8 % 2 != 0, low_4[0], high_4[0])
            for r in T.unroll(8):
                other_1[0] = T.cuda.func_call("shuffle_xor", b_top_new[r], 2, source_code=SHUFFLE_XOR, return_type="int64")
                b_top_new[r] = T.Select(T.Cast("int32", lane & 2 != 0) != T.Cast("int32", (o_axis1_4 + r % 4) // 16 % 2 != 0), T.max(b_top_new[r], other_1[0]), T.min(b_top_new[r], other_1[0]))
            for r in T.unroll(8):
                other_2[0] = T.cuda.func_call("shuffle_xor", b_top_new[r], 1, source_code=SHUFFLE_XOR, return_type="int64")
                b_top_new[r] = T.Select(T.Cast("int32", lane & 1 != 0) != T.Cast("int32", (o_axis1_4 + r % 4) // 16 % 2 != 0), T.max(b_top_new[r], other_2[0]), T.min(b_top_new[r], other_2[0]))
            for r in T.unroll(4):
                low_5[0] = T.min(b_top_new[r // 2 * 4 + r % 2], b_top_new[r // 2 * 4 + r % 2 + 2])
                high_5[0] = T.max(b_top_new[r // 2 * 4 + r % 2], b_top_new[r // 2 * 4 + r % 2 + 2])
                b_top_new[r // 2 * 4 + r % 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 16 % 2 != 0, high_5[0], low_5[0])
                b_top_new[r // 2 * 4 + r % 2 + 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 16 % 2 != 0, low_5[0], high_5[0])
            for r in T.unroll(4):
                low_6[0] = T.min(b_top_new[r * 2], b_top_new[r * 2 + 1])
                high_6[0] = T.max(b_top_new[r * 2], b_top_new[r * 2 + 1])
                b_top_new[r * 2] = T.Select((o_axis1_4 + r * 2 % 4) // 16 % 2 != 0, high_6[0], low_6[0])
                b_top_new[r * 2 + 1] = T.Select((o_axis1_4 + r * 2 % 4) // 16 % 2 != 0, low_6[0], high_6[0])
            for r in T.unroll(8):
                other_3[0] = T.cuda.func_call("shuffle_xor", b_top_new[r], 4, source_code=SHUFFLE_XOR, return_type="int64")
                b_top_new[r] = T.Select(lane & 4 != 0, T.max(b_top_new[r], other_3[0]), T.min(b_top_new[r], other_3[0]))
            for r in T.unroll(8):
                other_4[0] = T.cuda.func_call("shuffle_xor", b_top_new[r], 2, source_code=SHUFFLE_XOR, return_type="int64")
                b_top_new[r] = T.Select(lane & 2 != 0, T.max(b_top_new[r], other_4[0]), T.min(b_top_new[r], other_4[0]))
            for r in T.unroll(8):
                other_5[0] = T.cuda.func_call("shuffle_xor", b_top_new[r], 1, source_code=SHUFFLE_XOR, return_type="int64")
                b_top_new[r] = T.Select(lane & 1 != 0, T.max(b_top_new[r], other_5[0]), T.min(b_top_new[r], other_5[0]))
            for r in T.unroll(4):
                low_7[0] = T.min(b_top_new[r // 2 * 4 + r % 2], b_top_new[r // 2 * 4 + r % 2 + 2])
                high_7[0] = T.max(b_top_new[r // 2 * 4 + r % 2], b_top_new[r // 2 * 4 + r % 2 + 2])
                b_top_new[r // 2 * 4 + r % 2] = low_7[0]
                b_top_new[r // 2 * 4 + r % 2 + 2] = high_7[0]
            for r in T.unroll(4):
                low_8[0] = T.min(b_top_new[r * 2], b_top_new[r * 2 + 1])
                high_8[0] = T.max(b_top_new[r * 2], b_top_new[r * 2 + 1])
                b_top_new[r * 2] = low_8[0]
                b_top_new[r * 2 + 1] = high_8[0]
            for r in T.unroll(8):
                b_top[r] = T.max(b_best_1[r], b_top_new[r])
            for r in T.unroll(8):
                other_6[0] = T.cuda.func_call("shuffle_xor", b_top[r], 4, source_code=SHUFFLE_XOR, return_type="int64")
                b_top[r] = T.Select(lane & 4 == 0, T.max(b_top[r], other_6[0]), T.min(b_top[r], other_6[0]))
            for r in T.unroll(8):
                other_7[0] = T.cuda.func_call("shuffle_xor", b_top[r], 2, source_code=SHUFFLE_XOR, return_type="int64")
                b_top[r] = T.Select(lane & 2 == 0, T.max(b_top[r], other_7[0]), T.min(b_top[r], other_7[0]))
            for r in T.unroll(8):
                other_8[0] = T.cuda.func_call("shuffle_xor", b_top[r], 1, source_code=SHUFFLE_XOR, return_type="int64")
                b_top[r] = T.Select(lane & 1 == 0, T.max(b_top[r], other_8[0]), T.min(b_top[r], other_8[0]))
            for r in T.unroll(4):
                low_9[0] = T.min(b_top[r // 2 * 4 + r % 2], b_top[r // 2 * 4 + r % 2 + 2])
                high_9[0] = T.max(b_top[r // 2 * 4 + r % 2], b_top[r // 2 * 4 + r % 2 + 2])
                b_top[r // 2 * 4 + r % 2] = high_9[0]
                b_top[r // 2 * 4 + r % 2 + 2] = low_9[0]
            for r in T.unroll(4):
                low_10[0] = T.min(b_top[r * 2], b_top[r * 2 + 1])
                high_10[0] = T.max(b_top[r * 2], b_top[r * 2 + 1])
                b_top[r * 2] = high_10[0]
                b_top[r * 2 + 1] = low_10[0]
            for r in T.unroll(8):
                b_best_1[r] = b_top[r]
        for r in T.unroll(8):
            b_chunk[r] = T.Select(b_best_1[r] > T.int64(-9223372036854775807), b_best_1[r] & T.int64(4294967295), T.int64(-1))
        for r in T.unroll(8):
            b_top_1_new[r] = b_chunk[r]
        for r in T.unroll(4):
            low_11[0] = T.min(b_top_1_new[r * 2], b_top_1_new[r * 2 + 1])
            high_11[0] = T.max(b_top_1_new[r * 2], b_top_1_new[r * 2 + 1])
            b_top_1_new[r * 2] = T.Select((o_axis1_4 + r * 2 % 4) // 2 % 2 != 0, high_11[0], low_11[0])
            b_top_1_new[r * 2 + 1] = T.Select((o_axis1_4 + r * 2 % 4) // 2 % 2 != 0, low_11[0], high_11[0])
        for r in T.unroll(4):
            low_12[0] = T.min(b_top_1_new[r // 2 * 4 + r % 2], b_top_1_new[r // 2 * 4 + r % 2 + 2])
            high_12[0] = T.max(b_top_1_new[r // 2 * 4 + r % 2], b_top_1_new[r // 2 * 4 + r % 2 + 2])
            b_top_1_new[r // 2 * 4 + r % 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 4 % 2 != 0, high_12[0], low_12[0])
            b_top_1_new[r // 2 * 4 + r % 2 + 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 4 % 2 != 0, low_12[0], high_12[0])
        for r in T.unroll(4):
            low_13[0] = T.min(b_top_1_new[r * 2], b_top_1_new[r * 2 + 1])
            high_13[0] = T.max(b_top_1_new[r * 2], b_top_1_new[r * 2 + 1])
            b_top_1_new[r * 2] = T.Select((o_axis1_4 + r * 2 % 4) // 4 % 2 != 0, high_13[0], low_13[0])
            b_top_1_new[r * 2 + 1] = T.Select((o_axis1_4 + r * 2 % 4) // 4 % 2 != 0, low_13[0], high_13[0])
        for r in T.unroll(8):
            other_9[0] = T.cuda.func_call("shuffle_xor", b_top_1_new[r], 1, source_code=SHUFFLE_XOR, return_type="int64")
            b_top_1_new[r] = T.Select(T.Cast("int32", lane & 1 != 0) != T.Cast("int32", (o_axis1_4 + r % 4) // 8 % 2 != 0), T.max(b_top_1_new[r], other_9[0]), T.min(b_top_1_new[r], other_9[0]))
        for r in T.unroll(4):
            low_14[0] = T.min(b_top_1_new[r // 2 * 4 + r % 2], b_top_1_new[r // 2 * 4 + r % 2 + 2])
            high_14[0] = T.max(b_top_1_new[r // 2 * 4 + r % 2], b_top_1_new[r // 2 * 4 + r % 2 + 2])
            b_top_1_new[r // 2 * 4 + r % 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 8 % 2 != 0, high_14[0], low_14[0])
            b_top_1_new[r // 2 * 4 + r % 2 + 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 8 % 2 != 0, low_14[0], high_14[0])
        for r in T.unroll(4):
            low_15[0] = T.min(b_top_1_new[r * 2], b_top_1_new[r * 2 + 1])
            high_15[0] = T.max(b_top_1_new[r * 2], b_top_1_new[r * 2 + 1])
            b_top_1_new[r * 2] = T.Select((o_axis1_4 + r * 2 % 4) // 8 % 2 != 0, high_15[0], low_15[0])
            b_top_1_new[r * 2 + 1] = T.Select((o_axis1_4 + r * 2 % 4) // 8 % 2 != 0, low_15[0], high_15[0])
        for r in T.unroll(8):
            other_10[0] = T.cuda.func_call("shuffle_xor", b_top_1_new[r], 2, source_code=SHUFFLE_XOR, return_type="int64")
            b_top_1_new[r] = T.Select(T.Cast("int32", lane & 2 != 0) != T.Cast("int32", (o_axis1_4 + r % 4) // 16 % 2 != 0), T.max(b_top_1_new[r], other_10[0]), T.min(b_top_1_new[r], other_10[0]))
        for r in T.unroll(8):
            other_11[0] = T.cuda.func_call("shuffle_xor", b_top_1_new[r], 1, source_code=SHUFFLE_XOR, return_type="int64")
            b_top_1_new[r] = T.Select(T.Cast("int32", lane & 1 != 0) != T.Cast("int32", (o_axis1_4 + r % 4) // 16 % 2 != 0), T.max(b_top_1_new[r], other_11[0]), T.min(b_top_1_new[r], other_11[0]))
        for r in T.unroll(4):
            low_16[0] = T.min(b_top_1_new[r // 2 * 4 + r % 2], b_top_1_new[r // 2 * 4 + r % 2 + 2])
            high_16[0] = T.max(b_top_1_new[r // 2 * 4 + r % 2], b_top_1_new[r // 2 * 4 + r % 2 + 2])
            b_top_1_new[r // 2 * 4 + r % 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 16 % 2 != 0, high_16[0], low_16[0])
            b_top_1_new[r // 2 * 4 + r % 2 + 2] = T.Select((o_axis1_4 + (r // 2 * 4 + r % 2) % 4) // 16 % 2 != 0, low_16[0], high_16[0])
        for r in T.unroll(4):
            low_17[0] = T.min(b_top_1_new[r * 2], b_top_1_new[r * 2 + 1])
            high_17[0] = T.max(b_top_1_new[r * 2], b_top_1_new[r * 2 + 1])
            b_top_1_new[r * 2] = T.Select((o_axis1_4 + r * 2 % 4) // 16 % 2 != 0, high_17[0], low_17[0])
            b_top_1_new[r * 2 + 1] = T.Select((o_axis1_4 + r * 2 % 4) // 16 % 2 != 0, low_17[0], high_17[0])
        for r in T.unroll(8):
            other_12[0] = T.cuda.func_call("shuffle_xor", b_top_1_new[r], 4, source_code=SHUFFLE_XOR, return_type="int64")
            b_top_1_new[r] = T.Select(lane & 4 != 0, T.max(b_top_1_new[r], other_12[0]), T.min(b_top_1_new[r], other_12[0]))
        for r in T.unroll(8):
            other_13[0] = T.cuda.func_call("shuffle_xor", b_top_1_new[r], 2, source_code=SHUFFLE_XOR, return_type="int64")
            b_top_1_new[r] = T.Select(lane & 2 != 0, T.max(b_top_1_new[r], other_13[0]), T.min(b_top_1_new[r], other_13[0]))
        for r in T.unroll(8):
            other_14[0] = T.cuda.func_call("shuffle_xor", b_top_1_new[r], 1, source_code=SHUFFLE_XOR, return_type="int64")
            b_top_1_new[r] = T.Select(lane & 1 != 0, T.max(b_top_1_new[r], other_14[0]), T.min(b_top_1_new[r], other_14[0]))
        for r in T.unroll(4):
            low_18[0] = T.min(b_top_1_new[r // 2 * 4 + r % 2], b_top_1_new[r // 2 * 4 + r % 2 + 2])
            high_18[0] = T.max(b_top_1_new[r // 2 * 4 + r % 2], b_top_1_new[r // 2 * 4 + r % 2 + 2])
            b_top_1_new[r // 2 * 4 + r % 2] = low_18[0]
            b_top_1_new[r // 2 * 4 + r % 2 + 2] = high_18[0]
        for r in T.unroll(4):
            low_19[0] = T.min(b_top_1_new[r * 2], b_top_1_new[r * 2 + 1])
            high_19[0] = T.max(b_top_1_new[r * 2], b_top_1_new[r * 2 + 1])
            b_top_1_new[r * 2] = low_19[0]
            b_top_1_new[r * 2 + 1] = high_19[0]
        for r in T.unroll(8):
            b_top_1[r] = T.max(T.int64(-1), b_top_1_new[r])
        for r in T.unroll(8):
            other_15[0] = T.cuda.func_call("shuffle_xor", b_top_1[r], 4, source_code=SHUFFLE_XOR, return_type="int64")
            b_top_1[r] = T.Select(lane & 4 == 0, T.max(b_top_1[r], other_15[0]), T.min(b_top_1[r], other_15[0]))
        for r in T.unroll(8):
            other_16[0] = T.cuda.func_call("shuffle_xor", b_top_1[r], 2, source_code=SHUFFLE_XOR, return_type="int64")
            b_top_1[r] = T.Select(lane & 2 == 0, T.max(b_top_1[r], other_16[0]), T.min(b_top_1[r], other_16[0]))
        for r in T.unroll(8):
            other_17[0] = T.cuda.func_call("shuffle_xor", b_top_1[r], 1, source_code=SHUFFLE_XOR, return_type="int64")
            b_top_1[r] = T.Select(lane & 1 == 0, T.max(b_top_1[r], other_17[0]), T.min(b_top_1[r], other_17[0]))
        for r in T.unroll(4):
            low_20[0] = T.min(b_top_1[r // 2 * 4 + r % 2], b_top_1[r // 2 * 4 + r % 2 + 2])
            high_20[0] = T.max(b_top_1[r // 2 * 4 + r % 2], b_top_1[r // 2 * 4 + r % 2 + 2])
            b_top_1[r // 2 * 4 + r % 2] = high_20[0]
            b_top_1[r // 2 * 4 + r % 2 + 2] = low_20[0]
        for r in T.unroll(4):
            low_21[0] = T.min(b_top_1[r * 2], b_top_1[r * 2 + 1])
            high_21[0] = T.max(b_top_1[r * 2], b_top_1[r * 2 + 1])
            b_top_1[r * 2] = high_21[0]
            b_top_1[r * 2 + 1] = low_21[0]
        T.cuda.cta_sync()
        for r in T.unroll(4):
            T.cuda.func_call("copy_16", T.address_of(s_b_top_1[(o_axis0_7 + r // 2 * 4) * 34 + (o_axis1_4 + r % 2 * 2)]), T.address_of(b_top_1[r * 2]), source_code=COPY_16)
        T.cuda.cta_sync()
        for r in T.unroll(4):
            T.cuda.func_call("copy_16", T.address_of(b_top_1_1[r * 2]), T.address_of(s_b_top_1[(o_axis0_8 + r // 2 * 16) * 34 + (o_axis1_4 + r % 2 * 2)]), source_code=COPY_16)
        for r in T.unroll(2):
            if x + (o_axis0_8 + r * 16) < R:
                for u in T.unroll(4):
                    vector[u] = T.Cast("int32", b_top_1_1[r * 4 + u])
                T.cuda.func_call("copy_16", T.address_of(p_indices[(x_4 + T.Cast("int64", x + (o_axis0_8 + r * 16)) + T.Cast("int64", pid_1)) * 32 + T.Cast("int64", o_axis0_9)]), T.address_of(vector[0]), source_code=COPY_16)

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
        T.func_attr({"global_symbol": "weigh", "tirx.noalias": True})
        n_indices = T.int64()
        n_q = T.int64()
        n_landmarks = T.int64()
        n_slots = T.int64()
        n_weights = T.int64()
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=16)
        p_q = T.match_buffer(q_ptr, (n_q,), "bfloat16", align=16)
        p_landmarks = T.match_buffer(landmarks_ptr, (n_landmarks,), "bfloat16", align=16)
        p_slots = T.match_buffer(slots_ptr, (n_slots,), "float32", align=16)
        p_weights = T.match_buffer(weights_ptr, (n_weights,), "float32", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        b_chosen = T.alloc_buffer((1,), "int32", scope="local")  # i32[32]
        x_7 = T.alloc_buffer((1,), "bool", scope="local")  # bool[32]
        b_score_1 = T.alloc_buffer((1,), "float32", scope="local")  # fp32[32]
        x_14 = T.alloc_buffer((1,), "int64", scope="local")  # i64[32]
        b_lmk = T.alloc_buffer((128,), "bfloat16", scope="local")  # bf16[32, 128]
        b_q = T.alloc_buffer((128,), "bfloat16", scope="local")  # bf16[128]
        b_q_1 = T.alloc_buffer((128,), "float32", scope="local")  # fp32[128]
        x_23_sum = T.alloc_buffer((1,), "float32", scope="local")  # fp32[32]
        x_23_sum_halves = T.alloc_buffer((2,), "float32", scope="local")
        x_24 = T.alloc_buffer((1,), "float32", scope="local")  # fp32[32]
        b_score_2 = T.alloc_buffer((1,), "float32", scope="local")  # fp32[32]
        b_x = T.alloc_buffer((1,), "float32", scope="local")  # fp32[32]
        b_x_max = T.alloc_buffer((1,), "float32", scope="local")
        b_e = T.alloc_buffer((1,), "float32", scope="local")  # fp32[32]
        b_e_sum = T.alloc_buffer((1,), "float32", scope="local")
        o_axis0: T.let = tid % 32
        x: T.let = pid_2 * R
        x_1: T.let = T.Cast("int64", x)
        x_2: T.let = x_1 + T.Cast("int64", pid_0)
        x_5: T.let = x_2 * 32
        b_chosen[0] = p_indices[x_5 + T.Cast("int64", o_axis0)]
        x_7[0] = b_chosen[0] >= 0
        b_score_1[0] = T.float32(0.0)
        x_9: T.let = pid_2 * C
        x_10: T.let = T.Cast("int64", x_9)
        x_14[0] = (x_10 + T.Cast("int64", b_chosen[0])) * 128
        for r in T.unroll(128):
            b_lmk[r] = T.if_then_else(x_7[0], p_landmarks[x_14[0] + T.Cast("int64", r)], T.Cast("bfloat16", T.float32(0.0)))
        x_21: T.let = x_2 * 128
        for r in T.unroll(128):
            b_q[r] = p_q[x_21 + T.Cast("int64", r)]
        for r in T.unroll(128):
            b_q_1[r] = T.Cast("float32", b_q[r])
        for r in T.unroll(2):
            x_23_sum_halves[r] = T.float32(0.0)
        for r in T.unroll(128):
            x_23_sum_halves[r // 64] = x_23_sum_halves[r // 64] + T.Cast("float32", b_lmk[r]) * b_q_1[r]
        x_23_sum[0] = x_23_sum_halves[0] + x_23_sum_halves[1]
        x_24[0] = b_score_1[0] + x_23_sum[0]
        b_score_1[0] = x_24[0]
        b_score_2[0] = T.Select(x_7[0], b_score_1[0] * 0.1, T.float32("-inf"))
        x_28: T.let = x_2 * 32
        if tid & 96 == 0:
            p_slots[x_28 + T.Cast("int64", o_axis0)] = b_score_2[0]
        x_31: T.let = x_2 + T.Cast("int64", pid_1)
        b_x[0] = T.Select(x_7[0], b_score_2[0], T.float32("-inf"))
        b_x_max[0] = T.float32("-inf")
        b_x_max[0] = T.max(b_x_max[0], b_x[0])
        b_x_max[0] = T.max(b_x_max[0], T.cuda.func_call("shuffle_xor", b_x_max[0], 1, source_code=SHUFFLE_XOR, return_type="float32"))
        b_x_max[0] = T.max(b_x_max[0], T.cuda.func_call("shuffle_xor", b_x_max[0], 2, source_code=SHUFFLE_XOR, return_type="float32"))
        b_x_max[0] = T.max(b_x_max[0], T.cuda.func_call("shuffle_xor", b_x_max[0], 4, source_code=SHUFFLE_XOR, return_type="float32"))
        b_x_max[0] = T.max(b_x_max[0], T.cuda.func_call("shuffle_xor", b_x_max[0], 8, source_code=SHUFFLE_XOR, return_type="float32"))
        b_x_max[0] = T.max(b_x_max[0], T.cuda.func_call("shuffle_xor", b_x_max[0], 16, source_code=SHUFFLE_XOR, return_type="float32"))
        b_max: T.let = T.max(b_x_max[0], T.float32(-1e+30))
        b_max_1: T.let = T.max(b_max, T.float32(-1e+30))
        b_e[0] = T.cuda.func_call("exp2_approx", (b_x[0] - b_max_1) * 1.4426950408889634, source_code=EXP2_APPROX, return_type="float32")
        b_e_sum[0] = T.float32(0.0)
        b_e_sum[0] = b_e_sum[0] + b_e[0]
        b_e_sum[0] = b_e_sum[0] + T.cuda.func_call("shuffle_xor", b_e_sum[0], 1, source_code=SHUFFLE_XOR, return_type="float32")
        b_e_sum[0] = b_e_sum[0] + T.cuda.func_call("shuffle_xor", b_e_sum[0], 2, source_code=SHUFFLE_XOR, return_type="float32")
        b_e_sum[0] = b_e_sum[0] + T.cuda.func_call("shuffle_xor", b_e_sum[0], 4, source_code=SHUFFLE_XOR, return_type="float32")
        b_e_sum[0] = b_e_sum[0] + T.cuda.func_call("shuffle_xor", b_e_sum[0], 8, source_code=SHUFFLE_XOR, return_type="float32")
        b_e_sum[0] = b_e_sum[0] + T.cuda.func_call("shuffle_xor", b_e_sum[0], 16, source_code=SHUFFLE_XOR, return_type="float32")
        x_34: T.let = b_e_sum[0] > 0.0
        x_35: T.let = T.Select(x_34, b_e_sum[0], T.float32(1.0))
        x_38: T.let = x_2 + T.Cast("int64", pid_1)
        x_39: T.let = x_38 * 32
        if tid & 96 == 0:
            p_weights[x_39 + T.Cast("int64", o_axis0)] = b_e[0] / x_35
