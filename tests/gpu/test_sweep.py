"""The sweep on a GPU: every Triton kernel compiled and run for real."""

from __future__ import annotations

import pytest

from tests.sweep import examples, sweep_attention, sweep_hsa


def test_hsa_attention(request: pytest.FixtureRequest) -> None:
    sweep_hsa("triton", "cuda", examples(request, 20))


def test_chunk_attention(request: pytest.FixtureRequest) -> None:
    sweep_attention("triton", "cuda", examples(request, 20))
