"""Which kernel groups an export has, in which order, and what happens to schedules that do not
fit."""

from __future__ import annotations

import functools

import pytest

from hsa_compiler.configs import Choice
from hsa_compiler.errors import BackendError
from hsa_compiler.export import loader
from hsa_compiler.export import plan as planning
from hsa_compiler.export.plan import Generated, Part, generate, plan
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tuner.shapes import Shape, parse_shape

HOPPER = Target("triton", "sm_90")
ROW = hardware.of_arch("sm_90")
SHAPE = parse_shape("L=8192,Hq=16,H=1,D=128,S=64,K=32")


def build(problem: Problem, schedule: Schedule) -> Generated:
    return generate(problem, schedule, HOPPER)


@functools.cache
def parts_of(passes: str, shape: Shape = SHAPE) -> tuple[Part, ...]:
    return plan(shape, passes, HOPPER, ROW, build)


def test_the_groups_are_those_of_a_call() -> None:
    assert [part.name for part in parts_of("forward")] == ["retrieve", "attend"]
    assert [(part.direction, part.name) for part in parts_of("both")] == [
        ("forward", "retrieve"),
        ("forward", "invert_index"),
        ("forward", "attend"),
        ("backward", "attend_grad_q"),
        ("backward", "attend_grad_kv"),
        ("backward", "weigh_grad"),
        ("backward", "landmark_grad"),
    ]
    joint = SHAPE.resized(normalize="joint")
    assert [part.name for part in parts_of("both", joint)] == [
        "select",
        "invert_index",
        "attend",
        "attend_grad_q",
        "attend_grad_kv",
    ]


def test_an_inverse_index_comes_before_the_forward_kernel_that_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def choose(problem: Problem, *_: object) -> Choice:
        schedule = generic(problem.kind, "triton")
        if problem.kind == "attend":
            schedule = schedule.replace(order="chunk", combine="buffer")
        return Choice(schedule, "exact", None, 0.0, "given")

    monkeypatch.setattr(planning, "choose_schedule", choose)
    found = plan(SHAPE, "forward", HOPPER, ROW, build)
    assert [part.name for part in found] == ["retrieve", "invert_index", "attend"]
    assert found[-1].reads("order")


def test_a_schedule_that_does_not_fit_gives_way(caplog: pytest.LogCaptureFixture) -> None:
    refused: list[Schedule] = []

    def picky(problem: Problem, schedule: Schedule) -> Generated:
        if problem.kind == "attend" and len(refused) < 2:
            refused.append(schedule)
            raise IllegalSchedule("shared_memory", "needs too much")
        return build(problem, schedule)

    _, attend = plan(SHAPE, "forward", HOPPER, ROW, picky)
    assert len(set(refused)) == 2 and attend.choice.schedule not in refused
    assert attend.choice.tier == "generic" and "needs too much" in attend.choice.reason
    assert "using the schedule" in caplog.text


def test_no_schedule_that_fits_is_an_error() -> None:
    def refuse(problem: Problem, schedule: Schedule) -> Generated:
        raise IllegalSchedule("shared_memory", "needs too much")

    with pytest.raises(BackendError, match=r"no schedule of retrieve fits .* too much"):
        plan(SHAPE, "forward", HOPPER, ROW, refuse)


@pytest.mark.parametrize(("batch", "tokens", "kv_tokens"), [(1, 8192, 8192), (3, 77, 1000)])
def test_sizes_in_a_manifest_are_those_of_a_launch(batch: int, tokens: int, kv_tokens: int) -> None:
    dims = SHAPE.resized(B=batch, L=tokens, Lkv=kv_tokens).dims
    for part in parts_of("both"):
        kernels = part.tile.kernels
        sizes = [space.size for space in part.tile.workspaces]
        sizes += [size for kernel in kernels for size in kernel.grid]
        sizes += [scalar.size for kernel in kernels for scalar in kernel.scalars]
        for size in sizes:
            assert loader.evaluate(str(size), dims) == size.evaluate(dims), size


def test_atomic_adds_are_left_out_where_asked() -> None:
    def combines(deterministic: bool) -> set[str]:
        found = plan(SHAPE, "both", HOPPER, ROW, build, deterministic=deterministic)
        return {part.choice.schedule.combine for part in found}

    assert "atomic" in combines(False)
    assert "atomic" not in combines(True)
