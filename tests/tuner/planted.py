"""A bench of real kernels some of which hang, crash, write where they must not or give garbage."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hsa_compiler.compiler import CompiledKernel, compile_kernel
from hsa_compiler.runtime.dispatch import resolve_backend
from hsa_compiler.schedules.hardware import detect
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner import session
from hsa_compiler.tuner.effort import EFFORTS
from hsa_compiler.tuner.kernel_bench import KernelBench
from hsa_compiler.tuner.results import KernelResult
from hsa_compiler.tuner.tune import Plan
from hsa_compiler.tuner.workload import Task
from tests.tuner.fakes import SHAPE, SilentView, request

#: How each deed is counted.
KINDS = {
    "hang": "timeout_compile",
    "crash": "crash",
    "corrupt": "corrupted_memory",
    "garbage": "wrong_result",
    "idle": "wrong_result",
}
#: ... and those of a GPU alone: its time-out is the compiler's, as the first launch compiles.
GPU_KINDS = {"fault": "cuda_error"}
#: Trials that are left for others.
GOOD = 3


class PlantedKernel:
    """A kernel that does a deed after its launch, or instead of it."""

    def __init__(self, kernel: CompiledKernel, deed: str) -> None:
        self._kernel = kernel
        self._deed = deed

    def launch(self, values: Mapping[str, Tensor], dims: Mapping[str, int]) -> None:
        q, out = values["q"], values["out"]
        if self._deed == "hang":
            if q.is_cuda:
                torch.cuda._sleep(1 << 62)
            else:
                time.sleep(3600)
        if self._deed == "crash":
            ctypes.string_at(0)
        if self._deed == "fault":
            torch.nn.functional.embedding(torch.full((64,), 1 << 40, device=q.device), q[0, 0])
        if self._deed != "idle":
            self._kernel.launch(values, dims)
        if self._deed == "corrupt":
            q.view(-1)[3] = 0.125
        if self._deed == "garbage":
            out.mul_(1.1)


class PlantedBench(KernelBench):
    """A `KernelBench` with deeds from the variable PLANTED: JSON, a deed by a schedule's text."""

    def __init__(self) -> None:
        deeds = json.loads(os.environ["PLANTED"])

        def compile(problem: Problem, schedule: Schedule, target: Target) -> CompiledKernel:
            kernel = compile_kernel(problem, schedule, target)
            deed = deeds.get(str(schedule))
            return PlantedKernel(kernel, deed) if deed else kernel

        super().__init__(compile)


def tune_among_planted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, device: str, deeds: Mapping[str, str]
) -> tuple[KernelResult, set[str]]:
    """Tune attention among planted candidates, one of each kind before any good one but the
    default; the result and the planted schedules."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    backend = resolve_backend("auto", torch.device(device))
    dtype = "fp32" if device == "cpu" else "bf16"
    shape = SHAPE.resized(L=512, D=32, S=32, dtype=dtype)
    plan = Plan.of(Task("attend", shape, device), backend, detect(device))
    bad = [str(s) for s in plan.starts if s not in plan.defaults][: len(deeds)]
    assert len(bad) == len(deeds)
    monkeypatch.setenv("PLANTED", json.dumps(dict(zip(bad, deeds, strict=True))))
    trials = len(bad) + GOOD
    short = dataclasses.replace(
        EFFORTS["quick"], seconds=120, trials=trials, compile_timeout=8, run_timeout=8
    )
    monkeypatch.setitem(EFFORTS, "quick", short)
    wanted = request(
        folder, device=device, shapes=(shape,), effort="quick", bench=f"{__name__}:PlantedBench"
    )
    (result,) = session.run(wanted, SilentView()).results
    return result, set(bad)
