"""The sweep on a GPU: every kernel compiled and run for real, by Triton and by CUDA through TVM."""

from __future__ import annotations

import pytest

from tests.gpu_backends import backends
from tests.sweep import examples, sweep_attention, sweep_hsa


@backends
def test_hsa_attention(backend: str, request: pytest.FixtureRequest) -> None:
    sweep_hsa(backend, "cuda", examples(request, 20))


@backends
def test_chunk_attention(backend: str, request: pytest.FixtureRequest) -> None:
    sweep_attention(backend, "cuda", examples(request, 20))
