"""Shape classes: what two calls must share for one tuned schedule to serve both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from hsa_compiler.ir import Program
from hsa_compiler.schedules.footprint import chunk_count
from hsa_compiler.schedules.footprint import data_dtype as data_dtype
from hsa_compiler.schedules.problem import Problem

#: What one octave of a dim, of tokens or of chunks adds to a distance. A dim changes the tiles
#: themselves, the counts only how many there are.
DIM_WEIGHT = 2.0
COUNT_WEIGHT = 0.5
#: What another variant of the kernel (normalisation, options) and another dtype add.
VARIANT_WEIGHT = 2.0
DTYPE_WEIGHT = 4.0


class ShapeClass(BaseModel):
    """Exact kernel, back end, dtype, variant and static dims; tokens and chunks to a power of two.

    `tokens` counts B * L (or B * R for kernels that know only retrieval rows), `chunks` counts C
    (0 where neither C nor Lkv is known). `variant` names the group's ops with their operands and
    options, floats such as the softmax scale left out: they change nothing that is timed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kernel: str
    backend: str
    dtype: str
    variant: str
    dims: dict[str, Annotated[int, Field(ge=1)]]
    tokens: int = Field(ge=1)
    chunks: int = Field(ge=0)

    @classmethod
    def of(cls, problem: Problem, sizes: Mapping[str, int], backend: str) -> ShapeClass:
        """The class of a problem with its dynamic sizes (``B``, ``L``, ``R``, ``C``, ``Lkv``)."""
        tokens, chunks = counts(problem, sizes)
        return cls(
            kernel=problem.kind,
            backend=backend,
            dtype=data_dtype(problem.group.program),
            variant=variant_of(problem.group.program),
            dims=dict(problem.dims),
            tokens=bucket(tokens),
            chunks=bucket(chunks),
        )

    def key(self) -> tuple[Any, ...]:
        """A hashable form; equal keys are equal classes."""
        dims = tuple(sorted(self.dims.items()))
        return (
            self.kernel,
            self.backend,
            self.dtype,
            self.variant,
            dims,
            self.tokens,
            self.chunks,
        )

    def distance(self, other: ShapeClass) -> float:
        """Weighted octaves between two classes; infinite for another kernel or back end."""
        if (self.kernel, self.backend) != (other.kernel, other.backend):
            return math.inf
        total = 0.0
        for name in self.dims.keys() | other.dims.keys():
            total += DIM_WEIGHT * _octaves(self.dims.get(name, 1), other.dims.get(name, 1))
        total += COUNT_WEIGHT * _octaves(self.tokens, other.tokens)
        total += COUNT_WEIGHT * _octaves(self.chunks, other.chunks)
        total += VARIANT_WEIGHT * (self.variant != other.variant)
        return total + DTYPE_WEIGHT * (self.dtype != other.dtype)

    def __str__(self) -> str:
        dims = " ".join(f"{name}={value}" for name, value in sorted(self.dims.items()))
        return f"{self.dtype} {dims} tokens~{self.tokens} chunks~{self.chunks}"


def counts(problem: Problem, sizes: Mapping[str, int]) -> tuple[int, int]:
    """Tokens and chunks of a call, from its dynamic sizes."""
    rows = sizes["L"] if "L" in sizes else sizes["R"]
    return sizes.get("B", 1) * rows, chunk_count(problem, sizes)


def bucket(count: int) -> int:
    """The nearest power of two in log space; 0 stays 0."""
    return 0 if count <= 0 else 1 << round(math.log2(count))


def _octaves(a: int, b: int) -> float:
    return abs(math.log2(max(a, 1)) - math.log2(max(b, 1)))


def variant_of(program: Program) -> str:
    """The group's ops with their operands and options, one short text: what makes it this kernel
    beside its shapes."""
    parts = []
    for op in program.ops:
        operands = " ".join(name for name, _ in op.operands)
        options = " ".join(
            f"{name}={value}" for name, value in op.attrs if not isinstance(value, float)
        )
        parts.append(f"{op.kind}({operands})" + (f"[{options}]" if options else ""))
    return " ".join(parts)
