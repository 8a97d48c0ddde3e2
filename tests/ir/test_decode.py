"""Decoding as a program: visibility from the cache's length, rows in pages, merged kernels."""

from __future__ import annotations

import pytest
import torch

from hsa_compiler.ir import IRError, fuse_groups, interpret, parse
from hsa_compiler.ir.builder import Builder
from hsa_compiler.ir.programs import (
    AttentionOptions,
    CacheOptions,
    RetrieveOptions,
    decode_program,
)
from tests.naive.visibility import visible_range

S = 16


@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize("local", [False, True])
def test_the_program_reads_back(paged: bool, local: bool) -> None:
    program = decode_program(
        RetrieveOptions(4, 0.1, normalize="lse_mix" if local else "softmax"),
        AttentionOptions(S, 0.1, local=local),
        CacheOptions(128, paged),
    )
    assert parse(program.text()) == program
    assert ("page" in program.text()) == paged
    kinds = [group.kind for group in fuse_groups(program)]
    assert kinds == ["select", "weigh", "attend"]


def test_score_heads_with_their_own_indices_are_one_kernel() -> None:
    own = RetrieveOptions(4, 0.1, own_indices=True)
    program = decode_program(own, AttentionOptions(S, 0.1), CacheOptions())
    first, second = fuse_groups(program)
    assert (first.kind, second.kind) == ("retrieve", "attend")
    # Attention calls index heads Hi, wherever they come from.
    assert "Hi" in second.program.dim_names()
    assert "Hr" not in second.program.dim_names()
    assert [op.kind for op in first.program.ops if op.spec.group] == [
        "select",
        "gather",
        "normalize",
    ]
    assert [value.name for value in first.program.outputs] == ["indices", "weights"]


@pytest.mark.parametrize("window", [0, 1, 16, 50, 2**31 - 1])
@pytest.mark.parametrize("length", [3, 16, 17, 133, 640])
def test_the_interval_is_that_of_the_last_tokens(window: int, length: int) -> None:
    b = Builder("interval")
    lengths = b.input("kv_len", "i32", "B")
    lo, hi = b.op("interval", kv_len=lengths, chunk=S, window=window).results
    given = {"kv_len": torch.tensor([length], dtype=torch.int32)}
    found = interpret(b.finish(lo, hi), given, {"R": 3})
    want = visible_range(3, length // S + 1, S, q_offset=length - 3, window=window or None)
    assert torch.equal(found["lo"].long(), want[0].long())
    assert torch.equal(found["hi"].long(), want[1].long())


def test_pages_are_looked_up_in_the_table() -> None:
    b = Builder("page")
    pool, table = b.input("pool", "fp32", "P Z H D"), b.input("table", "i32", "B N")
    program = b.finish(b.emit("page", pool=pool, table=table))
    values = torch.arange(12.0).view(3, 2, 2, 1)
    rows = interpret(
        program, {"pool": values, "table": torch.tensor([[2, 0]], dtype=torch.int32)}, {"M": 4}
    )["rows"]
    assert rows[0, :, 0, 0].tolist() == [8.0, 10.0, 0.0, 2.0]


def test_only_external_weights_are_decoded() -> None:
    with pytest.raises(IRError, match="external weights"):
        decode_program(
            RetrieveOptions(4, 0.1, normalize=None),
            AttentionOptions(S, 0.1, joint=True),
            CacheOptions(),
        )
