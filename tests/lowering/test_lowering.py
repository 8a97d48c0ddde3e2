"""Every kernel of every variant lowers to a valid tile program, or says why it cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hsa_compiler.compiler import lower_kernel
from hsa_compiler.errors import LoweringError, TileError
from hsa_compiler.ir import differentiate, fuse_groups, group_forms
from hsa_compiler.ir.programs import (
    AttentionOptions,
    RetrieveOptions,
    chunk_attention_program,
    retrieve_program,
)
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.kernel_knobs import KNOBS
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import KERNELS, IllegalSchedule, Schedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import For, Kernel, Size, Stmt, TileProgram
from hsa_compiler.tile.verify import check
from tests import problems

TARGETS = (Target("triton", "sm_90"), Target("tvm", "generic", 2))
DIMS = {"Hq": 6, "H": 2, "D": 32, "K": 5, "Hr": 2, "Hm": 2, "Dr": 48, "Hi": 2, "Hw": 2}

RETRIEVALS = [
    RetrieveOptions(5, 0.1, normalize=kind, bias=bias, rank_scale=rank, noise=bias)
    for kind, rank in (
        ("softmax", True),
        ("stick_breaking", False),
        ("softmax_off_by_one", False),
        ("lse_mix", True),
    )
    for bias in (False, True)
]
RETRIEVALS += [replace(o, own_indices=True, noise=False) for o in RETRIEVALS[::2]]
ATTENTIONS = [
    AttentionOptions(64, 0.1, joint=joint, local=local, packed=packed, query_block=block)
    for joint in (False, True)
    for local in (False, True)
    for packed, block in ((False, 1), (True, 1), (False, 8))
]


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("options", [*RETRIEVALS, *ATTENTIONS], ids=repr)
def test_every_variant_lowers_forward_and_backward(
    options: RetrieveOptions | AttentionOptions, target: Target
) -> None:
    if isinstance(options, RetrieveOptions):
        program = retrieve_program(options)
    else:
        program = chunk_attention_program(options)
    # Backward passes are built from programs that name their index heads.
    own = isinstance(options, RetrieveOptions) and options.own_indices
    for part in (program,) if own else (program, differentiate(program)):
        for group in fuse_groups(part):
            schedules = [generic(group.kind, target.backend)]
            if "top_k" in KNOBS[group.kind].names(target.backend):
                schedules.append(schedules[0].replace(top_k="threshold", chunk_block=64))
            for schedule in schedules:
                tile = lower_kernel(Problem.of(group, DIMS), schedule, target)
                bound = set(tile.bindings.values())
                for value in group.program.outputs:
                    assert value.name in bound, f"{group.kind} never writes {value.name}"


def test_tiles_are_padded_to_powers_of_two_only_where_the_target_asks_for_it() -> None:
    problem, _ = problems.make("attend", query_heads=3, kv_heads=1)
    schedule = generic("attend", "triton")
    assert 4 in _rows(lower_kernel(problem, schedule, TARGETS[0]).kernels[0])
    assert 4 not in _rows(lower_kernel(problem, schedule, TARGETS[1]).kernels[0])


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("options", ATTENTIONS, ids=repr)
@pytest.mark.parametrize("combine", ["buffer", "atomic"])
@pytest.mark.parametrize("tile", [0, 16])
def test_every_variant_lowers_in_chunk_order(
    options: AttentionOptions, target: Target, combine: str, tile: int
) -> None:
    program = chunk_attention_program(replace(options, inverse=True))
    for part in (program, differentiate(program)):
        for group in (group for form in group_forms(part).values() for group in form):
            if group.kind not in ("attend", "attend_grad_q", "attend_grad"):
                continue
            schedule = generic(group.kind, target.backend).replace(
                order="chunk", combine=combine, chunk_tile=tile
            )
            problem = Problem.of(group, DIMS)
            if combine == "atomic" and (
                target.backend == "tvm" or (options.joint and group.kind == "attend")
            ):
                with pytest.raises(IllegalSchedule, match="buffer"):
                    lower_kernel(problem, schedule, target)
                continue
            bound = set(lower_kernel(problem, schedule, target).bindings.values())
            assert {value.name for value in group.program.outputs} <= bound
            assert {"order", "offsets"} <= bound


def _rows(kernel: Kernel) -> set[int]:
    def visit(body: tuple[Stmt, ...]) -> set[int]:
        found = set()
        for stmt in body:
            if isinstance(stmt, For):
                found |= visit(stmt.body)
            elif hasattr(stmt, "var") and stmt.var.shape:
                found.add(stmt.var.shape[0])
        return found

    return visit(kernel.body)


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        ("attend", {"order": "chunk"}, "combine"),
        ("attend_grad_q", {"order": "chunk"}, "combine"),
        ("attend_grad_kv", {"order": "token"}, "order"),
        ("attend_grad_kv", {"split": 64}, "combine"),
        ("attend_grad_kv", {"combine": "atomic"}, "combine"),
        ("attend_grad", {"order": "token", "combine": "none"}, "order"),
        ("attend_grad", {"combine": "none"}, "combine"),
        ("landmark_grad", {"split": 64, "combine": "buffer"}, "combine"),
    ],
)
def test_a_schedule_without_a_lowering_is_illegal_and_says_why(
    kind: str, change: dict[str, object], reason: str
) -> None:
    problem, _ = problems.make(kind)
    schedule = generic(kind, "triton").replace(**change)
    with pytest.raises(IllegalSchedule) as caught:
        lower_kernel(problem, schedule, TARGETS[0])
    assert caught.value.kind == reason
    assert kind in caught.value.message


def test_gradients_of_score_heads_with_their_own_indices_lower() -> None:
    options = RetrieveOptions(5, 0.1, inverse=True, own_indices=True)
    backward = differentiate(retrieve_program(options), of=["weights"])
    for group in fuse_groups(backward):
        own = {name: size for name, size in DIMS.items() if name != "Hi"}
        lower_kernel(Problem.of(group, own), generic(group.kind, "triton"), TARGETS[0])


def test_chunk_order_needs_an_inverse_index() -> None:
    (group,) = fuse_groups(chunk_attention_program(AttentionOptions(64, 0.1)))
    schedule = generic("attend", "triton").replace(order="chunk", combine="buffer")
    with pytest.raises(IllegalSchedule, match="needs an inverse index"):
        lower_kernel(Problem.of(group, DIMS), schedule, TARGETS[0])


@pytest.mark.parametrize(
    ("kind", "shared"),
    [
        ("attend_grad_kv", {"split": 64, "combine": "atomic"}),
        ("attend_grad_kv", {"window": 1024, "combine": "atomic"}),
        ("attend_grad", {"window": 2048}),
    ],
)
def test_programs_of_a_cpu_cannot_add_into_shared_memory(
    kind: str, shared: dict[str, object]
) -> None:
    problem, _ = problems.make(kind)
    schedule = generic(kind, "tvm").replace(**shared)
    with pytest.raises(IllegalSchedule, match="split=0 and window=0"):
        lower_kernel(problem, schedule, TARGETS[1])


@pytest.mark.parametrize("target", [Target("triton", "sm_89"), TARGETS[1]], ids=str)
@pytest.mark.parametrize("kind", ["attend", "attend_grad_q"])
def test_targets_without_a_copy_engine_refuse_descriptors(kind: str, target: Target) -> None:
    problem, _ = problems.make(kind)
    schedule = generic(kind, target.backend).replace(descriptors="keys")
    with pytest.raises(IllegalSchedule, match=r"sm_90 or newer.*descriptors='none'") as caught:
        lower_kernel(problem, schedule, target)
    assert caught.value.kind == "target"


def test_a_block_of_query_rows_has_a_power_of_two_of_heads() -> None:
    problem, _ = problems.make("attend", query_heads=6)
    schedule = Schedule(order="union", tokens=4, descriptors="all")
    with pytest.raises(IllegalSchedule, match=r"6 query heads a program.*'none', 'keys'"):
        lower_kernel(problem, schedule, TARGETS[0])


def test_a_chunk_tile_must_divide_the_chunk() -> None:
    problem, _ = problems.make("attend", chunk=16)
    with pytest.raises(IllegalSchedule, match="does not divide the chunk 16"):
        lower_kernel(problem, Schedule(chunk_tile=32), TARGETS[0])


def test_heads_that_do_not_divide_each_other_have_no_lowering() -> None:
    group = problems.groups(32, 64, "bf16")["attend"]
    problem = Problem.of(group, {**DIMS, "Hq": 6, "H": 4, "Hi": 4, "K": 32})
    with pytest.raises(LoweringError, match="6 query heads, 4 KV heads"):
        lower_kernel(problem, Schedule(), TARGETS[0])


def test_every_kernel_kind_has_a_lowering() -> None:
    assert set(KERNELS) == set(problems.groups(32, 64, "bf16"))


def test_sizes_evaluate_and_print() -> None:
    size = (Size.of("R") * 3).cdiv(16).at_least(1)
    assert size.evaluate({"R": 11}) == 3
    assert size.evaluate({"R": 0}) == 1
    assert str(size) == "max(cdiv((R * 3), 16), 1)"
    assert Size.of("C").bits().evaluate({"C": 8}) == 4


class TestVerify:
    def test_a_variable_of_a_loop_is_not_visible_after_it(self) -> None:
        b = TileBuilder("k")
        out = b.pointer("out", "i32")
        with b.loop(0, 4) as loop:
            inside = loop.index + 1
        b.store(out, inside, 1)
        program = TileProgram((b.finish((1,)),), {"out": "out"})
        with pytest.raises(TileError, match="used where it is not assigned"):
            check(program)

    def test_an_unbound_pointer_is_named(self) -> None:
        b = TileBuilder("k")
        b.store(b.pointer("out", "i32"), b.program_id(0, "i"), 1)
        with pytest.raises(TileError, match="pointer out is bound to nothing"):
            check(TileProgram((b.finish((1,)),), {}))

    def test_an_unbound_descriptor_is_named(self) -> None:
        b = TileBuilder("k")
        blocks = b.descriptor(b.pointer("x", "bf16"), (32,), (16, 32))
        b.store(b.pointer("out", "bf16"), b.arange(16).as_column, b.load_block(blocks, (0, 0)))
        with pytest.raises(TileError, match="pointer x is bound to nothing"):
            check(TileProgram((b.finish((1,)),), {"out": "out"}))

    def test_the_builder_refuses_blocks_that_do_not_fit(self) -> None:
        b = TileBuilder("k")
        x = b.pointer("x", "bf16")
        with pytest.raises(TileError, match="block \\(16,\\)"):
            b.descriptor(x, (32,), (16,))
        blocks = b.descriptor(x, (32,), (16, 32))
        assert b.descriptor(x, (32,), (16, 32)) is blocks
        with pytest.raises(TileError, match="x is read as"):
            b.descriptor(x, (32,), (8, 32))
        with pytest.raises(TileError, match="x has 2 axes, got 1"):
            b.load_block(blocks, (0,))
        with pytest.raises(TileError, match="needed i32"):
            b.load_block(blocks, (b.arange(16), 0))
        with pytest.raises(TileError, match="no descriptor of other"):
            TileBuilder("other").load_block(blocks, (0, 0))

    def test_a_tensor_that_is_read_in_blocks_alone_is_no_pointer(self) -> None:
        b = TileBuilder("k")
        x, out = b.pointer("x", "bf16"), b.pointer("out", "bf16")
        b.store(out, b.arange(16).as_column, b.load_block(b.descriptor(x, (32,), (16, 32)), (0, 0)))
        kernel = b.finish((1,))
        assert kernel.pointers == (out,)
        assert [d.name for d in kernel.descriptors] == ["x"]

    def test_the_builder_refuses_shapes_and_dtypes_that_do_not_fit(self) -> None:
        b = TileBuilder("k")
        a = b.full((4, 8), 0.0, "fp32")
        with pytest.raises(TileError, match="dot of"):
            b.dot(a, b.full((4, 8), 0.0, "fp32"))
        with pytest.raises(TileError, match="do not broadcast"):
            a + b.full((3, 8), 0.0, "fp32")
        with pytest.raises(TileError, match="cast one of them"):
            a + b.full((4, 8), 0, "i32")
        with pytest.raises(TileError, match="loop carries"):
            with b.loop(0, 4, carry=[("b_a", a)]) as loop:
                loop.yield_(b.full((4, 8), 0, "i32"))
        with pytest.raises(TileError, match="repeat_while needs a scalar bool"):
            with b.repeat_while(a > 0.0):
                pass
        with pytest.raises(TileError, match="loop carries 1 values, yields 0"):
            with b.repeat_while(b.scalar("n") > 0):
                pass
        with pytest.raises(TileError, match="along axis 2"):
            b.cumsum(a, 2)

    def test_what_a_while_loop_makes_is_not_visible_after_it(self) -> None:
        b = TileBuilder("k")
        out = b.pointer("out", "i32")
        with b.repeat_while(b.scalar("n") > 0) as loop:
            inside = b.program_id(0, "i")
            loop.yield_(inside > 0)
        b.store(out, inside, 1)
        with pytest.raises(TileError, match="used where it is not assigned"):
            check(TileProgram((b.finish((1,)),), {"out": "out"}))
