"""Device functions that generated kernels call for what TVMScript has no expression of.

Each is a few lines of CUDA; a generated file carries the ones that it uses.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass


@dataclass(frozen=True)
class Intrinsic:
    """A device function; `returns` is a TVM dtype, or ``"void"``."""

    name: str
    source: str
    returns: str = "void"

    @property
    def constant(self) -> str:
        """The name of its source in a generated file."""
        return self.name.upper()


def _copy(size: int, vector: str) -> Intrinsic:
    return Intrinsic(
        f"copy_{size}",
        f"""
// {size} bytes in one access.
__device__ __forceinline__ void copy_{size}(void* to, const void* from) {{
  *({vector}*)to = *(const {vector}*)from;
}}
""",
    )


COPY = {
    2: _copy(2, "ushort"),
    4: _copy(4, "uint"),
    8: _copy(8, "uint2"),
    16: _copy(16, "uint4"),
}
MUL_RN = Intrinsic(
    "mul_rn",
    """
// A product that is rounded by itself.
__device__ __forceinline__ float mul_rn(float x, float y) { return __fmul_rn(x, y); }
""",
    "float32",
)
EXP2 = Intrinsic(
    "exp2_approx",
    """
// 2 to the power x within 2 units in the last place, subnormal results as 0.
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
""",
    "float32",
)
RECIPROCAL = Intrinsic(
    "reciprocal",
    """
// 1 / x within 1 unit in the last place, without a branch.
__device__ __forceinline__ float reciprocal(float x) {
  float y;
  asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
""",
    "float32",
)
_SHUFFLE = """
// The value of the lane whose number differs in the bits of mask.
template <typename T>
__device__ __forceinline__ T shuffle_xor(T x, int mask) {
  return __shfl_xor_sync(0xffffffffu, x, mask);
}
"""
SHUFFLE = {
    dtype: Intrinsic("shuffle_xor", _SHUFFLE, dtype)
    for dtype in ("float32", "int32", "int64", "uint32")
}
ATOMIC_ADD = Intrinsic(
    "atomic_add",
    """
template <typename T>
__device__ __forceinline__ void atomic_add(T* to, T x) { atomicAdd(to, x); }
""",
)
PACK = {
    name: Intrinsic(
        f"pack_{name}",
        f"""
// Two neighbours in half precision, the first in the lower bits.
__device__ __forceinline__ void pack_{name}(void* to, float first, float second) {{
  asm("cvt.rn.{kind}x2.f32 %0, %1, %2;" : "=r"(*(unsigned*)to) : "f"(second), "f"(first));
}}
""",
    )
    for name, kind in (("bf16", "bf16"), ("fp16", "f16"))
}
MMA = {
    name: Intrinsic(
        f"mma_{name}",
        f"""
// acc[16, 8] += a[16, 16] b[16, 8] of a warp.
__device__ __forceinline__ void mma_{name}(float* acc, const void* a, const void* b) {{
  const unsigned* x = (const unsigned*)a;
  const unsigned* y = (const unsigned*)b;
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32 "
      "{{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, {{%0, %1, %2, %3}};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
}}
""",
    )
    for name, kind in (("bf16", "bf16"), ("fp16", "f16"))
}


WARPGROUP_FENCE = Intrinsic(
    "warpgroup_fence",
    """
// Registers that the products to come read are written.
__device__ __forceinline__ void warpgroup_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
""",
)
WARPGROUP_WAIT = Intrinsic(
    "warpgroup_wait",
    """
// Waits for this warpgroup's products.
__device__ __forceinline__ void warpgroup_wait() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
}
""",
)
HOLD = Intrinsic(
    "hold",
    """
// The compiler moves nothing that writes or reads these registers past this line.
__device__ __forceinline__ void hold(float* x, int count) {
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+f"(x[i]) :: "memory");
}
""",
)
HOLD_PAIRS = Intrinsic(
    "hold_pairs",
    """
// The same for registers of two elements each.
__device__ __forceinline__ void hold_pairs(void* x, int count) {
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+r"(((unsigned*)x)[i]) :: "memory");
}
""",
)
MATRIX_DESCRIPTOR = Intrinsic(
    "matrix_descriptor",
    """
// A matrix in shared memory for wgmma, `ahead` pieces of 16 bytes after `first`: rows of 128 bytes,
// swizzled, in groups of 8 one after the other; `panel` pieces to the next columns.
__device__ __forceinline__ unsigned long long matrix_descriptor(
    const void* first, int ahead, int panel) {
  unsigned address = (unsigned)__cvta_generic_to_shared(first);
  unsigned low = ((address & 0x3ffff) >> 4) + (ahead | panel << 16);
  return 1ull << 62 | 64ull << 32 | low;
}
""",
    "uint64",
)
PROXY_FENCE = Intrinsic(
    "proxy_fence",
    """
// What this thread wrote to shared memory can be seen by wgmma, once the threads have met.
__device__ __forceinline__ void proxy_fence() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
""",
)


@functools.cache
def warpgroup_mma(
    dtype: str, columns: int, left_flipped: bool | None, right_flipped: bool
) -> Intrinsic:
    """``acc[64, columns] (+)= a[64, 16] b[16, columns]``. Rows of b in shared memory are those of
    its columns, or of its depth where `right_flipped`; so for a, and None where that is in
    registers."""
    count = columns // 2
    kind = {"bf16": "bf16", "fp16": "f16"}[dtype]
    sides = "r" if left_flipped is None else "st"[left_flipped]
    name = f"warpgroup_mma_{dtype}_{columns}_{sides}{'st'[right_flipped]}"
    names = ", ".join(f"%{i}" for i in range(count))
    results = ", ".join(f'"+f"(acc[{i}])' for i in range(count))
    if left_flipped is None:
        parameter, wide = "const void* a", 4
        left = f"{{{', '.join(f'%{count + i}' for i in range(4))}}}"
        given = ", ".join(f'"r"(((const unsigned*)a)[{i}])' for i in range(4))
        flips = f"{int(right_flipped)}"
    else:
        parameter, wide = "unsigned long long a", 1
        left, given = f"%{count}", '"l"(a)'
        flips = f"{int(left_flipped)}, {int(right_flipped)}"
    right, more = f"%{count + wide}", f"%{count + wide + 1}"
    return Intrinsic(
        name,
        f"""
// acc[64, {columns}] = a[64, 16] b[16, {columns}] (+ acc if more) of four warps, when waited for.
__device__ __forceinline__ void {name}(
    float* acc, {parameter}, unsigned long long b, bool more) {{
  asm volatile(
      "{{ .reg .pred p; setp.ne.b32 p, {more}, 0; "
      "wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{kind}.{kind} "
      "{{{names}}}, "
      "{left}, {right}, p, 1, 1, {flips}; }}"
      : {results}
      : {given}, "l"(b), "r"((int)more));
}}
""",
    )


def _ldmatrix(suffix: str, trans: str, what: str) -> Intrinsic:
    return Intrinsic(
        f"load_matrix{suffix}",
        f"""
// Four 8 x 8 matrices of 2-byte elements, {what}: lane i points to row i % 8 of matrix i / 8.
__device__ __forceinline__ void load_matrix{suffix}(void* to, const void* row) {{
  unsigned* x = (unsigned*)to;
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {{%0, %1, %2, %3}}, [%4];"
      : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
      : "r"((unsigned)__cvta_generic_to_shared(row))
      : "memory");
}}
""",
    )


LOAD_MATRIX = {
    False: _ldmatrix("", "", "as they lie"),
    True: _ldmatrix("_trans", ".trans", "transposed"),
}


def _async_copy(size: int, cache: str) -> Intrinsic:
    return Intrinsic(
        f"async_copy_{size}",
        f"""
// {size} bytes from global to shared memory, on the way when this returns; zeros where not valid.
__device__ __forceinline__ void async_copy_{size}(void* to, const void* from, bool valid) {{
  asm volatile(
      "cp.async.{cache}.shared.global [%0], [%1], {size}, %2;" ::
      "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from), "r"(valid ? {size} : 0)
      : "memory");
}}
""",
    )


ASYNC_COPY = {4: _async_copy(4, "ca"), 8: _async_copy(8, "ca"), 16: _async_copy(16, "cg")}
COMMIT = Intrinsic(
    "async_commit",
    """
// Ends a group of copies on the way.
__device__ __forceinline__ void async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
""",
)
WAIT = Intrinsic(
    "async_wait",
    """
// Waits until all but the last N groups of this thread's copies have arrived.
#define async_wait(N) asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory")
""",
)
