"""FlexAttention over the keys that tokens selected.

A block of query tokens visits the union of its tokens' chunks, and a mask hides from each token
what it did not choose: the same pairs of tokens and keys as HSA, exactly. What is computed of them
differs: one softmax over all of a token's keys, and no weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch._functorch.config
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from hsa_compiler.benchmarks.case import Case
from hsa_compiler.benchmarks.contest import CannotRun

#: Tiles of FlexAttention's kernels that divide mask blocks of 64 tokens by 64 keys.
SMALL_TILES = {
    "BLOCK_M": 64,
    "BLOCK_N": 64,
    "BLOCK_M1": 32,
    "BLOCK_N1": 64,
    "BLOCK_M2": 64,
    "BLOCK_N2": 32,
}
#: Mask blocks to try, smallest first, with the kernel options that they need.
BLOCKS: tuple[tuple[int, dict[str, int] | None], ...] = ((64, SMALL_TILES), (128, None))


def block_mask(case: Case, block: int) -> BlockMask:
    """The row's selection as a mask of blocks of `block` tokens by ``max(block, S)`` keys.

    No ``L x Lkv`` tensor is made: blocks follow from the table of tokens and chunks.
    """
    shape, indices = case.shape, case["indices"]
    keys = max(block, shape.S)
    per_block = keys // shape.S
    rows, cols = -(-shape.L // block), -(-shape.Lkv // keys)
    size = (shape.B, shape.Hi, rows * block, cols * per_block)
    # One column more, which takes the empty slots.
    table = torch.zeros((*size[:3], size[3] + 1), dtype=torch.bool, device=case.device)
    at = indices.transpose(1, 2).long()
    table[:, :, : shape.L].scatter_(3, torch.where(at < 0, size[3], at), True)
    table = table[..., :-1].contiguous()
    blocks = table.reshape(shape.B, shape.Hi, rows, block, cols, per_block)
    some, whole = blocks.any(dim=5).any(dim=3), blocks.all(dim=5).all(dim=3)
    if 1 < shape.Hi < shape.Hq:
        some, whole = (x.repeat_interleave(shape.Hq // shape.Hi, dim=1) for x in (some, whole))
    share, chunk = shape.Hq // shape.Hi, shape.S

    def mask_mod(b: Tensor, h: Tensor, i_q: Tensor, i_kv: Tensor) -> Tensor:
        return table[b, h // share, i_q, i_kv // chunk]

    return BlockMask.from_kv_blocks(
        *_ordered(some & ~whole),
        *_ordered(whole),
        BLOCK_SIZE=(block, keys),
        mask_mod=mask_mod,
        seq_lengths=(shape.L, shape.Lkv),
    )


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks each row of [.., rows, cols] has, and their columns in front."""
    count = blocks.sum(dim=-1, dtype=torch.int32)
    columns = blocks.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return count, columns.to(torch.int32).contiguous()


@dataclass(frozen=True)
class Compiled:
    """A compiled call, the leaves it reads (q [B,Hq,L,D], k, v [B,H,Lkv,D]), and its blocks."""

    attend: Callable[[], Tensor]
    inputs: tuple[Tensor, ...]
    note: str


def compiled(case: Case, q: Tensor, k: Tensor, v: Tensor) -> Compiled:
    """Compile for the first block size whose forward and backward passes run.

    Raises CannotRun, or what the last attempt raised.
    """
    if BLOCKS[-1][0] > case.shape.L:
        raise CannotRun(f"fewer than {BLOCKS[-1][0]} query tokens")
    failed: Exception | None = None
    for block, options in BLOCKS:
        try:
            attend = _compile(case, block, options, (q, k, v))
            out = attend()
            if case.backward:
                torch.autograd.grad(out, (q, k, v), torch.ones_like(out))
            torch.cuda.synchronize(case.device)
        except Exception as error:  # the compiler has no kernel of this size: try the next
            failed = error
            continue
        note = f"mask blocks of {block} tokens by {max(block, case.shape.S)} keys"
        return Compiled(attend, (q, k, v), note)
    assert failed is not None
    raise failed


def _compile(
    case: Case, block: int, options: dict[str, int] | None, inputs: tuple[Tensor, ...]
) -> Callable[[], Tensor]:
    # Every row has its own shapes, and the compiler stops after a few of one function.
    torch._dynamo.reset()
    mask = block_mask(case, block)
    call: Any = torch.compile(flex_attention, dynamic=False, fullgraph=True)
    grouped = case.shape.Hq > case.shape.H
    # Buffers that the backward pass reuses as its own would let it run only once. It is compiled
    # at its first call, so the setting has to last until then.
    torch._functorch.config.donated_buffer = False

    def attend() -> Tensor:
        out: Tensor = call(*inputs, block_mask=mask, enable_gqa=grouped, kernel_options=options)
        return out

    return attend
