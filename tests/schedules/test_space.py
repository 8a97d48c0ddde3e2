"""Search spaces: what is legal, why not, and which schedules stand for the same kernel."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from hsa_compiler.schedules import hardware, kernel_knobs, legality, space
from hsa_compiler.schedules.defaults import GENERIC, generic
from hsa_compiler.schedules.moves import neighbours
from hsa_compiler.schedules.schedule import KERNELS, IllegalSchedule, Schedule
from tests.problems import make

H100 = hardware.named("nvidia_h100_80gb_hbm3")
RTX4090 = hardware.named("NVIDIA GeForce RTX 4090")


def test_every_kernel_and_back_end_has_knobs_and_a_default() -> None:
    assert set(kernel_knobs.KNOBS) == set(KERNELS)
    assert set(GENERIC) == set(itertools.product(KERNELS, kernel_knobs.BACKENDS))
    fields = {field.name for field in dataclasses.fields(Schedule)}
    for kernel in kernel_knobs.KNOBS.values():
        for backend in kernel_knobs.BACKENDS:
            assert set(kernel.names(backend)) <= fields


@pytest.mark.parametrize("backend", kernel_knobs.BACKENDS)
@pytest.mark.parametrize("kind", KERNELS)
def test_the_generic_default_is_legal(kind: str, backend: str) -> None:
    problem, _ = make(kind)
    space.check(problem, generic(kind, backend), backend, H100)


def test_generic_names_what_exists() -> None:
    with pytest.raises(
        KeyError, match="no generic schedule for kernel 'attend' on back end 'metal'"
    ):
        generic("attend", "metal")


@pytest.mark.parametrize("head_dim", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("chunk", [16, 32, 64, 128])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_a_legal_default_exists_on_the_smallest_gpu(head_dim: int, chunk: int, dtype: str) -> None:
    for kind in KERNELS:
        problem, _ = make(kind, head_dim=head_dim, chunk=chunk, dtype=dtype)
        found = space.legal_default(problem, "triton", RTX4090)
        space.check(problem, found, "triton", RTX4090)


@pytest.mark.parametrize(
    ("kind", "backend", "knobs", "reason", "text"),
    [
        (
            "attend",
            "triton",
            {"order": "chunk"},
            "combine",
            "give combine='buffer', or 'atomic' on a GPU",
        ),
        ("attend", "triton", {"window": 2048}, "combine", "only order=chunk has windows"),
        ("attend", "tvm", {"order": "chunk", "combine": "atomic"}, "knob", "'none', 'buffer'"),
        ("attend_grad_kv", "triton", {"combine": "buffer"}, "knob", "'none', 'atomic'"),
        ("attend", "triton", {"order": "union"}, "tokens", "union order has 2 tokens"),
        ("attend_grad_q", "tvm", {"tokens": 4}, "tokens", "the others have 1"),
        ("attend_grad_kv", "triton", {"order": "token"}, "order", "it has: chunk"),
        ("attend", "triton", {"split": 64}, "knob", "split=64 for attend on triton"),
        ("attend", "tvm", {"warps": 8}, "knob", "warps=8 for attend on tvm"),
        ("weigh", "triton", {"descriptors": "keys"}, "knob", "descriptors='keys' for weigh"),
        ("attend", "triton", {"descriptors": "keys"}, "descriptors", "with 16 rows of bf16"),
        (
            "attend_grad_q",
            "triton",
            {"order": "union", "tokens": 8, "warps": 2, "descriptors": "all"},
            "descriptors",
            "64 rows of bf16 or fp16 and 4 warps",
        ),
        ("select", "triton", {"tokens": 8}, "knob", "allowed: 1, 16, 32, 64, 128"),
        ("select", "triton", {"tokens": 1}, "parts", "16 rows at least"),
        ("attend", "triton", {"order": "union", "tokens": 4, "parts": 4}, "parts", "token order"),
        ("weigh", "triton", {"parts": 8}, "knob", "allowed: 0"),
        ("attend_grad_kv", "triton", {"split": 64}, "combine", "combine='atomic'"),
        ("attend_grad_kv", "triton", {"combine": "atomic"}, "combine", "split=0"),
        ("attend_grad_kv", "tvm", {"split": 64, "combine": "atomic"}, "knob", "allowed: 0"),
        ("attend_grad", "triton", {"combine": "none"}, "knob", "allowed: 'buffer', 'atomic'"),
        ("attend_grad", "triton", {"order": "union"}, "order", "it has: chunk"),
        ("attend_grad", "tvm", {"window": 2048}, "knob", "allowed: 0"),
        (
            "attend_grad_kv",
            "triton",
            {"split": 32, "pairs": 64, "combine": "atomic"},
            "split",
            "less than one step",
        ),
        ("attend", "triton", {"chunk_tile": 64}, "chunk_tile", "the chunk of 64"),
        ("attend", "metal", {}, "target", "known: triton, tvm, cuda"),
        ("attend", "cuda", {"descriptors": "all"}, "knob", "allowed: 'none'"),
    ],
)
def test_illegal_schedules_say_why(
    kind: str, backend: str, knobs: dict[str, object], reason: str, text: str
) -> None:
    problem, _ = make(kind)
    base = generic(kind, backend if backend in kernel_knobs.BACKENDS else "triton")
    with pytest.raises(IllegalSchedule, match=text) as caught:
        space.check(problem, base.replace(**knobs), backend)
    assert caught.value.kind == reason


def test_descriptors_need_a_copy_engine_and_rows_that_make_a_block() -> None:
    problem, _ = make("attend")
    schedule = Schedule(order="union", tokens=4, stages=3, descriptors="all")
    space.check(problem, schedule, "triton", H100)
    with pytest.raises(IllegalSchedule, match=r"RTX 4090 .*: needs sm_90 or newer") as caught:
        space.check(problem, schedule, "triton", RTX4090)
    assert caught.value.kind == "target"
    assert all(s.descriptors == "none" for s in space.feasible(problem, "triton", RTX4090))
    exact, _ = make("attend", dtype="fp32")
    with pytest.raises(IllegalSchedule, match="64 rows of fp32"):
        space.check(exact, schedule, "triton", H100)
    six, _ = make("attend", query_heads=6)
    wide = schedule.replace(tokens=16)
    with pytest.raises(IllegalSchedule, match="6 query heads a program") as caught:
        space.check(six, wide, "triton", H100)
    assert caught.value.kind == "descriptors"
    space.check(six, wide.replace(descriptors="keys"), "triton", H100)


def test_unions_are_not_prefetched_where_triton_cannot_compile_it() -> None:
    problem, _ = make("attend_grad_q")
    schedule = Schedule(order="union", tokens=4, stages=3)
    space.check(problem, schedule, "triton", H100)
    with pytest.raises(IllegalSchedule, match="stages=3 on sm_100"):
        space.check(problem, schedule, "triton", hardware.of_arch("sm_100"))


def test_no_more_chunks_than_can_be_ranked_are_shared_out() -> None:
    problem, _ = make("select", top_k=1024)
    with pytest.raises(IllegalSchedule, match="at most 512 chunks a row"):
        space.check(problem, Schedule(parts=256, chunk_block=16), "triton")
    assert all(not s.parts for s in space.feasible(problem, "triton"))


def test_a_program_that_does_not_fit_the_device_is_refused() -> None:
    problem, _ = make("attend", head_dim=256, chunk=128, dtype="fp32")
    whole = generic("attend", "triton")
    with pytest.raises(IllegalSchedule, match="RTX 4090 has 101376") as caught:
        space.check(problem, whole, "triton", RTX4090)
    assert caught.value.kind == "shared_memory"
    space.check(problem, whole, "triton")
    grads, _ = make("attend_grad_kv", head_dim=256, chunk=128)
    roomy = dataclasses.replace(H100, shared_per_block=1 << 20)
    with pytest.raises(IllegalSchedule, match="accumulator registers") as caught:
        space.check(grads, generic("attend_grad_kv", "triton"), "triton", roomy)
    assert caught.value.kind == "registers"


@pytest.mark.parametrize("backend", kernel_knobs.BACKENDS)
@pytest.mark.parametrize("kind", KERNELS)
def test_feasible_schedules_are_legal_and_distinct(kind: str, backend: str) -> None:
    problem, _ = make(kind)
    row = H100 if backend == "triton" else hardware.host_cpu()
    found = space.feasible(problem, backend, row)
    assert found
    assert len(set(found)) == len(found)
    for schedule in found[:: max(1, len(found) // 50)]:
        space.check(problem, schedule, backend, row)
        assert space.normal(problem, backend, schedule) == schedule
        values = kernel_knobs.knob_values(kind, backend, schedule)
        assert Schedule.from_json(values) == schedule


def test_the_axes_cover_the_feasible_space() -> None:
    problem, _ = make("attend_grad_kv")
    axes = {knob.name: knob for knob in kernel_knobs.knobs("attend_grad_kv", "triton")}
    assert set(axes) == {
        "pairs", "chunk_tile", "split", "window", "combine", "warps", "stages", "registers"
    }  # fmt: skip
    assert axes["pairs"].ordinal
    assert not axes["combine"].ordinal
    assert axes["warps"].doc
    for schedule in space.feasible(problem, "triton"):
        for name, knob in axes.items():
            assert getattr(schedule, name) in knob.choices


def test_neighbours_are_one_move_away_and_keep_split_with_combine() -> None:
    start = generic("attend_grad_kv", "triton")
    moves = neighbours("attend_grad_kv", "triton", start)
    assert start not in moves
    assert len(set(moves)) == len(moves)
    for move in moves:
        assert (move.split > 0 or move.window > 0) == (move.combine == "atomic")
        assert not (move.split and move.window)
    assert start.replace(warps=8) in moves
    assert start.replace(warps=1) not in moves
    assert start.replace(split=32, combine="atomic") in moves


@pytest.mark.parametrize("backend", kernel_knobs.BACKENDS)
def test_neighbours_of_all_gradients_are_legal(backend: str) -> None:
    start = generic("attend_grad", backend)
    moves = neighbours("attend_grad", backend, start)
    for move in moves:
        legality.check_knobs("attend_grad", move, backend)
    assert (start.replace(combine="atomic") in moves) == (backend != "tvm")
    # How parts of d_q meet and how chunks are shared out are two choices.
    assert (start.replace(window=2048) in moves) == (backend != "tvm")


@pytest.mark.parametrize("window", [0, 2048])
@pytest.mark.parametrize("combine", ["buffer", "atomic"])
def test_what_adds_atomically_can_be_had_without(combine: str, window: int) -> None:
    schedule = generic("attend_grad", "triton").replace(combine=combine, window=window)
    assert legality.adds_atomically("attend_grad", schedule) == (combine == "atomic" or window > 0)
    without = legality.without_atomics("attend_grad", schedule)
    assert not legality.adds_atomically("attend_grad", without)
    legality.check_knobs("attend_grad", without, "triton")
    # Parts in a buffer need none, however rows are shared out.
    queries = generic("attend_grad_q", "triton").replace(order="chunk", combine="buffer")
    assert not legality.adds_atomically("attend_grad_q", queries.replace(window=2048))


@pytest.mark.parametrize("kind", ["attend", "attend_grad_q"])
@pytest.mark.parametrize("backend", kernel_knobs.BACKENDS)
def test_moves_between_orders_take_their_knobs_along(kind: str, backend: str) -> None:
    start = generic(kind, backend)
    seen = {start}
    for _ in range(3):
        seen |= {move for point in seen for move in neighbours(kind, backend, point)}
    assert {point.order for point in seen} == {"token", "union", "chunk"}
    for point in seen:
        legality.check_knobs(kind, point, backend)


def test_normal_form_merges_equal_kernels() -> None:
    problem, _ = make("select", top_k=64)
    small = generic("select", "triton").replace(chunk_block=16)
    assert space.normal(problem, "triton", small).chunk_block == 64
    weigh, _ = make("weigh")
    wide = generic("weigh", "triton").replace(dim_block=256)
    assert space.normal(weigh, "triton", wide).dim_block == 128
    grads, _ = make("attend_grad_kv", query_heads=4, kv_heads=4)
    few = generic("attend_grad_kv", "triton").replace(pairs=1)
    assert space.normal(grads, "triton", few).pairs == 16


def test_a_borrowed_sub_tile_becomes_the_whole_chunk() -> None:
    problem, _ = make("attend", chunk=32)
    borrowed = generic("attend", "triton").replace(chunk_tile=64)
    assert space.adapted(problem, borrowed).chunk_tile == 0
    assert space.adapted(problem, borrowed.replace(chunk_tile=16)).chunk_tile == 16
