"""Device functions that generated kernels call for what TVMScript has no expression of.

Each is a few lines of CUDA; a generated file carries the ones that it uses.
"""

from __future__ import annotations

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


def all_intrinsics() -> dict[str, Intrinsic]:
    """Every intrinsic by the name of its source."""
    tables = (COPY, SHUFFLE, PACK, MMA, LOAD_MATRIX, ASYNC_COPY)
    found = [x for table in tables for x in table.values()]
    found += [MUL_RN, EXP2, ATOMIC_ADD, COMMIT, WAIT]
    return {x.constant: x for x in found}
