"""A model small enough for tests, and the door to the kernels replaced by a plain one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from hsa_compiler.model import hsa_ultralong
from hsa_compiler.model.config import HSAConfig
from tests.naive.hsa import naive_hsa

SMALL = HSAConfig(
    vocab_size=264,
    width=32,
    lower_layers=1,
    groups=2,
    group_layers=1,
    heads=4,
    head_dim=16,
    window_kv_heads=2,
    hsa_kv_heads=2,
    ffn=48,
    window=12,
    chunk_size=16,
    top_k=2,
    retrieval_heads=2,
    retrieval_dim=16,
    init_std=0.2,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors are tiny here: threads that wait for each other only cost time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small() -> HSAConfig:
    """46 thousand parameters, on the interpreter (the only back end that takes float64)."""
    return dataclasses.replace(SMALL, attention_backend="reference")


def plain_hsa(*tensors: Tensor, backend: str, deterministic: bool, **options: Any) -> Tensor:
    """The door, but computed over dense masks."""
    return naive_hsa(*tensors, **options)[0]


@pytest.fixture
def naive_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """The HSA layers call a dense PyTorch implementation instead of the compiled kernels."""
    monkeypatch.setattr(hsa_ultralong, "hsa_attention", plain_hsa)
