"""Names, dtypes and sizes of what an exported function takes, as text for C and for JSON.

Sizes are what the caller knows: B sequences, L query tokens, Lkv key tokens. Retrieval rows are
query tokens (R = L), and C = Lkv // S chunks follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from hsa_compiler.export.plan import Part
from hsa_compiler.ir import Value
from hsa_compiler.ir.dims import Dim, substitute
from hsa_compiler.tuner.shapes import Shape

#: C types of dtypes; half-precision numbers are passed as their bits.
C_TYPES = {
    "fp32": "float",
    "bf16": "uint16_t",
    "fp16": "uint16_t",
    "i32": "int32_t",
    "i64": "int64_t",
}


@dataclass(frozen=True)
class Argument:
    """A tensor of an exported function: contiguous, `shape` in sizes and numbers."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]
    output: bool
    zeroed: bool = False

    @property
    def count(self) -> str:
        """The number of elements, an expression in C and in the manifest's sizes."""
        return " * ".join(f"({dim})" if "+" in str(dim) else str(dim) for dim in self.shape)

    @property
    def text(self) -> str:
        """``fp32 [B, L, 4, 32]``."""
        return f"{self.dtype} [{', '.join(map(str, self.shape))}]"

    def record(self) -> dict[str, object]:
        """As JSON."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


def constants(shape: Shape) -> dict[str, int]:
    """The dims that are compiled in, by name."""
    run_time = ("B", "L", "Lkv", "R", "C")
    return {"S": shape.S, **{n: v for n, v in shape.dims.items() if n not in run_time}}


def arguments(part: Part, shape: Shape) -> list[Argument]:
    """The tensors of a part's function in order: the inputs that its kernels read, then all
    outputs, both in the order of the group's program."""
    program, tile = part.problem.group.program, part.tile
    zeroed = {tile.bindings[role] for role in tile.zeroed}
    known: dict[str, Dim] = {**constants(shape), "R": "L"}

    def argument(value: Value, output: bool) -> Argument:
        dims = tuple(substitute(dim, known) for dim in value.type.shape)
        return Argument(value.name, value.type.dtype, dims, output, value.name in zeroed)

    inputs = [argument(value, False) for value in program.inputs if part.reads(value.name)]
    return inputs + [argument(value, True) for value in program.outputs]
