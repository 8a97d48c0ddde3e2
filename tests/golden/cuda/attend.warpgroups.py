"""Generated for cuda:sm_90; schedule: order=union tokens=4."""

from tvm.script import ir as I
from tvm.script import tirx as T

SHUFFLE_XOR = r"""
// The value of the lane whose number differs in the bits of mask.
template <typename T>
__device__ __forceinline__ T shuffle_xor(T x, int mask) {
  return __shfl_xor_sync(0xffffffffu, x, mask);
}
"""
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
PROXY_FENCE = r"""
// What this thread wrote to shared memory can be seen by wgmma, once the threads have met.
__device__ __forceinline__ void proxy_fence() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
"""
HOLD_PAIRS = r"""
// The same for registers of two elements each.
__device__ __forceinline__ void hold_pairs(void* x, int count) {
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+r"(((unsigned*)x)[i]) :: "memory");
}
"""
WARPGROUP_FENCE = r"""
// Registers that the products to come read are written.
__device__ __forceinline__ void warpgroup_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
"""
MATRIX_DESCRIPTOR = r"""
// A matrix in shared memory for wgmma, `ahead` pieces of 16 bytes after `first`: rows of 128 bytes,
// swizzled, in groups of 8 one after the other; `panel` pieces to the next columns.
__device__ __forceinline__ unsigned long long matrix_descriptor(
    const void* first, int ahead, int panel) {
  unsigned address = (unsigned)__cvta_generic_to_shared(first);
  unsigned low = ((address & 0x3ffff) >> 4) + (ahead | panel << 16);
  return 1ull << 62 | 64ull << 32 | low;
}
"""
WARPGROUP_MMA_BF16_64_RS = r"""
// acc[64, 64] = a[64, 16] b[16, 64] (+ acc if more) of four warps, when waited for.
__device__ __forceinline__ void warpgroup_mma_bf16_64_rs(
    float* acc, const void* a, unsigned long long b, bool more) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %37, 0; "
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1, 0; }"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3]), "+f"(acc[4]), "+f"(acc[5]), "+f"(acc[6]), "+f"(acc[7]), "+f"(acc[8]), "+f"(acc[9]), "+f"(acc[10]), "+f"(acc[11]), "+f"(acc[12]), "+f"(acc[13]), "+f"(acc[14]), "+f"(acc[15]), "+f"(acc[16]), "+f"(acc[17]), "+f"(acc[18]), "+f"(acc[19]), "+f"(acc[20]), "+f"(acc[21]), "+f"(acc[22]), "+f"(acc[23]), "+f"(acc[24]), "+f"(acc[25]), "+f"(acc[26]), "+f"(acc[27]), "+f"(acc[28]), "+f"(acc[29]), "+f"(acc[30]), "+f"(acc[31])
      : "r"(((const unsigned*)a)[0]), "r"(((const unsigned*)a)[1]), "r"(((const unsigned*)a)[2]), "r"(((const unsigned*)a)[3]), "l"(b), "r"((int)more));
}
"""
WARPGROUP_WAIT = r"""
// Waits for this warpgroup's products.
__device__ __forceinline__ void warpgroup_wait() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
}
"""
HOLD = r"""
// The compiler moves nothing that writes or reads these registers past this line.
__device__ __forceinline__ void hold(float* x, int count) {
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+f"(x[i]) :: "memory");
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
WARPGROUP_MMA_BF16_128_RT = r"""
// acc[64, 128] = a[64, 16] b[16, 128] (+ acc if more) of four warps, when waited for.
__device__ __forceinline__ void warpgroup_mma_bf16_128_rt(
    float* acc, const void* a, unsigned long long b, bool more) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %69, 0; "
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "{%64, %65, %66, %67}, %68, p, 1, 1, 1; }"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3]), "+f"(acc[4]), "+f"(acc[5]), "+f"(acc[6]), "+f"(acc[7]), "+f"(acc[8]), "+f"(acc[9]), "+f"(acc[10]), "+f"(acc[11]), "+f"(acc[12]), "+f"(acc[13]), "+f"(acc[14]), "+f"(acc[15]), "+f"(acc[16]), "+f"(acc[17]), "+f"(acc[18]), "+f"(acc[19]), "+f"(acc[20]), "+f"(acc[21]), "+f"(acc[22]), "+f"(acc[23]), "+f"(acc[24]), "+f"(acc[25]), "+f"(acc[26]), "+f"(acc[27]), "+f"(acc[28]), "+f"(acc[29]), "+f"(acc[30]), "+f"(acc[31]), "+f"(acc[32]), "+f"(acc[33]), "+f"(acc[34]), "+f"(acc[35]), "+f"(acc[36]), "+f"(acc[37]), "+f"(acc[38]), "+f"(acc[39]), "+f"(acc[40]), "+f"(acc[41]), "+f"(acc[42]), "+f"(acc[43]), "+f"(acc[44]), "+f"(acc[45]), "+f"(acc[46]), "+f"(acc[47]), "+f"(acc[48]), "+f"(acc[49]), "+f"(acc[50]), "+f"(acc[51]), "+f"(acc[52]), "+f"(acc[53]), "+f"(acc[54]), "+f"(acc[55]), "+f"(acc[56]), "+f"(acc[57]), "+f"(acc[58]), "+f"(acc[59]), "+f"(acc[60]), "+f"(acc[61]), "+f"(acc[62]), "+f"(acc[63])
      : "r"(((const unsigned*)a)[0]), "r"(((const unsigned*)a)[1]), "r"(((const unsigned*)a)[2]), "r"(((const unsigned*)a)[3]), "l"(b), "r"((int)more));
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
    def union_chunks(
        indices_ptr: T.handle,
        union_chunks_ptr: T.handle,
        union_sizes_ptr: T.handle,
        R: T.int32,
        L: T.int32,
        n_tiles: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (cdiv(L, 4), 1, B)
        T.func_attr({"global_symbol": "union_chunks", "tirx.noalias": True})
        n_indices = T.int64()
        n_union_chunks = T.int64()
        n_union_sizes = T.int64()
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=16)
        p_union_chunks = T.match_buffer(union_chunks_ptr, (n_union_chunks,), "int32", align=16)
        p_union_sizes = T.match_buffer(union_sizes_ptr, (n_union_sizes,), "int32", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        shared = T.alloc_buffer((512,), "uint8", scope="shared.dyn", align=1024)
        s_x_31 = T.decl_buffer((128,), "bool", data=shared.data, byte_offset=0, scope="shared.dyn")  # [1, 128]
        s_b_first = T.decl_buffer((128,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [1, 128]
        s_n_chunks = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        b_chosen = T.alloc_buffer((4,), "int32", scope="local")  # i32[128]
        b_chosen_1 = T.alloc_buffer((4,), "int32", scope="local")  # i32[128]
        b_twins_1 = T.alloc_buffer((32,), "int32", scope="local")  # i32[128, 32]
        b_other = T.alloc_buffer((8,), "int32", scope="local")  # i32[32]
        x_28 = T.alloc_buffer((32,), "int32", scope="local")  # i32[128, 32]
        b_twins_2 = T.alloc_buffer((4,), "int32", scope="local")  # i32[128]
        b_twins_2_halves = T.alloc_buffer((8,), "int32", scope="local")
        x_31 = T.alloc_buffer((4,), "bool", scope="local")  # bool[128]
        x_31_1 = T.alloc_buffer((4,), "bool", scope="local")  # bool[128]
        b_first = T.alloc_buffer((4,), "int32", scope="local")  # i32[128]
        b_first_1 = T.alloc_buffer((4,), "int32", scope="local")  # i32[128]
        b_first_cumsum = T.alloc_buffer((4,), "int32", scope="local")  # i32[128]
        b_first_cumsum_total = T.alloc_buffer((4,), "int32", scope="local")
        other = T.alloc_buffer((1,), "int32", scope="local")
        other_1 = T.alloc_buffer((1,), "int32", scope="local")
        other_2 = T.alloc_buffer((1,), "int32", scope="local")
        other_3 = T.alloc_buffer((1,), "int32", scope="local")
        other_4 = T.alloc_buffer((1,), "int32", scope="local")
        n_chunks = T.alloc_buffer((1,), "int32", scope="local")
        o_axis0: T.let = tid % 4 * 32 + tid // 4 % 8
        o_axis0_1: T.let = tid // 4 % 8 + tid // 32 * 32
        o_axis0_2: T.let = tid % 4
        x: T.let = pid_0 * 4
        x_4: T.let = pid_2 * R
        x_5: T.let = T.Cast("int64", x_4)
        for r in T.unroll(4):
            b_chosen[r] = T.if_then_else(x + (o_axis0 + r * 8) // 32 < L, p_indices[(x_5 + T.Cast("int64", x + (o_axis0 + r * 8) // 32) + T.Cast("int64", pid_1)) * 32 + T.Cast("int64", (o_axis0 + r * 8) % 32)], -1)
        for r in T.unroll(4):
            b_chosen_1[r] = T.if_then_else(x + (o_axis0_1 + r * 8) // 32 < L, p_indices[(x_5 + T.Cast("int64", x + (o_axis0_1 + r * 8) // 32) + T.Cast("int64", pid_1)) * 32 + T.Cast("int64", (o_axis0_1 + r * 8) % 32)], -1)
        for r in T.unroll(32):
            b_twins_1[r] = 0
        for i_pair_round in range(4):
            i_pair: T.let = i_pair_round * 32
            x_16: T.let = pid_2 * R
            x_17: T.let = T.Cast("int64", x_16)
            for r in T.unroll(8):
                b_other[r] = T.if_then_else(x + (i_pair + (o_axis0_2 + r * 4)) // 32 < L, p_indices[(x_17 + T.Cast("int64", x + (i_pair + (o_axis0_2 + r * 4)) // 32) + T.Cast("int64", pid_1)) * 32 + T.Cast("int64", (i_pair + (o_axis0_2 + r * 4)) % 32)], -1)
            for r in T.unroll(32):
                x_28[r] = T.Select((b_chosen_1[r // 8] == b_other[r % 8]) & (i_pair + (o_axis0_2 + r % 8 * 4) < o_axis0_1 + r // 8 * 8), 1, b_twins_1[r])
            for r in T.unroll(32):
                b_twins_1[r] = x_28[r]
        for r in T.unroll(8):
            b_twins_2_halves[r] = -2147483648
        for r in T.unroll(32):
            b_twins_2_halves[r // 4 % 2 * 4 + r // 8] = T.max(b_twins_2_halves[r // 4 % 2 * 4 + r // 8], b_twins_1[r])
        for r in T.unroll(4):
            b_twins_2[r] = T.max(b_twins_2_halves[r], b_twins_2_halves[r + 4])
        for r in T.unroll(4):
            b_twins_2[r] = T.max(b_twins_2[r], T.cuda.func_call("shuffle_xor", b_twins_2[r], 1, source_code=SHUFFLE_XOR, return_type="int32"))
        for r in T.unroll(4):
            b_twins_2[r] = T.max(b_twins_2[r], T.cuda.func_call("shuffle_xor", b_twins_2[r], 2, source_code=SHUFFLE_XOR, return_type="int32"))
        for r in T.unroll(4):
            x_31[r] = (b_chosen_1[r] >= 0) & (b_twins_2[r] == 0)
        T.cuda.cta_sync()
        if tid & 3 == 0:
            for r in T.unroll(4):
                s_x_31[o_axis0_1 + r * 8] = x_31[r]
        T.cuda.cta_sync()
        for r in T.unroll(4):
            x_31_1[r] = s_x_31[o_axis0 + r * 8]
        for r in T.unroll(4):
            b_first[r] = T.Select(x_31[r], 1, 0)
        T.cuda.cta_sync()
        if tid & 3 == 0:
            for r in T.unroll(4):
                s_b_first[o_axis0_1 + r * 8] = b_first[r]
        T.cuda.cta_sync()
        for r in T.unroll(4):
            b_first_1[r] = s_b_first[o_axis0 + r * 8]
        x_33: T.let = pid_2 + pid_1
        x_34: T.let = T.Cast("int64", x_33)
        x_35: T.let = x_34 * T.Cast("int64", n_tiles)
        x_36: T.let = x_35 + T.Cast("int64", pid_0)
        x_37: T.let = x_36 * 128
        for r in T.unroll(4):
            b_first_cumsum[r] = b_first_1[r]
            b_first_cumsum_total[r] = b_first_cumsum[r]
        for r in T.unroll(4):
            other[0] = T.cuda.func_call("shuffle_xor", b_first_cumsum_total[r], 4, source_code=SHUFFLE_XOR, return_type="int32")
            if lane & 4 != 0:
                b_first_cumsum[r] = b_first_cumsum[r] + other[0]
            b_first_cumsum_total[r] = b_first_cumsum_total[r] + other[0]
        for r in T.unroll(4):
            other_1[0] = T.cuda.func_call("shuffle_xor", b_first_cumsum_total[r], 8, source_code=SHUFFLE_XOR, return_type="int32")
            if lane & 8 != 0:
                b_first_cumsum[r] = b_first_cumsum[r] + other_1[0]
            b_first_cumsum_total[r] = b_first_cumsum_total[r] + other_1[0]
        for r in T.unroll(4):
            other_2[0] = T.cuda.func_call("shuffle_xor", b_first_cumsum_total[r], 16, source_code=SHUFFLE_XOR, return_type="int32")
            if lane & 16 != 0:
                b_first_cumsum[r] = b_first_cumsum[r] + other_2[0]
            b_first_cumsum_total[r] = b_first_cumsum_total[r] + other_2[0]
        for r in T.unroll(2):
            b_first_cumsum[r * 2 + 1] = b_first_cumsum[r * 2 + 1] + b_first_cumsum_total[r * 2]
            b_first_cumsum_total[r * 2] = b_first_cumsum_total[r * 2] + b_first_cumsum_total[r * 2 + 1]
            b_first_cumsum_total[r * 2 + 1] = b_first_cumsum_total[r * 2]
        for r in T.unroll(2):
            b_first_cumsum[r // 2 * 4 + r % 2 + 2] = b_first_cumsum[r // 2 * 4 + r % 2 + 2] + b_first_cumsum_total[r // 2 * 4 + r % 2]
            b_first_cumsum_total[r // 2 * 4 + r % 2] = b_first_cumsum_total[r // 2 * 4 + r % 2] + b_first_cumsum_total[r // 2 * 4 + r % 2 + 2]
            b_first_cumsum_total[r // 2 * 4 + r % 2 + 2] = b_first_cumsum_total[r // 2 * 4 + r % 2]
        for r in T.unroll(4):
            other_3[0] = T.cuda.func_call("shuffle_xor", b_first_cumsum_total[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
            if lane & 1 != 0:
                b_first_cumsum[r] = b_first_cumsum[r] + other_3[0]
            b_first_cumsum_total[r] = b_first_cumsum_total[r] + other_3[0]
        for r in T.unroll(4):
            other_4[0] = T.cuda.func_call("shuffle_xor", b_first_cumsum_total[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
            if lane & 2 != 0:
                b_first_cumsum[r] = b_first_cumsum[r] + other_4[0]
            b_first_cumsum_total[r] = b_first_cumsum_total[r] + other_4[0]
        if tid & 96 == 0:
            for r in T.unroll(4):
                if x_31_1[r]:
                    p_union_chunks[x_37 + T.Cast("int64", b_first_cumsum[r] - 1)] = b_chosen[r]
        n_chunks[0] = 0
        for r in T.unroll(4):
            n_chunks[0] = n_chunks[0] + b_first[r]
        n_chunks[0] = n_chunks[0] + T.cuda.func_call("shuffle_xor", n_chunks[0], 4, source_code=SHUFFLE_XOR, return_type="int32")
        n_chunks[0] = n_chunks[0] + T.cuda.func_call("shuffle_xor", n_chunks[0], 8, source_code=SHUFFLE_XOR, return_type="int32")
        n_chunks[0] = n_chunks[0] + T.cuda.func_call("shuffle_xor", n_chunks[0], 16, source_code=SHUFFLE_XOR, return_type="int32")
        T.cuda.cta_sync()
        if tid & 31 == 0:
            s_n_chunks[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = n_chunks[0]
        T.cuda.cta_sync()
        n_chunks[0] = s_n_chunks[0]
        n_chunks[0] = n_chunks[0] + s_n_chunks[5]
        n_chunks[0] = n_chunks[0] + s_n_chunks[10]
        n_chunks[0] = n_chunks[0] + s_n_chunks[15]
        if tid == 0:
            p_union_sizes[x_36] = n_chunks[0]

    @T.prim_func
    def attend(
        q_ptr: T.handle,
        indices_ptr: T.handle,
        k_ptr: T.handle,
        v_ptr: T.handle,
        union_chunks_ptr: T.handle,
        union_sizes_ptr: T.handle,
        weights_ptr: T.handle,
        out_ptr: T.handle,
        L: T.int32,
        n_tiles: T.int32,
        R: T.int32,
        Lkv: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (cdiv(L, 4), 1, B)
        T.func_attr({"global_symbol": "attend", "tirx.noalias": True})
        n_q = T.int64()
        n_indices = T.int64()
        n_k = T.int64()
        n_v = T.int64()
        n_union_chunks = T.int64()
        n_union_sizes = T.int64()
        n_weights = T.int64()
        n_out = T.int64()
        p_q = T.match_buffer(q_ptr, (n_q,), "bfloat16", align=16)
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=16)
        p_k = T.match_buffer(k_ptr, (n_k,), "bfloat16", align=16)
        p_v = T.match_buffer(v_ptr, (n_v,), "bfloat16", align=16)
        p_union_chunks = T.match_buffer(union_chunks_ptr, (n_union_chunks,), "int32", align=16)
        p_union_sizes = T.match_buffer(union_sizes_ptr, (n_union_sizes,), "int32", align=16)
        p_weights = T.match_buffer(weights_ptr, (n_weights,), "float32", align=16)
        p_out = T.match_buffer(out_ptr, (n_out,), "bfloat16", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        shared = T.alloc_buffer((65536,), "uint8", scope="shared.dyn", align=1024)
        s_b_q = T.decl_buffer((8704,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [64, 128]
        s_k = T.decl_buffer((16384,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [128, 128]
        s_v = T.decl_buffer((16384,), "bfloat16", data=shared.data, byte_offset=32768, scope="shared.dyn")  # [128, 128]
        s_b_out_1 = T.decl_buffer((8448,), "float32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [64, 128]
        b_q = T.alloc_buffer((64,), "bfloat16", scope="local")  # bf16[64, 128]
        b_q_1 = T.alloc_buffer((64,), "bfloat16", scope="local")  # bf16[64, 128]
        b_chosen = T.alloc_buffer((1,), "int32", scope="local")  # i32[4, 32]
        b_weights = T.alloc_buffer((1,), "float32", scope="local")  # fp32[4, 32]
        b_out_1 = T.alloc_buffer((64,), "float32", scope="local")  # fp32[64, 128]
        chunk_ahead = T.alloc_buffer((1,), "int32", scope="local")
        b_w = T.alloc_buffer((1,), "float32", scope="local")  # fp32[4]
        b_s = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_m = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        b_m_halves = T.alloc_buffer((4,), "float32", scope="local")
        x_63 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        b_p = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_l = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        b_l_halves = T.alloc_buffer((4,), "float32", scope="local")
        x_67 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        b_p_2 = T.alloc_buffer((32,), "bfloat16", scope="local")  # bf16[64, 64]
        b_out_1_1 = T.alloc_buffer((64,), "float32", scope="local")  # fp32[64, 128]
        vector = T.alloc_buffer((8,), "bfloat16", scope="local")
        vector_1 = T.alloc_buffer((8,), "bfloat16", scope="local")
        o_axis0: T.let = tid // 16
        o_axis0_1: T.let = tid % 16 * 8
        o_axis1: T.let = tid % 16 * 8
        o_axis0_2: T.let = tid // 32 * 16
        o_axis0_3: T.let = tid // 32
        o_axis0_4: T.let = tid % 32
        o_axis0_5: T.let = tid // 4 % 8 + tid // 32 * 16
        o_axis1_1: T.let = tid % 4 * 2
        first_token: T.let = pid_0 * 4
        x: T.let = pid_2 * L
        x_1: T.let = T.Cast("int64", x)
        x_6: T.let = pid_1 * 16
        for r in T.unroll(8):
            for u in T.unroll(8):
                b_q[r * 8 + u] = T.Cast("bfloat16", T.float32(0.0))
            if first_token + (o_axis0 + r * 8) // 16 < L:
                T.cuda.func_call("copy_16", T.address_of(b_q[r * 8]), T.address_of(p_q[((x_1 + T.Cast("int64", first_token + (o_axis0 + r * 8) // 16)) * 16 + T.Cast("int64", x_6 + (o_axis0 + r * 8) % 16)) * 128 + T.Cast("int64", o_axis0_1)]), source_code=COPY_16)
        for r in T.unroll(8):
            T.cuda.func_call("copy_16", T.address_of(s_b_q[(o_axis0 + r * 8) * 136 + o_axis1]), T.address_of(b_q[r * 8]), source_code=COPY_16)
        T.cuda.cta_sync()
        for r in T.unroll(8):
            T.cuda.func_call("load_matrix", T.address_of(b_q_1[r * 8]), T.address_of(s_b_q[(o_axis0_2 + (lane % 8 + lane // 8 % 2 * 8)) * 136 + (r * 16 + lane // 16 % 2 * 8)]), source_code=LOAD_MATRIX)
        x_20: T.let = T.Cast("int64", pid_2)
        x_21: T.let = x_20 * T.Cast("int64", n_tiles)
        x_22: T.let = x_21 + T.Cast("int64", pid_0)
        x_23: T.let = x_22 * 128
        n_chunks: T.let = p_union_sizes[x_22]
        x_25: T.let = pid_2 * R
        x_26: T.let = T.Cast("int64", x_25)
        b_chosen[0] = T.if_then_else(first_token + o_axis0_3 < L, p_indices[(x_26 + T.Cast("int64", first_token + o_axis0_3)) * 32 + T.Cast("int64", o_axis0_4)], -1)
        x_36: T.let = n_chunks > 0
        if x_36:
            x_37: T.let = pid_1 * 16
            x_39: T.let = pid_2 * R
            x_40: T.let = T.Cast("int64", x_39)
            b_weights[0] = T.if_then_else(first_token + o_axis0_3 < L, p_weights[(x_40 + T.Cast("int64", first_token + o_axis0_3)) * 32 + T.Cast("int64", o_axis0_4)], T.float32(0.0))
            for r in T.unroll(64):
                b_out_1[r] = T.float32(0.0)
            T.cuda.cta_sync()
            if 0 < n_chunks:
                x_50: T.let = x_23
                chunk: T.let = p_union_chunks[x_50]
                chunk_ahead[0] = chunk
            if 0 < n_chunks:
                x_50_1: T.let = x_23
                x_52: T.let = chunk_ahead[0] * 64
                x_53: T.let = pid_2 * Lkv
                x_54: T.let = T.Cast("int64", x_53)
                x_55: T.let = x_54 + T.Cast("int64", x_52)
                x_57: T.let = x_55 + T.Cast("int64", pid_1)
                x_58: T.let = x_57 * 128
                for r in T.unroll(8):
                    T.cuda.func_call("async_copy_16", T.address_of(s_k[o_axis1 // 64 * 8192 + (o_axis0 + r * 8) * 64 + (o_axis1 % 64 ^ (o_axis0 + r * 8) % 8 * 8)]), T.address_of(p_k[x_58 + T.Cast("int64", (o_axis0 + r * 8) * 128) + T.Cast("int64", o_axis0_1)]), T.bool(True), source_code=ASYNC_COPY_16)
                for r in T.unroll(8):
                    T.cuda.func_call("async_copy_16", T.address_of(s_v[o_axis1 // 64 * 8192 + (o_axis0 + r * 8) * 64 + (o_axis1 % 64 ^ (o_axis0 + r * 8) % 8 * 8)]), T.address_of(p_v[x_58 + T.Cast("int64", (o_axis0 + r * 8) * 128) + T.Cast("int64", o_axis0_1)]), T.bool(True), source_code=ASYNC_COPY_16)
            T.cuda.func_call("async_commit", source_code=ASYNC_COMMIT)
            if 1 < n_chunks:
                x_50_2: T.let = x_23 + 1
                chunk_1: T.let = p_union_chunks[x_50_2]
                chunk_ahead[0] = chunk_1
            for i_step in range(0, n_chunks):
                T.cuda.func_call("async_wait", 0, source_code=ASYNC_WAIT)
                T.cuda.func_call("proxy_fence", source_code=PROXY_FENCE)
                T.cuda.cta_sync()
                if i_step + 1 < n_chunks:
                    x_50_3: T.let = x_23 + T.Cast("int64", i_step + 1)
                    x_52_1: T.let = chunk_ahead[0] * 64
                    x_53_1: T.let = pid_2 * Lkv
                    x_54_1: T.let = T.Cast("int64", x_53_1)
                    x_55_1: T.let = x_54_1 + T.Cast("int64", x_52_1)
                    x_57_1: T.let = x_55_1 + T.Cast("int64", pid_1)
                    x_58_1: T.let = x_57_1 * 128
                    for r in T.unroll(8):
                        T.cuda.func_call("async_copy_16", T.address_of(s_k[o_axis1 // 64 * 8192 + ((i_step + 1) % 2 * 64 + (o_axis0 + r * 8)) * 64 + (o_axis1 % 64 ^ ((i_step + 1) % 2 * 64 + (o_axis0 + r * 8)) % 8 * 8)]), T.address_of(p_k[x_58_1 + T.Cast("int64", (o_axis0 + r * 8) * 128) + T.Cast("int64", o_axis0_1)]), T.bool(True), source_code=ASYNC_COPY_16)
                    for r in T.unroll(8):
                        T.cuda.func_call("async_copy_16", T.address_of(s_v[o_axis1 // 64 * 8192 + ((i_step + 1) % 2 * 64 + (o_axis0 + r * 8)) * 64 + (o_axis1 % 64 ^ ((i_step + 1) % 2 * 64 + (o_axis0 + r * 8)) % 8 * 8)]), T.address_of(p_v[x_58_1 + T.Cast("int64", (o_axis0 + r * 8) * 128) + T.Cast("int64", o_axis0_1)]), T.bool(True), source_code=ASYNC_COPY_16)
                T.cuda.func_call("async_commit", source_code=ASYNC_COMMIT)
                if i_step + 1 + 1 < n_chunks:
                    x_50_4: T.let = x_23 + T.Cast("int64", i_step + 1 + 1)
                    chunk_2: T.let = p_union_chunks[x_50_4]
                    chunk_ahead[0] = chunk_2
                b_k_row: T.let = i_step % 2 * 64
                b_v_row: T.let = i_step % 2 * 64
                x_50_5: T.let = x_23 + T.Cast("int64", i_step)
                chunk_3: T.let = p_union_chunks[x_50_5]
                b_w[0] = T.float32(0.0)
                b_w[0] = b_w[0] + T.Select(b_chosen[0] == chunk_3, b_weights[0], T.float32(0.0))
                b_w[0] = b_w[0] + T.cuda.func_call("shuffle_xor", b_w[0], 1, source_code=SHUFFLE_XOR, return_type="float32")
                b_w[0] = b_w[0] + T.cuda.func_call("shuffle_xor", b_w[0], 2, source_code=SHUFFLE_XOR, return_type="float32")
                b_w[0] = b_w[0] + T.cuda.func_call("shuffle_xor", b_w[0], 4, source_code=SHUFFLE_XOR, return_type="float32")
                b_w[0] = b_w[0] + T.cuda.func_call("shuffle_xor", b_w[0], 8, source_code=SHUFFLE_XOR, return_type="float32")
                b_w[0] = b_w[0] + T.cuda.func_call("shuffle_xor", b_w[0], 16, source_code=SHUFFLE_XOR, return_type="float32")
                x_52_2: T.let = chunk_3 * 64
                x_53_2: T.let = pid_2 * Lkv
                x_54_2: T.let = T.Cast("int64", x_53_2)
                x_55_2: T.let = x_54_2 + T.Cast("int64", x_52_2)
                x_57_2: T.let = x_55_2 + T.Cast("int64", pid_1)
                x_58_2: T.let = x_57_2 * 128
                # b_s [64, 64] = b_q [64, 128] @ b_k_t [128, 64]
                T.cuda.func_call("hold_pairs", T.address_of(b_q_1[0]), 32, source_code=HOLD_PAIRS)
                T.cuda.func_call("warpgroup_fence", source_code=WARPGROUP_FENCE)
                for k in T.unroll(8):
                    T.cuda.func_call("warpgroup_mma_bf16_64_rs", T.address_of(b_s[0]), T.address_of(b_q_1[k * 8]), T.cuda.func_call("matrix_descriptor", T.address_of(s_k[b_k_row * 64 + (0 ^ b_k_row % 8 * 8)]), (k * 16 // 64 * 8192 + k * 16 % 64) // 8, 1, source_code=MATRIX_DESCRIPTOR, return_type="uint64"), k > 0, source_code=WARPGROUP_MMA_BF16_64_RS)
                T.cuda.func_call("warpgroup_wait", source_code=WARPGROUP_WAIT)
                T.cuda.func_call("hold", T.address_of(b_s[0]), 32, source_code=HOLD)
                for r in T.unroll(4):
                    b_m_halves[r] = T.float32("-inf")
                for r in T.unroll(32):
                    b_m_halves[r // 2 % 2 + r // 16 * 2] = T.max(b_m_halves[r // 2 % 2 + r // 16 * 2], b_s[r])
                for r in T.unroll(2):
                    b_m[r] = T.max(b_m_halves[r], b_m_halves[r + 2])
                for r in T.unroll(2):
                    b_m[r] = T.max(b_m[r], T.cuda.func_call("shuffle_xor", b_m[r], 1, source_code=SHUFFLE_XOR, return_type="float32"))
                for r in T.unroll(2):
                    b_m[r] = T.max(b_m[r], T.cuda.func_call("shuffle_xor", b_m[r], 2, source_code=SHUFFLE_XOR, return_type="float32"))
                for r in T.unroll(2):
                    x_63[r] = b_m[r] * 0.14426950408889636
                for r in T.unroll(32):
                    b_p[r] = T.cuda.func_call("exp2_approx", b_s[r] * 0.14426950408889636 - x_63[r // 2 % 2], source_code=EXP2_APPROX, return_type="float32")
                for r in T.unroll(4):
                    b_l_halves[r] = T.float32(0.0)
                for r in T.unroll(32):
                    b_l_halves[r // 2 % 2 + r // 16 * 2] = b_l_halves[r // 2 % 2 + r // 16 * 2] + b_p[r]
                for r in T.unroll(2):
                    b_l[r] = b_l_halves[r] + b_l_halves[r + 2]
                for r in T.unroll(2):
                    b_l[r] = b_l[r] + T.cuda.func_call("shuffle_xor", b_l[r], 1, source_code=SHUFFLE_XOR, return_type="float32")
                for r in T.unroll(2):
                    b_l[r] = b_l[r] + T.cuda.func_call("shuffle_xor", b_l[r], 2, source_code=SHUFFLE_XOR, return_type="float32")
                for r in T.unroll(2):
                    x_67[r] = T.cuda.func_call("reciprocal", b_l[r], source_code=RECIPROCAL, return_type="float32") * b_w[0]
                for r in T.unroll(16):
                    T.cuda.func_call("pack_bf16", T.address_of(b_p_2[r * 2]), b_p[r * 2] * x_67[r * 2 // 2 % 2], b_p[r * 2 + 1] * x_67[(r * 2 + 1) // 2 % 2], source_code=PACK_BF16)
                # b_dot [64, 128] = b_p_2 [64, 64] @ b_v [64, 128] + acc
                T.cuda.func_call("hold_pairs", T.address_of(b_p_2[0]), 16, source_code=HOLD_PAIRS)
                T.cuda.func_call("hold", T.address_of(b_out_1[0]), 64, source_code=HOLD)
                T.cuda.func_call("warpgroup_fence", source_code=WARPGROUP_FENCE)
                for k in T.unroll(4):
                    T.cuda.func_call("warpgroup_mma_bf16_128_rt", T.address_of(b_out_1[0]), T.address_of(b_p_2[k * 8]), T.cuda.func_call("matrix_descriptor", T.address_of(s_v[b_v_row * 64 + (0 ^ b_v_row % 8 * 8)]), (k * 16 * 64 + (0 ^ k * 16 % 8 * 8)) // 8, 1024, source_code=MATRIX_DESCRIPTOR, return_type="uint64"), T.bool(True), source_code=WARPGROUP_MMA_BF16_128_RT)
                T.cuda.func_call("warpgroup_wait", source_code=WARPGROUP_WAIT)
                T.cuda.func_call("hold", T.address_of(b_out_1[0]), 64, source_code=HOLD)
            T.cuda.func_call("async_wait", 0, source_code=ASYNC_WAIT)
            x_69: T.let = pid_2 * L
            x_70: T.let = T.Cast("int64", x_69)
            x_75: T.let = pid_1 * 16
            T.cuda.func_call("proxy_fence", source_code=PROXY_FENCE)
            T.cuda.cta_sync()
            for r in T.unroll(32):
                T.cuda.func_call("copy_8", T.address_of(s_b_out_1[(o_axis0_5 + r % 2 * 8) * 132 + (o_axis1_1 + r // 2 * 8)]), T.address_of(b_out_1[r * 2]), source_code=COPY_8)
            T.cuda.cta_sync()
            for r in T.unroll(16):
                T.cuda.func_call("copy_16", T.address_of(b_out_1_1[r * 4]), T.address_of(s_b_out_1[(o_axis0 + r // 2 * 8) * 132 + (o_axis1 + r % 2 * 4)]), source_code=COPY_16)
            for r in T.unroll(8):
                if first_token + (o_axis0 + r * 8) // 16 < L:
                    for u in T.unroll(4):
                        T.cuda.func_call("pack_bf16", T.address_of(vector[u * 2]), b_out_1_1[r * 8 + u * 2], b_out_1_1[r * 8 + u * 2 + 1], source_code=PACK_BF16)
                    T.cuda.func_call("copy_16", T.address_of(p_out[((x_70 + T.Cast("int64", first_token + (o_axis0 + r * 8) // 16)) * 16 + T.Cast("int64", x_75 + (o_axis0 + r * 8) % 16)) * 128 + T.Cast("int64", o_axis0_1)]), T.address_of(vector[0]), source_code=COPY_16)
        x_87: T.let = n_chunks < 1
        if x_87:
            x_88: T.let = pid_2 * L
            x_89: T.let = T.Cast("int64", x_88)
            x_94: T.let = pid_1 * 16
            for r in T.unroll(8):
                if first_token + (o_axis0 + r * 8) // 16 < L:
                    for u in T.unroll(4):
                        T.cuda.func_call("pack_bf16", T.address_of(vector_1[u * 2]), T.float32(0.0), T.float32(0.0), source_code=PACK_BF16)
                    T.cuda.func_call("copy_16", T.address_of(p_out[((x_89 + T.Cast("int64", first_token + (o_axis0 + r * 8) // 16)) * 16 + T.Cast("int64", x_94 + (o_axis0 + r * 8) % 16)) * 128 + T.Cast("int64", o_axis0_1)]), T.address_of(vector_1[0]), source_code=COPY_16)
