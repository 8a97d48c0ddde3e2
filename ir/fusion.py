"""Groups the ops of a program into kernels.

before:  scores = score(q, landmarks); indices = select(scores, ..); slots = gather(scores, indices)
after:   select {scores = score(..); indices = select(scores, ..)}
         weigh  {scores = score(..); slots = gather(scores, indices); ..}

Each op's kernel stands in the op table; an op without one is recomputed in every kernel that
reads it, so its results never reach memory. What a kernel needs from another is its output there
and an input here.
"""

from __future__ import annotations

from collections.abc import Mapping

from .core import KernelGroup, Op, Program, Value, prune
from .errors import IRError
from .spec import GROUP_KINDS
from .verifier import verify


def fuse_groups(
    program: Program, merged: Mapping[str, str] | None = None
) -> tuple[KernelGroup, ...]:
    """The kernels of a program in the order in which they run.

    `merged` names kernels whose ops join an earlier one: {"weigh": "select"} makes retrieval one
    group. Each group's program is complete: its inputs are those of the whole program and outputs
    of earlier groups, by the same names. Raises IRError for an op that fits no group.
    """
    program = prune(verify(program))
    producer = {value.name: op for op in program.ops for value in op.results}
    for value in program.outputs:
        op = producer.get(value.name)
        if op is not None and op.spec.group is None:
            raise IRError(
                f"op {op.kind}: fits no kernel: its result {value.name} is an output "
                "of the program, and is never stored"
            )
    home = {kind: (merged or {}).get(kind, kind) for kind in GROUP_KINDS}
    members: dict[str, list[Op]] = {
        kind: [op for op in program.ops if op.spec.group and home[op.spec.group] == kind]
        for kind in GROUP_KINDS
    }
    for kind, ops in members.items():
        counted = [op.kind for op in ops if op.kind != "add"]
        for op_kind in counted:
            if counted.count(op_kind) > 1:
                raise IRError(
                    f"op {op_kind}: fits no kernel: expected one in a program "
                    f"(kernel {kind}), given {counted.count(op_kind)}"
                )
    # A row_dot alone is not worth a launch: the kernel that reads it computes it.
    recomputed = [op for op in program.ops if op.spec.group is None]
    for kind, ops in members.items():
        if ops and all(op.kind == "row_dot" for op in ops):
            recomputed += ops
            members[kind] = []
    bodies = {
        kind: _with_recomputed(ops, program, recomputed) for kind, ops in members.items() if ops
    }
    return tuple(
        KernelGroup(kind, _group_program(kind, members[kind], bodies, program)) for kind in bodies
    )


def _with_recomputed(ops: list[Op], program: Program, recomputed: list[Op]) -> list[Op]:
    """The ops and all of the recomputed ones they need, in the program's order."""
    needed = {value.name for op in ops for _, value in op.operands}
    found = list(ops)
    for op in reversed(program.ops):
        if op in recomputed and needed & {value.name for value in op.results}:
            found.append(op)
            needed |= {value.name for _, value in op.operands}
    return [op for op in program.ops if op in found]


def _group_program(
    kind: str, own: list[Op], bodies: dict[str, list[Op]], program: Program
) -> Program:
    ops = bodies[kind]
    made = {value.name for op in ops for value in op.results}
    read_elsewhere = {
        value.name
        for other, body in bodies.items()
        if other != kind
        for op in body
        for _, value in op.operands
    }
    wanted = read_elsewhere | {value.name for value in program.outputs}
    outputs = [value for op in own for value in op.results if value.name in wanted]
    inputs: dict[str, Value] = {
        value.name: value for op in ops for _, value in op.operands if value.name not in made
    }
    return verify(prune(Program(kind, tuple(inputs.values()), tuple(ops), tuple(outputs))))
