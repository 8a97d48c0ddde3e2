"""Runs tile programs one program and one statement at a time in NumPy: the reference of the
TVM printer's tests. Half-precision tiles are computed in fp32, as the printer does."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hsa_compiler.tile.ir import AtomicAdd, Barrier, For, If, Kernel, Let, Stmt, Store, Var

DTYPES = {
    "fp32": np.float32,
    "bf16": np.float32,
    "fp16": np.float32,
    "i32": np.int32,
    "i64": np.int64,
    "u32": np.uint32,
    "bool": np.bool_,
}
_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "floordiv": np.floor_divide,
    "mod": np.mod,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shl": np.left_shift,
    "shr": np.right_shift,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_UNARY = {"neg": np.negative, "exp2": np.exp2, "log2": np.log2, "abs": np.abs}
_REDUCE = {"sum": np.sum, "max": np.max, "min": np.min}


def interpret(
    kernel: Kernel,
    tensors: Mapping[str, torch.Tensor],
    scalars: Mapping[str, int],
    grid: Sequence[int],
) -> None:
    """Run every program of a launch in order; tensors are changed in place."""
    flat = {name: tensor.view(-1) for name, tensor in tensors.items()}
    for place in itertools.product(*(range(n) for n in reversed(grid))):
        program = _Program(flat, place[::-1])
        for scalar in kernel.scalars:
            program.named[scalar.name] = np.int32(scalars[scalar.name])
        with np.errstate(all="ignore"):
            program.block(kernel.body)


class _Program:
    def __init__(self, memory: Mapping[str, torch.Tensor], place: Sequence[int]) -> None:
        self.memory, self.place = memory, place
        self.values: dict[Var, Any] = {}
        self.named: dict[str, Any] = {}

    def read(self, x: Any, dtype: str = "i32") -> Any:
        if not isinstance(x, Var):
            return DTYPES[dtype](x)
        return self.values[x] if x in self.values else self.named[x.name]

    def block(self, body: Sequence[Stmt]) -> None:
        for stmt in body:
            if isinstance(stmt, Let):
                value = np.asarray(self.let(stmt)).astype(DTYPES[stmt.var.dtype])
                assert value.shape == stmt.var.shape, stmt.var.name
                self.values[stmt.var] = value
            elif isinstance(stmt, Store | AtomicAdd):
                self.write(stmt)
            elif isinstance(stmt, For):
                self.loop(stmt)
            elif isinstance(stmt, If):
                if self.read(stmt.condition):
                    self.block(stmt.body)
            else:
                assert isinstance(stmt, Barrier)

    def loop(self, stmt: For) -> None:
        for var, init in zip(stmt.carried, stmt.inits, strict=True):
            self.values[var] = self.read(init, var.dtype)
        for i in range(int(self.read(stmt.start)), int(self.read(stmt.stop)), stmt.step):
            self.values[stmt.index] = np.int32(i)
            self.block(stmt.body)
            finals = [self.read(y, v.dtype) for y, v in zip(stmt.yields, stmt.carried, strict=True)]
            self.values.update(zip(stmt.carried, finals, strict=True))

    def write(self, stmt: Store | AtomicAdd) -> None:
        memory = self.memory[stmt.pointer.name]
        offset = self.read(stmt.offset)
        value = self.read(stmt.value, stmt.pointer.dtype)
        mask = True if stmt.mask is None else self.read(stmt.mask)
        parts = np.broadcast_arrays(offset, value, mask)
        for o, v, m in zip(*(part.reshape(-1) for part in parts), strict=True):
            if m and isinstance(stmt, Store):
                memory[int(o)] = v.item()
            elif m:
                memory[int(o)] += v.item()

    def let(self, let: Let) -> Any:
        op, attrs, dtype = let.op, let.attrs, let.var.dtype
        if op == "program_id":
            return self.place[attrs["axis"]]
        if op == "arange":
            return np.arange(attrs["size"])
        if op == "full":
            return np.full(let.var.shape, attrs["value"], DTYPES[dtype])
        if op == "load":
            return self.load(let)
        kinds = [x.dtype for x in let.args if isinstance(x, Var)]
        common = "i64" if "i64" in kinds else dtype if op == "where" else kinds[0]
        values = [self.read(x, common) for x in let.args]
        if op in _BINARY:
            return _BINARY[op](*(v.astype(DTYPES[common]) for v in values))
        if op in _UNARY:
            return _UNARY[op](values[0])
        if op in _REDUCE:
            return _REDUCE[op](values[0], axis=attrs["axis"])
        if op == "dot":
            acc = values[2] if len(values) > 2 else 0
            return values[0].astype(np.float64) @ values[1].astype(np.float64) + acc
        if op == "merge_top_k":
            both = np.concatenate(values[:2], axis=1)
            return -np.sort(-both, axis=1)[:, : let.var.shape[1]]
        simple = {
            "cast": lambda: values[0].astype(DTYPES[dtype]),
            "bitcast": lambda: values[0].view(DTYPES[dtype]),
            "where": lambda: np.where(*values),
            "expand": lambda: np.expand_dims(values[0], attrs["axis"]),
            "trans": lambda: values[0].T,
            "broadcast": lambda: np.broadcast_to(values[0], let.var.shape),
            "cumsum": lambda: np.cumsum(values[0]),
            "repeat": lambda: np.repeat(values[0], attrs["times"]),
            "sum_groups": lambda: values[0].reshape(-1, attrs["size"]).sum(axis=1),
        }
        return simple[op]()

    def load(self, let: Let) -> Any:
        memory, other = self.memory[let.attrs["pointer"].name], let.attrs["other"]
        offset = self.read(let.args[0])
        mask = self.read(let.args[1]) if let.args[1:] else True
        offset, mask = np.broadcast_arrays(offset, mask)
        assert offset.shape == let.var.shape, "a load's mask broadcasts to its offset"
        items = [
            memory[int(o)].item() if m else other
            for o, m in zip(offset.reshape(-1), mask.reshape(-1), strict=True)
        ]
        return np.array(items).reshape(offset.shape)
