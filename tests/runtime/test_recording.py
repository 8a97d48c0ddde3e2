"""Recording selections: what calls chose, call by call, and what cannot be recorded."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hsa_compiler import Trace, chunk_attention, hsa_attention, record_selections, retrieve
from hsa_compiler.errors import InputError
from tests.runtime.door import S, hsa_inputs

OPTIONS = {"chunk_size": S, "top_k": 2, "backend": "reference"}
attend = functools.partial(hsa_attention, **OPTIONS)  # type: ignore[arg-type]


def test_calls_are_recorded_in_order(tmp_path: Path) -> None:
    inputs = hsa_inputs()
    scores = {"q_slc": inputs["q_slc"], "landmarks": inputs["landmarks"]}
    with record_selections() as recorder:
        _, first = attend(**inputs, return_selection=True)
        with torch.no_grad():
            second = retrieve(**scores, kv_heads=2, **OPTIONS)  # type: ignore[arg-type]
        bare = retrieve(**scores, normalize=None, q_offset=torch.tensor([7]), **OPTIONS)  # type: ignore[arg-type]
        chunk_attention(
            inputs["q"], inputs["k"], inputs["v"], second, chunk_size=S, backend="reference"
        )
    attend(**inputs)
    found = recorder.trace("a model")
    assert recorder.count == 3
    assert (found.model, found.chunk_size, found.top_k, found.layers) == (
        "a model",
        S,
        2,
        [0, 1, 2],
    )
    for kept, wanted in zip(found.selections, (first, second, bare), strict=True):
        assert torch.equal(kept.indices, wanted.indices)
        assert kept.chunks == 3
    assert found.selections[0].weights is not None
    assert torch.equal(found.selections[0].weights, first.weights.half())
    assert not found.selections[0].weights.requires_grad
    assert found.selections[2].weights is None
    assert [kept.q_offset for kept in found.selections] == [0, 0, 7]
    found.save(tmp_path / "a.trace")
    assert Trace.load(tmp_path / "a.trace").hash == found.hash


def test_rows_of_several_tokens_are_recorded_as_such() -> None:
    inputs = hsa_inputs()
    with record_selections() as recorder:
        retrieve(
            inputs["q_slc"][:, ::8].contiguous(),
            inputs["landmarks"],
            query_block=8,
            **OPTIONS,  # type: ignore[arg-type]
        )
    assert recorder.trace().selections[0].query_block == 8


def test_only_the_calls_asked_for_are_kept() -> None:
    inputs = hsa_inputs(batch=1)
    with record_selections(calls=[1]) as recorder:
        for _ in range(3):
            attend(**inputs)
    assert recorder.trace().layers == [1]


def test_what_checkpointing_repeats_is_recorded_once() -> None:
    inputs = hsa_inputs(batch=1)

    def call(q: Tensor) -> Tensor:
        return attend(**{**inputs, "q": q})  # type: ignore[return-value]

    with record_selections() as recorder:
        checkpoint(call, inputs["q"], use_reentrant=False).sum().backward()
    assert recorder.count == 1


def test_a_compiled_call_is_refused_or_runs_uncompiled() -> None:
    inputs = {name: x.detach() for name, x in hsa_inputs(batch=1).items()}

    def call() -> Tensor:
        return attend(**inputs)  # type: ignore[return-value]

    torch.compiler.reset()
    whole = torch.compile(call, fullgraph=True, backend="eager")
    whole()
    with record_selections(), pytest.raises(Exception, match="record_selections cannot see into"):
        whole()
    torch.compiler.reset()
    with record_selections() as recorder:
        torch.compile(call, backend="eager")()
    assert recorder.trace().layers == [0]
    torch.compiler.reset()


def test_what_cannot_be_recorded_says_why() -> None:
    inputs = hsa_inputs(batch=1)
    with pytest.raises(InputError, match="active already"), record_selections():
        with record_selections():
            pass
    with pytest.raises(InputError, match="calls=-1: give 0 or more"), record_selections([-1]):
        pass
    packed = {"cu_seqlens_q": torch.tensor([0, 25, 50]), "landmarks": inputs["landmarks"][:, :2]}
    with pytest.raises(InputError, match="no packed sequences"), record_selections():
        attend(**{**inputs, **packed})
    with record_selections() as recorder:
        attend(**hsa_inputs(batch=1, length=S - 1))
    with pytest.raises(InputError, match="nothing was recorded: 1 calls"):
        recorder.trace()
    with record_selections() as recorder:
        attend(**inputs)
        hsa_attention(**inputs, chunk_size=S, top_k=3, backend="reference")
    with pytest.raises(InputError, match="chunk_size=16 top_k=2; chunk_size=16 top_k=3"):
        recorder.trace()


def test_an_error_in_the_block_ends_the_recording() -> None:
    with pytest.raises(ZeroDivisionError), record_selections():
        raise ZeroDivisionError
    with record_selections() as recorder:
        attend(**hsa_inputs(batch=1))
    assert recorder.count == 1
