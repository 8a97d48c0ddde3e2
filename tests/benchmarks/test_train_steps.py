"""Training steps beside plain PyTorch: the same model, the same gradients, other kernels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from hsa_compiler import hsa_attention
from hsa_compiler.benchmarks import chunk_major, session, train_steps
from hsa_compiler.benchmarks.contest import CannotRun, relative_error
from hsa_compiler.benchmarks.peers import PEERS
from hsa_compiler.benchmarks.rows import SUITES, TRAIN, Row, parse_rows
from hsa_compiler.errors import InputError
from hsa_compiler.model.config import preset


def small_row() -> Row:
    model = dataclasses.replace(preset("tiny"), width=64, ffn=64, chunk_size=16, top_k=2)
    shape = TRAIN["tiny-8k"].shape.resized(name="small", L=96, Lkv=96, S=16, K=2)
    return Row("small", shape, default_on="cpu", model=model)


def call(heads: int = 4) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)

    def draw(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator).requires_grad_()

    tensors = (draw(2, 96, heads, 16), draw(2, 96, 2, 16), draw(2, 96, 2, 16))
    return (*tensors, draw(2, 96, 2, 32), draw(2, 6, 2, 32)), {"chunk_size": 16, "top_k": 3}


def test_the_peer_computes_what_the_model_calls() -> None:
    tensors, options = call()
    attention, note = chunk_major.for_model(tensors, options)
    assert "pairs a piece" in note
    out = attention(*tensors, **options)
    expected = hsa_attention(*tensors, **options, backend="reference")
    assert relative_error(out, expected) < 1e-5
    upstream = torch.randn(out.shape)
    theirs = torch.autograd.grad(out, tensors, upstream)
    for x, y in zip(theirs, torch.autograd.grad(expected, tensors, upstream), strict=True):
        assert relative_error(x, y) < 1e-5


def test_the_peer_refuses_options_that_it_lacks() -> None:
    tensors, options = call()
    with pytest.raises(CannotRun, match="window=32"):
        chunk_major.for_model(tensors, {**options, "window": 32})


def test_a_row_is_measured_in_processes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "calibrated", lambda hardware, device: hardware)
    monkeypatch.setattr(train_steps, "TURNS", 1)
    request = session.Request(
        SUITES["train"], (small_row(),), "cpu", (PEERS["chunk_major"],), (), 0.01, tmp_path
    )
    result = session.run(request, lambda _: None)
    assert result.ok
    (row,) = result.rows
    for who in ("ours", "chunk_major"):
        step, attention = (row.find(who, part, "eager") for part in train_steps.PARTS)
        assert step is not None
        assert attention is not None
        assert 0 < attention.median_ms < step.median_ms
        assert step.samples >= train_steps.LEAST
    ours = row.find("ours", "step", "eager")
    assert ours is not None
    assert "expected from chunk_major's step" in ours.note


def test_rows_of_models_cannot_be_spelt_out() -> None:
    with pytest.raises(InputError, match="tiny-8k"):
        parse_rows(SUITES["train"], ["L=64,Hq=4,H=2,D=16,S=16,K=2"], "cpu")


def test_a_peer_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(model: object, length: int, who: str, seconds: float) -> train_steps.Turn:
        if who != "ours":
            raise train_steps.StepFailed("ended")
        return train_steps.Turn((2.0, 2.0), (1.0,), None, "")

    monkeypatch.setattr(train_steps, "_apart", apart)
    found, failed = train_steps.measure(small_row(), "cpu", ("chunk_major", "torch"), 0.01)
    assert {(m.who, m.part) for m in found} == {("ours", "step"), ("ours", "attention")}
    assert set(failed) == {"chunk_major", "torch"}


def test_a_gpu_is_refused() -> None:
    with pytest.raises(CannotRun, match="CPU"):
        train_steps.measure(small_row(), "cuda:0", (), 1.0)
