"""Measuring selections on a GPU: nobody waits, and nothing happens while a graph is captured."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from hsa_compiler import chunk_attention, hsa_attention, record_selections, selection_feedback
from hsa_compiler.errors import InputError
from hsa_compiler.runtime import record
from hsa_compiler.runtime.feedback import EVERY
from hsa_compiler.runtime.selection import Selection
from hsa_compiler.schedules.locality import causal_bounds, make_selection, measured_union

L, S, K, H, D = 4096, 64, 8, 2, 64


@pytest.fixture(autouse=True)
def on() -> Iterator[None]:
    """Feedback is on, and nothing has been measured."""
    selection_feedback(False)
    selection_feedback(True)
    yield
    selection_feedback(False)


def inputs(kind: str = "local") -> tuple[Tensor, Tensor, Tensor, Selection]:
    """A call's queries, keys, values and selection."""
    generator = torch.Generator(device="cuda").manual_seed(0)

    def drawn(heads: int) -> Tensor:
        return torch.randn(1, L, heads, D, generator=generator, device="cuda").bfloat16()

    lo, hi = causal_bounds(1, L, L // S, S, device="cuda")
    indices = make_selection(kind, lo, hi, heads=H, chunks=L // S, top_k=K)
    weights = torch.rand(indices.shape, generator=generator, device="cuda")
    return drawn(4 * H), drawn(H), drawn(H), Selection(indices, weights)


def unions() -> list[float | None]:
    """What the forward kernel ran for so far."""
    return [row.union for row in record.used() if row.kernel == "attend"]


def test_a_later_call_reads_the_measurement_and_none_waits() -> None:
    given = inputs()
    chunk_attention(*given, chunk_size=S)  # compiles; allocates the pinned buffer
    torch.cuda.synchronize()
    record.forget()
    chunk_attention(*given, chunk_size=S)  # compiles for the union that has arrived
    (union,) = unions()
    assert union == pytest.approx(measured_union(given[3].indices), rel=0.15)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(EVERY + 1):
            chunk_attention(*given, chunk_size=S)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert unions() == [union]


def test_a_measurement_on_another_stream_arrives() -> None:
    given = inputs()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        chunk_attention(*given, chunk_size=S)
        stream.synchronize()
        record.forget()
        chunk_attention(*given, chunk_size=S)
    torch.cuda.current_stream().wait_stream(stream)
    assert unions() == [pytest.approx(measured_union(given[3].indices), rel=0.15)]


def test_a_captured_call_measures_nothing_and_replays() -> None:
    q, k, v, selection = inputs()
    for _ in range(3):
        expected = chunk_attention(q, k, v, selection, chunk_size=S)
        torch.cuda.synchronize()
    before = unions()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = chunk_attention(q, k, v, selection, chunk_size=S)
    assert unions() == before
    out.zero_()
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(out, expected)


def test_recording_copies_and_refuses_a_captured_call() -> None:
    q, k, v, _ = inputs()
    landmarks = k[:, ::S].contiguous()
    options = {"chunk_size": S, "top_k": K}
    with record_selections() as recorder:
        _, chosen = hsa_attention(q, k, v, q[:, :, :H], landmarks, return_selection=True, **options)  # type: ignore[arg-type]
    (kept,) = recorder.trace().selections
    assert torch.equal(kept.indices, chosen.indices.cpu())
    graph = torch.cuda.CUDAGraph()
    with record_selections(), pytest.raises(InputError, match="while a CUDA graph is captured"):
        with torch.cuda.graph(graph):
            hsa_attention(q, k, v, q[:, :, :H], landmarks, **options)  # type: ignore[arg-type]
