"""Exports that the tests share, inputs for them, and what the operator computes in float64."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hsa_compiler.cli.main import main
from hsa_compiler.configs import ConfigStore, default_store, set_default_store
from tests.naive import naive_hsa

#: Two query heads per KV head, chunks of 16; the tests call it at other sizes than these.
SHAPE = "L=128,Hq=4,H=2,D=32,S=16,K=4"
CHUNK, TOP_K = 16, 4
INPUTS = ("q", "k", "v", "q_slc", "landmarks")


def run_export(out: Path, *arguments: str, shape: str = SHAPE) -> Path:
    """Export with nothing tuned, as in every test."""
    before = default_store()
    set_default_store(ConfigStore([]))
    try:
        assert main(["export", "--out", str(out), "--shapes", shape, *arguments]) == 0
    finally:
        set_default_store(before)
    return out


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest, unchecked."""
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def draw(batch: int, tokens: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Inputs of the operator at `SHAPE`'s heads and dims."""
    generator = torch.Generator().manual_seed(batch * 1000 + tokens)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator).to(dtype)

    return {
        "q": normal(batch, tokens, 4, 32),
        "k": normal(batch, tokens, 2, 32),
        "v": normal(batch, tokens, 2, 32),
        "q_slc": normal(batch, tokens, 2, 32),
        "landmarks": normal(batch, tokens // CHUNK, 2, 32),
        "d_out": normal(batch, tokens, 4, 32),
    }


def expected(inputs: dict[str, Tensor], names: Sequence[str] = INPUTS) -> dict[str, Tensor]:
    """The output and the gradients of `names`, in float64 without the compiler."""
    wide = {name: x.double().requires_grad_() for name, x in inputs.items() if name != "d_out"}
    out, _ = naive_hsa(*(wide[name] for name in INPUTS), chunk_size=CHUNK, top_k=TOP_K)
    leaves = [wide[name] for name in names]
    grads = torch.autograd.grad(out, leaves, inputs["d_out"].double())
    return {
        "out": out.detach(),
        **{f"d_{name}": grad for name, grad in zip(names, grads, strict=True)},
    }
