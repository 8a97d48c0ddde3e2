"""The sweep on a GPU: every Triton kernel compiled and run for real, and CUDA through TVM."""

from __future__ import annotations

import pytest

from hsa_compiler.codegen.cuda.build import missing_compilers
from tests.sweep import examples, sweep_attention, sweep_hsa

backends = pytest.mark.parametrize(
    "backend",
    [
        "triton",
        pytest.param(
            "tvm",
            marks=pytest.mark.skipif(
                bool(missing_compilers()), reason="CUDA through TVM needs nvcc and TVM's compiler"
            ),
        ),
    ],
)


@backends
def test_hsa_attention(backend: str, request: pytest.FixtureRequest) -> None:
    sweep_hsa(backend, "cuda", examples(request, 20))


@backends
def test_chunk_attention(backend: str, request: pytest.FixtureRequest) -> None:
    sweep_attention(backend, "cuda", examples(request, 20))
