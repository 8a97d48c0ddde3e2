"""Chunk order on a CPU: programs that own a window of rows and add its parts in memory."""

from __future__ import annotations

import pytest

from hsa_compiler.compiler import compile_kernel
from hsa_compiler.schedules import cost_model, hardware, legality, space
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.moves import neighbours
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tuner.effort import EFFORTS
from hsa_compiler.tuner.kernel_bench import BenchTask, KernelBench
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.workload import Task
from tests.problems import make

KINDS = ("attend", "attend_grad_q", "attend_grad")
#: A whole window of 512 rows and a part of one.
SHAPE = Shape("windows", L=600, Hq=4, H=2, D=16, S=16, K=4, dtype="fp32")
#: Every query head chooses for itself: four programs share each KV head.
PER_QUERY_HEAD = {"H": 1, "Hr": 4, "Hm": 4, "Hi": 4, "Hw": 4}


def owned(kind: str, **knobs: object) -> Schedule:
    copies = 4 if kind == "attend_grad" else 0
    given = {"order": "chunk", "combine": "owned", "window": 512, "pairs": 4, "copies": copies}
    given |= knobs
    return generic(kind, "tvm").replace(**given)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lanes", ["rows", "cols"])
@pytest.mark.parametrize("sizes", [{}, {"dtype": "bf16"}, {"S": 32, "chunk_tile": 16}])
def test_results_pass_the_gate(kind: str, lanes: str, sizes: dict[str, object]) -> None:
    knobs = {name: sizes[name] for name in ("chunk_tile",) if name in sizes}
    if kind == "attend_grad" and knobs:
        pytest.skip("programs that share a chunk's sub-tiles cannot own its rows")
    shape = SHAPE.resized(**{name: x for name, x in sizes.items() if name != "chunk_tile"})
    bench = KernelBench(compile_kernel)
    bench.setup(BenchTask(Task(kind, shape, "cpu"), EFFORTS["quick"]))
    # A wrong result raises: against float64, with rows that chose nothing and some twice the same.
    _, error = bench.evaluate(owned(kind, lanes=lanes, **knobs), None, lambda _: None)
    assert error < (1e-5 if shape.dtype == "fp32" else 1e-2)


@pytest.mark.parametrize("copies", [4, 32])
@pytest.mark.parametrize("sizes", [{}, {"normalize": "joint"}, PER_QUERY_HEAD, {"dtype": "bf16"}])
def test_copies_of_sums_add_up(sizes: dict[str, object], copies: int) -> None:
    """Five windows: two programs of four have two of them, one has one, the last none."""
    task = Task("attend_grad", SHAPE.resized(L=2200, **sizes), "cpu")
    bench = KernelBench(compile_kernel)
    bench.setup(BenchTask(task, EFFORTS["quick"]))
    _, error = bench.evaluate(owned("attend_grad", copies=copies), None, lambda _: None)
    assert error < (1e-5 if task.shape.dtype == "fp32" else 1e-2)


def test_copies_belong_to_programs_that_own_rows() -> None:
    problem, _ = make("attend_grad")
    cpu = hardware.detect("cpu")
    buffer = {"combine": "buffer", "window": 0}
    for changes in ({"copies": 0}, buffer):
        with pytest.raises(IllegalSchedule, match="copies of the sums over chunks"):
            space.check(problem, owned("attend_grad", **changes), "tvm", cpu)
    with pytest.raises(IllegalSchedule, match="give chunk_tile=0"):
        space.check(problem, owned("attend_grad", chunk_tile=16), "tvm", cpu)
    schedule = owned("attend_grad")
    assert not legality.adds_atomically("attend_grad", schedule)
    moves = neighbours("attend_grad", "tvm", schedule)
    assert schedule.replace(copies=32) in moves
    for move in (
        *moves,
        *neighbours("attend_grad", "tvm", owned("attend_grad", **buffer, copies=0)),
    ):
        legality.check_knobs("attend_grad", move, "tvm")


@pytest.mark.parametrize("kind", KINDS)
def test_windows_and_their_owners_come_together(kind: str) -> None:
    problem, _ = make(kind)
    cpu = hardware.detect("cpu")
    for changes, reason in (
        ({"window": 0}, "window > 0"),
        ({"combine": "buffer", "copies": 0}, "combine='owned'"),
        ({"window": 2048}, "allowed: 0, 512"),
    ):
        with pytest.raises(IllegalSchedule, match=reason):
            space.check(problem, owned(kind, **changes), "tvm", cpu)
    with pytest.raises(IllegalSchedule, match="on triton; allowed: "):
        space.check(problem, owned(kind, window=2048), "triton")
    buffer = generic(kind, "tvm").replace(order="chunk", combine="buffer")
    for schedule in (owned(kind), buffer):
        moves = [m for m in neighbours(kind, "tvm", schedule) if m.order == "chunk"]
        assert all((m.combine == "owned") == (m.window > 0) for m in moves)
        assert {m.combine for m in moves} == {"owned", "buffer"}


def test_parts_of_a_joint_softmax_cannot_be_added() -> None:
    task = Task("attend", SHAPE.resized(normalize="joint"), "cpu")
    with pytest.raises(IllegalSchedule, match="give combine='buffer'"):
        space.check(task.problem, owned("attend"), "tvm")


def test_they_are_planned_where_neighbours_choose_apart() -> None:
    shape = Shape("heads", L=8192, Hq=16, H=8, D=64, S=64, K=16, dtype="fp32")
    task = Task("attend", shape, "cpu", "random")
    cpu = hardware.detect("cpu")
    for union, order in ((1.1, "union"), (5.0, "chunk")):
        plan = cost_model.planned(task.problem, task.sizes, cpu, union, "tvm")
        assert plan.order == order
