"""Runs programs: kernel groups in order, each compiled once with the schedule dispatch chose.

    executable = Executable(program)
    outputs = executable.run(values, dims, device, backend)      # values and outputs by name

An `Executable` is generic: it knows tensors by the names of the program's values and allocates what
every group gives by its type. Kernels, schedules and output shapes are looked up once per set of
dims and device, and remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from hsa_compiler.configs import default_store
from hsa_compiler.ir import KernelGroup, Program, group_forms, interpret
from hsa_compiler.ir.dims import evaluate
from hsa_compiler.ir.interpreter import TORCH_DTYPES
from hsa_compiler.runtime import memory
from hsa_compiler.runtime.dispatch import Dispatched, dispatch, resolve_backend
from hsa_compiler.runtime.forms import choose_form

DTYPE_NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}
#: Plans an executable keeps: one per set of dims, and dims grow token by token in generation.
PLANS = 512


@dataclass(frozen=True)
class Output:
    """What one value of a group's result looks like."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return int(torch.Size(self.shape).numel()) * self.dtype.itemsize


@dataclass(frozen=True)
class Step:
    """One kernel of a plan: what it allocates, what is launched, and what is dead afterwards."""

    outputs: tuple[Output, ...]
    kernel: Dispatched
    last_use: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The kernels of a run in order, and the bytes that it allocates."""

    steps: tuple[Step, ...]
    bytes: int

    def reads(self, name: str) -> bool:
        """Whether a kernel reads this value of the program."""
        return any(step.kernel.kernel.reads(name) for step in self.steps)


class Executable:
    """A program split into kernel groups, with the plans it has been run with so far.

    `forms` are the ways to split it; which one runs depends on dims and device.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.forms: dict[str, tuple[KernelGroup, ...]] = group_forms(program)
        self.inputs = tuple(value.name for value in program.inputs)
        self.outputs = tuple(value.name for value in program.outputs)
        self._plans: dict[tuple[object, ...], Plan] = {}

    def run(
        self,
        values: Mapping[str, Tensor | None],
        dims: Mapping[str, int],
        device: torch.device,
        backend: str,
        deterministic: bool = False,
        union: float | None = None,
    ) -> dict[str, Tensor]:
        """Compute the program's outputs.

        Args:
            values: the program's inputs by name (others are ignored), on `device`; made
                contiguous where they are not. Those that no kernel reads may be None.
            dims: a number for every dim name of the program.
            device: where to run.
            backend: ``"auto"``, ``"triton"``, ``"tvm"`` or ``"reference"``.
            deterministic: use no atomic adds; implied by torch.use_deterministic_algorithms.
            union: of the selection, for which schedules are chosen (`configs.choose`).

        Returns:
            New tensors by name; none of them shares memory with an input.

        Raises:
            BackendError: the back end is missing, or failed to build a kernel.
            InputError: the back end does not run on this kind of device.
            MemoryEstimateError: outputs and workspaces do not fit; nothing was allocated.
        """
        inputs: dict[str, Tensor] = {}
        for name in self.inputs:
            tensor = values.get(name)
            if tensor is not None:
                inputs[name] = tensor.detach().contiguous()
            elif self.needs(name, dims, device, backend, deterministic, union):
                raise KeyError(f"program {self.program.name} needs a value for {name}")
        # Kernels state their own precision; autocast must not reach into the interpreter either.
        with torch.autocast(device.type, enabled=False), _on(device):
            if resolve_backend(backend, device) == "reference":
                return self._interpret(inputs, dims)
            plan = self.plan(dims, device, backend, deterministic, union)
            memory.require(self.program.name, plan.bytes, device)
            return self._launch(inputs, plan, dims, device)

    def needs(
        self,
        name: str,
        dims: Mapping[str, int],
        device: torch.device,
        backend: str,
        deterministic: bool,
        union: float | None = None,
    ) -> bool:
        """Whether `run` with these arguments reads an input; which ones depends on schedules."""
        if name not in self.inputs or resolve_backend(backend, device) == "reference":
            return name in self.inputs
        with _on(device):
            return self.plan(dims, device, backend, deterministic, union).reads(name)

    def plan(
        self,
        dims: Mapping[str, int],
        device: torch.device,
        backend: str,
        deterministic: bool,
        union: float | None = None,
    ) -> Plan:
        """The kernels of a run; compiled on first use."""
        deterministic = deterministic or torch_wants_deterministic()
        how = (device, backend, deterministic, union)
        key = (tuple(sorted(dims.items())), *how, default_store())
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plans[key] = self._build(dims, *how)
        return plan

    def _build(
        self,
        dims: Mapping[str, int],
        device: torch.device,
        backend: str,
        deterministic: bool,
        union: float | None,
    ) -> Plan:
        how = (device, backend, deterministic, union)
        form = choose_form(self.forms, dims, *how)
        made = {value.name for group in form.groups for value in group.program.outputs}
        dead = made - set(self.outputs)
        last: dict[str, int] = {}
        for number, group in enumerate(form.groups):
            last.update({value.name: number for value in group.program.inputs})
        steps = tuple(
            Step(
                outputs=_outputs(group, dims),
                kernel=dispatch(group, dims, *how, form.note(group.kind)),
                last_use=tuple(n for n in sorted(dead) if last.get(n) == number),
            )
            for number, group in enumerate(form.groups)
        )
        outputs = sum(output.bytes for step in steps for output in step.outputs)
        # Workspaces live for one launch only.
        return Plan(steps, outputs + max(s.kernel.kernel.workspace_bytes(dims) for s in steps))

    def _launch(
        self,
        values: dict[str, Tensor],
        plan: Plan,
        dims: Mapping[str, int],
        device: torch.device,
    ) -> dict[str, Tensor]:
        for step in plan.steps:
            for output in step.outputs:
                values[output.name] = torch.empty(output.shape, dtype=output.dtype, device=device)
            step.kernel.launch(values, dims)
            for name in step.last_use:
                del values[name]
        return {name: values[name] for name in self.outputs}

    def _interpret(self, values: dict[str, Tensor], dims: Mapping[str, int]) -> dict[str, Tensor]:
        wide = any(x.dtype == torch.float64 for x in values.values())
        found = interpret(self.program, values, dims, dtype=torch.float64 if wide else None)
        return {name: _own(found[name], values) for name in self.outputs}


def torch_wants_deterministic() -> bool:
    """Whether torch.use_deterministic_algorithms is on, and not for warnings alone."""
    return (
        torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled()
    )


def _outputs(group: KernelGroup, dims: Mapping[str, int]) -> tuple[Output, ...]:
    return tuple(
        Output(
            value.name,
            tuple(evaluate(dim, dims) for dim in value.type.shape),
            TORCH_DTYPES[value.type.dtype],
        )
        for value in group.program.outputs
    )


def _own(tensor: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """The tensor, copied where it shares memory with an input (custom ops must not alias)."""
    storages = {x.untyped_storage().data_ptr() for x in values.values() if x.numel()}
    if tensor.numel() and tensor.untyped_storage().data_ptr() in storages:
        return tensor.clone(memory_format=torch.contiguous_format)
    return tensor.contiguous()


def _on(device: torch.device) -> AbstractContextManager[object]:
    """Launches go to the current device: make it the tensors' one."""
    if device.type == "cuda" and device.index not in (None, torch.cuda.current_device()):
        return torch.cuda.device(device)
    return nullcontext()
