"""All gradients of attention in one kernel, on Triton's interpreter.

TRITON_INTERPRET=1 python -m pytest tests/triton_interpret
"""

from __future__ import annotations

import os

import pytest
import torch

from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.workload import Task, gate_cases
from tests.triton_interpret.gate import CPU, launch, run

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1",
    reason="Triton's interpreter needs TRITON_INTERPRET=1 before Triton is imported",
)
#: 37 tokens are no multiple of a step's, and 83 keys end in the middle of a chunk.
SIZES = {"L": 37, "Lkv": 83, "B": 2, "D": 32, "S": 16, "K": 3, "dtype": "fp32"}
OWNED = Schedule(order="chunk", pairs=8, combine="buffer")
SHARED = OWNED.replace(window=2048, combine="atomic")
#: Index heads, and weight heads, shared by KV heads, one each, and more than these.
HEADS = {
    "one query head a KV head": {"Hq": 3, "H": 3},
    "grouped": {"Hq": 8, "H": 2},
    "three of a group": {"Hq": 6, "H": 2},
    "one index head": {"Hq": 4, "H": 2, "Hr": 1},
    "weights by query head": {"Hq": 8, "H": 2, "Hr": 2, "Hw": 8},
    "index heads that share keys": {"Hq": 8, "H": 2, "Hr": 8, "Hi": 8},
}


@pytest.mark.parametrize(
    ("heads", "normalize"),
    [
        *((heads, "softmax") for heads in HEADS),
        ("three of a group", "lse_mix"),
        ("weights by query head", "lse_mix"),
        ("one query head a KV head", "joint"),
        ("index heads that share keys", "joint"),
    ],
)
def test_every_head_ratio_weight_and_local_branch(heads: str, normalize: str) -> None:
    task = Task("attend_grad", Shape("odd", normalize=normalize, **HEADS[heads], **SIZES), "cpu")
    for schedule in (OWNED, SHARED):
        run(task, schedule)


@pytest.mark.parametrize(("window", "combine"), [(0, "buffer"), (2048, "atomic")])
def test_sub_tiles_of_a_chunk_have_parts_of_their_own(window: int, combine: str) -> None:
    shape = Shape("sub", Hq=4, H=2, **{**SIZES, "S": 32, "dtype": "bf16"})
    schedule = OWNED.replace(chunk_tile=16, window=window, combine=combine)
    run(Task("attend_grad", shape, "cpu"), schedule)


def test_without_atomic_adds_it_repeats_to_the_bit_what_two_kernels_give() -> None:
    shape = Shape("odd", Hq=8, H=2, **SIZES)
    task, queries, keys = (
        Task(kind, shape, "cpu") for kind in ("attend_grad", "attend_grad_q", "attend_grad_kv")
    )
    case = gate_cases(task, CPU)[0]
    first, again = (launch(task, OWNED, case.values, case.dims) for _ in range(2))
    split = launch(queries, OWNED, case.values, case.dims)
    split |= launch(keys, OWNED.replace(combine="none"), case.values, case.dims)
    assert set(first) == set(split) == {"d_q", "d_k", "d_v", "d_weights"}
    for name, x in first.items():
        assert torch.equal(x, again[name]), name
        assert torch.equal(x, split[name]), name
