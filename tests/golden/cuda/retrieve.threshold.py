"""Generated for cuda:sm_80; schedule: tokens=64 chunk_block=64 top_k=threshold stages=1."""

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
MMA_FP16 = r"""
// acc[16, 8] += a[16, 16] b[16, 8] of a warp.
__device__ __forceinline__ void mma_fp16(float* acc, const void* a, const void* b) {
  const unsigned* x = (const unsigned*)a;
  const unsigned* y = (const unsigned*)b;
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
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
    def retrieve(
        q_ptr: T.handle,
        landmarks_ptr: T.handle,
        lo_ptr: T.handle,
        hi_ptr: T.handle,
        candidates_ptr: T.handle,
        indices_ptr: T.handle,
        slots_ptr: T.handle,
        weights_ptr: T.handle,
        R: T.int32,
        C: T.int32,
        n_tiles: T.int32,
        grid_0: T.int32,
        grid_1: T.int32,
        grid_2: T.int32,
    ):
        # grid: (cdiv(R, 64), 1, B)
        T.func_attr({"global_symbol": "retrieve", "tirx.noalias": True})
        n_q = T.int64()
        n_landmarks = T.int64()
        n_lo = T.int64()
        n_hi = T.int64()
        n_candidates = T.int64()
        n_indices = T.int64()
        n_slots = T.int64()
        n_weights = T.int64()
        p_q = T.match_buffer(q_ptr, (n_q,), "bfloat16", align=16)
        p_landmarks = T.match_buffer(landmarks_ptr, (n_landmarks,), "bfloat16", align=16)
        p_lo = T.match_buffer(lo_ptr, (n_lo,), "int32", align=16)
        p_hi = T.match_buffer(hi_ptr, (n_hi,), "int32", align=16)
        p_candidates = T.match_buffer(candidates_ptr, (n_candidates,), "int64", align=16)
        p_indices = T.match_buffer(indices_ptr, (n_indices,), "int32", align=16)
        p_slots = T.match_buffer(slots_ptr, (n_slots,), "float32", align=16)
        p_weights = T.match_buffer(weights_ptr, (n_weights,), "float32", align=16)
        pid_0 = T.launch_thread("blockIdx.x", grid_0)
        pid_1 = T.launch_thread("blockIdx.y", grid_1)
        pid_2 = T.launch_thread("blockIdx.z", grid_2)
        tid = T.launch_thread("threadIdx.x", 128)
        lane: T.let = tid % 32
        shared = T.alloc_buffer((29696,), "uint8", scope="shared.dyn", align=1024)
        s_b_q = T.decl_buffer((8704,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [64, 128]
        s_first = T.decl_buffer((10,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [2, 1]
        s_last = T.decl_buffer((10,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [2, 1]
        s_lmk = T.decl_buffer((8704,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [64, 128]
        s_x_88_max = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        s_x_135_max = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        s_x_144 = T.decl_buffer((4608,), "float16", data=shared.data, byte_offset=17408, scope="shared.dyn")  # [64, 64]
        s_ones = T.decl_buffer((1536,), "float16", data=shared.data, byte_offset=26624, scope="shared.dyn")  # [64, 16]
        s_lmk_1 = T.decl_buffer((8704,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [64, 128]
        s_n_most = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        s_x_207_max = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        s_lmk_2 = T.decl_buffer((8704,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [64, 128]
        s_x_271_max = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        s_x_275 = T.decl_buffer((4608,), "float16", data=shared.data, byte_offset=17408, scope="shared.dyn")  # [64, 64]
        s_ones_1 = T.decl_buffer((1536,), "float16", data=shared.data, byte_offset=26624, scope="shared.dyn")  # [64, 16]
        s_lmk_3 = T.decl_buffer((8704,), "bfloat16", data=shared.data, byte_offset=0, scope="shared.dyn")  # [64, 128]
        s_x_357_max = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        s_x_380_max = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        s_x_397_sum = T.decl_buffer((64,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [1, 64]
        s_n_least = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        s_n_least_1 = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        s_n_least_2 = T.decl_buffer((20,), "int32", data=shared.data, byte_offset=0, scope="shared.dyn")  # [4, 1]
        b_lo = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        b_lo_1 = T.alloc_buffer((1,), "int32", scope="local")  # i32[64]
        b_hi = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        b_hi_1 = T.alloc_buffer((1,), "int32", scope="local")  # i32[64]
        b_q = T.alloc_buffer((64,), "bfloat16", scope="local")  # bf16[64, 128]
        b_q_1 = T.alloc_buffer((64,), "bfloat16", scope="local")  # bf16[64, 128]
        first = T.alloc_buffer((1,), "int32", scope="local")
        last = T.alloc_buffer((1,), "int32", scope="local")
        b_first = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_second = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_score_1 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_lmk = T.alloc_buffer((64,), "bfloat16", scope="local")  # bf16[64, 128]
        b_lmk_t_part = T.alloc_buffer((8,), "bfloat16", scope="local")
        b_rank = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        x_52 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        x_54 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_largest = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        b_largest_halves = T.alloc_buffer((4,), "float32", scope="local")
        x_55 = T.alloc_buffer((32,), "bool", scope="local")  # bool[64, 64]
        x_56_sum = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_56_sum_halves = T.alloc_buffer((4,), "int32", scope="local")
        b_least = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        b_least_halves = T.alloc_buffer((4,), "float32", scope="local")
        x_58 = T.alloc_buffer((32,), "bool", scope="local")  # bool[64, 64]
        x_59_sum = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_59_sum_halves = T.alloc_buffer((4,), "int32", scope="local")
        b_least_1 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        b_least_1_halves = T.alloc_buffer((4,), "float32", scope="local")
        x_65 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_68 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_69 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_77 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        x_80_sum = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_80_sum_halves = T.alloc_buffer((4,), "int32", scope="local")
        x_82_sum = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_82_sum_halves = T.alloc_buffer((4,), "int32", scope="local")
        x_85 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_88_max = T.alloc_buffer((1,), "int32", scope="local")
        b_low = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        b_high = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        i_step_1 = T.alloc_buffer((1,), "int32", scope="local")
        more = T.alloc_buffer((1,), "bool", scope="local")
        x_105 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_114 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_118 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        x_121_sum = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_121_sum_halves = T.alloc_buffer((4,), "int32", scope="local")
        x_123_sum = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_123_sum_halves = T.alloc_buffer((4,), "int32", scope="local")
        x_124 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_125 = T.alloc_buffer((2,), "bool", scope="local")  # bool[64]
        x_129 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_132 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_135_max = T.alloc_buffer((1,), "int32", scope="local")
        x_141 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        x_144 = T.alloc_buffer((32,), "float16", scope="local")  # fp16[64, 64]
        b_ones = T.alloc_buffer((8,), "float16", scope="local")  # fp16[64, 16]
        b_count_1 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        b_score_3 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_lmk_1 = T.alloc_buffer((64,), "bfloat16", scope="local")  # bf16[64, 128]
        b_lmk_1_t_part = T.alloc_buffer((8,), "bfloat16", scope="local")
        x_164 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        x_170 = T.alloc_buffer((32,), "bool", scope="local")  # bool[64, 64]
        x_173 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        x_176 = T.alloc_buffer((32,), "float16", scope="local")  # fp16[64, 64]
        b_dot_2 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        x_144_part = T.alloc_buffer((8,), "float16", scope="local")
        x_178 = T.alloc_buffer((32,), "int32", scope="local")  # i32[64, 64]
        o_entry = T.alloc_buffer((32,), "int32", scope="local")  # i32[64, 64]
        b_dot_3 = T.alloc_buffer((8,), "float32", scope="local")  # fp32[64, 16]
        b_ones_part = T.alloc_buffer((8,), "float16", scope="local")
        b_dot_3_max = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        x_191 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        n_most = T.alloc_buffer((1,), "int32", scope="local")
        b_count_2 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_194 = T.alloc_buffer((2,), "int64", scope="local")  # i64[64]
        x_195 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_204 = T.alloc_buffer((2,), "int64", scope="local")  # i64[64]
        x_207_max = T.alloc_buffer((1,), "int32", scope="local")
        b_low_2 = T.alloc_buffer((2,), "int64", scope="local")  # i64[64]
        b_high_1 = T.alloc_buffer((2,), "int64", scope="local")  # i64[64]
        i_step_3 = T.alloc_buffer((1,), "int32", scope="local")
        more_1 = T.alloc_buffer((1,), "bool", scope="local")
        x_212 = T.alloc_buffer((2,), "bool", scope="local")  # bool[64]
        x_218 = T.alloc_buffer((2,), "int64", scope="local")  # i64[64]
        b_reached_1 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        b_score_5 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_lmk_2 = T.alloc_buffer((64,), "bfloat16", scope="local")  # bf16[64, 128]
        b_lmk_2_t_part = T.alloc_buffer((8,), "bfloat16", scope="local")
        b_rank_2 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        x_246 = T.alloc_buffer((32,), "int32", scope="local")  # i32[64, 64]
        x_258_sum = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_258_sum_halves = T.alloc_buffer((4,), "int32", scope="local")
        x_259 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_260 = T.alloc_buffer((2,), "bool", scope="local")  # bool[64]
        x_265 = T.alloc_buffer((2,), "int64", scope="local")  # i64[64]
        x_268 = T.alloc_buffer((2,), "int64", scope="local")  # i64[64]
        x_271_max = T.alloc_buffer((1,), "int32", scope="local")
        x_275 = T.alloc_buffer((32,), "float16", scope="local")  # fp16[64, 64]
        b_ones_1 = T.alloc_buffer((8,), "float16", scope="local")  # fp16[64, 16]
        b_count_4 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        b_score_7 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_lmk_3 = T.alloc_buffer((64,), "bfloat16", scope="local")  # bf16[64, 128]
        b_lmk_3_t_part = T.alloc_buffer((8,), "bfloat16", scope="local")
        x_295 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_rank_3 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        x_303 = T.alloc_buffer((32,), "int32", scope="local")  # i32[64, 64]
        x_313 = T.alloc_buffer((32,), "bool", scope="local")  # bool[64, 64]
        x_316 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        x_319 = T.alloc_buffer((32,), "float16", scope="local")  # fp16[64, 64]
        b_dot_6 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        x_275_part = T.alloc_buffer((8,), "float16", scope="local")
        x_321 = T.alloc_buffer((32,), "int32", scope="local")  # i32[64, 64]
        o_entry_1 = T.alloc_buffer((32,), "int32", scope="local")  # i32[64, 64]
        b_dot_7 = T.alloc_buffer((8,), "float32", scope="local")  # fp32[64, 16]
        b_ones_1_part = T.alloc_buffer((8,), "float16", scope="local")
        b_dot_7_max = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        x_334 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_335 = T.alloc_buffer((32,), "bool", scope="local")  # bool[64, 64]
        b_entry = T.alloc_buffer((32,), "int64", scope="local")  # i64[64, 64]
        b_value = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_rank_4 = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        x_341 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_349 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        x_352_sum = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_352_sum_halves = T.alloc_buffer((4,), "int32", scope="local")
        x_354 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_357_max = T.alloc_buffer((1,), "int32", scope="local")
        b_low_4 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        b_high_2 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        i_step_5 = T.alloc_buffer((1,), "int32", scope="local")
        more_2 = T.alloc_buffer((1,), "bool", scope="local")
        x_362 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_366 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        x_369_sum = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_369_sum_halves = T.alloc_buffer((4,), "int32", scope="local")
        x_370 = T.alloc_buffer((2,), "bool", scope="local")  # bool[64]
        x_374 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_377 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_380_max = T.alloc_buffer((1,), "int32", scope="local")
        x_386 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        x_388 = T.alloc_buffer((32,), "bool", scope="local")  # bool[64, 64]
        x_389 = T.alloc_buffer((32,), "bool", scope="local")  # bool[64, 64]
        x_390_sum = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_390_sum_halves = T.alloc_buffer((4,), "int32", scope="local")
        x_391 = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_392_cumsum = T.alloc_buffer((32,), "int32", scope="local")  # i32[64, 64]
        x_392_cumsum_total = T.alloc_buffer((32,), "int32", scope="local")
        other = T.alloc_buffer((1,), "int32", scope="local")
        other_1 = T.alloc_buffer((1,), "int32", scope="local")
        x_396 = T.alloc_buffer((32,), "bool", scope="local")  # bool[64, 64]
        x_397 = T.alloc_buffer((32,), "int32", scope="local")  # i32[64, 64]
        x_397_cumsum = T.alloc_buffer((32,), "int32", scope="local")  # i32[64, 64]
        x_397_cumsum_total = T.alloc_buffer((32,), "int32", scope="local")
        other_2 = T.alloc_buffer((1,), "int32", scope="local")
        other_3 = T.alloc_buffer((1,), "int32", scope="local")
        x_398 = T.alloc_buffer((32,), "int32", scope="local")  # i32[64, 64]
        x_397_sum = T.alloc_buffer((2,), "int32", scope="local")  # i32[64]
        x_397_sum_halves = T.alloc_buffer((4,), "int32", scope="local")
        x_397_sum_1 = T.alloc_buffer((16,), "int32", scope="local")  # i32[64]
        n_least = T.alloc_buffer((1,), "int32", scope="local")
        n_least_1 = T.alloc_buffer((1,), "int32", scope="local")
        b_x = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_x_max = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        b_x_max_halves = T.alloc_buffer((4,), "float32", scope="local")
        b_max_1 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        b_e = T.alloc_buffer((32,), "float32", scope="local")  # fp32[64, 64]
        b_e_sum = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        b_e_sum_halves = T.alloc_buffer((4,), "float32", scope="local")
        x_446 = T.alloc_buffer((2,), "float32", scope="local")  # fp32[64]
        n_least_2 = T.alloc_buffer((1,), "int32", scope="local")
        o_axis0: T.let = tid // 4 % 8 + tid // 32 * 16
        o_axis0_1: T.let = tid % 64
        o_axis0_2: T.let = tid // 16
        o_axis0_3: T.let = tid % 16 * 8
        o_axis1: T.let = tid % 16 * 8
        o_axis0_4: T.let = tid // 32 * 16
        o_axis0_5: T.let = tid
        o_axis1_1: T.let = tid
        o_axis0_6: T.let = tid % 4 * 2
        o_axis0_7: T.let = tid // 64
        o_axis1_2: T.let = tid % 64
        o_axis1_3: T.let = tid % 16
        o_axis0_8: T.let = tid % 4
        o_axis0_9: T.let = tid // 4
        x: T.let = pid_0 * 64
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
        for r in T.unroll(8):
            for u in T.unroll(8):
                b_q[r * 8 + u] = T.Cast("bfloat16", T.float32(0.0))
            if x + (o_axis0_2 + r * 8) < R:
                T.cuda.func_call("copy_16", T.address_of(b_q[r * 8]), T.address_of(p_q[(x_4 + T.Cast("int64", x + (o_axis0_2 + r * 8)) + T.Cast("int64", pid_1)) * 128 + T.Cast("int64", o_axis0_3)]), source_code=COPY_16)
        for r in T.unroll(8):
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
        T.cuda.cta_sync()
        if tid & 95 == 0:
            s_first[tid // 32 % 2 * 5] = first[0]
        T.cuda.cta_sync()
        first[0] = s_first[0]
        first[0] = T.min(first[0], s_first[5])
        last[0] = -2147483648
        last[0] = T.max(last[0], b_hi_1[0])
        last[0] = T.max(last[0], T.cuda.func_call("shuffle_xor", last[0], 1, source_code=SHUFFLE_XOR, return_type="int32"))
        last[0] = T.max(last[0], T.cuda.func_call("shuffle_xor", last[0], 2, source_code=SHUFFLE_XOR, return_type="int32"))
        last[0] = T.max(last[0], T.cuda.func_call("shuffle_xor", last[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
        last[0] = T.max(last[0], T.cuda.func_call("shuffle_xor", last[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
        last[0] = T.max(last[0], T.cuda.func_call("shuffle_xor", last[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
        T.cuda.cta_sync()
        if tid & 95 == 0:
            s_last[tid // 32 % 2 * 5] = last[0]
        T.cuda.cta_sync()
        last[0] = s_last[0]
        last[0] = T.max(last[0], s_last[5])
        x_19: T.let = last[0] - first[0]
        n_seen: T.let = T.max(x_19, 0)
        x_20: T.let = n_seen + 63
        x_21: T.let = x_20 // 64
        x_23: T.let = pid_2 + pid_1
        x_24: T.let = T.Cast("int64", x_23)
        x_25: T.let = x_24 * T.Cast("int64", n_tiles)
        x_26: T.let = x_25 + T.Cast("int64", pid_0)
        x_27: T.let = x_26 * 4096
        for r in T.unroll(32):
            b_first[r] = T.float32("-inf")
        for r in T.unroll(32):
            b_second[r] = T.float32("-inf")
        for i_block in range(0, x_21):
            x_28: T.let = x_21 - i_block
            x_29: T.let = x_28 * 64
            x_30: T.let = first[0] + x_29
            x_31: T.let = x_30 - 1
            x_36: T.let = pid_2 * C
            x_37: T.let = T.Cast("int64", x_36)
            for r in T.unroll(32):
                b_score_1[r] = T.float32(0.0)
            for r in T.unroll(64):
                b_lmk[r] = T.if_then_else(x_31 - r < C, p_landmarks[(x_37 + T.Cast("int64", x_31 - r) + T.Cast("int64", pid_1)) * 128 + T.Cast("int64", o_axis0_5)], T.Cast("bfloat16", T.float32(0.0)))
            T.cuda.cta_sync()
            for r in T.unroll(64):
                s_lmk[r * 136 + o_axis1_1] = b_lmk[r]
            # b_dot [64, 64] = b_q [64, 128] @ b_lmk_t [128, 64] + acc
            T.cuda.cta_sync()
            for k in T.unroll(8):
                for n in T.unroll(4):
                    T.cuda.func_call("load_matrix", T.address_of(b_lmk_t_part[0]), T.address_of(s_lmk[(n * 16 + (lane % 8 + lane // 16 * 8)) * 136 + (k * 16 + lane // 8 % 2 * 8)]), source_code=LOAD_MATRIX)
                    T.cuda.func_call("mma_bf16", T.address_of(b_score_1[n * 2 * 4]), T.address_of(b_q_1[k * 8]), T.address_of(b_lmk_t_part[0]), source_code=MMA_BF16)
                    T.cuda.func_call("mma_bf16", T.address_of(b_score_1[(n * 2 + 1) * 4]), T.address_of(b_q_1[k * 8]), T.address_of(b_lmk_t_part[4]), source_code=MMA_BF16)
            for r in T.unroll(32):
                b_rank[r] = T.Select((x_31 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8)) >= b_lo[r // 2 % 2]) & (x_31 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8)) < b_hi[r // 2 % 2]), b_score_1[r] * 0.1, T.float32("-inf"))
            for r in T.unroll(32):
                x_52[r] = T.max(b_first[r], b_rank[r])
            for r in T.unroll(32):
                x_54[r] = T.max(b_second[r], T.min(b_first[r], b_rank[r]))
            for r in T.unroll(32):
                b_first[r] = x_52[r]
            for r in T.unroll(32):
                b_second[r] = x_54[r]
        for r in T.unroll(4):
            b_largest_halves[r] = T.float32("-inf")
        for r in T.unroll(32):
            b_largest_halves[r // 2 % 2 + r // 16 * 2] = T.max(b_largest_halves[r // 2 % 2 + r // 16 * 2], b_first[r])
        for r in T.unroll(2):
            b_largest[r] = T.max(b_largest_halves[r], b_largest_halves[r + 2])
        for r in T.unroll(2):
            b_largest[r] = T.max(b_largest[r], T.cuda.func_call("shuffle_xor", b_largest[r], 1, source_code=SHUFFLE_XOR, return_type="float32"))
        for r in T.unroll(2):
            b_largest[r] = T.max(b_largest[r], T.cuda.func_call("shuffle_xor", b_largest[r], 2, source_code=SHUFFLE_XOR, return_type="float32"))
        for r in T.unroll(32):
            x_55[r] = b_first[r] > T.float32("-inf")
        for r in T.unroll(4):
            x_56_sum_halves[r] = 0
        for r in T.unroll(32):
            x_56_sum_halves[r // 2 % 2 + r // 16 * 2] = x_56_sum_halves[r // 2 % 2 + r // 16 * 2] + T.Cast("int32", x_55[r])
        for r in T.unroll(2):
            x_56_sum[r] = x_56_sum_halves[r] + x_56_sum_halves[r + 2]
        for r in T.unroll(2):
            x_56_sum[r] = x_56_sum[r] + T.cuda.func_call("shuffle_xor", x_56_sum[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(2):
            x_56_sum[r] = x_56_sum[r] + T.cuda.func_call("shuffle_xor", x_56_sum[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(4):
            b_least_halves[r] = T.float32("inf")
        for r in T.unroll(32):
            b_least_halves[r // 2 % 2 + r // 16 * 2] = T.min(b_least_halves[r // 2 % 2 + r // 16 * 2], T.Select(x_55[r], b_first[r], T.float32("inf")))
        for r in T.unroll(2):
            b_least[r] = T.min(b_least_halves[r], b_least_halves[r + 2])
        for r in T.unroll(2):
            b_least[r] = T.min(b_least[r], T.cuda.func_call("shuffle_xor", b_least[r], 1, source_code=SHUFFLE_XOR, return_type="float32"))
        for r in T.unroll(2):
            b_least[r] = T.min(b_least[r], T.cuda.func_call("shuffle_xor", b_least[r], 2, source_code=SHUFFLE_XOR, return_type="float32"))
        for r in T.unroll(32):
            x_58[r] = b_second[r] > T.float32("-inf")
        for r in T.unroll(4):
            x_59_sum_halves[r] = 0
        for r in T.unroll(32):
            x_59_sum_halves[r // 2 % 2 + r // 16 * 2] = x_59_sum_halves[r // 2 % 2 + r // 16 * 2] + T.Cast("int32", x_58[r])
        for r in T.unroll(2):
            x_59_sum[r] = x_59_sum_halves[r] + x_59_sum_halves[r + 2]
        for r in T.unroll(2):
            x_59_sum[r] = x_59_sum[r] + T.cuda.func_call("shuffle_xor", x_59_sum[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(2):
            x_59_sum[r] = x_59_sum[r] + T.cuda.func_call("shuffle_xor", x_59_sum[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(4):
            b_least_1_halves[r] = T.float32("inf")
        for r in T.unroll(32):
            b_least_1_halves[r // 2 % 2 + r // 16 * 2] = T.min(b_least_1_halves[r // 2 % 2 + r // 16 * 2], T.Select(x_58[r], b_second[r], T.float32("inf")))
        for r in T.unroll(2):
            b_least_1[r] = T.min(b_least_1_halves[r], b_least_1_halves[r + 2])
        for r in T.unroll(2):
            b_least_1[r] = T.min(b_least_1[r], T.cuda.func_call("shuffle_xor", b_least_1[r], 1, source_code=SHUFFLE_XOR, return_type="float32"))
        for r in T.unroll(2):
            b_least_1[r] = T.min(b_least_1[r], T.cuda.func_call("shuffle_xor", b_least_1[r], 2, source_code=SHUFFLE_XOR, return_type="float32"))
        for r in T.unroll(2):
            x_65[r] = T.reinterpret("int32", T.Select(x_56_sum[r] + x_59_sum[r] >= 32, T.min(b_least[r], b_least_1[r]), T.float32(-3.4028234663852886e+38)))
        for r in T.unroll(2):
            x_68[r] = x_65[r] ^ x_65[r] >> 31 & 2147483647
        for r in T.unroll(2):
            x_69[r] = T.reinterpret("int32", b_largest[r])
        for r in T.unroll(2):
            x_77[r] = T.reinterpret("float32", x_68[r] ^ x_68[r] >> 31 & 2147483647)
        for r in T.unroll(4):
            x_80_sum_halves[r] = 0
        for r in T.unroll(32):
            x_80_sum_halves[r // 2 % 2 + r // 16 * 2] = x_80_sum_halves[r // 2 % 2 + r // 16 * 2] + T.Cast("int32", b_first[r] >= x_77[r // 2 % 2])
        for r in T.unroll(2):
            x_80_sum[r] = x_80_sum_halves[r] + x_80_sum_halves[r + 2]
        for r in T.unroll(2):
            x_80_sum[r] = x_80_sum[r] + T.cuda.func_call("shuffle_xor", x_80_sum[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(2):
            x_80_sum[r] = x_80_sum[r] + T.cuda.func_call("shuffle_xor", x_80_sum[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(4):
            x_82_sum_halves[r] = 0
        for r in T.unroll(32):
            x_82_sum_halves[r // 2 % 2 + r // 16 * 2] = x_82_sum_halves[r // 2 % 2 + r // 16 * 2] + T.Cast("int32", b_second[r] >= x_77[r // 2 % 2])
        for r in T.unroll(2):
            x_82_sum[r] = x_82_sum_halves[r] + x_82_sum_halves[r + 2]
        for r in T.unroll(2):
            x_82_sum[r] = x_82_sum[r] + T.cuda.func_call("shuffle_xor", x_82_sum[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(2):
            x_82_sum[r] = x_82_sum[r] + T.cuda.func_call("shuffle_xor", x_82_sum[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(2):
            x_85[r] = T.Select(x_80_sum[r] + x_82_sum[r] > 32, (x_69[r] ^ x_69[r] >> 31 & 2147483647) + 1, x_68[r])
        x_88_max[0] = -2147483648
        for r in T.unroll(2):
            x_88_max[0] = T.max(x_88_max[0], T.Cast("int32", x_85[r] > x_68[r] + 1))
        x_88_max[0] = T.max(x_88_max[0], T.cuda.func_call("shuffle_xor", x_88_max[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
        x_88_max[0] = T.max(x_88_max[0], T.cuda.func_call("shuffle_xor", x_88_max[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
        x_88_max[0] = T.max(x_88_max[0], T.cuda.func_call("shuffle_xor", x_88_max[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
        T.cuda.cta_sync()
        if tid & 31 == 0:
            s_x_88_max[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = x_88_max[0]
        T.cuda.cta_sync()
        x_88_max[0] = s_x_88_max[0]
        x_88_max[0] = T.max(x_88_max[0], s_x_88_max[5])
        x_88_max[0] = T.max(x_88_max[0], s_x_88_max[10])
        x_88_max[0] = T.max(x_88_max[0], s_x_88_max[15])
        x_89: T.let = x_88_max[0] > 0
        for r in T.unroll(2):
            b_low[r] = x_68[r]
        for r in T.unroll(2):
            b_high[r] = x_85[r]
        i_step_1[0] = 0
        more[0] = x_89
        while more[0]:
            for r in T.unroll(2):
                x_105[r] = T.reinterpret("int32", T.reinterpret("float32", b_low[r] ^ b_low[r] >> 31 & 2147483647) * 0.5 + T.reinterpret("float32", b_high[r] ^ b_high[r] >> 31 & 2147483647) * 0.5)
            x_112: T.let = i_step_1[0] & 3
            x_113: T.let = x_112 < 3
            for r in T.unroll(2):
                x_114[r] = T.Select(x_113, T.min(T.max(x_105[r] ^ x_105[r] >> 31 & 2147483647, b_low[r]), b_high[r] - 1), (b_low[r] & b_high[r]) + ((b_low[r] ^ b_high[r]) >> 1))
            for r in T.unroll(2):
                x_118[r] = T.reinterpret("float32", x_114[r] ^ x_114[r] >> 31 & 2147483647)
            for r in T.unroll(4):
                x_121_sum_halves[r] = 0
            for r in T.unroll(32):
                x_121_sum_halves[r // 2 % 2 + r // 16 * 2] = x_121_sum_halves[r // 2 % 2 + r // 16 * 2] + T.Cast("int32", b_first[r] >= x_118[r // 2 % 2])
            for r in T.unroll(2):
                x_121_sum[r] = x_121_sum_halves[r] + x_121_sum_halves[r + 2]
            for r in T.unroll(2):
                x_121_sum[r] = x_121_sum[r] + T.cuda.func_call("shuffle_xor", x_121_sum[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
            for r in T.unroll(2):
                x_121_sum[r] = x_121_sum[r] + T.cuda.func_call("shuffle_xor", x_121_sum[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
            for r in T.unroll(4):
                x_123_sum_halves[r] = 0
            for r in T.unroll(32):
                x_123_sum_halves[r // 2 % 2 + r // 16 * 2] = x_123_sum_halves[r // 2 % 2 + r // 16 * 2] + T.Cast("int32", b_second[r] >= x_118[r // 2 % 2])
            for r in T.unroll(2):
                x_123_sum[r] = x_123_sum_halves[r] + x_123_sum_halves[r + 2]
            for r in T.unroll(2):
                x_123_sum[r] = x_123_sum[r] + T.cuda.func_call("shuffle_xor", x_123_sum[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
            for r in T.unroll(2):
                x_123_sum[r] = x_123_sum[r] + T.cuda.func_call("shuffle_xor", x_123_sum[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
            for r in T.unroll(2):
                x_124[r] = x_121_sum[r] + x_123_sum[r]
            for r in T.unroll(2):
                x_125[r] = x_124[r] >= 32
            for r in T.unroll(2):
                x_129[r] = T.Select(x_125[r], T.max(x_114[r], b_low[r]), b_low[r])
            for r in T.unroll(2):
                x_132[r] = T.Select(x_125[r], T.Select(x_125[r] & (x_124[r] <= 36), x_129[r] + 1, b_high[r]), x_114[r])
            x_135_max[0] = -2147483648
            for r in T.unroll(2):
                x_135_max[0] = T.max(x_135_max[0], T.Cast("int32", x_132[r] > x_129[r] + 1))
            x_135_max[0] = T.max(x_135_max[0], T.cuda.func_call("shuffle_xor", x_135_max[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
            x_135_max[0] = T.max(x_135_max[0], T.cuda.func_call("shuffle_xor", x_135_max[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
            x_135_max[0] = T.max(x_135_max[0], T.cuda.func_call("shuffle_xor", x_135_max[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
            T.cuda.cta_sync()
            if tid & 31 == 0:
                s_x_135_max[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = x_135_max[0]
            T.cuda.cta_sync()
            x_135_max[0] = s_x_135_max[0]
            x_135_max[0] = T.max(x_135_max[0], s_x_135_max[5])
            x_135_max[0] = T.max(x_135_max[0], s_x_135_max[10])
            x_135_max[0] = T.max(x_135_max[0], s_x_135_max[15])
            x_136: T.let = x_135_max[0] > 0
            x_137: T.let = i_step_1[0] + 1
            for r in T.unroll(2):
                b_low[r] = x_129[r]
            for r in T.unroll(2):
                b_high[r] = x_132[r]
            i_step_1[0] = x_137
            more[0] = x_136
        for r in T.unroll(2):
            x_141[r] = T.reinterpret("float32", b_low[r] ^ b_low[r] >> 31 & 2147483647)
        for r in T.unroll(32):
            x_144[r] = T.Cast("float16", T.Select(o_axis0_7 + r * 2 < o_axis0_1, T.float32(1.0), T.float32(0.0)))
        T.cuda.cta_sync()
        for r in T.unroll(32):
            s_x_144[(o_axis0_7 + r * 2) * 72 + o_axis1_2] = x_144[r]
        for r in T.unroll(8):
            b_ones[r] = T.Cast("float16", T.float32(1.0))
        for r in T.unroll(8):
            s_ones[(o_axis0_2 + r * 8) * 24 + o_axis1_3] = b_ones[r]
        for r in T.unroll(2):
            b_count_1[r] = 0
        for i_block_1 in range(0, x_21):
            x_145: T.let = x_21 - i_block_1
            x_146: T.let = x_145 * 64
            x_147: T.let = first[0] + x_146
            x_148: T.let = x_147 - 1
            x_153: T.let = pid_2 * C
            x_154: T.let = T.Cast("int64", x_153)
            for r in T.unroll(32):
                b_score_3[r] = T.float32(0.0)
            for r in T.unroll(64):
                b_lmk_1[r] = T.if_then_else(x_148 - r < C, p_landmarks[(x_154 + T.Cast("int64", x_148 - r) + T.Cast("int64", pid_1)) * 128 + T.Cast("int64", o_axis0_5)], T.Cast("bfloat16", T.float32(0.0)))
            T.cuda.cta_sync()
            for r in T.unroll(64):
                s_lmk_1[r * 136 + o_axis1_1] = b_lmk_1[r]
            # b_dot_1 [64, 64] = b_q [64, 128] @ b_lmk_1_t [128, 64] + acc
            T.cuda.cta_sync()
            for k in T.unroll(8):
                for n in T.unroll(4):
                    T.cuda.func_call("load_matrix", T.address_of(b_lmk_1_t_part[0]), T.address_of(s_lmk_1[(n * 16 + (lane % 8 + lane // 16 * 8)) * 136 + (k * 16 + lane // 8 % 2 * 8)]), source_code=LOAD_MATRIX)
                    T.cuda.func_call("mma_bf16", T.address_of(b_score_3[n * 2 * 4]), T.address_of(b_q_1[k * 8]), T.address_of(b_lmk_1_t_part[0]), source_code=MMA_BF16)
                    T.cuda.func_call("mma_bf16", T.address_of(b_score_3[(n * 2 + 1) * 4]), T.address_of(b_q_1[k * 8]), T.address_of(b_lmk_1_t_part[4]), source_code=MMA_BF16)
            for r in T.unroll(32):
                x_164[r] = b_score_3[r] * 0.1
            for r in T.unroll(32):
                x_170[r] = T.Select((x_148 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8)) >= b_lo[r // 2 % 2]) & (x_148 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8)) < b_hi[r // 2 % 2]), x_164[r], T.float32("-inf")) >= x_141[r // 2 % 2]
            for r in T.unroll(2):
                x_173[r] = T.Cast("float32", T.min(b_count_1[r], 64)) + 8388608.0
            for r in T.unroll(32):
                x_176[r] = T.Cast("float16", T.Cast("float32", T.Cast("float16", x_170[r])))
            # b_dot_2 [64, 64] = x_176 [64, 64] @ x_144 [64, 64] + acc
            for r in T.unroll(32):
                b_dot_2[r] = x_173[r // 2 % 2]
            for k in T.unroll(4):
                for n in T.unroll(4):
                    T.cuda.func_call("load_matrix_trans", T.address_of(x_144_part[0]), T.address_of(s_x_144[(k * 16 + (lane % 8 + lane // 8 % 2 * 8)) * 72 + (n * 16 + lane // 16 * 8)]), source_code=LOAD_MATRIX_TRANS)
                    T.cuda.func_call("mma_fp16", T.address_of(b_dot_2[n * 2 * 4]), T.address_of(x_176[k * 8]), T.address_of(x_144_part[0]), source_code=MMA_FP16)
                    T.cuda.func_call("mma_fp16", T.address_of(b_dot_2[(n * 2 + 1) * 4]), T.address_of(x_176[k * 8]), T.address_of(x_144_part[4]), source_code=MMA_FP16)
            for r in T.unroll(32):
                x_178[r] = T.reinterpret("int32", b_dot_2[r]) - 1258291200
            for r in T.unroll(32):
                o_entry[r] = T.Select(x_170[r] & (x_178[r] < 64), x_178[r] * 64 + (o_axis0 + r // 2 % 2 * 8), -1)
            for r in T.unroll(32):
                if o_entry[r] >= 0:
                    p_candidates[x_27 + T.Cast("int64", o_entry[r])] = T.Cast("int64", x_148 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8))) << 32 | T.Cast("int64", T.reinterpret("uint32", x_164[r]))
            # b_dot_3 [64, 16] = x_176 [64, 64] @ b_ones [64, 16]
            for r in T.unroll(8):
                b_dot_3[r] = T.float32(0.0)
            for k in T.unroll(4):
                T.cuda.func_call("load_matrix_trans", T.address_of(b_ones_part[0]), T.address_of(s_ones[(k * 16 + (lane % 8 + lane // 8 % 2 * 8)) * 24 + lane // 16 * 8]), source_code=LOAD_MATRIX_TRANS)
                T.cuda.func_call("mma_fp16", T.address_of(b_dot_3[0]), T.address_of(x_176[k * 8]), T.address_of(b_ones_part[0]), source_code=MMA_FP16)
                T.cuda.func_call("mma_fp16", T.address_of(b_dot_3[4]), T.address_of(x_176[k * 8]), T.address_of(b_ones_part[4]), source_code=MMA_FP16)
            for r in T.unroll(2):
                b_dot_3_max[r] = T.float32("-inf")
            for r in T.unroll(8):
                b_dot_3_max[r // 2 % 2] = T.max(b_dot_3_max[r // 2 % 2], b_dot_3[r])
            for r in T.unroll(2):
                b_dot_3_max[r] = T.max(b_dot_3_max[r], T.cuda.func_call("shuffle_xor", b_dot_3_max[r], 1, source_code=SHUFFLE_XOR, return_type="float32"))
            for r in T.unroll(2):
                b_dot_3_max[r] = T.max(b_dot_3_max[r], T.cuda.func_call("shuffle_xor", b_dot_3_max[r], 2, source_code=SHUFFLE_XOR, return_type="float32"))
            for r in T.unroll(2):
                x_191[r] = b_count_1[r] + T.Cast("int32", b_dot_3_max[r])
            for r in T.unroll(2):
                b_count_1[r] = x_191[r]
        n_most[0] = -2147483648
        for r in T.unroll(2):
            n_most[0] = T.max(n_most[0], b_count_1[r])
        n_most[0] = T.max(n_most[0], T.cuda.func_call("shuffle_xor", n_most[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
        n_most[0] = T.max(n_most[0], T.cuda.func_call("shuffle_xor", n_most[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
        n_most[0] = T.max(n_most[0], T.cuda.func_call("shuffle_xor", n_most[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
        T.cuda.cta_sync()
        if tid & 31 == 0:
            s_n_most[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = n_most[0]
        T.cuda.cta_sync()
        n_most[0] = s_n_most[0]
        n_most[0] = T.max(n_most[0], s_n_most[5])
        n_most[0] = T.max(n_most[0], s_n_most[10])
        n_most[0] = T.max(n_most[0], s_n_most[15])
        x_192: T.let = n_most[0] > 64
        x_193: T.let = T.Cast("int32", x_192)
        for r in T.unroll(2):
            b_count_2[r] = b_count_1[r]
        for i_again in range(0, x_193):
            for r in T.unroll(2):
                x_194[r] = T.Cast("int64", b_low[r]) << 32
            for r in T.unroll(2):
                x_195[r] = T.reinterpret("int32", b_largest[r])
            for r in T.unroll(2):
                x_204[r] = T.Select(b_count_2[r] > 64, (T.Cast("int64", x_195[r] ^ x_195[r] >> 31 & 2147483647) << 32) + T.Cast("int64", C), x_194[r] + 1)
            x_207_max[0] = -2147483648
            for r in T.unroll(2):
                x_207_max[0] = T.max(x_207_max[0], T.Cast("int32", x_204[r] > x_194[r] + 1))
            x_207_max[0] = T.max(x_207_max[0], T.cuda.func_call("shuffle_xor", x_207_max[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
            x_207_max[0] = T.max(x_207_max[0], T.cuda.func_call("shuffle_xor", x_207_max[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
            x_207_max[0] = T.max(x_207_max[0], T.cuda.func_call("shuffle_xor", x_207_max[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
            T.cuda.cta_sync()
            if tid & 31 == 0:
                s_x_207_max[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = x_207_max[0]
            T.cuda.cta_sync()
            x_207_max[0] = s_x_207_max[0]
            x_207_max[0] = T.max(x_207_max[0], s_x_207_max[5])
            x_207_max[0] = T.max(x_207_max[0], s_x_207_max[10])
            x_207_max[0] = T.max(x_207_max[0], s_x_207_max[15])
            x_208: T.let = x_207_max[0] > 0
            for r in T.unroll(2):
                b_low_2[r] = x_194[r]
            for r in T.unroll(2):
                b_high_1[r] = x_204[r]
            i_step_3[0] = 0
            more_1[0] = x_208
            while more_1[0]:
                x_211: T.let = i_step_3[0] == 0
                for r in T.unroll(2):
                    x_212[r] = (b_high_1[r] > b_low_2[r] + 1) & x_211
                for r in T.unroll(2):
                    x_218[r] = T.Select(x_212[r], x_194[r] + T.int64(4294967296), (b_low_2[r] & b_high_1[r]) + ((b_low_2[r] ^ b_high_1[r]) >> 1))
                for r in T.unroll(2):
                    b_reached_1[r] = 0
                for i_block_2 in range(0, x_21):
                    x_219: T.let = x_21 - i_block_2
                    x_220: T.let = x_219 * 64
                    x_221: T.let = first[0] + x_220
                    x_222: T.let = x_221 - 1
                    x_227: T.let = pid_2 * C
                    x_228: T.let = T.Cast("int64", x_227)
                    for r in T.unroll(32):
                        b_score_5[r] = T.float32(0.0)
                    for r in T.unroll(64):
                        b_lmk_2[r] = T.if_then_else(x_222 - r < C, p_landmarks[(x_228 + T.Cast("int64", x_222 - r) + T.Cast("int64", pid_1)) * 128 + T.Cast("int64", o_axis0_5)], T.Cast("bfloat16", T.float32(0.0)))
                    T.cuda.cta_sync()
                    for r in T.unroll(64):
                        s_lmk_2[r * 136 + o_axis1_1] = b_lmk_2[r]
                    # b_dot_4 [64, 64] = b_q [64, 128] @ b_lmk_2_t [128, 64] + acc
                    T.cuda.cta_sync()
                    for k in T.unroll(8):
                        for n in T.unroll(4):
                            T.cuda.func_call("load_matrix", T.address_of(b_lmk_2_t_part[0]), T.address_of(s_lmk_2[(n * 16 + (lane % 8 + lane // 16 * 8)) * 136 + (k * 16 + lane // 8 % 2 * 8)]), source_code=LOAD_MATRIX)
                            T.cuda.func_call("mma_bf16", T.address_of(b_score_5[n * 2 * 4]), T.address_of(b_q_1[k * 8]), T.address_of(b_lmk_2_t_part[0]), source_code=MMA_BF16)
                            T.cuda.func_call("mma_bf16", T.address_of(b_score_5[(n * 2 + 1) * 4]), T.address_of(b_q_1[k * 8]), T.address_of(b_lmk_2_t_part[4]), source_code=MMA_BF16)
                    for r in T.unroll(32):
                        b_rank_2[r] = T.Select((x_222 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8)) >= b_lo[r // 2 % 2]) & (x_222 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8)) < b_hi[r // 2 % 2]), b_score_5[r] * 0.1, T.float32("-inf"))
                    for r in T.unroll(32):
                        x_246[r] = T.reinterpret("int32", T.Select(b_rank_2[r] == 0.0, T.float32(0.0), b_rank_2[r]))
                    for r in T.unroll(4):
                        x_258_sum_halves[r] = 0
                    for r in T.unroll(32):
                        x_258_sum_halves[r // 2 % 2 + r // 16 * 2] = x_258_sum_halves[r // 2 % 2 + r // 16 * 2] + T.Cast("int32", T.Select(b_rank_2[r] > T.float32("-inf"), T.Cast("int64", x_246[r] ^ x_246[r] >> 31 & 2147483647) << 32 | T.Cast("int64", x_222 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8))), T.int64(-9223372036854775807)) >= x_218[r // 2 % 2])
                    for r in T.unroll(2):
                        x_258_sum[r] = x_258_sum_halves[r] + x_258_sum_halves[r + 2]
                    for r in T.unroll(2):
                        x_258_sum[r] = x_258_sum[r] + T.cuda.func_call("shuffle_xor", x_258_sum[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
                    for r in T.unroll(2):
                        x_258_sum[r] = x_258_sum[r] + T.cuda.func_call("shuffle_xor", x_258_sum[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
                    for r in T.unroll(2):
                        x_259[r] = b_reached_1[r] + x_258_sum[r]
                    for r in T.unroll(2):
                        b_reached_1[r] = x_259[r]
                for r in T.unroll(2):
                    x_260[r] = b_reached_1[r] >= 32
                for r in T.unroll(2):
                    x_265[r] = T.Select(x_260[r], x_218[r], b_low_2[r])
                for r in T.unroll(2):
                    x_268[r] = T.Select(x_260[r], T.Select(x_260[r] & (b_reached_1[r] <= 64), x_218[r] + 1, b_high_1[r]), T.Select(x_212[r], x_194[r] + T.Cast("int64", C), x_218[r]))
                x_271_max[0] = -2147483648
                for r in T.unroll(2):
                    x_271_max[0] = T.max(x_271_max[0], T.Cast("int32", x_268[r] > x_265[r] + 1))
                x_271_max[0] = T.max(x_271_max[0], T.cuda.func_call("shuffle_xor", x_271_max[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
                x_271_max[0] = T.max(x_271_max[0], T.cuda.func_call("shuffle_xor", x_271_max[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
                x_271_max[0] = T.max(x_271_max[0], T.cuda.func_call("shuffle_xor", x_271_max[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
                T.cuda.cta_sync()
                if tid & 31 == 0:
                    s_x_271_max[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = x_271_max[0]
                T.cuda.cta_sync()
                x_271_max[0] = s_x_271_max[0]
                x_271_max[0] = T.max(x_271_max[0], s_x_271_max[5])
                x_271_max[0] = T.max(x_271_max[0], s_x_271_max[10])
                x_271_max[0] = T.max(x_271_max[0], s_x_271_max[15])
                x_272: T.let = x_271_max[0] > 0
                x_273: T.let = i_step_3[0] + 1
                for r in T.unroll(2):
                    b_low_2[r] = x_265[r]
                for r in T.unroll(2):
                    b_high_1[r] = x_268[r]
                i_step_3[0] = x_273
                more_1[0] = x_272
            T.cuda.cta_sync()
            for r in T.unroll(32):
                x_275[r] = T.Cast("float16", T.Select(o_axis0_7 + r * 2 < o_axis0_1, T.float32(1.0), T.float32(0.0)))
            for r in T.unroll(32):
                s_x_275[(o_axis0_7 + r * 2) * 72 + o_axis1_2] = x_275[r]
            for r in T.unroll(8):
                b_ones_1[r] = T.Cast("float16", T.float32(1.0))
            for r in T.unroll(8):
                s_ones_1[(o_axis0_2 + r * 8) * 24 + o_axis1_3] = b_ones_1[r]
            for r in T.unroll(2):
                b_count_4[r] = 0
            for i_block_3 in range(0, x_21):
                x_276: T.let = x_21 - i_block_3
                x_277: T.let = x_276 * 64
                x_278: T.let = first[0] + x_277
                x_279: T.let = x_278 - 1
                x_284: T.let = pid_2 * C
                x_285: T.let = T.Cast("int64", x_284)
                for r in T.unroll(32):
                    b_score_7[r] = T.float32(0.0)
                for r in T.unroll(64):
                    b_lmk_3[r] = T.if_then_else(x_279 - r < C, p_landmarks[(x_285 + T.Cast("int64", x_279 - r) + T.Cast("int64", pid_1)) * 128 + T.Cast("int64", o_axis0_5)], T.Cast("bfloat16", T.float32(0.0)))
                T.cuda.cta_sync()
                for r in T.unroll(64):
                    s_lmk_3[r * 136 + o_axis1_1] = b_lmk_3[r]
                # b_dot_5 [64, 64] = b_q [64, 128] @ b_lmk_3_t [128, 64] + acc
                T.cuda.cta_sync()
                for k in T.unroll(8):
                    for n in T.unroll(4):
                        T.cuda.func_call("load_matrix", T.address_of(b_lmk_3_t_part[0]), T.address_of(s_lmk_3[(n * 16 + (lane % 8 + lane // 16 * 8)) * 136 + (k * 16 + lane // 8 % 2 * 8)]), source_code=LOAD_MATRIX)
                        T.cuda.func_call("mma_bf16", T.address_of(b_score_7[n * 2 * 4]), T.address_of(b_q_1[k * 8]), T.address_of(b_lmk_3_t_part[0]), source_code=MMA_BF16)
                        T.cuda.func_call("mma_bf16", T.address_of(b_score_7[(n * 2 + 1) * 4]), T.address_of(b_q_1[k * 8]), T.address_of(b_lmk_3_t_part[4]), source_code=MMA_BF16)
                for r in T.unroll(32):
                    x_295[r] = b_score_7[r] * 0.1
                for r in T.unroll(32):
                    b_rank_3[r] = T.Select((x_279 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8)) >= b_lo[r // 2 % 2]) & (x_279 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8)) < b_hi[r // 2 % 2]), x_295[r], T.float32("-inf"))
                for r in T.unroll(32):
                    x_303[r] = T.reinterpret("int32", T.Select(b_rank_3[r] == 0.0, T.float32(0.0), b_rank_3[r]))
                for r in T.unroll(32):
                    x_313[r] = T.Select(b_rank_3[r] > T.float32("-inf"), T.Cast("int64", x_303[r] ^ x_303[r] >> 31 & 2147483647) << 32 | T.Cast("int64", x_279 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8))), T.int64(-9223372036854775807)) >= b_low_2[r // 2 % 2]
                for r in T.unroll(2):
                    x_316[r] = T.Cast("float32", T.min(b_count_4[r], 64)) + 8388608.0
                for r in T.unroll(32):
                    x_319[r] = T.Cast("float16", T.Cast("float32", T.Cast("float16", x_313[r])))
                # b_dot_6 [64, 64] = x_319 [64, 64] @ x_275 [64, 64] + acc
                for r in T.unroll(32):
                    b_dot_6[r] = x_316[r // 2 % 2]
                for k in T.unroll(4):
                    for n in T.unroll(4):
                        T.cuda.func_call("load_matrix_trans", T.address_of(x_275_part[0]), T.address_of(s_x_275[(k * 16 + (lane % 8 + lane // 8 % 2 * 8)) * 72 + (n * 16 + lane // 16 * 8)]), source_code=LOAD_MATRIX_TRANS)
                        T.cuda.func_call("mma_fp16", T.address_of(b_dot_6[n * 2 * 4]), T.address_of(x_319[k * 8]), T.address_of(x_275_part[0]), source_code=MMA_FP16)
                        T.cuda.func_call("mma_fp16", T.address_of(b_dot_6[(n * 2 + 1) * 4]), T.address_of(x_319[k * 8]), T.address_of(x_275_part[4]), source_code=MMA_FP16)
                for r in T.unroll(32):
                    x_321[r] = T.reinterpret("int32", b_dot_6[r]) - 1258291200
                for r in T.unroll(32):
                    o_entry_1[r] = T.Select(x_313[r] & (x_321[r] < 64), x_321[r] * 64 + (o_axis0 + r // 2 % 2 * 8), -1)
                for r in T.unroll(32):
                    if o_entry_1[r] >= 0:
                        p_candidates[x_27 + T.Cast("int64", o_entry_1[r])] = T.Cast("int64", x_279 - (o_axis0_6 + ((r % 2 + r // 4 * 2) % 2 + (r % 2 + r // 4 * 2) // 2 * 8))) << 32 | T.Cast("int64", T.reinterpret("uint32", x_295[r]))
                # b_dot_7 [64, 16] = x_319 [64, 64] @ b_ones_1 [64, 16]
                for r in T.unroll(8):
                    b_dot_7[r] = T.float32(0.0)
                for k in T.unroll(4):
                    T.cuda.func_call("load_matrix_trans", T.address_of(b_ones_1_part[0]), T.address_of(s_ones_1[(k * 16 + (lane % 8 + lane // 8 % 2 * 8)) * 24 + lane // 16 * 8]), source_code=LOAD_MATRIX_TRANS)
                    T.cuda.func_call("mma_fp16", T.address_of(b_dot_7[0]), T.address_of(x_319[k * 8]), T.address_of(b_ones_1_part[0]), source_code=MMA_FP16)
                    T.cuda.func_call("mma_fp16", T.address_of(b_dot_7[4]), T.address_of(x_319[k * 8]), T.address_of(b_ones_1_part[4]), source_code=MMA_FP16)
                for r in T.unroll(2):
                    b_dot_7_max[r] = T.float32("-inf")
                for r in T.unroll(8):
                    b_dot_7_max[r // 2 % 2] = T.max(b_dot_7_max[r // 2 % 2], b_dot_7[r])
                for r in T.unroll(2):
                    b_dot_7_max[r] = T.max(b_dot_7_max[r], T.cuda.func_call("shuffle_xor", b_dot_7_max[r], 1, source_code=SHUFFLE_XOR, return_type="float32"))
                for r in T.unroll(2):
                    b_dot_7_max[r] = T.max(b_dot_7_max[r], T.cuda.func_call("shuffle_xor", b_dot_7_max[r], 2, source_code=SHUFFLE_XOR, return_type="float32"))
                for r in T.unroll(2):
                    x_334[r] = b_count_4[r] + T.Cast("int32", b_dot_7_max[r])
                for r in T.unroll(2):
                    b_count_4[r] = x_334[r]
            for r in T.unroll(2):
                b_count_2[r] = b_count_4[r]
        T.cuda.cta_sync()
        for r in T.unroll(32):
            x_335[r] = o_axis0_8 + r % 16 * 4 < b_count_2[r // 16]
        for r in T.unroll(32):
            b_entry[r] = T.if_then_else(x_335[r], p_candidates[x_27 + T.Cast("int64", (o_axis0_8 + r % 16 * 4) * 64 + (o_axis0 + r // 16 * 8))], T.int64(0))
        for r in T.unroll(32):
            b_value[r] = T.reinterpret("float32", T.Cast("uint32", b_entry[r]))
        for r in T.unroll(32):
            b_rank_4[r] = T.Select(x_335[r], b_value[r], T.float32("-inf"))
        for r in T.unroll(2):
            x_341[r] = T.reinterpret("int32", b_largest[r])
        for r in T.unroll(2):
            x_349[r] = T.reinterpret("float32", b_low[r] ^ b_low[r] >> 31 & 2147483647)
        for r in T.unroll(4):
            x_352_sum_halves[r] = 0
        for r in T.unroll(32):
            x_352_sum_halves[r // 8 % 2 * 2 + r // 16] = x_352_sum_halves[r // 8 % 2 * 2 + r // 16] + T.Cast("int32", b_rank_4[r] >= x_349[r // 16])
        for r in T.unroll(2):
            x_352_sum[r] = x_352_sum_halves[r] + x_352_sum_halves[r + 2]
        for r in T.unroll(2):
            x_352_sum[r] = x_352_sum[r] + T.cuda.func_call("shuffle_xor", x_352_sum[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(2):
            x_352_sum[r] = x_352_sum[r] + T.cuda.func_call("shuffle_xor", x_352_sum[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(2):
            x_354[r] = T.Select(x_352_sum[r] > 32, (x_341[r] ^ x_341[r] >> 31 & 2147483647) + 1, b_low[r])
        x_357_max[0] = -2147483648
        for r in T.unroll(2):
            x_357_max[0] = T.max(x_357_max[0], T.Cast("int32", x_354[r] > b_low[r] + 1))
        x_357_max[0] = T.max(x_357_max[0], T.cuda.func_call("shuffle_xor", x_357_max[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
        x_357_max[0] = T.max(x_357_max[0], T.cuda.func_call("shuffle_xor", x_357_max[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
        x_357_max[0] = T.max(x_357_max[0], T.cuda.func_call("shuffle_xor", x_357_max[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
        if tid & 31 == 0:
            s_x_357_max[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = x_357_max[0]
        T.cuda.cta_sync()
        x_357_max[0] = s_x_357_max[0]
        x_357_max[0] = T.max(x_357_max[0], s_x_357_max[5])
        x_357_max[0] = T.max(x_357_max[0], s_x_357_max[10])
        x_357_max[0] = T.max(x_357_max[0], s_x_357_max[15])
        x_358: T.let = x_357_max[0] > 0
        for r in T.unroll(2):
            b_low_4[r] = b_low[r]
        for r in T.unroll(2):
            b_high_2[r] = x_354[r]
        i_step_5[0] = 0
        more_2[0] = x_358
        while more_2[0]:
            for r in T.unroll(2):
                x_362[r] = (b_low_4[r] & b_high_2[r]) + ((b_low_4[r] ^ b_high_2[r]) >> 1)
            for r in T.unroll(2):
                x_366[r] = T.reinterpret("float32", x_362[r] ^ x_362[r] >> 31 & 2147483647)
            for r in T.unroll(4):
                x_369_sum_halves[r] = 0
            for r in T.unroll(32):
                x_369_sum_halves[r // 8 % 2 * 2 + r // 16] = x_369_sum_halves[r // 8 % 2 * 2 + r // 16] + T.Cast("int32", b_rank_4[r] >= x_366[r // 16])
            for r in T.unroll(2):
                x_369_sum[r] = x_369_sum_halves[r] + x_369_sum_halves[r + 2]
            for r in T.unroll(2):
                x_369_sum[r] = x_369_sum[r] + T.cuda.func_call("shuffle_xor", x_369_sum[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
            for r in T.unroll(2):
                x_369_sum[r] = x_369_sum[r] + T.cuda.func_call("shuffle_xor", x_369_sum[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
            for r in T.unroll(2):
                x_370[r] = x_369_sum[r] >= 32
            for r in T.unroll(2):
                x_374[r] = T.Select(x_370[r], T.max(x_362[r], b_low_4[r]), b_low_4[r])
            for r in T.unroll(2):
                x_377[r] = T.Select(x_370[r], T.Select(x_370[r] & (x_369_sum[r] <= 32), x_374[r] + 1, b_high_2[r]), x_362[r])
            x_380_max[0] = -2147483648
            for r in T.unroll(2):
                x_380_max[0] = T.max(x_380_max[0], T.Cast("int32", x_377[r] > x_374[r] + 1))
            x_380_max[0] = T.max(x_380_max[0], T.cuda.func_call("shuffle_xor", x_380_max[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
            x_380_max[0] = T.max(x_380_max[0], T.cuda.func_call("shuffle_xor", x_380_max[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
            x_380_max[0] = T.max(x_380_max[0], T.cuda.func_call("shuffle_xor", x_380_max[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
            T.cuda.cta_sync()
            if tid & 31 == 0:
                s_x_380_max[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = x_380_max[0]
            T.cuda.cta_sync()
            x_380_max[0] = s_x_380_max[0]
            x_380_max[0] = T.max(x_380_max[0], s_x_380_max[5])
            x_380_max[0] = T.max(x_380_max[0], s_x_380_max[10])
            x_380_max[0] = T.max(x_380_max[0], s_x_380_max[15])
            x_381: T.let = x_380_max[0] > 0
            x_382: T.let = i_step_5[0] + 1
            for r in T.unroll(2):
                b_low_4[r] = x_374[r]
            for r in T.unroll(2):
                b_high_2[r] = x_377[r]
            i_step_5[0] = x_382
            more_2[0] = x_381
        for r in T.unroll(2):
            x_386[r] = T.reinterpret("float32", b_low_4[r] ^ b_low_4[r] >> 31 & 2147483647)
        for r in T.unroll(32):
            x_388[r] = b_rank_4[r] > x_386[r // 16]
        for r in T.unroll(32):
            x_389[r] = b_rank_4[r] == x_386[r // 16]
        for r in T.unroll(4):
            x_390_sum_halves[r] = 0
        for r in T.unroll(32):
            x_390_sum_halves[r // 8 % 2 * 2 + r // 16] = x_390_sum_halves[r // 8 % 2 * 2 + r // 16] + T.Cast("int32", x_388[r])
        for r in T.unroll(2):
            x_390_sum[r] = x_390_sum_halves[r] + x_390_sum_halves[r + 2]
        for r in T.unroll(2):
            x_390_sum[r] = x_390_sum[r] + T.cuda.func_call("shuffle_xor", x_390_sum[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(2):
            x_390_sum[r] = x_390_sum[r] + T.cuda.func_call("shuffle_xor", x_390_sum[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(2):
            x_391[r] = 32 - x_390_sum[r]
        for r in T.unroll(32):
            x_392_cumsum[r] = T.Cast("int32", x_389[r])
            x_392_cumsum_total[r] = x_392_cumsum[r]
        for r in T.unroll(32):
            other[0] = T.cuda.func_call("shuffle_xor", x_392_cumsum_total[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
            if lane & 1 != 0:
                x_392_cumsum[r] = x_392_cumsum[r] + other[0]
            x_392_cumsum_total[r] = x_392_cumsum_total[r] + other[0]
        for r in T.unroll(32):
            other_1[0] = T.cuda.func_call("shuffle_xor", x_392_cumsum_total[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
            if lane & 2 != 0:
                x_392_cumsum[r] = x_392_cumsum[r] + other_1[0]
            x_392_cumsum_total[r] = x_392_cumsum_total[r] + other_1[0]
        for r in T.unroll(16):
            x_392_cumsum[r * 2 + 1] = x_392_cumsum[r * 2 + 1] + x_392_cumsum_total[r * 2]
            x_392_cumsum_total[r * 2] = x_392_cumsum_total[r * 2] + x_392_cumsum_total[r * 2 + 1]
            x_392_cumsum_total[r * 2 + 1] = x_392_cumsum_total[r * 2]
        for r in T.unroll(16):
            x_392_cumsum[r // 2 * 4 + r % 2 + 2] = x_392_cumsum[r // 2 * 4 + r % 2 + 2] + x_392_cumsum_total[r // 2 * 4 + r % 2]
            x_392_cumsum_total[r // 2 * 4 + r % 2] = x_392_cumsum_total[r // 2 * 4 + r % 2] + x_392_cumsum_total[r // 2 * 4 + r % 2 + 2]
            x_392_cumsum_total[r // 2 * 4 + r % 2 + 2] = x_392_cumsum_total[r // 2 * 4 + r % 2]
        for r in T.unroll(16):
            x_392_cumsum[r // 4 * 8 + r % 4 + 4] = x_392_cumsum[r // 4 * 8 + r % 4 + 4] + x_392_cumsum_total[r // 4 * 8 + r % 4]
            x_392_cumsum_total[r // 4 * 8 + r % 4] = x_392_cumsum_total[r // 4 * 8 + r % 4] + x_392_cumsum_total[r // 4 * 8 + r % 4 + 4]
            x_392_cumsum_total[r // 4 * 8 + r % 4 + 4] = x_392_cumsum_total[r // 4 * 8 + r % 4]
        for r in T.unroll(16):
            x_392_cumsum[r // 8 * 16 + r % 8 + 8] = x_392_cumsum[r // 8 * 16 + r % 8 + 8] + x_392_cumsum_total[r // 8 * 16 + r % 8]
            x_392_cumsum_total[r // 8 * 16 + r % 8] = x_392_cumsum_total[r // 8 * 16 + r % 8] + x_392_cumsum_total[r // 8 * 16 + r % 8 + 8]
            x_392_cumsum_total[r // 8 * 16 + r % 8 + 8] = x_392_cumsum_total[r // 8 * 16 + r % 8]
        for r in T.unroll(32):
            x_396[r] = x_388[r] | x_389[r] & (x_392_cumsum[r] <= x_391[r // 16])
        for r in T.unroll(32):
            x_397[r] = T.Cast("int32", x_396[r])
        for r in T.unroll(32):
            x_397_cumsum[r] = x_397[r]
            x_397_cumsum_total[r] = x_397_cumsum[r]
        for r in T.unroll(32):
            other_2[0] = T.cuda.func_call("shuffle_xor", x_397_cumsum_total[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
            if lane & 1 != 0:
                x_397_cumsum[r] = x_397_cumsum[r] + other_2[0]
            x_397_cumsum_total[r] = x_397_cumsum_total[r] + other_2[0]
        for r in T.unroll(32):
            other_3[0] = T.cuda.func_call("shuffle_xor", x_397_cumsum_total[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
            if lane & 2 != 0:
                x_397_cumsum[r] = x_397_cumsum[r] + other_3[0]
            x_397_cumsum_total[r] = x_397_cumsum_total[r] + other_3[0]
        for r in T.unroll(16):
            x_397_cumsum[r * 2 + 1] = x_397_cumsum[r * 2 + 1] + x_397_cumsum_total[r * 2]
            x_397_cumsum_total[r * 2] = x_397_cumsum_total[r * 2] + x_397_cumsum_total[r * 2 + 1]
            x_397_cumsum_total[r * 2 + 1] = x_397_cumsum_total[r * 2]
        for r in T.unroll(16):
            x_397_cumsum[r // 2 * 4 + r % 2 + 2] = x_397_cumsum[r // 2 * 4 + r % 2 + 2] + x_397_cumsum_total[r // 2 * 4 + r % 2]
            x_397_cumsum_total[r // 2 * 4 + r % 2] = x_397_cumsum_total[r // 2 * 4 + r % 2] + x_397_cumsum_total[r // 2 * 4 + r % 2 + 2]
            x_397_cumsum_total[r // 2 * 4 + r % 2 + 2] = x_397_cumsum_total[r // 2 * 4 + r % 2]
        for r in T.unroll(16):
            x_397_cumsum[r // 4 * 8 + r % 4 + 4] = x_397_cumsum[r // 4 * 8 + r % 4 + 4] + x_397_cumsum_total[r // 4 * 8 + r % 4]
            x_397_cumsum_total[r // 4 * 8 + r % 4] = x_397_cumsum_total[r // 4 * 8 + r % 4] + x_397_cumsum_total[r // 4 * 8 + r % 4 + 4]
            x_397_cumsum_total[r // 4 * 8 + r % 4 + 4] = x_397_cumsum_total[r // 4 * 8 + r % 4]
        for r in T.unroll(16):
            x_397_cumsum[r // 8 * 16 + r % 8 + 8] = x_397_cumsum[r // 8 * 16 + r % 8 + 8] + x_397_cumsum_total[r // 8 * 16 + r % 8]
            x_397_cumsum_total[r // 8 * 16 + r % 8] = x_397_cumsum_total[r // 8 * 16 + r % 8] + x_397_cumsum_total[r // 8 * 16 + r % 8 + 8]
            x_397_cumsum_total[r // 8 * 16 + r % 8 + 8] = x_397_cumsum_total[r // 8 * 16 + r % 8]
        for r in T.unroll(32):
            x_398[r] = x_397_cumsum[r] - 1
        for r in T.unroll(4):
            x_397_sum_halves[r] = 0
        for r in T.unroll(32):
            x_397_sum_halves[r // 8 % 2 * 2 + r // 16] = x_397_sum_halves[r // 8 % 2 * 2 + r // 16] + x_397[r]
        for r in T.unroll(2):
            x_397_sum[r] = x_397_sum_halves[r] + x_397_sum_halves[r + 2]
        for r in T.unroll(2):
            x_397_sum[r] = x_397_sum[r] + T.cuda.func_call("shuffle_xor", x_397_sum[r], 1, source_code=SHUFFLE_XOR, return_type="int32")
        for r in T.unroll(2):
            x_397_sum[r] = x_397_sum[r] + T.cuda.func_call("shuffle_xor", x_397_sum[r], 2, source_code=SHUFFLE_XOR, return_type="int32")
        T.cuda.cta_sync()
        if tid & 3 == 0:
            for r in T.unroll(2):
                s_x_397_sum[o_axis0 + r * 8] = x_397_sum[r]
        T.cuda.cta_sync()
        for r in T.unroll(16):
            x_397_sum_1[r] = s_x_397_sum[o_axis0_8 + r * 4]
        x_399: T.let = pid_0 * 64
        x_400: T.let = pid_2 * R
        x_401: T.let = x_399 + x_400
        x_402: T.let = T.Cast("int64", x_401)
        x_404: T.let = x_402 + T.Cast("int64", pid_1)
        x_405: T.let = x_404 * 32
        for r in T.unroll(32):
            if x_396[r]:
                p_indices[x_405 + T.Cast("int64", (o_axis0 + r // 16 * 8) * 32 + x_398[r])] = T.Cast("int32", b_entry[r] >> 32)
        n_least[0] = 2147483647
        for r in T.unroll(2):
            n_least[0] = T.min(n_least[0], T.Select(x + (o_axis0 + r * 8) < R, x_397_sum[r], 32))
        n_least[0] = T.min(n_least[0], T.cuda.func_call("shuffle_xor", n_least[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
        n_least[0] = T.min(n_least[0], T.cuda.func_call("shuffle_xor", n_least[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
        n_least[0] = T.min(n_least[0], T.cuda.func_call("shuffle_xor", n_least[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
        T.cuda.cta_sync()
        if tid & 31 == 0:
            s_n_least[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = n_least[0]
        T.cuda.cta_sync()
        n_least[0] = s_n_least[0]
        n_least[0] = T.min(n_least[0], s_n_least[5])
        n_least[0] = T.min(n_least[0], s_n_least[10])
        n_least[0] = T.min(n_least[0], s_n_least[15])
        x_411: T.let = n_least[0] < 32
        if x_411:
            for r in T.unroll(16):
                if (o_axis0_9 >= x_397_sum_1[r]) & (o_axis0_9 < 32) & (x + (o_axis0_8 + r * 4) < R):
                    p_indices[x_405 + T.Cast("int64", (o_axis0_8 + r * 4) * 32 + o_axis0_9)] = -1
        x_419: T.let = pid_0 * 64
        x_420: T.let = pid_2 * R
        x_421: T.let = x_419 + x_420
        x_422: T.let = T.Cast("int64", x_421)
        x_424: T.let = x_422 + T.Cast("int64", pid_1)
        x_425: T.let = x_424 * 32
        for r in T.unroll(32):
            if x_396[r]:
                p_slots[x_425 + T.Cast("int64", (o_axis0 + r // 16 * 8) * 32 + x_398[r])] = b_value[r]
        n_least_1[0] = 2147483647
        for r in T.unroll(2):
            n_least_1[0] = T.min(n_least_1[0], T.Select(x + (o_axis0 + r * 8) < R, x_397_sum[r], 32))
        n_least_1[0] = T.min(n_least_1[0], T.cuda.func_call("shuffle_xor", n_least_1[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
        n_least_1[0] = T.min(n_least_1[0], T.cuda.func_call("shuffle_xor", n_least_1[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
        n_least_1[0] = T.min(n_least_1[0], T.cuda.func_call("shuffle_xor", n_least_1[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
        T.cuda.cta_sync()
        if tid & 31 == 0:
            s_n_least_1[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = n_least_1[0]
        T.cuda.cta_sync()
        n_least_1[0] = s_n_least_1[0]
        n_least_1[0] = T.min(n_least_1[0], s_n_least_1[5])
        n_least_1[0] = T.min(n_least_1[0], s_n_least_1[10])
        n_least_1[0] = T.min(n_least_1[0], s_n_least_1[15])
        x_431: T.let = n_least_1[0] < 32
        if x_431:
            for r in T.unroll(16):
                if (o_axis0_9 >= x_397_sum_1[r]) & (o_axis0_9 < 32) & (x + (o_axis0_8 + r * 4) < R):
                    p_slots[x_425 + T.Cast("int64", (o_axis0_8 + r * 4) * 32 + o_axis0_9)] = T.float32("-inf")
        x_440: T.let = pid_1
        for r in T.unroll(32):
            b_x[r] = T.Select(x_396[r], b_value[r], T.float32("-inf"))
        for r in T.unroll(4):
            b_x_max_halves[r] = T.float32("-inf")
        for r in T.unroll(32):
            b_x_max_halves[r // 8 % 2 * 2 + r // 16] = T.max(b_x_max_halves[r // 8 % 2 * 2 + r // 16], b_x[r])
        for r in T.unroll(2):
            b_x_max[r] = T.max(b_x_max_halves[r], b_x_max_halves[r + 2])
        for r in T.unroll(2):
            b_x_max[r] = T.max(b_x_max[r], T.cuda.func_call("shuffle_xor", b_x_max[r], 1, source_code=SHUFFLE_XOR, return_type="float32"))
        for r in T.unroll(2):
            b_x_max[r] = T.max(b_x_max[r], T.cuda.func_call("shuffle_xor", b_x_max[r], 2, source_code=SHUFFLE_XOR, return_type="float32"))
        for r in T.unroll(2):
            b_max_1[r] = T.max(T.max(b_x_max[r], T.float32(-1e+30)), T.float32(-1e+30))
        for r in T.unroll(32):
            b_e[r] = T.cuda.func_call("exp2_approx", (b_x[r] - b_max_1[r // 16]) * 1.4426950408889634, source_code=EXP2_APPROX, return_type="float32")
        for r in T.unroll(4):
            b_e_sum_halves[r] = T.float32(0.0)
        for r in T.unroll(32):
            b_e_sum_halves[r // 8 % 2 * 2 + r // 16] = b_e_sum_halves[r // 8 % 2 * 2 + r // 16] + b_e[r]
        for r in T.unroll(2):
            b_e_sum[r] = b_e_sum_halves[r] + b_e_sum_halves[r + 2]
        for r in T.unroll(2):
            b_e_sum[r] = b_e_sum[r] + T.cuda.func_call("shuffle_xor", b_e_sum[r], 1, source_code=SHUFFLE_XOR, return_type="float32")
        for r in T.unroll(2):
            b_e_sum[r] = b_e_sum[r] + T.cuda.func_call("shuffle_xor", b_e_sum[r], 2, source_code=SHUFFLE_XOR, return_type="float32")
        for r in T.unroll(2):
            x_446[r] = T.Select(b_e_sum[r] > 0.0, b_e_sum[r], T.float32(1.0))
        x_449: T.let = pid_0 * 64
        x_450: T.let = pid_2 * R
        x_451: T.let = x_449 + x_450
        x_452: T.let = T.Cast("int64", x_451)
        x_454: T.let = x_452 + T.Cast("int64", x_440)
        x_455: T.let = x_454 * 32
        for r in T.unroll(32):
            if x_396[r]:
                p_weights[x_455 + T.Cast("int64", (o_axis0 + r // 16 * 8) * 32 + x_398[r])] = b_e[r] / x_446[r // 16]
        n_least_2[0] = 2147483647
        for r in T.unroll(2):
            n_least_2[0] = T.min(n_least_2[0], T.Select(x + (o_axis0 + r * 8) < R, x_397_sum[r], 32))
        n_least_2[0] = T.min(n_least_2[0], T.cuda.func_call("shuffle_xor", n_least_2[0], 4, source_code=SHUFFLE_XOR, return_type="int32"))
        n_least_2[0] = T.min(n_least_2[0], T.cuda.func_call("shuffle_xor", n_least_2[0], 8, source_code=SHUFFLE_XOR, return_type="int32"))
        n_least_2[0] = T.min(n_least_2[0], T.cuda.func_call("shuffle_xor", n_least_2[0], 16, source_code=SHUFFLE_XOR, return_type="int32"))
        T.cuda.cta_sync()
        if tid & 31 == 0:
            s_n_least_2[(tid // 32 % 2 + tid // 64 % 2 * 2) * 5] = n_least_2[0]
        T.cuda.cta_sync()
        n_least_2[0] = s_n_least_2[0]
        n_least_2[0] = T.min(n_least_2[0], s_n_least_2[5])
        n_least_2[0] = T.min(n_least_2[0], s_n_least_2[10])
        n_least_2[0] = T.min(n_least_2[0], s_n_least_2[15])
        x_461: T.let = n_least_2[0] < 32
        if x_461:
            for r in T.unroll(16):
                if (o_axis0_9 >= x_397_sum_1[r]) & (o_axis0_9 < 32) & (x + (o_axis0_8 + r * 4) < R):
                    p_weights[x_455 + T.Cast("int64", (o_axis0_8 + r * 4) * 32 + o_axis0_9)] = T.float32(0.0)
