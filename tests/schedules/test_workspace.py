"""Buffers of a launch: planned and borrowed schedules leave room for the tensors."""

from __future__ import annotations

import math

import pytest
import torch

from hsa_compiler.compiler import lower_kernel
from hsa_compiler.configs import Choice
from hsa_compiler.runtime import dispatch
from hsa_compiler.schedules import cost_model, hardware
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.schedules.workspace import SHARE, affordable, check_workspace, workspace_bytes
from tests.problems import make

H100 = hardware.named("nvidia_h100_80gb_hbm3")
SM90 = Target("triton", "sm_90")
BUFFERED = Schedule(order="chunk", combine="buffer", pairs=16)


def lowered_bytes(problem: Problem, schedule: Schedule, sizes: dict[str, int]) -> float:
    width = {"bf16": 2, "fp32": 4, "i32": 4, "i64": 8}
    tile = lower_kernel(problem, schedule, SM90)
    return sum(space.size.evaluate(sizes) * width[space.dtype] for space in tile.workspaces)


@pytest.mark.parametrize(
    ("kind", "schedule"),
    [
        ("attend", BUFFERED),
        ("attend", BUFFERED.replace(combine="atomic")),
        ("attend_grad_q", BUFFERED),
        ("attend_grad", BUFFERED),
        ("attend_grad", BUFFERED.replace(chunk_tile=32)),
        ("attend_grad", BUFFERED.replace(combine="atomic", window=2048)),
        ("attend", Schedule(order="union", tokens=4)),
        ("attend", Schedule(parts=8)),
        ("retrieve", Schedule(top_k="threshold", tokens=64, chunk_block=64)),
        ("retrieve", Schedule(parts=256, tokens=1, stages=1)),
    ],
)
def test_the_estimate_is_what_a_launch_allocates(kind: str, schedule: Schedule) -> None:
    problem, sizes = make(kind, query_heads=16, kv_heads=4, head_dim=64, top_k=16)
    sizes = {"B": 1, "L": 8192, "R": 8192, "Lkv": 8192, "C": 128} | sizes
    expected = lowered_bytes(problem, schedule, sizes)
    assert workspace_bytes(problem, schedule, sizes) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("kind", ["attend", "attend_grad_q", "retrieve"])
@pytest.mark.parametrize("top_k", [64, 256, 512])
def test_planned_schedules_leave_room_for_the_tensors(kind: str, top_k: int) -> None:
    problem, sizes = make(kind, tokens=1 << 20, query_heads=16, kv_heads=8, top_k=top_k)
    plan = cost_model.planned(problem, sizes, H100)
    assert workspace_bytes(problem, plan, sizes) <= SHARE * H100.memory_bytes


def test_a_schedule_of_a_shorter_call_is_refused_where_its_buffers_do_not_fit() -> None:
    problem, sizes = make("attend", tokens=8192, query_heads=16, kv_heads=4, top_k=64)
    check_workspace(problem, BUFFERED, sizes, H100)
    with pytest.raises(IllegalSchedule, match=r"workspace: .* GiB of buffers .* at most 4.7 GiB"):
        check_workspace(problem, BUFFERED, {**sizes, "L": 1 << 20}, H100)


def test_a_deterministic_call_takes_no_buffer_that_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem, sizes = make("attend", tokens=1 << 20, query_heads=16, kv_heads=16, top_k=64)
    tuned = BUFFERED.replace(combine="atomic", pairs=64)
    monkeypatch.setattr(
        dispatch, "choose", lambda *_: Choice(tuned, "exact", None, math.inf, "test")
    )
    monkeypatch.setattr(dispatch, "target_of", lambda *_: SM90)
    monkeypatch.setattr(dispatch, "resolve_backend", lambda *_: "triton")
    monkeypatch.setattr(hardware, "detect", lambda *_: H100)
    dims = {**dict(problem.dims), **sizes}
    _, _, choice = dispatch.select_schedule(
        problem.group, dims, torch.device("cpu"), "auto", deterministic=True
    )
    assert choice.schedule.combine != "atomic"
    assert affordable(problem, choice.schedule, sizes, H100)
