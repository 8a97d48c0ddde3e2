"""Selection and weights on TVM: exact by merging; what needs a GPU's program is refused."""

from __future__ import annotations

import pytest

from hsa_compiler.codegen import tvm
from hsa_compiler.compiler import lower_kernel
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tile.builder import TileBuilder
from tests import problems
from tests.retrieval import KINDS, Case, check
from tests.tvm.harness import build

MERGE = Schedule(tokens=16, chunk_block=16, dim_block=32, lanes="rows", unroll=4)
OWN = (("own_indices", True),)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_the_scores_are(kind: str) -> None:
    check(Case(5, 70, kind, batch=2, options=OWN), MERGE, tvm.host_target(2))


@pytest.mark.parametrize("normalize", ["softmax", "stick_breaking", "lse_mix"])
def test_weights_of_forced_chunks(normalize: str) -> None:
    options = (*OWN, ("normalize", normalize), ("bias", True), ("force_first", 1))
    case = Case(7, 30, "ties", 2, 2, 4, options=options)
    assert check(case, MERGE, tvm.host_target(2)) == 2


@pytest.mark.parametrize("kind", ["select", "retrieve"])
def test_thresholds_need_while_loops(kind: str) -> None:
    problem, _ = problems.make(kind, dtype="fp32")
    with pytest.raises(IllegalSchedule, match="use top_k='merge'") as caught:
        lower_kernel(problem, MERGE.replace(top_k="threshold"), tvm.host_target(2))
    assert caught.value.kind == "target"


def test_the_printer_refuses_what_it_does_not_have() -> None:
    def while_loop(b: TileBuilder) -> None:
        steps = b.full((), 0, "i32", "steps")
        with b.repeat_while(steps < 3, carry=[("steps", steps)]) as loop:
            more = loop.carried[0] + 1
            loop.yield_(more, more < 3)
        b.store(b.pointer("out", "i32"), b.full((), 0, "i32"), loop.carried[0])

    def running_sums(b: TileBuilder) -> None:
        x = b.full((4, 8), 1.0, "fp32")
        offsets = b.arange(4).as_column * 8 + b.arange(8).as_row
        b.store(b.pointer("out", "fp32"), offsets, b.cumsum(x, 1))

    for body, what in ((while_loop, "while loops"), (running_sums, "running sums")):
        with pytest.raises(IllegalSchedule, match=what):
            tvm.generate(build(body, (1,)), Schedule(), tvm.host_target(2))
