"""The two halves of the operator, and a decoding step, as executables: options in, a cached
`Executable` out.

Everything that changes a program is an option; everything else is a dim. Both halves share one
backward path: `differentiate` for the outputs whose gradient arrived and the inputs that want one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import torch
from torch import Tensor

from hsa_compiler.ir import Program, differentiate, fuse_groups
from hsa_compiler.ir.programs import (
    AttentionOptions,
    CacheOptions,
    RetrieveOptions,
    chunk_attention_program,
    decode_program,
    invert_program,
    retrieve_program,
)
from hsa_compiler.runtime.executor import Executable

Options = RetrieveOptions | AttentionOptions

#: Executables kept; one is a few kilobytes, its kernels are shared through the compiler's cache.
CACHED = 256


@functools.lru_cache(CACHED)
def forward(options: Options) -> Executable:
    """The forward executable of one half."""
    if isinstance(options, RetrieveOptions):
        return Executable(retrieve_program(options))
    return Executable(chunk_attention_program(options))


@functools.lru_cache(CACHED)
def decode(
    retrieve: RetrieveOptions, attention: AttentionOptions, cache: CacheOptions
) -> Executable:
    """The executable of a decoding step."""
    return Executable(decode_program(retrieve, attention, cache))


@functools.cache
def invert() -> Executable:
    """The executable that builds an inverse index."""
    return Executable(invert_program())


def run_indexed(
    executable: Executable,
    values: Mapping[str, Tensor | None],
    dims: Mapping[str, int],
    device: torch.device,
    backend: str,
    deterministic: bool,
    union: float | None,
) -> dict[str, Tensor]:
    """Run a program of the second half, building the inverse index first where a kernel reads it
    and the caller gave none."""
    how = (device, backend, deterministic, union)
    if values.get("order") is None and executable.needs("order", dims, *how):
        values = {**values, **invert().run(values, dims, *how)}
    return executable.run(values, dims, *how)


@functools.lru_cache(CACHED)
def backward(options: Options, of: tuple[str, ...], wrt: tuple[str, ...]) -> Executable | None:
    """The backward executable, or None where no gradient reaches any of `wrt`.

    Args:
        options: of the forward half.
        of: outputs whose gradients arrived.
        wrt: inputs whose gradients are wanted; those that no gradient reaches are left out.
    """
    if not of:
        return None
    if isinstance(options, RetrieveOptions):
        # Whose indices they are changes no gradient: all retrievals share their kernels.
        options = dataclasses.replace(options, own_indices=False)
    program = forward(options).program
    full = differentiate(program, None, of)
    kept = _whole_kernels(full, {f"d_{name}" for name in wrt})
    return Executable(full.with_outputs(kept)) if kept else None


def _whole_kernels(program: Program, wanted: set[str]) -> tuple[str, ...]:
    """The outputs of a backward program that the kernels needed for `wanted` give.

    A kernel computes all of its gradients or does not run: which inputs are frozen decides which
    kernels run, never what a kernel is, so freezing an input needs no lowering of its own.
    """
    outputs = {value.name for value in program.outputs}
    needed = wanted & outputs
    kept: set[str] = set()
    for group in reversed(fuse_groups(program)):
        made = {value.name for value in group.program.outputs}
        if made & needed:
            needed |= {value.name for value in group.program.inputs}
            kept |= made & outputs
    return tuple(value.name for value in program.outputs if value.name in kept)


def retrieve_dims(
    q_slc: Tensor, landmarks: Tensor, top_k: int, index_heads: int, weight_heads: int
) -> dict[str, int]:
    """Dims of the first half."""
    batch, rows, score_heads, dim = q_slc.shape
    return {
        "B": batch,
        "R": rows,
        "Hr": score_heads,
        "Dr": dim,
        "C": landmarks.shape[1],
        "Hm": landmarks.shape[2],
        "Hi": index_heads,
        "Hw": weight_heads,
        "K": top_k,
    }


def attention_dims(
    q: Tensor,
    k: Tensor,
    indices: Tensor,
    chunk: int,
    chunk_start: Tensor | None,
    weight_heads: int | None,
) -> dict[str, int]:
    """Dims of the second half; C counts the chunks of the keys, packed: of the chunk table."""
    batch, tokens, query_heads, dim = q.shape
    dims = {
        "B": batch,
        "L": tokens,
        "Hq": query_heads,
        "D": dim,
        "Lkv": k.shape[1],
        "H": k.shape[2],
        "R": indices.shape[1],
        "Hi": indices.shape[2],
        "K": indices.shape[3],
        "C": k.shape[1] // chunk if chunk_start is None else chunk_start.shape[0],
    }
    return dims if weight_heads is None else {**dims, "Hw": weight_heads}


def is_empty(dims: Mapping[str, int]) -> bool:
    """Whether there is nothing to compute: no token, no chunk yet, or no batch."""
    return any(dims.get(name, 1) == 0 for name in ("B", "L", "R", "C"))
