"""Kernels are tuned as calls run them."""

from __future__ import annotations

from hsa_compiler.runtime.prepare import scale_of
from hsa_compiler.tuner.shapes import Shape


def test_the_programs_agree_to_the_last_bit_of_their_scales() -> None:
    """Otherwise they would be different kernels, compiled twice."""
    shape = Shape("s", L=64, Hq=2, H=1, D=128, S=16, K=2, Dr=32)
    assert shape.attention.scale == scale_of(None, 128)
    assert shape.retrieve.scale == scale_of(None, 32)
