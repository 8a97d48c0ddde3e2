"""Decoding steps on Triton's interpreter.

TRITON_INTERPRET=1 python -m pytest tests/triton_interpret
"""

from __future__ import annotations

import os

import pytest

from tests.decode_cases import STEPS, Step, check_decode

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1",
    reason="Triton's interpreter needs TRITON_INTERPRET=1 before Triton is imported",
)


@pytest.mark.parametrize(
    "step", [s for s in STEPS if s.tokens < 64 or s.parts], ids=lambda step: f"step{step.seed}"
)
def test_a_step_equals_the_naive_operator(step: Step) -> None:
    check_decode(step, "triton", "cpu")
