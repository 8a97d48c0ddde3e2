"""Problems of every kernel, for tests of schedules, configs and commands."""

from __future__ import annotations

from functools import lru_cache

from hsa_compiler.ir import KernelGroup, differentiate, fuse_groups, group_forms
from hsa_compiler.ir.programs import (
    AttentionOptions,
    RetrieveOptions,
    hsa_program,
    retrieve_program,
)
from hsa_compiler.schedules.problem import DYNAMIC_DIMS, Problem


@lru_cache
def groups(top_k: int, chunk: int, dtype: str) -> dict[str, KernelGroup]:
    """The kernels of HSA with external softmax weights, forward and backward, by kind; retrieval
    and the gradients of attention as one kernel and as two."""
    program = hsa_program(
        RetrieveOptions(top_k, 0.1, inverse=True, dtype=dtype),
        AttentionOptions(chunk, 0.1, inverse=True, dtype=dtype),
    )
    backward = differentiate(program, ["q", "k", "v", "q_slc", "landmarks"], ["out"])
    whole = retrieve_program(RetrieveOptions(top_k, 0.1, own_indices=True, dtype=dtype))
    parts = (*map(fuse_groups, (whole, program)), *group_forms(backward).values())
    return {group.kind: group for part in parts for group in part}


def make(
    kind: str,
    *,
    tokens: int = 8192,
    query_heads: int = 16,
    kv_heads: int = 1,
    head_dim: int = 128,
    top_k: int = 32,
    chunk: int = 64,
    dtype: str = "bf16",
) -> tuple[Problem, dict[str, int]]:
    """A problem of kernel `kind` and the dynamic sizes it mentions."""
    dims = {
        "B": 1,
        "L": tokens,
        "Lkv": tokens,
        "R": tokens,
        "C": tokens // chunk,
        "Hq": query_heads,
        "H": kv_heads,
        "D": head_dim,
        "K": top_k,
        "Hr": kv_heads,
        "Hm": kv_heads,
        "Dr": 128,
        "Hi": kv_heads,
        "Hw": kv_heads,
    }
    group = groups(top_k, chunk, dtype)[kind]
    names = group.program.dim_names()
    sizes = {name: dims[name] for name in DYNAMIC_DIMS if name in names}
    return Problem.of(group, dims), sizes
