"""Generated for cuda:sm_80; schedule: order=chunk combine=atomic."""

from tvm.script import ir as I
from tvm.script import tirx as T

ASYNC_COPY_16 = r"""
// 16 bytes from global to shared memory, on the way when this returns; zeros where not valid.
__device__ __forceinline__ void async_copy_16(void* to, const void* from, bool valid) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::
      "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from), "r"(valid ? 16 : 0)
      : "memory");
}
"""
ASYNC_COMMIT = r"""
// Ends a group of copies on the way.
__device__ __forceinline__ void async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
"""
ASYNC_WAIT = r"""
// Waits until all but the last N groups of this thread's copies have arrived.
#define async_wait(N) asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory")
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
SHUFFLE_XOR = r"""
// The value of the lane whose number differs in the bits of mask.
template <typename T>
__device__ __forceinline__ T shuffle_xor(T x, int mask) {
  return __shfl_xor_sync(0xffffffffu, x, mask);
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
RECIPROCAL = r"""
// 1 / x within 1 unit in the last place, without a branch.
__device__ __forceinline__ float reciprocal(float x) {
  float y;
  asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
"""
PACK_BF16 = r"""
// Two neighbours in half precision, the first in the lower bits.
__device__ __forceinline__ void pack_bf16(void* to, float first, float second) {
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(*(unsigned*)to) : "f"(second), "f"(first));
}
"""
LOAD_MATRIX_TRANS = r"""
// Four 8 x 8 matrices of 2-byte elements, transposed: lane i points to row i % 8 of matrix i / 8.
__device__ __forceinline__ void load_matrix_trans(void* to, const void* row) {
  unsigned* x = (unsigned*)to;
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
      : "r"((unsigned)__cvta_generic_to_shared(row))
      : "memory");
}
"""
ATOMIC_ADD = r"""
template <typename T>
__device__ __forceinline__ void atomic_add(T* to, T x) { atomicAdd(to, x); }
"""
COPY_16 = r"""
// 16 bytes in one access.
__device__ __forceinline__ void copy_16(void* to, const void* from) {
  *(uint4*)to = *(const uint4*)from;
}
"""


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
        Lkv: T.int32,
        R: T.int32,
        L: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (C, 1, B)
        T.func_attr({"global_symbol": "attend", "tirx.noalias": True})
        n_order = T.int64()
        n_offsets = T.int64()
        n_k = T.int64()
        n_v = T.int64()
        n_q = T.int64()
        n_weights = T.int64()
        n_out_sum = T.int64()
        p_order = T.match_buffer(order_ptr, (n_order,), "int32", align=16)
        p_offsets = T.match_buffer(offsets_ptr, (n_offsets,), "int32", align=16)
        p_k = T.match_buffer(k_ptr, (n_k,), "bfloat16", align=16)
        p_v = T.match_buffer(v_ptr, (n_v,), "bfloat16", align=16)
        p_q = T.match_buffer(q_ptr, (n_q,), "bfloat16", align=16)
        p_weights = T.match_buffer(weights_ptr, (n_weights,), "float32", align=16)
        p_out_sum = T.match_buffer(out_sum_ptr, (n_out_sum,), "float32", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        shared = T.alloc_buffer((104448,), "uint8", scope="shared.dyn", align=1024)
        s_k = T.decl_buffer((8704,), "bfloat16", data=shared.data, byte_offset=69632, scope="shared.dyn")  # [64, 128]
        s_v = T.decl_buffer((8704,), "bfloat16", data=shared.data, byte_offset=87040, scope="shared.dyn")  # [64, 128]
        s_q = T.decl_buffer((34816,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [256, 128]
        b_pair_ahead = T.alloc_buffer((4,), "int32", scope="local")
        b_pair_ahead_1 = T.alloc_buffer((16,), "int32", scope="local")
        b_pair = T.alloc_buffer((4,), "int32", scope="local")  # i32[128]
        b_pair_1 = T.alloc_buffer((16,), "int32", scope="local")  # i32[128]
        x_28 = T.alloc_buffer((4,), "int32", scope="local")  # i32[128]
        x_28_1 = T.alloc_buffer((16,), "int32", scope="local")  # i32[128]
        x_37 = T.alloc_buffer((16,), "int64", scope="local")  # i64[128]
        b_w = T.alloc_buffer((4,), "float32", scope="local")  # fp32[128]
        b_s = T.alloc_buffer((64,), "float32", scope="local")  # fp32[128, 64]
        b_k_t_part = T.alloc_buffer((8,), "bfloat16", scope="local")
        b_q_part = T.alloc_buffer((16,), "bfloat16", scope="local")
        b_m = T.alloc_buffer((4,), "float32", scope="local")  # fp32[128]
        b_m_halves = T.alloc_buffer((8,), "float32", scope="local")
        x_48 = T.alloc_buffer((4,), "float32", scope="local")  # fp32[128]
        b_p = T.alloc_buffer((64,), "float32", scope="local")  # fp32[128, 64]
        b_l = T.alloc_buffer((4,), "float32", scope="local")  # fp32[128]
        b_l_halves = T.alloc_buffer((8,), "float32", scope="local")
        x_52 = T.alloc_buffer((4,), "float32", scope="local")  # fp32[128]
        b_p_2 = T.alloc_buffer((64,), "bfloat16", scope="local")  # bf16[128, 64]
        b_part = T.alloc_buffer((128,), "float32", scope="local")  # fp32[128, 128]
        b_v_part = T.alloc_buffer((8,), "bfloat16", scope="local")
        x_60 = T.alloc_buffer((4,), "int64", scope="local")  # i64[128]
        o_axis0: T.let = tid // 16
        o_axis0_1: T.let = tid % 16 * 8
        o_axis1: T.let = tid % 16 * 8
        o_axis0_2: T.let = tid // 4 % 8 + tid // 32 * 32
        o_axis0_3: T.let = tid // 32 * 32
        o_axis0_4: T.let = tid % 4 * 2
        x_2: T.let = T.Cast("int64", pid_2)
        x_3: T.let = C + 1
        x_4: T.let = x_2 * T.Cast("int64", x_3)
        x_5: T.let = x_4 + T.Cast("int64", pid_0)
        first: T.let = p_offsets[x_5]
        x_6: T.let = x_4 + T.Cast("int64", pid_0)
        x_7: T.let = x_6 + 1
        last: T.let = p_offsets[x_7]
        x_8: T.let = pid_0 * 64
        x_9: T.let = pid_2 * Lkv
        x_10: T.let = T.Cast("int64", x_9)
        x_11: T.let = x_10 + T.Cast("int64", x_8)
        x_13: T.let = x_11 + T.Cast("int64", pid_1)
        x_14: T.let = x_13 * 128
        for r in T.unroll(8):
            T.cuda.func_call("async_copy_16", T.address_of(s_k[(o_axis0 + r * 8) * 136 + o_axis1]), T.address_of(p_k[x_14 + T.Cast("int64", (o_axis0 + r * 8) * 128) + T.Cast("int64", o_axis0_1)]), T.bool(True), source_code=ASYNC_COPY_16)
        T.cuda.func_call("async_commit", source_code=ASYNC_COMMIT)
        for r in T.unroll(8):
            T.cuda.func_call("async_copy_16", T.address_of(s_v[(o_axis0 + r * 8) * 136 + o_axis1]), T.address_of(p_v[x_14 + T.Cast("int64", (o_axis0 + r * 8) * 128) + T.Cast("int64", o_axis0_1)]), T.bool(True), source_code=ASYNC_COPY_16)
        T.cuda.func_call("async_commit", source_code=ASYNC_COMMIT)
        T.cuda.func_call("async_wait", 0, source_code=ASYNC_WAIT)
        T.cuda.cta_sync()
        if first < last:
            R_1: T.let = T.Cast("int64", R)
            x_23: T.let = R_1 * 32
            x_26: T.let = T.Cast("int64", pid_2) * x_23
            for r in T.unroll(4):
                b_pair_ahead[r] = T.if_then_else(first + (o_axis0_2 + r * 8) // 16 < last, p_order[x_26 + T.Cast("int64", first + (o_axis0_2 + r * 8) // 16)], 0)
            for r in T.unroll(16):
                b_pair_ahead_1[r] = T.if_then_else(first + (o_axis0 + r * 8) // 16 < last, p_order[x_26 + T.Cast("int64", first + (o_axis0 + r * 8) // 16)], 0)
        if first < last:
            R_1_1: T.let = T.Cast("int64", R)
            x_23_1: T.let = R_1_1 * 32
            x_26_1: T.let = T.Cast("int64", pid_2) * x_23_1
            for r in T.unroll(4):
                x_28[r] = b_pair_ahead[r] // 32
            for r in T.unroll(16):
                x_28_1[r] = b_pair_ahead_1[r] // 32
            x_30: T.let = pid_1 * 16
            x_32: T.let = pid_2 * L
            x_33: T.let = T.Cast("int64", x_32)
            for r in T.unroll(16):
                x_37[r] = ((x_33 + T.Cast("int64", x_28_1[r])) * 16 + T.Cast("int64", x_30 + (o_axis0 + r * 8) % 16)) * 128
            for r in T.unroll(16):
                T.cuda.func_call("async_copy_16", T.address_of(s_q[(o_axis0 + r * 8) * 136 + o_axis1]), T.address_of(p_q[T.if_then_else(first + (o_axis0 + r * 8) // 16 < last, x_37[r] + T.Cast("int64", o_axis0_1), T.int64(0))]), first + (o_axis0 + r * 8) // 16 < last, source_code=ASYNC_COPY_16)
        T.cuda.func_call("async_commit", source_code=ASYNC_COMMIT)
        if first + 8 < last:
            R_1_2: T.let = T.Cast("int64", R)
            x_23_2: T.let = R_1_2 * 32
            x_26_2: T.let = T.Cast("int64", pid_2) * x_23_2
            for r in T.unroll(4):
                b_pair_ahead[r] = T.if_then_else(first + 8 + (o_axis0_2 + r * 8) // 16 < last, p_order[x_26_2 + T.Cast("int64", first + 8 + (o_axis0_2 + r * 8) // 16)], 0)
            for r in T.unroll(16):
                b_pair_ahead_1[r] = T.if_then_else(first + 8 + (o_axis0 + r * 8) // 16 < last, p_order[x_26_2 + T.Cast("int64", first + 8 + (o_axis0 + r * 8) // 16)], 0)
        for i_pair_round in range((last - first + 7) // 8):
            i_pair: T.let = first + i_pair_round * 8
            T.cuda.func_call("async_wait", 0, source_code=ASYNC_WAIT)
            T.cuda.cta_sync()
            if i_pair + 8 < last:
                R_1_3: T.let = T.Cast("int64", R)
                x_23_3: T.let = R_1_3 * 32
                x_26_3: T.let = T.Cast("int64", pid_2) * x_23_3
                for r in T.unroll(4):
                    x_28[r] = b_pair_ahead[r] // 32
                for r in T.unroll(16):
                    x_28_1[r] = b_pair_ahead_1[r] // 32
                x_30_1: T.let = pid_1 * 16
                x_32_1: T.let = pid_2 * L
                x_33_1: T.let = T.Cast("int64", x_32_1)
                for r in T.unroll(16):
                    x_37[r] = ((x_33_1 + T.Cast("int64", x_28_1[r])) * 16 + T.Cast("int64", x_30_1 + (o_axis0 + r * 8) % 16)) * 128
                for r in T.unroll(16):
                    T.cuda.func_call("async_copy_16", T.address_of(s_q[((i_pair_round + 1) % 2 * 128 + (o_axis0 + r * 8)) * 136 + o_axis1]), T.address_of(p_q[T.if_then_else(i_pair + 8 + (o_axis0 + r * 8) // 16 < last, x_37[r] + T.Cast("int64", o_axis0_1), T.int64(0))]), i_pair + 8 + (o_axis0 + r * 8) // 16 < last, source_code=ASYNC_COPY_16)
            T.cuda.func_call("async_commit", source_code=ASYNC_COMMIT)
            if i_pair + 8 + 8 < last:
                R_1_4: T.let = T.Cast("int64", R)
                x_23_4: T.let = R_1_4 * 32
                x_26_4: T.let = T.Cast("int64", pid_2) * x_23_4
                for r in T.unroll(4):
                    b_pair_ahead[r] = T.if_then_else(i_pair + 8 + 8 + (o_axis0_2 + r * 8) // 16 < last, p_order[x_26_4 + T.Cast("int64", i_pair + 8 + 8 + (o_axis0_2 + r * 8) // 16)], 0)
                for r in T.unroll(16):
                    b_pair_ahead_1[r] = T.if_then_else(i_pair + 8 + 8 + (o_axis0 + r * 8) // 16 < last, p_order[x_26_4 + T.Cast("int64", i_pair + 8 + 8 + (o_axis0 + r * 8) // 16)], 0)
            b_q_row: T.let = i_pair_round % 2 * 128
            R_1_5: T.let = T.Cast("int64", R)
            x_23_5: T.let = R_1_5 * 32
            x_26_5: T.let = T.Cast("int64", pid_2) * x_23_5
            for r in T.unroll(4):
                b_pair[r] = T.if_then_else(i_pair + (o_axis0_2 + r * 8) // 16 < last, p_order[x_26_5 + T.Cast("int64", i_pair + (o_axis0_2 + r * 8) // 16)], 0)
            for r in T.unroll(16):
                b_pair_1[r] = T.if_then_else(i_pair + (o_axis0 + r * 8) // 16 < last, p_order[x_26_5 + T.Cast("int64", i_pair + (o_axis0 + r * 8) // 16)], 0)
            for r in T.unroll(4):
                x_28[r] = b_pair[r] // 32
            for r in T.unroll(16):
                x_28_1[r] = b_pair_1[r] // 32
            x_30_2: T.let = pid_1 * 16
            x_32_2: T.let = pid_2 * L
            x_33_2: T.let = T.Cast("int64", x_32_2)
            for r in T.unroll(16):
                x_37[r] = ((x_33_2 + T.Cast("int64", x_28_1[r])) * 16 + T.Cast("int64", x_30_2 + (o_axis0 + r * 8) % 16)) * 128
            x_41: T.let = pid_2 * R
            x_42: T.let = T.Cast("int64", x_41)
            for r in T.unroll(4):
                b_w[r] = T.if_then_else(i_pair + (o_axis0_2 + r * 8) // 16 < last, p_weights[(x_42 + T.Cast("int64", x_28[r])) * 32 + T.Cast("int64", b_pair[r] % 32)], T.float32(0.0))
            # b_s [128, 64] = b_q [128, 128] @ b_k_t [128, 64]
            for r in T.unroll(64):
                b_s[r] = T.float32(0.0)
            for k in T.unroll(8):
                for m in T.unroll(2):
                    T.cuda.func_call("load_matrix", T.address_of(b_q_part[m * 8]), T.address_of(s_q[(b_q_row + (o_axis0_3 + (m * 8 + k) // 8 * 16) + (lane % 8 + lane // 8 % 2 * 8)) * 136 + ((m * 8 + k) % 8 * 16 + lane // 16 % 2 * 8)]), source_code=LOAD_MATRIX)
                for n in T.unroll(4):
                    T.cuda.func_call("load_matrix", T.address_of(b_k_t_part[0]), T.address_of(s_k[(n * 16 + (lane % 8 + lane // 16 * 8)) * 136 + (k * 16 + lane // 8 % 2 * 8)]), source_code=LOAD_MATRIX)
                    for m in T.unroll(2):
                        T.cuda.func_call("mma_bf16", T.address_of(b_s[(m * 8 + n * 2) * 4]), T.address_of(b_q_part[m * 8]), T.address_of(b_k_t_part[0]), source_code=MMA_BF16)
                        T.cuda.func_call("mma_bf16", T.address_of(b_s[(m * 8 + (n * 2 + 1)) * 4]), T.address_of(b_q_part[m * 8]), T.address_of(b_k_t_part[4]), source_code=MMA_BF16)
            for r in T.unroll(8):
                b_m_halves[r] = T.float32("-inf")
            for r in T.unroll(64):
                b_m_halves[r // 2 % 2 + r // 16 % 2 * 4 + r // 32 * 2] = T.max(b_m_halves[r // 2 % 2 + r // 16 % 2 * 4 + r // 32 * 2], b_s[r])
            for r in T.unroll(4):
                b_m[r] = T.max(b_m_halves[r], b_m_halves[r + 4])
            for r in T.unroll(4):
                b_m[r] = T.max(b_m[r], T.cuda.func_call("shuffle_xor", b_m[r], 1, source_code=SHUFFLE_XOR, return_type="float32"))
            for r in T.unroll(4):
                b_m[r] = T.max(b_m[r], T.cuda.func_call("shuffle_xor", b_m[r], 2, source_code=SHUFFLE_XOR, return_type="float32"))
            for r in T.unroll(4):
                x_48[r] = b_m[r] * 0.14426950408889636
            for r in T.unroll(64):
                b_p[r] = T.cuda.func_call("exp2_approx", b_s[r] * 0.14426950408889636 - x_48[r // 2 % 2 + r // 32 * 2], source_code=EXP2_APPROX, return_type="float32")
            for r in T.unroll(8):
                b_l_halves[r] = T.float32(0.0)
            for r in T.unroll(64):
                b_l_halves[r // 2 % 2 + r // 16 % 2 * 4 + r // 32 * 2] = b_l_halves[r // 2 % 2 + r // 16 % 2 * 4 + r // 32 * 2] + b_p[r]
            for r in T.unroll(4):
                b_l[r] = b_l_halves[r] + b_l_halves[r + 4]
            for r in T.unroll(4):
                b_l[r] = b_l[r] + T.cuda.func_call("shuffle_xor", b_l[r], 1, source_code=SHUFFLE_XOR, return_type="float32")
            for r in T.unroll(4):
                b_l[r] = b_l[r] + T.cuda.func_call("shuffle_xor", b_l[r], 2, source_code=SHUFFLE_XOR, return_type="float32")
            for r in T.unroll(4):
                x_52[r] = T.cuda.func_call("reciprocal", b_l[r], source_code=RECIPROCAL, return_type="float32") * b_w[r]
            for r in T.unroll(32):
                T.cuda.func_call("pack_bf16", T.address_of(b_p_2[r * 2]), b_p[r * 2] * x_52[r * 2 // 2 % 2 + r * 2 // 32 * 2], b_p[r * 2 + 1] * x_52[(r * 2 + 1) // 2 % 2 + (r * 2 + 1) // 32 * 2], source_code=PACK_BF16)
            # b_part [128, 128] = b_p_2 [128, 64] @ b_v [64, 128]
            for r in T.unroll(128):
                b_part[r] = T.float32(0.0)
            for k in T.unroll(4):
                for n in T.unroll(8):
                    T.cuda.func_call("load_matrix_trans", T.address_of(b_v_part[0]), T.address_of(s_v[(k * 16 + (lane % 8 + lane // 8 % 2 * 8)) * 136 + (n * 16 + lane // 16 * 8)]), source_code=LOAD_MATRIX_TRANS)
                    for m in T.unroll(2):
                        T.cuda.func_call("mma_bf16", T.address_of(b_part[(m * 16 + n * 2) * 4]), T.address_of(b_p_2[(m * 4 + k) * 8]), T.address_of(b_v_part[0]), source_code=MMA_BF16)
                        T.cuda.func_call("mma_bf16", T.address_of(b_part[(m * 16 + (n * 2 + 1)) * 4]), T.address_of(b_p_2[(m * 4 + k) * 8]), T.address_of(b_v_part[4]), source_code=MMA_BF16)
            x_55: T.let = pid_2 * L
            x_56: T.let = T.Cast("int64", x_55)
            for r in T.unroll(4):
                x_60[r] = ((x_56 + T.Cast("int64", x_28[r])) * 16 + T.Cast("int64", x_30_2 + (o_axis0_2 + r * 8) % 16)) * 128
            for r in T.unroll(128):
                if i_pair + (o_axis0_2 + (r // 2 % 2 + r // 64 * 2) * 8) // 16 < last:
                    T.cuda.func_call("atomic_add", T.address_of(p_out_sum[x_60[r // 2 % 2 + r // 64 * 2] + T.Cast("int64", o_axis0_4 + ((r % 2 + r // 4 % 16 * 2) % 2 + (r % 2 + r // 4 % 16 * 2) // 2 * 8))]), b_part[r], source_code=ATOMIC_ADD)
        T.cuda.func_call("async_wait", 0, source_code=ASYNC_WAIT)

    @T.prim_func
    def sum_parts(
        out_sum_ptr: T.handle,
        out_ptr: T.handle,
        L: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (cdiv(L, 2), 1, B)
        T.func_attr({"global_symbol": "sum_parts", "tirx.noalias": True})
        n_out_sum = T.int64()
        n_out = T.int64()
        p_out_sum = T.match_buffer(out_sum_ptr, (n_out_sum,), "float32", align=16)
        p_out = T.match_buffer(out_ptr, (n_out,), "bfloat16", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        b_sum = T.alloc_buffer((32,), "float32", scope="local")  # fp32[32, 128]
        vector = T.alloc_buffer((8,), "bfloat16", scope="local")
        o_axis0: T.let = tid // 16
        o_axis0_1: T.let = tid % 16 * 8
        first_token: T.let = pid_0 * 2
        x: T.let = pid_2 * L
        x_1: T.let = T.Cast("int64", x)
        x_6: T.let = pid_1 * 16
        for r in T.unroll(8):
            for u in T.unroll(4):
                b_sum[r * 4 + u] = T.float32(0.0)
            if first_token + (o_axis0 + r // 2 * 8) // 16 < L:
                T.cuda.func_call("copy_16", T.address_of(b_sum[r * 4]), T.address_of(p_out_sum[((x_1 + T.Cast("int64", first_token + (o_axis0 + r // 2 * 8) // 16)) * 16 + T.Cast("int64", x_6 + (o_axis0 + r // 2 * 8) % 16)) * 128 + T.Cast("int64", o_axis0_1 + r % 2 * 4)]), source_code=COPY_16)
        x_18: T.let = pid_2 * L
        x_19: T.let = T.Cast("int64", x_18)
        x_24: T.let = pid_1 * 16
        for r in T.unroll(4):
            if first_token + (o_axis0 + r * 8) // 16 < L:
                for u in T.unroll(4):
                    T.cuda.func_call("pack_bf16", T.address_of(vector[u * 2]), b_sum[r * 8 + u * 2], b_sum[r * 8 + u * 2 + 1], source_code=PACK_BF16)
                T.cuda.func_call("copy_16", T.address_of(p_out[((x_19 + T.Cast("int64", first_token + (o_axis0 + r * 8) // 16)) * 16 + T.Cast("int64", x_24 + (o_axis0 + r * 8) % 16)) * 128 + T.Cast("int64", o_axis0_1)]), T.address_of(vector[0]), source_code=COPY_16)
