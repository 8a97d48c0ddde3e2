"""What one kernel is tuned on: its problem, and concrete tensors for every value it reads.

Program inputs are drawn by name. What earlier kernels compute is computed here too, by the
interpreter, so that a kernel sees values that belong together (weights that are the softmax of
these logits). Gradients that come from the attention kernels are drawn instead, since any upstream
gradient does; so is, at real sizes, what the forward attention kernel gives.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.ir import KernelGroup, Program, Value, interpret
from hsa_compiler.ir.dims import evaluate
from hsa_compiler.ir.interpreter import TORCH_DTYPES
from hsa_compiler.runtime import calls
from hsa_compiler.runtime.executor import Executable
from hsa_compiler.schedules.locality import causal_bounds, make_selection
from hsa_compiler.schedules.problem import DYNAMIC_DIMS, Problem
from hsa_compiler.tuner.correctness import given_selection
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.traced import TraceFile, fit

#: Kernels whose outputs are drawn where other kernels read them.
DRAWN = ("attend_grad_q", "attend_grad_kv", "attend_grad")
#: ... and those that are too large for the interpreter at real sizes.
DRAWN_WHEN_LARGE = (*DRAWN, "attend")
#: How much larger the logits of every eighth row are in the correctness gate.
LARGE = 8.0


@dataclass(frozen=True)
class Task:
    """One kernel, shape and kind of selection to tune, and where: a worker needs no more.

    `locality` is ``"trace"`` exactly where a `trace` is given.
    """

    kernel: str
    shape: Shape
    device: str
    locality: str = "local"
    seed: int = 0
    warm_l2: bool = False
    trace: TraceFile | None = None

    @cached_property
    def groups(self) -> dict[str, KernelGroup]:
        """The kernels of a call of this shape, forward and backward, by kind."""
        return kernel_groups(self.shape)

    @cached_property
    def problem(self) -> Problem:
        """What the kernel is compiled for. Raises InputError where the shape has no such kernel."""
        if self.kernel not in self.groups:
            raise InputError(
                f"shape {self.shape.name} has no kernel {self.kernel!r}; "
                f"it has: {', '.join(self.groups)}"
            )
        return Problem.of(self.groups[self.kernel], self.shape.dims)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The dynamic dims that the kernel's types mention."""
        names = self.problem.group.program.dim_names()
        return {name: self.shape.dims[name] for name in DYNAMIC_DIMS if name in names}


def executables(shape: Shape, backward: bool = True) -> list[Executable]:
    """What a forward and, where asked for, a backward call of `hsa_attention` run, in order; of a
    decoding shape what `hsa_decode` runs, which has no backward."""
    if shape.decode:
        return [calls.decode(shape.retrieve, shape.attention, shape.cache)]
    retrieve = dataclasses.replace(shape.retrieve, inverse=backward)
    found = [calls.forward(retrieve), calls.forward(shape.attention)]
    if not backward:
        return found
    weighted = shape.normalize != "joint"
    inputs = ("q", "k", "v", *["weights"] * weighted)
    gradients = [calls.backward(shape.attention, ("out",), inputs)]
    if weighted:
        gradients.append(calls.backward(retrieve, ("weights",), ("q_slc", "landmarks")))
    return found + [executable for executable in gradients if executable is not None]


def kernel_groups(shape: Shape) -> dict[str, KernelGroup]:
    """The kernels that calls of a shape may run, by kind: those of every form of the programs."""
    groups: dict[str, KernelGroup] = {}
    for executable in executables(shape):
        for form in executable.forms.values():
            for group in form:
                groups.setdefault(group.kind, group)
    return groups


def timing_values(task: Task, device: torch.device) -> dict[str, Tensor]:
    """Inputs of the task's kernel at its full size, with a selection of the task's locality; those
    of a trace have their recorded weights, too.

    With more keys than queries, the queries are the end of the sequence.
    """
    shape = task.shape
    before = max(0, shape.Lkv - shape.L)
    lo, hi = causal_bounds(shape.B, shape.L, shape.C, shape.S, q_offset=before, device=device)
    given = {"lo": lo, "hi": hi}
    if task.trace is not None:
        given |= {name: x.to(device) for name, x in fit(task.trace.read(), shape).items()}
    else:
        given["indices"] = make_selection(
            task.locality, lo, hi, heads=shape.Hi, chunks=shape.C, top_k=shape.K, seed=task.seed
        )
    return Values(shape, task.groups, device, task.seed, given).inputs_of(task.kernel)


@dataclass(frozen=True)
class GateCase:
    """Small adversarial inputs of one kernel: `values` by name and all dims of the call."""

    name: str
    values: dict[str, Tensor]
    dims: dict[str, int]


def gate_cases(task: Task, device: torch.device) -> list[GateCase]:
    """Inputs that break wrong kernels, at the task's static dims.

    ``mixed``: rows that see nothing, one chunk, fewer than K, exactly K and all chunks, intervals
    that start late, duplicates in the selection, logits eight times as large in some rows, and a
    ragged tail of keys. ``few``: fewer chunks than K for every row, and a token count that no
    tile divides. Decoding steps see the same, as the lengths of their sequences have it.
    """
    cases = []
    calls_of = small_steps if task.shape.decode else small_calls
    for number, (name, (shape, given)) in enumerate(calls_of(task.shape).items()):
        values = Values(
            shape,
            task.groups,
            device,
            task.seed + number,
            {name: x.to(device) for name, x in given.items()},
            adversarial=True,
            # Not where rows see two chunks at most: a row that chose one twice has no gradient.
            duplicates=name == "mixed",
        )
        cases.append(GateCase(name, values.inputs_of(task.kernel), shape.dims))
    return cases


def small_calls(shape: Shape) -> dict[str, tuple[Shape, dict[str, Tensor]]]:
    """The calls of the gate's cases, with what their rows see."""
    tokens = (shape.K + 4) * shape.S + shape.S // 3
    calls = {
        "mixed": shape.resized(B=2, L=37, Lkv=tokens),
        "few": shape.resized(B=1, L=11, Lkv=2 * shape.S + 1),
    }
    found = {}
    for name, call in calls.items():
        lo, hi = adversarial_bounds(call)
        found[name] = (call, {"lo": lo, "hi": hi})
    return found


def small_steps(shape: Shape) -> dict[str, tuple[Shape, dict[str, Tensor]]]:
    """The decoding steps of the gate's cases, with the length of each sequence: several new tokens,
    and one."""
    size, top_k = shape.S, shape.K
    capacity = (top_k + 4) * size + size // 3
    if shape.Zk:
        capacity = max(2, -(-capacity // shape.Zk)) * shape.Zk
    lengths = {
        "mixed": [
            capacity,
            0,
            3,  # fewer than there are new tokens: some have a position below 0
            size,
            size + 2,  # some tokens see a chunk, those before them none
            top_k * size,
            (top_k + 1) * size + 2,
            capacity - size // 2,
        ],
        "few": [2 * size + 1, size + size // 2],
    }
    return {
        name: (
            shape.resized(B=len(given), L=5 if name == "mixed" else 1, Lkv=capacity),
            {"kv_len": torch.tensor(given, dtype=torch.int32)},
        )
        for name, given in lengths.items()
    }


def adversarial_bounds(shape: Shape) -> tuple[Tensor, Tensor]:
    """``lo, hi`` i32[B,R] that go through every way of seeing chunks, row by row."""
    chunks, top_k = shape.C, shape.K
    late = chunks // 2
    ways = [
        (0, 0),
        (late, late),
        (0, 1),
        (0, chunks),
        (late, chunks),
        (0, min(max(top_k - 1, 1), chunks)),
        (chunks - min(top_k, chunks), chunks),
        (chunks - 1, chunks),
    ]
    rows = torch.arange(shape.B * shape.L) % len(ways)
    table = torch.tensor(ways, dtype=torch.int32)[rows].reshape(shape.B, shape.L, 2)
    return table[..., 0].contiguous(), table[..., 1].contiguous()


class Values:
    """Tensors for the values of an operator's kernels, made on demand and kept.

    Args:
        given: values that stand already, such as the visible intervals or a selection.
        adversarial: compute the forward attention kernel too, and make some logits large; for
            small shapes only.
        duplicates: let some rows choose a chunk twice.
    """

    def __init__(
        self,
        shape: Shape,
        groups: Mapping[str, KernelGroup],
        device: torch.device,
        seed: int,
        given: Mapping[str, Tensor],
        adversarial: bool = False,
        duplicates: bool = False,
    ) -> None:
        self._shape = shape
        self._dims = shape.dims
        self._device = device
        self._adversarial = adversarial
        self._duplicates = duplicates
        self._known = dict(given)
        self._generator = torch.Generator(device=device)
        self._generator.manual_seed(seed)
        self._groups = groups
        self._producer = {
            value.name: group for group in groups.values() for value in group.program.outputs
        }

    def inputs_of(self, kernel: str) -> dict[str, Tensor]:
        """The inputs of a kernel by name."""
        return {value.name: self.get(value) for value in self._groups[kernel].program.inputs}

    def get(self, value: Value) -> Tensor:
        """The tensor of one value, computed or drawn."""
        if value.name not in self._known:
            group = self._producer.get(value.name)
            if group is None or group.kind in (DRAWN if self._adversarial else DRAWN_WHEN_LARGE):
                self._known[value.name] = self._draw(value)
            elif group.program.find("select") is None:
                self._compute(group.program, self.inputs_of(group.kind))
            else:
                self._select(group)
        return self._known[value.name]

    def _select(self, group: KernelGroup) -> None:
        """The outputs of a kernel that selects: weights belong to the selection that is known."""
        program, inputs = group.program, self.inputs_of(group.kind)
        if "indices" not in self._known:
            self._compute(program.with_outputs(["indices"]), inputs)
            if self._duplicates:
                self._known["indices"] = with_duplicates(self._known["indices"])
        if len(program.outputs) > 1:
            chosen = {"indices": self._known["indices"]}
            self._compute(given_selection(program), {**inputs, **chosen})

    def _compute(self, program: Program, inputs: Mapping[str, Tensor]) -> None:
        found = interpret(program, inputs, self._dims)
        self._known.update({name: x for name, x in found.items() if name not in self._known})

    def _draw(self, value: Value) -> Tensor:
        size = tuple(evaluate(dim, self._dims) for dim in value.type.shape)
        dtype = TORCH_DTYPES[value.type.dtype]
        if value.name == "seed":
            return torch.full(size, 7, dtype=dtype, device=self._device)
        if value.name == "kv_len":
            return torch.full(size, self._shape.Lkv, dtype=dtype, device=self._device)
        if value.name == "block_table":
            pages = torch.randperm(
                self._dims["P"], generator=self._generator, device=self._device, dtype=dtype
            )
            return pages.view(size)
        if value.name == "chunk_start":
            return torch.arange(size[0], dtype=dtype, device=self._device) * self._shape.S
        if value.name == "total_lse":
            # About what K chunks of S unit-variance logits sum to: exp(lse - total) stays tame.
            total = math.log(self._shape.K * self._shape.S) + 0.5
            return torch.full(size, total, dtype=dtype, device=self._device)
        if not value.type.is_float:
            raise InputError(f"no rule to draw the tuning input {value}")
        # In its own dtype at once, never as a wider copy: a large cache takes gigabytes.
        drawn = torch.randn(size, generator=self._generator, device=self._device, dtype=dtype)
        if self._adversarial and value.name in ("q", "q_slc"):
            drawn[:, ::8] *= LARGE
        return drawn


def with_duplicates(indices: Tensor) -> Tensor:
    """The selection with the first chunk chosen twice in every seventh row of two or more."""
    if indices.shape[-1] < 2:
        return indices
    doubled = indices.clone()
    rows = doubled[:, 3::7]
    rows[..., 1] = torch.where(rows[..., 1] >= 0, rows[..., 0], rows[..., 1])
    return doubled
