"""Generated for cuda:sm_80; schedule: default."""

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
COPY_4 = r"""
// 4 bytes in one access.
__device__ __forceinline__ void copy_4(void* to, const void* from) {
  *(uint*)to = *(const uint*)from;
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
COPY_8 = r"""
// 8 bytes in one access.
__device__ __forceinline__ void copy_8(void* to, const void* from) {
  *(uint2*)to = *(const uint2*)from;
}
"""


@I.ir_module
class Module:
    @T.prim_func
    def attend(
        q_ptr: T.handle,
        indices_ptr: T.handle,
        k_ptr: T.handle,
        v_ptr: T.handle,
        weights_ptr: T.handle,
        out_ptr: T.handle,
        L: T.int32,
        R: T.int32,
        Lkv: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (L, 1, B)
        T.func_attr({"global_symbol": "attend", "tirx.noalias": True})
        n_q = T.int64()
        n_indices = T.int64()
        n_k = T.int64()
        n_v = T.int64()
        n_weights = T.int64()
        n_out = T.int64()
        p_q = T.match_buffer(q_ptr, (n_q,), "bfloat16", align=16)
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=16)
        p_k = T.match_buffer(k_ptr, (n_k,), "bfloat16", align=16)
        p_v = T.match_buffer(v_ptr, (n_v,), "bfloat16", align=16)
        p_weights = T.match_buffer(weights_ptr, (n_weights,), "float32", align=16)
        p_out = T.match_buffer(out_ptr, (n_out,), "bfloat16", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        shared = T.alloc_buffer((71936,), "uint8", scope="shared.dyn", align=1024)
        s_b_q = T.decl_buffer((2176,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [16, 128]
        s_k = T.decl_buffer((17408,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [128, 128]
        s_v = T.decl_buffer((17408,), "bfloat16", data=shared.data, byte_offset=34816, scope="shared.dyn")  # [128, 128]
        s_b_m = T.decl_buffer((80,), "float32", data=shared.data, byte_offset=69632, scope="shared.dyn")  # [4, 16]
        s_b_l = T.decl_buffer((80,), "float32", data=shared.data, byte_offset=69632, scope="shared.dyn")  # [4, 16]
        s_b_p_2 = T.decl_buffer((1152,), "bfloat16", data=shared.data, byte_offset=69632, scope="shared.dyn")  # [16, 64]
        s_b_out_1 = T.decl_buffer((2112,), "float32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [16, 128]
        b_q = T.alloc_buffer((16,), "bfloat16", scope="local")  # bf16[16, 128]
        b_q_1 = T.alloc_buffer((64,), "bfloat16", scope="local")  # bf16[16, 128]
        b_chosen = T.alloc_buffer((1,), "int32", scope="local")  # i32[32]
        n_slots = T.alloc_buffer((1,), "int32", scope="local")
        b_out_1 = T.alloc_buffer((16,), "float32", scope="local")  # fp32[16, 128]
        chunk_ahead = T.alloc_buffer((1,), "int32", scope="local")
        b_s = T.alloc_buffer((8,), "float32", scope="local")  # fp32[16, 64]
        b_k_t_part = T.alloc_buffer((8,), "bfloat16", scope="local")
        b_m = T.alloc_buffer((2,), "float32", scope="local")  # fp32[16]
        x_41 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[16]
        b_p = T.alloc_buffer((8,), "float32", scope="local")  # fp32[16, 64]
        b_l = T.alloc_buffer((2,), "float32", scope="local")  # fp32[16]
        x_45 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[16]
        b_p_2 = T.alloc_buffer((8,), "bfloat16", scope="local")  # bf16[16, 64]
        b_p_2_1 = T.alloc_buffer((32,), "bfloat16", scope="local")  # bf16[16, 64]
        b_v_part = T.alloc_buffer((8,), "bfloat16", scope="local")
        b_out_1_1 = T.alloc_buffer((16,), "float32", scope="local")  # fp32[16, 128]
        vector = T.alloc_buffer((8,), "bfloat16", scope="local")
        o_axis0: T.let = tid // 16
        o_axis0_1: T.let = tid % 16 * 8
        o_axis1: T.let = tid % 16 * 8
        o_axis0_2: T.let = tid % 32
        o_axis1_1: T.let = tid // 32 * 16
        o_axis0_3: T.let = tid // 4 % 8
        o_axis1_2: T.let = tid % 4 * 2 + tid // 32 * 16
        o_axis1_3: T.let = tid // 32 * 32
        o_axis1_4: T.let = tid % 4 * 2 + tid // 32 * 32
        x: T.let = pid_2 * L
        x_1: T.let = T.Cast("int64", x)
        x_2: T.let = x_1 + T.Cast("int64", pid_0)
        x_3: T.let = x_2 * 16
        x_4: T.let = pid_1 * 16
        for r in T.unroll(2):
            T.cuda.func_call("copy_16", T.address_of(b_q[r * 8]), T.address_of(p_q[(x_3 + T.Cast("int64", x_4 + (o_axis0 + r * 8))) * 128 + T.Cast("int64", o_axis0_1)]), source_code=COPY_16)
        for r in T.unroll(2):
            T.cuda.func_call("copy_16", T.address_of(s_b_q[(o_axis0 + r * 8) * 136 + o_axis1]), T.address_of(b_q[r * 8]), source_code=COPY_16)
        T.cuda.cta_sync()
        for r in T.unroll(8):
            T.cuda.func_call("load_matrix", T.address_of(b_q_1[r * 8]), T.address_of(s_b_q[(lane % 8 + lane // 8 % 2 * 8) * 136 + (r * 16 + lane // 16 % 2 * 8)]), source_code=LOAD_MATRIX)
        x_10: T.let = pid_2 * R
        x_11: T.let = T.Cast("int64", x_10)
        x_12: T.let = x_11 + T.Cast("int64", pid_0)
        x_15: T.let = x_12 * 32
        b_chosen[0] = p_indices[x_15 + T.Cast("int64", o_axis0_2)]
        n_slots[0] = -2147483648
        n_slots[0] = T.max(n_slots[0], T.Select(b_chosen[0] >= 0, o_axis0_2 + 1, 0))
        n_slots[0] = T.max(n_slots[0], T.cuda.func_call("shuffle_xor", n_slots[0], 1, source_code=SHUFFLE_XOR, return_type="int32"))
        n_slots[0] = T.max(n_slots[0], T.cuda.func_call("shuffle_xor", n_slots[0], 2, source_code=SHUFFLE_XOR, return_type="int32"))
        n_slots[0] = T.max(n_slots[0], T.cuda.func_call("shuffle_xor", n_slots[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
        n_slots[0] = T.max(n_slots[0], T.cuda.func_call("shuffle_xor", n_slots[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
        n_slots[0] = T.max(n_slots[0], T.cuda.func_call("shuffle_xor", n_slots[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
        for r in T.unroll(16):
            b_out_1[r] = T.float32(0.0)
        T.cuda.cta_sync()
        if 0 < n_slots[0]:
            x_20: T.let = x_15
            chunk: T.let = p_indices[x_20]
            chunk_ahead[0] = chunk
        if 0 < n_slots[0]:
            x_20_1: T.let = x_15
            chunk_1: T.let = T.max(chunk_ahead[0], 0)
            x_30: T.let = chunk_1 * 64
            x_31: T.let = pid_2 * Lkv
            x_32: T.let = T.Cast("int64", x_31)
            x_33: T.let = x_32 + T.Cast("int64", x_30)
            x_35: T.let = x_33 + T.Cast("int64", pid_1)
            x_36: T.let = x_35 * 128
            for r in T.unroll(8):
                T.cuda.func_call("async_copy_16", T.address_of(s_k[(o_axis0 + r * 8) * 136 + o_axis1]), T.address_of(p_k[x_36 + T.Cast("int64", (o_axis0 + r * 8) * 128) + T.Cast("int64", o_axis0_1)]), T.bool(True), source_code=ASYNC_COPY_16)
            for r in T.unroll(8):
                T.cuda.func_call("async_copy_16", T.address_of(s_v[(o_axis0 + r * 8) * 136 + o_axis1]), T.address_of(p_v[x_36 + T.Cast("int64", (o_axis0 + r * 8) * 128) + T.Cast("int64", o_axis0_1)]), T.bool(True), source_code=ASYNC_COPY_16)
        T.cuda.func_call("async_commit", source_code=ASYNC_COMMIT)
        if 1 < n_slots[0]:
            x_20_2: T.let = x_15 + 1
            chunk_2: T.let = p_indices[x_20_2]
            chunk_ahead[0] = chunk_2
        for i_step in range(0, n_slots[0]):
            T.cuda.func_call("async_wait", 0, source_code=ASYNC_WAIT)
            T.cuda.cta_sync()
            if i_step + 1 < n_slots[0]:
                x_20_3: T.let = x_15 + T.Cast("int64", i_step + 1)
                chunk_1_1: T.let = T.max(chunk_ahead[0], 0)
                x_30_1: T.let = chunk_1_1 * 64
                x_31_1: T.let = pid_2 * Lkv
                x_32_1: T.let = T.Cast("int64", x_31_1)
                x_33_1: T.let = x_32_1 + T.Cast("int64", x_30_1)
                x_35_1: T.let = x_33_1 + T.Cast("int64", pid_1)
                x_36_1: T.let = x_35_1 * 128
                for r in T.unroll(8):
                    T.cuda.func_call("async_copy_16", T.address_of(s_k[((i_step + 1) % 2 * 64 + (o_axis0 + r * 8)) * 136 + o_axis1]), T.address_of(p_k[x_36_1 + T.Cast("int64", (o_axis0 + r * 8) * 128) + T.Cast("int64", o_axis0_1)]), T.bool(True), source_code=ASYNC_COPY_16)
                for r in T.unroll(8):
                    T.cuda.func_call("async_copy_16", T.address_of(s_v[((i_step + 1) % 2 * 64 + (o_axis0 + r * 8)) * 136 + o_axis1]), T.address_of(p_v[x_36_1 + T.Cast("int64", (o_axis0 + r * 8) * 128) + T.Cast("int64", o_axis0_1)]), T.bool(True), source_code=ASYNC_COPY_16)
            T.cuda.func_call("async_commit", source_code=ASYNC_COMMIT)
            if i_step + 1 + 1 < n_slots[0]:
                x_20_4: T.let = x_15 + T.Cast("int64", i_step + 1 + 1)
                chunk_3: T.let = p_indices[x_20_4]
                chunk_ahead[0] = chunk_3
            b_k_row: T.let = i_step % 2 * 64
            b_v_row: T.let = i_step % 2 * 64
            x_20_5: T.let = x_15 + T.Cast("int64", i_step)
            chunk_4: T.let = p_indices[x_20_5]
            chunk_1_2: T.let = T.max(chunk_4, 0)
            x_21: T.let = pid_1 * 16
            x_22: T.let = pid_2 * R
            x_23: T.let = T.Cast("int64", x_22)
            x_24: T.let = x_23 + T.Cast("int64", pid_0)
            x_27: T.let = x_24 * 32
            x_28: T.let = x_27 + T.Cast("int64", i_step)
            b_w: T.let = p_weights[x_28]
            x_29: T.let = chunk_4 >= 0
            b_w_1: T.let = T.Select(x_29, b_w, T.float32(0.0))
            x_30_2: T.let = chunk_1_2 * 64
            x_31_2: T.let = pid_2 * Lkv
            x_32_2: T.let = T.Cast("int64", x_31_2)
            x_33_2: T.let = x_32_2 + T.Cast("int64", x_30_2)
            x_35_2: T.let = x_33_2 + T.Cast("int64", pid_1)
            x_36_2: T.let = x_35_2 * 128
            # b_s [16, 64] = b_q [16, 128] @ b_k_t [128, 64]
            for r in T.unroll(8):
                b_s[r] = T.float32(0.0)
            for k in T.unroll(8):
                T.cuda.func_call("load_matrix", T.address_of(b_k_t_part[0]), T.address_of(s_k[(b_k_row + (o_axis1_1 + (lane % 8 + lane // 16 * 8))) * 136 + (k * 16 + lane // 8 % 2 * 8)]), source_code=LOAD_MATRIX)
                T.cuda.func_call("mma_bf16", T.address_of(b_s[0]), T.address_of(b_q_1[k * 8]), T.address_of(b_k_t_part[0]), source_code=MMA_BF16)
                T.cuda.func_call("mma_bf16", T.address_of(b_s[4]), T.address_of(b_q_1[k * 8]), T.address_of(b_k_t_part[4]), source_code=MMA_BF16)
            for r in T.unroll(2):
                b_m[r] = T.float32("-inf")
            for r in T.unroll(8):
                b_m[r // 2 % 2] = T.max(b_m[r // 2 % 2], b_s[r])
            for r in T.unroll(2):
                b_m[r] = T.max(b_m[r], T.cuda.func_call("shuffle_xor", b_m[r], 1, source_code=SHUFFLE_XOR, return_type="float32"))
            for r in T.unroll(2):
                b_m[r] = T.max(b_m[r], T.cuda.func_call("shuffle_xor", b_m[r], 2, source_code=SHUFFLE_XOR, return_type="float32"))
            if tid & 3 == 0:
                for r in T.unroll(2):
                    s_b_m[(tid // 32 % 2 + tid // 64 % 2 * 2) * 20 + (o_axis0_3 + r * 8)] = b_m[r]
            T.cuda.cta_sync()
            for r in T.unroll(2):
                b_m[r] = s_b_m[o_axis0_3 + r * 8]
                b_m[r] = T.max(b_m[r], s_b_m[20 + (o_axis0_3 + r * 8)])
                b_m[r] = T.max(b_m[r], s_b_m[40 + (o_axis0_3 + r * 8)])
                b_m[r] = T.max(b_m[r], s_b_m[60 + (o_axis0_3 + r * 8)])
            for r in T.unroll(2):
                x_41[r] = b_m[r] * 0.14426950408889636
            for r in T.unroll(8):
                b_p[r] = T.cuda.func_call("exp2_approx", b_s[r] * 0.14426950408889636 - x_41[r // 2 % 2], source_code=EXP2_APPROX, return_type="float32")
            for r in T.unroll(2):
                b_l[r] = T.float32(0.0)
            for r in T.unroll(8):
                b_l[r // 2 % 2] = b_l[r // 2 % 2] + b_p[r]
            for r in T.unroll(2):
                b_l[r] = b_l[r] + T.cuda.func_call("shuffle_xor", b_l[r], 1, source_code=SHUFFLE_XOR, return_type="float32")
            for r in T.unroll(2):
                b_l[r] = b_l[r] + T.cuda.func_call("shuffle_xor", b_l[r], 2, source_code=SHUFFLE_XOR, return_type="float32")
            T.cuda.cta_sync()
            if tid & 3 == 0:
                for r in T.unroll(2):
                    s_b_l[(tid // 32 % 2 + tid // 64 % 2 * 2) * 20 + (o_axis0_3 + r * 8)] = b_l[r]
            T.cuda.cta_sync()
            for r in T.unroll(2):
                b_l[r] = s_b_l[o_axis0_3 + r * 8]
                b_l[r] = b_l[r] + s_b_l[20 + (o_axis0_3 + r * 8)]
                b_l[r] = b_l[r] + s_b_l[40 + (o_axis0_3 + r * 8)]
                b_l[r] = b_l[r] + s_b_l[60 + (o_axis0_3 + r * 8)]
            for r in T.unroll(2):
                x_45[r] = T.cuda.func_call("reciprocal", b_l[r], source_code=RECIPROCAL, return_type="float32") * b_w_1
            for r in T.unroll(4):
                T.cuda.func_call("pack_bf16", T.address_of(b_p_2[r * 2]), b_p[r * 2] * x_45[r * 2 // 2 % 2], b_p[r * 2 + 1] * x_45[(r * 2 + 1) // 2 % 2], source_code=PACK_BF16)
            T.cuda.cta_sync()
            for r in T.unroll(4):
                T.cuda.func_call("copy_4", T.address_of(s_b_p_2[(o_axis0_3 + r % 2 * 8) * 72 + (o_axis1_2 + r // 2 * 8)]), T.address_of(b_p_2[r * 2]), source_code=COPY_4)
            T.cuda.cta_sync()
            for r in T.unroll(4):
                T.cuda.func_call("load_matrix", T.address_of(b_p_2_1[r * 8]), T.address_of(s_b_p_2[(lane % 8 + lane // 8 % 2 * 8) * 72 + (r * 16 + lane // 16 % 2 * 8)]), source_code=LOAD_MATRIX)
            # b_dot [16, 128] = b_p_2 [16, 64] @ b_v [64, 128] + acc
            for k in T.unroll(4):
                for n in T.unroll(2):
                    T.cuda.func_call("load_matrix_trans", T.address_of(b_v_part[0]), T.address_of(s_v[(b_v_row + (k * 16 + (lane % 8 + lane // 8 % 2 * 8))) * 136 + (o_axis1_3 + n * 16 + lane // 16 * 8)]), source_code=LOAD_MATRIX_TRANS)
                    T.cuda.func_call("mma_bf16", T.address_of(b_out_1[n * 2 * 4]), T.address_of(b_p_2_1[k * 8]), T.address_of(b_v_part[0]), source_code=MMA_BF16)
                    T.cuda.func_call("mma_bf16", T.address_of(b_out_1[(n * 2 + 1) * 4]), T.address_of(b_p_2_1[k * 8]), T.address_of(b_v_part[4]), source_code=MMA_BF16)
        T.cuda.func_call("async_wait", 0, source_code=ASYNC_WAIT)
        x_47: T.let = pid_2 * L
        x_48: T.let = T.Cast("int64", x_47)
        x_49: T.let = x_48 + T.Cast("int64", pid_0)
        x_50: T.let = x_49 * 16
        x_51: T.let = pid_1 * 16
        T.cuda.cta_sync()
        for r in T.unroll(8):
            T.cuda.func_call("copy_8", T.address_of(s_b_out_1[(o_axis0_3 + r % 2 * 8) * 132 + (o_axis1_4 + r // 2 * 8)]), T.address_of(b_out_1[r * 2]), source_code=COPY_8)
        T.cuda.cta_sync()
        for r in T.unroll(4):
            T.cuda.func_call("copy_16", T.address_of(b_out_1_1[r * 4]), T.address_of(s_b_out_1[(o_axis0 + r // 2 * 8) * 132 + (o_axis1 + r % 2 * 4)]), source_code=COPY_16)
        for r in T.unroll(2):
            for u in T.unroll(4):
                T.cuda.func_call("pack_bf16", T.address_of(vector[u * 2]), b_out_1_1[r * 8 + u * 2], b_out_1_1[r * 8 + u * 2 + 1], source_code=PACK_BF16)
            T.cuda.func_call("copy_16", T.address_of(p_out[(x_50 + T.Cast("int64", x_51 + (o_axis0 + r * 8))) * 128 + T.Cast("int64", o_axis0_1)]), T.address_of(vector[0]), source_code=COPY_16)
