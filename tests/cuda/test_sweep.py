"""The sweep on CUDA through TVM: generated CUDA source, run by the emulator."""

from __future__ import annotations

import pytest

from tests.cuda.door import emulated
from tests.sweep import examples, sweep_attention, sweep_hsa


def test_hsa_attention(request: pytest.FixtureRequest) -> None:
    with emulated():
        sweep_hsa("tvm", "cpu", examples(request, 2))


def test_chunk_attention(request: pytest.FixtureRequest) -> None:
    with emulated():
        sweep_attention("tvm", "cpu", examples(request, 3))
