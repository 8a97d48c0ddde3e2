"""Runs one kernel under one schedule on the cases of the tuner's gate, in Triton's interpreter."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hsa_compiler.compiler import compile_kernel
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.correctness import TOLERANCE, Reference, poisoned_outputs
from hsa_compiler.tuner.workload import Task, gate_cases

CPU = torch.device("cpu")
INTERPRETER = Target("triton", "interpret")


def run(task: Task, schedule: Schedule, shift: int = 0) -> None:
    """Check a schedule against float64; inputs start `shift` elements after an aligned address."""
    tolerance = TOLERANCE[task.shape.dtype]
    for case in gate_cases(task, CPU):
        reference = Reference(task.problem.group, case.values, case.dims, tolerance)
        values = {name: shifted(x, shift) for name, x in case.values.items()}
        reference.check(launch(task, schedule, values, case.dims))


def launch(
    task: Task,
    schedule: Schedule,
    values: Mapping[str, torch.Tensor],
    dims: Mapping[str, int],
) -> dict[str, torch.Tensor]:
    """The outputs of a task's kernel on these inputs, and maybe others."""
    outputs = poisoned_outputs(task.problem.group, dims, CPU)
    compile_kernel(task.problem, schedule, INTERPRETER).launch({**values, **outputs}, dims)
    return outputs


def shifted(x: torch.Tensor, elements: int) -> torch.Tensor:
    """The same tensor, `elements` after the start of its memory."""
    memory = torch.empty(x.numel() + elements, dtype=x.dtype)
    return memory[elements:].view(x.shape).copy_(x)
