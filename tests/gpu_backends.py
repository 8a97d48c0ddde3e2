"""Both back ends of a GPU, for tests that take a `backend`."""

from __future__ import annotations

import pytest

from hsa_compiler.codegen.cuda.build import missing_compilers

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
