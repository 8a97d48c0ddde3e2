"""`hsa_decode` on the CPU: every option against naive float64, its op, and every refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from hsa_compiler import hsa_attention, hsa_decode
from hsa_compiler.errors import InputError
from hsa_compiler.runtime.decode_op import decode as decode_op
from tests.decode_cases import STEPS, Step, check_decode, in_pages, inputs, schedules

S = 16
OPTIONS: dict[str, Any] = {"chunk_size": S, "top_k": 4}


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Fresh memory is full of NaN and of the largest integers, which would beat every score."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"step{step.seed}")
@pytest.mark.parametrize("backend", ["tvm", "reference"])
@pytest.mark.usefixtures("poisoned")
def test_a_step_equals_the_naive_operator(step: Step, backend: str) -> None:
    check_decode(step, backend, "cpu")


def test_an_empty_cache_gives_zeros_or_the_local_branch() -> None:
    tensors, extras = inputs(Step(chunks=0, lengths=(0, 0), normalize="lse_mix"), "cpu")
    kv_len = torch.zeros(2, dtype=torch.int32)
    assert hsa_decode(**tensors, kv_len=kv_len, **OPTIONS).count_nonzero() == 0
    out = hsa_decode(**tensors, **extras, kv_len=kv_len, normalize="lse_mix", **OPTIONS)
    assert torch.equal(out, extras["local_out"])


def test_a_length_past_the_cache_shows_what_there_is() -> None:
    tensors, _ = inputs(Step(lengths=(640, 640)), "cpu")
    outs = [
        hsa_decode(**tensors, kv_len=torch.tensor([n, n], dtype=torch.int32), **OPTIONS)
        for n in (641, 2**31 - 1)
    ]
    assert torch.equal(*outs)


@pytest.mark.parametrize("pages", [0, 2])
def test_the_op_passes_opcheck(pages: int) -> None:
    step = Step(lengths=(100, 40), chunks=8, pages=pages)
    tensors, _ = inputs(step, "cpu")
    given = in_pages(step, tensors) if pages else {**tensors, "block_table": None}
    kv_len = torch.tensor(step.lengths, dtype=torch.int32)
    args = (
        *(given[name] for name in ("q", "k", "v", "q_slc", "landmarks")),
        *(kv_len, given["block_table"], None, None, None, None),
        *(S, 4, 2, 2, "softmax", 0, 0.25, 0.25, "reference"),
    )
    torch.library.opcheck(decode_op, args)


def test_it_is_traced_whole() -> None:
    tensors, _ = inputs(Step(lengths=(100, 40), chunks=8), "cpu")
    kv_len = torch.tensor([100, 40], dtype=torch.int32)

    def call(kv_len: Tensor) -> Tensor:
        return hsa_decode(**tensors, kv_len=kv_len, backend="reference", **OPTIONS)

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(kv_len), call(kv_len))


def _contiguous() -> dict[str, Any]:
    tensors, _ = inputs(Step(lengths=(100, 40), chunks=8), "cpu")
    return {**tensors, "kv_len": torch.tensor([100, 40], dtype=torch.int32), **OPTIONS}


def _paged() -> dict[str, Any]:
    step = Step(lengths=(100, 40), chunks=8, pages=2)
    return {**_contiguous(), **in_pages(step, inputs(step, "cpu")[0])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kv_len": torch.tensor([100, 40])}, "kv_len is int64: give an int32 tensor"),
        ({"kv_len": torch.tensor([100.0, 40.0])}, "kv_len is float32: give an int32"),
        ({"kv_len": torch.tensor([100], dtype=torch.int32)}, r"kv_len has shape \[1\]"),
        ({"kv_len": 100}, "kv_len is a int: give a torch.Tensor"),
        (
            {"kv_len": torch.tensor([100, 40], dtype=torch.int32, device="meta")},
            "kv_len is on meta, but q is on cpu",
        ),
        ({"q": torch.zeros(2, 65, 4, 32)}, "65 tokens: hsa_decode takes 1 to 64; use hsa_att"),
        ({"q": torch.zeros(2, 0, 4, 32)}, "0 tokens: hsa_decode takes 1 to 64"),
        ({"q": torch.zeros(2, 1, 4, 24)}, "its axis D is 32, not 24"),
        ({"q": torch.zeros(2, 1, 3, 32)}, "q has 3 heads and k, v have 2"),
        ({"k": torch.zeros(2, 112, 2, 32)}, r"v has shape \[2, 128, 2, 32\]"),
        ({"landmarks": torch.zeros(2, 7, 1, 48)}, "its axis C is 7, not 8"),
        ({"q_slc": torch.zeros(2, 1, 3, 48)}, "Hr=3 heads: give 1"),
        ({"q_slc": torch.zeros(2, 2, 2, 48)}, "its axis R is 2, not 1"),
        ({"v": torch.zeros(2, 128, 2, 32).half()}, "have different dtypes"),
        ({"k": torch.zeros(2, 2, 128, 32).transpose(1, 2)}, "k is not contiguous"),
        ({"q": torch.zeros(2, 1, 4, 32, requires_grad=True)}, "q requires a gradient"),
        ({"top_k": 0}, "top_k=0: give 1 or more"),
        ({"chunk_size": 24}, "chunk_size=24: give one of 16"),
        ({"window": 0}, "window=0: give 1 or more"),
        ({"normalize": "sparsemax"}, "normalize='sparsemax'"),
        ({"normalize": "lse_mix"}, "'lse_mix' merges the local branch"),
        ({"local_out": torch.zeros(2, 1, 4, 32)}, "with local_out given"),
        ({"backend": "cuda"}, "backend='cuda'"),
        ({"chunk_bias": torch.zeros(2, 7, 1)}, r"chunk_bias has shape \[2, 7, 1\]"),
        ({"rank_scale": torch.zeros(2)}, "rank_scale: give a tensor with one element"),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        hsa_decode(**{**_contiguous(), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_table": torch.zeros(2, 4, dtype=torch.int64)}, "block_table is int64"),
        ({"block_table": torch.zeros(1, 4, dtype=torch.int32)}, r"block_table has shape \[1, 4\]"),
        (
            {"block_table": torch.zeros(2, 4, dtype=torch.int32, device="meta")},
            "block_table is on meta",
        ),
        (
            {"k": torch.zeros(11, 40, 2, 32), "v": torch.zeros(11, 40, 2, 32)},
            "blocks of 40 tokens: give a multiple of chunk_size=16",
        ),
        ({"landmarks": torch.zeros(11, 3, 1, 48)}, "its axis chunks is 3, not 2"),
        ({"chunk_bias": torch.zeros(2, 8, 1)}, "chunk_bias with block_table"),
    ],
)
def test_refusals_of_pages(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        hsa_decode(**{**_paged(), **change})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("poisoned")
def test_packed_sequences_may_share_out_their_chunks_too(seed: int) -> None:
    # Early tokens of the later sequences see an empty interval in the middle of a block.
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "q": (1, 300, 4, 32),
        "k": (1, 300, 2, 32),
        "v": (1, 300, 2, 32),
        "q_slc": (1, 300, 2, 32),
        "landmarks": (1, 5 + 2 + 10, 2, 32),
    }
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    starts = torch.tensor([0, 90, 130, 300], dtype=torch.int32)
    outs = []
    for parts in (False, True):
        with schedules(parts, seed, single=parts):
            outs.append(hsa_attention(**tensors, cu_seqlens_q=starts, chunk_size=S, top_k=3))
    torch.testing.assert_close(*outs, rtol=1e-4, atol=1e-5)
