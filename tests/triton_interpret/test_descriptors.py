"""Tensor descriptors on Triton's interpreter: blocks that end a batch or a tensor, and tensors that
the copy engine could not read.

TRITON_INTERPRET=1 python -m pytest tests/triton_interpret
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import torch

from hsa_compiler.compiler import compile_kernel
from hsa_compiler.ir.dims import evaluate
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.workload import Task
from tests.triton_interpret.gate import INTERPRETER, run

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1",
    reason="Triton's interpreter needs TRITON_INTERPRET=1 before Triton is imported",
)
#: 37 tokens are no multiple of a tile's, and 83 keys end in the middle of a chunk.
SIZES = {"L": 37, "Lkv": 83, "B": 2, "D": 32, "S": 16, "K": 3, "dtype": "fp32"}
UNION = Schedule(order="union", tokens=8)


@pytest.mark.parametrize(("kv_heads", "normalize"), [(1, "softmax"), (2, "softmax"), (2, "joint")])
@pytest.mark.parametrize(
    ("descriptors", "stages"), [("none", 3), ("keys", 2), ("keys", 3), ("all", 3)]
)
@pytest.mark.parametrize("kind", ["attend", "attend_grad_q"])
def test_blocks_and_early_chunks_change_no_result(
    kind: str, descriptors: str, stages: int, kv_heads: int, normalize: str
) -> None:
    shape = Shape("odd", Hq=8, H=kv_heads, normalize=normalize, **SIZES)
    run(Task(kind, shape, "cpu"), UNION.replace(descriptors=descriptors, stages=stages))


def test_sub_tiles_of_a_chunk_are_blocks() -> None:
    shape = Shape("sub", Hq=8, H=1, **{**SIZES, "S": 32})
    run(Task("attend", shape, "cpu"), UNION.replace(descriptors="keys", chunk_tile=16, stages=3))


def test_a_tensor_at_an_odd_address_is_copied_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shape = Shape("odd", Hq=8, H=1, **SIZES)
    task = Task("attend", shape, "cpu")
    with caplog.at_level(logging.WARNING, "hsa_compiler.codegen"):
        run(task, UNION.replace(descriptors="all"), shift=1)
        run(task, UNION.replace(descriptors="all"), shift=1)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(set(said))
    assert all("no multiple of 16 bytes" in line for line in said)


def test_without_keys_nothing_is_described() -> None:
    shape = Shape("odd", Hq=8, H=1, **SIZES)
    kernel = compile_kernel(
        Task("attend", shape, "cpu").problem, UNION.replace(descriptors="all"), INTERPRETER
    )
    values = {
        value.name: torch.full(size, -1 if value.type.dtype == "i32" else 1.0, dtype=dtype)
        for value, size, dtype in empty_call(kernel.problem.group.program.inputs)
    }
    out = torch.full((1, 5, 8, 32), float("nan"))
    (name,) = (value.name for value in kernel.problem.group.program.outputs)
    dims = {**shape.dims, "B": 1, "L": 5, "R": 5, "Lkv": 0, "C": 0}
    kernel.launch({**values, name: out}, dims)
    assert not out.any()


def empty_call(inputs: tuple[object, ...]) -> Iterator[tuple[object, tuple[int, ...], torch.dtype]]:
    """Inputs of a call with 5 rows and without keys."""
    sizes = {"B": 1, "L": 5, "R": 5, "Lkv": 0, "C": 0, "Hq": 8, "H": 1, "Hi": 1, "Hw": 1}
    sizes |= {"D": 32, "K": 3}
    dtypes = {"i32": torch.int32, "fp32": torch.float32}
    for value in inputs:
        shape = tuple(evaluate(dim, sizes) for dim in value.type.shape)  # type: ignore[attr-defined]
        yield value, shape, dtypes[value.type.dtype]  # type: ignore[attr-defined]
