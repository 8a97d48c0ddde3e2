"""Groups the ops of a program into kernels.

before:  scores = score(q, landmarks); indices = select(scores, ..); slots = gather(scores, indices)
after:   select {scores = score(..); indices = select(scores, ..)}
         weigh  {scores = score(..); slots = gather(scores, indices); ..}
or:      retrieve {scores = score(..); indices = select(scores, ..); slots = gather(..); ..}

The second where the scores of the chosen chunks are what they were chosen by: every score head has
indices of its own, and neither noise nor a row's LSE changes the ranking.

before:  d_q = attend_grad_q(.., order, offsets, d_parts); d_k, d_v = attend_grad_kv(.., d_parts)
split:   attend_grad_q {d_parts = ..; d_q = attend_grad_q(..)}
         attend_grad_kv {d_parts = ..; d_k, d_v = attend_grad_kv(..)}
fused:   attend_grad {d_parts = ..; d_q = attend_grad_q(..); d_k, d_v = attend_grad_kv(..)}

Both forms of the gradients of attention are kept, where a program has both of them and an inverse
index, which a kernel that gives both walks: which one is faster depends on sizes and device, so
whoever runs the program chooses (`group_forms`).

Each op's kernel stands in the op table; an op without one is recomputed in every kernel that
reads it, so its results never reach memory. What a kernel needs from another is its output there
and an input here.
"""

from __future__ import annotations

from .core import KernelGroup, Op, Program, Value, prune, with_dims
from .errors import IRError
from .spec import GROUP_KINDS
from .verifier import verify

#: Kernels that have score heads.
_SCORING = ("retrieve", "select", "weigh", "weigh_grad", "landmark_grad")
#: Forms of a program: the gradients of attention as two kernels, or as one.
FORMS = ("split", "fused")


def group_forms(program: Program) -> dict[str, tuple[KernelGroup, ...]]:
    """The kernels of a program in each form that it has, by the names of `FORMS`."""
    program = prune(verify(program))
    forms = FORMS if _has_both_gradients(program) else FORMS[:1]
    return {form: fuse_groups(program, form) for form in forms}


def fuse_groups(program: Program, form: str = "split") -> tuple[KernelGroup, ...]:
    """The kernels of a program in the order in which they run, in one of `FORMS`.

    Each group's program is complete: its inputs are those of the whole program and outputs of
    earlier groups, by the same names. Raises IRError for an op that fits no group, and for a form
    that the program does not have.
    """
    program = prune(verify(program))
    if form not in FORMS:
        raise IRError(f"no form {form!r} of a program; there are: {', '.join(FORMS)}")
    if form == "fused" and not _has_both_gradients(program):
        raise IRError(
            f"program {program.name} has no fused form: expected attend_grad_q and attend_grad_kv "
            "of the same operands, both with an inverse index"
        )
    producer = {value.name: op for op in program.ops for value in op.results}
    for value in program.outputs:
        op = producer.get(value.name)
        if op is not None and op.spec.group is None:
            raise IRError(
                f"op {op.kind}: fits no kernel: its result {value.name} is an output "
                "of the program, and is never stored"
            )
    members = {kind: [op for op in program.ops if op.spec.group == kind] for kind in GROUP_KINDS}
    if _selects_by_scores(program):
        members["retrieve"] = members.pop("select") + members.pop("weigh")
    if form == "fused":
        both = members.pop("attend_grad_q") + members.pop("attend_grad_kv")
        members["attend_grad"] = [op for op in program.ops if op in both]
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
    groups = []
    for kind in bodies:
        group = _group_program(kind, members[kind], bodies, program)
        if kind not in _SCORING:
            # Index heads are Hi here also where they are the score heads, so that equal kernels
            # are equal.
            group = with_dims(group, {"Hr": "Hi"})
        groups.append(KernelGroup(kind, group))
    return tuple(groups)


def _selects_by_scores(program: Program) -> bool:
    """Whether selection and weights may be one kernel (see the module text)."""
    select, gather = program.find("select"), program.find("gather")
    if select is None or gather is None or program.find("normalize") is None:
        return False
    if select.operand("seed") is not None or select.operand("row_lse") is not None:
        return False
    heads = select["scores"].type.shape[2]
    return gather["indices"] == select.results[0] and select.results[0].type.shape[2] == heads


def _has_both_gradients(program: Program) -> bool:
    """Whether the gradients of attention may be one kernel (see the module text)."""
    queries, keys = program.find("attend_grad_q"), program.find("attend_grad_kv")
    if queries is None or keys is None:
        return False
    given = dict(queries.operands)
    del given["indices"]
    return given == dict(keys.operands) and queries.attrs == keys.attrs


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
    kind: str, members: list[Op], bodies: dict[str, list[Op]], program: Program
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
    outputs = [value for op in ops if op in members for value in op.results if value.name in wanted]
    inputs: dict[str, Value] = {
        value.name: value for op in ops for _, value in op.operands if value.name not in made
    }
    return verify(prune(Program(kind, tuple(inputs.values()), tuple(ops), tuple(outputs))))
