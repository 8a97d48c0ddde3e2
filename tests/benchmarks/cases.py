"""Tiny rows that all tests of this folder share, so that their kernels compile once."""

from __future__ import annotations

import functools

import torch

from hsa_compiler.benchmarks.case import Case, make_case
from hsa_compiler.benchmarks.rows import PARTS, Row
from hsa_compiler.tuner.shapes import Shape

#: The same as a command line's words.
WORD = "L=64,Hq=4,H=2,D=16,S=16,K=2,dtype=fp32"


def tiny_row(name: str = "tiny", selection: str = "local", **sizes: int) -> Row:
    given = {"L": 64, "Hq": 4, "H": 2, "D": 16, "S": 16, "K": 2, **sizes}
    return Row(name, Shape(name, dtype="fp32", **given), selection)


@functools.cache
def tiny_case(selection: str = "local", backward: bool = True, **sizes: int) -> Case:
    row = tiny_row(selection=selection, **sizes)
    return make_case(row, torch.device("cpu"), PARTS[:3], backward)
