"""Generated TVMScript: golden sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from hsa_compiler.compiler import generate_source
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import KERNELS
from tests import problems

ZEN4 = Target("tvm", "znver4", 2)
GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "tvm"


#: Programs that own a window of rows and walk its chunks.
OWNED = {"order": "chunk", "combine": "owned", "window": 512, "pairs": 4, "lanes": "cols"}


def source_of(kind: str, target: Target = ZEN4, **knobs: object) -> str:
    problem, _ = problems.make(kind, head_dim=64, top_k=16, dtype="fp32")
    return generate_source(problem, generic(kind, "tvm").replace(**knobs), target)


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        *((kind, {}) for kind in KERNELS),
        ("attend.owned", OWNED),
        ("attend_grad.owned", OWNED | {"copies": 4}),
    ],
)
def test_generated_source_is_the_golden_one(
    name: str, knobs: dict[str, object], update_golden: bool
) -> None:
    source = source_of(name.partition(".")[0], **knobs)
    path = GOLDEN / f"{name}.py"
    if update_golden:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    assert source == path.read_text(), "run pytest tests/tvm --update-golden and read the diff"
    ast.parse(source)


def test_vectors_are_as_wide_as_the_target_has_them() -> None:
    assert "float32x16" in source_of("attend")
    narrow = source_of("attend", Target("tvm", "haswell", 4))
    assert "float32x16" not in narrow
    assert "float32x8" in narrow
    assert "T.parallel(4)" in narrow
