"""Exactness of selection and of the fused weights, on Triton's interpreter.

TRITON_INTERPRET=1 python -m pytest tests/triton_interpret/test_retrieval.py
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

from hsa_compiler.ir.reference import gumbel_noise
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
from tests.retrieval import KINDS, Case, check, expected_indices, inputs, run

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1",
    reason="Triton's interpreter needs TRITON_INTERPRET=1 before Triton is imported",
)
INTERPRET = Target("triton", "interpret")
MERGE = Schedule(tokens=16, chunk_block=16, dim_block=32, stages=1)
THRESHOLD = MERGE.replace(top_k="threshold")
SELECT = (("normalize", None),)
OWN = (("own_indices", True),)


@pytest.mark.parametrize("top_k", [1, 3, 16, 33, 64, 100, 128])
@pytest.mark.parametrize("chunks", [2, 45, 290])
def test_thresholds_choose_what_sorting_chooses(top_k: int, chunks: int) -> None:
    check(Case(top_k, chunks, options=SELECT), THRESHOLD, INTERPRET)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_the_scores_are(kind: str) -> None:
    check(Case(5, 200, kind, batch=2, options=SELECT), THRESHOLD, INTERPRET)
    check(Case(5, 40, kind, options=SELECT), MERGE, INTERPRET)


@pytest.mark.parametrize("top_k", [4, 40])
def test_forced_chunks_need_no_score(top_k: int) -> None:
    forced = (*SELECT, ("bias", True), ("force_first", 1), ("force_last", 3))
    check(Case(top_k, 150, "ties", options=forced), THRESHOLD, INTERPRET)
    check(Case(top_k, 150, "equal", options=forced), THRESHOLD, INTERPRET)


@pytest.mark.parametrize("reduce", ["max", "sum", "single"])
def test_groups_of_score_heads(reduce: str) -> None:
    case = Case(6, 150, "ties", 4, 2, options=(*SELECT, ("reduce", reduce)))
    check(case, THRESHOLD, INTERPRET)


def test_noise_is_added_to_what_is_compared() -> None:
    case = Case(6, 150, "ties", options=(*SELECT, ("noise", True)))
    values = inputs(case)
    shape = (case.batch, case.rows, 1, case.chunks)
    noise = gumbel_noise(11, shape, torch.float64, torch.device("cpu"))
    outputs, _ = run(case, THRESHOLD, INTERPRET)
    assert torch.equal(outputs["indices"], expected_indices(case, values, noise))


@pytest.mark.parametrize(
    ("normalize", "more"),
    [
        ("softmax", (("rank_scale", True),)),
        ("stick_breaking", ()),
        ("softmax_off_by_one", (("force_first", 1), ("force_last", 1))),
        ("lse_mix", (("rank_scale", True), ("bias", True))),
    ],
)
@pytest.mark.parametrize("schedule", [MERGE, THRESHOLD], ids=lambda s: s.top_k)
def test_weights_in_the_kernel_that_selects(
    normalize: str, more: tuple[tuple[str, object], ...], schedule: Schedule
) -> None:
    options = (*OWN, ("normalize", normalize), *more)
    one = schedule.top_k == "threshold"
    case = Case(7, 120 if one else 30, "random", 2, 2, 4, rows=9, options=options)
    assert check(case, schedule, INTERPRET) == (1 if one else 2)
    check(replace(case, chunks=4, kind="ties"), schedule, INTERPRET)


def test_lists_that_overflow_are_written_again() -> None:
    # More equal scores than a list holds, and all large scores in one lane, with weights.
    for kind in ("equal", "one lane"):
        check(Case(9, 500, kind, rows=9, options=OWN), THRESHOLD, INTERPRET)
