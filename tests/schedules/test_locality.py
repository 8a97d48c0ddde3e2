"""Selections to tune on: well formed, seeded, and as local as they say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsa_compiler.schedules import locality


@settings(max_examples=40)
@given(
    kind=st.sampled_from(locality.KINDS),
    rows=st.integers(1, 70),
    chunks=st.integers(1, 12),
    top_k=st.integers(1, 9),
    heads=st.integers(1, 3),
    q_offset=st.integers(0, 40),
)
def test_selections_are_well_formed(
    kind: str, rows: int, chunks: int, top_k: int, heads: int, q_offset: int
) -> None:
    lo, hi = locality.causal_bounds(2, rows, chunks, 4, q_offset=q_offset)
    found = locality.make_selection(kind, lo, hi, heads=heads, chunks=chunks, top_k=top_k, seed=3)
    assert found.shape == (2, rows, heads, top_k)
    assert found.dtype == torch.int32
    visible = (hi - lo)[..., None].expand(-1, -1, heads)
    assert torch.equal((found >= 0).sum(-1), visible.clamp(max=top_k))
    full = found >= 0
    assert bool((found < hi[..., None, None]).all())
    newer = found[..., :-1] > found[..., 1:]
    assert bool((newer | ~full[..., 1:]).all()), "newest first, no chunk twice"
    assert bool((full[..., :-1] | ~full[..., 1:]).all()), "empty slots come last"


def test_causal_bounds_show_only_complete_past_chunks() -> None:
    lo, hi = locality.causal_bounds(1, 6, 10, 4, q_offset=3)
    assert hi.tolist() == [[0, 1, 1, 1, 1, 2]]
    assert lo.tolist() == [[0] * 6]
    _, blocks = locality.causal_bounds(1, 3, 10, 4, query_block=4)
    assert blocks.tolist() == [[0, 1, 2]]


def test_the_seed_decides() -> None:
    lo, hi = locality.causal_bounds(1, 256, 32, 8)

    def draw(seed: int) -> torch.Tensor:
        return locality.make_selection("local", lo, hi, heads=1, chunks=32, top_k=4, seed=seed)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_blocks_of_rows_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    lo, hi = locality.causal_bounds(1, 100, 12, 8)
    monkeypatch.setattr(locality, "MAX_SCORES", 1)
    found = locality.make_selection("local", lo, hi, heads=1, chunks=12, top_k=4)
    assert found.shape == (1, 100, 1, 4)
    assert torch.equal((found >= 0).sum(-1)[..., 0], hi.clamp(max=4))


def test_local_unions_are_as_small_as_recorded() -> None:
    unions = {}
    for kind in locality.KINDS:
        lo, hi = locality.causal_bounds(1, 8192, 128, 64)
        found = locality.make_selection(kind, lo, hi, heads=1, chunks=128, top_k=32)
        unions[kind] = locality.measured_union(found)
    assert unions["local"] == pytest.approx(1.0, abs=0.1)
    assert unions["random"] > 1.8


def test_measured_union_counts_distinct_chunks() -> None:
    one = torch.tensor([[[[3, 1]], [[3, 0]]]], dtype=torch.int32)
    assert locality.measured_union(one, group=2) == 1.5
    empty = torch.full((1, 4, 1, 2), -1, dtype=torch.int32)
    assert locality.measured_union(empty) == 0.0
    assert locality.measured_union(one[:, :0]) == 0.0


def test_unknown_kinds_are_named() -> None:
    lo, hi = locality.causal_bounds(1, 4, 2, 2)
    with pytest.raises(ValueError, match="'trace' is not one of random, local"):
        locality.make_selection("trace", lo, hi, heads=1, chunks=2, top_k=1)
