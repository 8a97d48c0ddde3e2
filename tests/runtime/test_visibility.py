"""Intervals and chunk tables against the definition, one token and one chunk at a time."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsa_compiler.runtime import visibility
from tests import naive

CPU = torch.device("cpu")


def intervals_equal(
    found: tuple[torch.Tensor, torch.Tensor], expected: tuple[torch.Tensor, torch.Tensor]
) -> bool:
    """Whether two interval tables show the same chunks; empty intervals may stand anywhere."""
    (lo, hi), (other_lo, other_hi) = found, expected
    empty = lo >= hi
    same = (lo == other_lo) & (hi == other_hi)
    return bool(torch.where(empty, other_lo >= other_hi, same).all())


@given(
    rows=st.integers(0, 40),
    chunks=st.integers(0, 6),
    chunk=st.sampled_from((2, 4, 16)),
    window=st.none() | st.integers(1, 40),
    q_offset=st.integers(0, 50),
    query_block=st.sampled_from((1, 2, 5)),
    batch=st.integers(1, 2),
)
def test_intervals_follow_the_definition(
    rows: int,
    chunks: int,
    chunk: int,
    window: int | None,
    q_offset: int,
    query_block: int,
    batch: int,
) -> None:
    lo, hi = visibility.intervals(
        batch=batch,
        rows=rows,
        chunks=chunks,
        chunk_size=chunk,
        device=CPU,
        window=window,
        q_offset=q_offset,
        query_block=query_block,
    )
    assert lo.dtype == hi.dtype == torch.int32
    assert lo.shape == hi.shape == (batch, rows)
    assert lo.is_contiguous()
    assert hi.is_contiguous()
    expected = naive.visible_range(
        rows * query_block,
        chunks,
        chunk,
        q_offset=q_offset,
        window=window,
        query_block=query_block,
        batch=batch,
    )
    assert intervals_equal((lo, hi), expected)


@given(
    lengths=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=4),
    chunk=st.sampled_from((2, 4)),
    window=st.none() | st.integers(1, 12),
    q_offset=st.integers(0, 9),
)
def test_packed_sequences_restart_chunks(
    lengths: list[tuple[int, int]], chunk: int, window: int | None, q_offset: int
) -> None:
    cu_q, cu_kv = [0], [0]
    for q_length, kv_length in lengths:
        cu_q.append(cu_q[-1] + q_length)
        cu_kv.append(cu_kv[-1] + kv_length)
    chunks = sum(kv_length // chunk for _, kv_length in lengths)
    found = visibility.intervals(
        batch=1,
        rows=cu_q[-1],
        chunks=chunks,
        chunk_size=chunk,
        device=CPU,
        window=window,
        q_offset=q_offset,
        cu_seqlens_q=torch.tensor(cu_q),
        cu_seqlens_kv=torch.tensor(cu_kv),
    )
    expected = naive.visible_range(
        cu_q[-1],
        chunks,
        chunk,
        q_offset=q_offset,
        window=window,
        cu_seqlens_q=cu_q,
        cu_seqlens_kv=cu_kv,
    )
    assert intervals_equal(found, expected)
    starts = visibility.chunk_starts(
        torch.tensor(cu_kv), chunks=chunks, chunk_size=chunk, kv_tokens=cu_kv[-1]
    )
    assert starts.dtype == torch.int32
    assert torch.equal(starts, naive.chunk_starts(cu_kv, chunk))


def test_padding_after_the_last_sequence_sees_nothing() -> None:
    lo, hi = visibility.intervals(
        batch=1,
        rows=12,
        chunks=2,
        chunk_size=4,
        device=CPU,
        cu_seqlens_q=torch.tensor([0, 9]),
        cu_seqlens_kv=torch.tensor([0, 9]),
    )
    assert hi[0, :9].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert bool((lo[0, 9:] == hi[0, 9:]).all())


@pytest.mark.parametrize("offsets", [[4, 8], [[4, 8]], [[4], [8]]])
def test_each_packed_sequence_may_have_its_own_offset(offsets: list[Any]) -> None:
    _, hi = visibility.intervals(
        batch=1,
        rows=4,
        chunks=5,
        chunk_size=4,
        device=CPU,
        q_offset=torch.tensor(offsets),
        cu_seqlens_q=torch.tensor([0, 2, 4]),
        cu_seqlens_kv=torch.tensor([0, 8, 20]),
    )
    assert hi.tolist() == [[1, 1, 4, 4]]


def test_offsets_may_be_tensors_on_the_device() -> None:
    shapes = {"batch": 1, "rows": 5, "chunks": 4, "chunk_size": 4, "device": CPU}
    plain = visibility.intervals(**shapes, q_offset=7)
    tensor = visibility.intervals(**shapes, q_offset=torch.tensor(7))
    assert torch.equal(plain[1], tensor[1])


def test_extra_entries_of_the_chunk_table_stay_in_range() -> None:
    starts = visibility.chunk_starts(torch.tensor([0, 7, 10]), chunks=4, chunk_size=4, kv_tokens=10)
    assert starts[0] == 0
    assert bool((starts >= 0).all())
    assert bool((starts + 4 <= 10).all())


def test_positions_near_the_end_of_32_bits_do_not_wrap() -> None:
    for offset in (2**31 - 63, 2**32, torch.tensor([2**31 - 1], dtype=torch.int32)):
        _, hi = visibility.intervals(
            batch=1, rows=64, chunks=4, chunk_size=16, device=CPU, q_offset=offset
        )
        assert hi.eq(4).all()


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
def test_compiled_intervals_of_a_length_that_chunks_do_not_divide() -> None:
    def call() -> tuple[torch.Tensor, torch.Tensor]:
        return visibility.intervals(batch=1, rows=70, chunks=4, chunk_size=16, device=CPU)

    compiled = torch.compile(call, fullgraph=True)
    compiled()
    # Freed memory of the results' size: an element that is not written holds 99.
    del [torch.full((1, 70), 99, dtype=torch.int32) for _ in range(8)][:]
    assert all(torch.equal(a, b) for a, b in zip(compiled(), call(), strict=True))
