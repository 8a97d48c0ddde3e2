"""The backward program: one gradient rule per op; an op without one raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .builder import Builder
from .core import Op, Program, Value, make_op, prune, rename
from .dims import Dim
from .errors import IRError
from .verifier import verify

Gradients = dict[str, Value | None]
# Given the op and the gradients of its results (None: none arrives), emits gradient ops and
# returns the gradients of its operands. Gradients that nobody wants may be left out.
Rule = Callable[["Backward", Op, Gradients], Gradients]
RULES: dict[str, Rule] = {}
NOT_DIFFERENTIABLE = ("select",)  # stops gradients on purpose
SAVED_ONLY = ("total_lse",)  # results kept for the backward pass, which take no gradient


def differentiate(
    program: Program, wrt: Sequence[str] | None = None, of: Sequence[str] | None = None
) -> Program:
    """The program that computes d_<input> for the inputs `wrt`.

    `of` are the outputs whose gradients d_<output> are inputs of the new program (default: all
    that can have one); `wrt` defaults to every input that a gradient reaches. Its other inputs
    are the forward inputs and results it reads (see `saved_for_backward`); ops that are never
    stored, such as `score` and `attend`, are recomputed.
    Raises IRError for an op without a rule, and for an input that no gradient reaches.
    """
    verify(program)
    active = _reached_from([v.name for v in program.inputs if v.type.is_float], program)
    able = [v.name for v in program.outputs if v.name in active and v.name not in SAVED_ONLY]
    for name in of or ():
        if name not in able:
            raise IRError(
                f"program {program.name}: expected outputs to differentiate among "
                f"{', '.join(able)}, given {name}"
            )
    backward = Backward(program, wrt, tuple(able if of is None else of))
    return backward.build()


def saved_for_backward(program: Program, backward: Program) -> tuple[str, ...]:
    """Names of the results of `program` that `backward` reads as inputs."""
    results = [value.name for op in program.ops for value in op.results]
    read = {value.name for value in backward.inputs}
    return tuple(name for name in results if name in read)


class Backward:
    """Builds one backward program; rules emit their ops through it."""

    def __init__(self, program: Program, wrt: Sequence[str] | None, of: tuple[str, ...]) -> None:
        names = [value.name for value in program.inputs]
        for name in wrt or ():
            if name not in names:
                raise IRError(
                    f"program {program.name}: expected inputs to differentiate with "
                    f"respect to among {', '.join(names)}, given {name}"
                )
        self.program = program
        self.wrt = wrt
        self.of = of
        self.b = Builder(f"{program.name}_backward")
        self.active = _reached_from(
            [v.name for v in program.inputs if v.type.is_float] if wrt is None else wrt, program
        )
        self._producer = {v.name: op for op in program.ops for v in op.results}
        self._available: dict[str, Value] = {}
        self._inverse: dict[str, tuple[Value, Value]] = {}
        self._grads: dict[str, list[Value]] = {}

    def build(self) -> Program:
        values = self.program.values
        for name in self.of:
            grad = self.b.input(f"d_{name}", values[name].type.dtype, values[name].type.shape)
            self._grads[name] = [grad]
        for op in reversed(self.program.ops):
            self._differentiate_op(op)
        outputs: dict[str, Value] = {}
        for name in [value.name for value in self.program.inputs]:
            if self.wrt is not None and name not in self.wrt:
                continue
            total = self._total(name)
            if total is not None:
                outputs[name] = total
            elif self.wrt is not None:
                raise IRError(
                    f"program {self.program.name}: no gradient reaches input {name} "
                    f"from {', '.join(self.of)}"
                )
        program = prune(
            Program(self.b.name, tuple(self.b.inputs), tuple(self.b.ops), tuple(outputs.values()))
        )
        return verify(_named_after(program, {v.name: f"d_{n}" for n, v in outputs.items()}))

    # ------------------------------------------------------------------- for the rules
    def wants(self, value: Value | None) -> bool:
        """Whether a gradient of this forward value leads to one of the inputs asked for."""
        return value is not None and value.name in self.active

    def forward(self, value: Value) -> Value:
        """A forward value in the backward program: an input of it, or recomputed."""
        if value.name not in self._available:
            op = self._producer.get(value.name)
            if op is None or op.spec.group is not None:
                self._available[value.name] = self.b.add_input(value)
            else:
                operands = {name: self.forward(v) for name, v in op.operands}
                self.b.append(make_op(op.kind, operands, op.results, dict(op.attrs)))
                self._available.update({v.name: v for v in op.results})
        return self._available[value.name]

    def operands(self, op: Op, *names: str) -> dict[str, Any]:
        """Those operands of a forward op that are present, by name, in the backward program."""
        return {name: self.forward(value) for name, value in op.operands if name in names}

    def inverse(self, indices: Value, chunks: Dim) -> tuple[Value, Value]:
        """order and offsets of a selection: the forward pass's, else computed once."""
        if indices.name not in self._inverse:
            forward = [op for op in self.program.ops if op.kind == "invert_index"]
            made = [op.results for op in forward if op["indices"] == indices]
            if made:
                order, offsets = (self.forward(value) for value in made[0])
            else:
                op = self.b.op("invert_index", indices=self.forward(indices), dims={"C": chunks})
                order, offsets = op.results
            self._inverse[indices.name] = (order, offsets)
        return self._inverse[indices.name]

    # ------------------------------------------------------------------------ internals
    def _differentiate_op(self, op: Op) -> None:
        names = [
            pattern.name
            for pattern in op.spec.results_of({name for name, _ in op.operands}, op.all_attrs)
        ]
        if op.kind in NOT_DIFFERENTIABLE or not any(self.wants(v) for _, v in op.operands):
            return
        grads = {
            name: self._total(value.name) for name, value in zip(names, op.results, strict=True)
        }
        if all(grad is None for grad in grads.values()):
            return
        if op.kind not in RULES:
            raise IRError(f"op {op.kind}: has no gradient rule")
        for name, grad in RULES[op.kind](self, op, grads).items():
            operand = op.operand(name)
            if operand is not None and grad is not None and self.wants(operand):
                self._grads.setdefault(operand.name, []).append(grad)

    def _total(self, name: str) -> Value | None:
        grads = self._grads.get(name, [])
        while len(grads) > 1:
            grads[:2] = [self.b.emit("add", a=grads[0], b=grads[1], names={"sum": f"d_{name}"})]
        return grads[0] if grads else None


def _reached_from(names: Sequence[str], program: Program) -> set[str]:
    reached = set(names)
    for op in program.ops:
        if op.kind not in NOT_DIFFERENTIABLE and any(v.name in reached for _, v in op.operands):
            reached |= {v.name for v in op.results if v.type.is_float}
    return reached


def _named_after(program: Program, names: Mapping[str, str]) -> Program:
    """Renames values, moving whoever holds one of the new names out of the way."""
    taken = {
        new: f"{new}_part" for new in names.values() if new in program.values and new not in names
    }
    return rename(program, {**taken, **names})


# ------------------------------------------------------------------------------------ rules
def rule(kind: str) -> Callable[[Rule], Rule]:
    """Registers the gradient rule of an op kind."""

    def register(function: Rule) -> Rule:
        RULES[kind] = function
        return function

    return register


@rule("score")
def _score(g: Backward, op: Op, grads: Gradients) -> Gradients:
    q, landmarks, bias = op["q"], op["landmarks"], op.operand("bias")
    d_scores, scale = grads["scores"], op.attr("scale")
    found: Gradients = {}
    if g.wants(q):
        found["q"] = g.b.emit(
            "score_grad_q",
            d_scores=d_scores,
            scale=scale,
            landmarks=g.forward(landmarks),
            names={"d_q": f"d_{q.name}"},
        )
    if g.wants(landmarks) or g.wants(bias):
        scores = op.results[0]
        order, offsets = g.inverse(_selection_of(g, scores), scores.type.shape[3])
        grad = g.b.op(
            "score_grad_landmarks",
            d_scores=d_scores,
            q=g.forward(q),
            order=order,
            offsets=offsets,
            scale=scale,
            bias=g.wants(bias),
            dims={"Hm": landmarks.type.shape[2]},
            names={
                "d_landmarks": f"d_{landmarks.name}",
                "d_bias": f"d_{bias.name}" if bias else "d_bias",
            },
        )
        found.update(landmarks=grad.result("d_landmarks"), bias=grad.result("d_bias"))
    return found


def _selection_of(g: Backward, scores: Value) -> Value:
    """The indices through which gradients reach the scores."""
    found = {
        op["indices"] for op in g.program.ops if op.kind == "gather" and op["scores"] == scores
    }
    if len(found) != 1:
        raise IRError(
            f"op score: result {scores.name}: expected to be gathered by one "
            f"selection, given {len(found)}"
        )
    return found.pop()


@rule("gather")
def _gather(g: Backward, op: Op, grads: Gradients) -> Gradients:
    scores = op["scores"]
    return {
        "scores": g.b.emit(
            "scatter_add",
            d_slots=grads["slots"],
            indices=g.forward(op["indices"]),
            dims={"C": scores.type.shape[3]},
            names={"d_scores": f"d_{scores.name}"},
        )
    }


@rule("normalize")
def _normalize(g: Backward, op: Op, grads: Gradients) -> Gradients:
    logits, kind = op["logits"], op.attr("kind")
    saved = [g.forward(value) for value in op.results]  # weights and, if mixed, local_weight
    grad = g.b.op(
        "normalize_grad",
        kind=kind,
        weights=saved[0],
        d_weights=grads["weights"],
        logits=g.forward(logits) if kind == "stick_breaking" else None,
        local_weight=saved[1] if kind == "lse_mix" else None,
        d_local_weight=grads.get("local_weight"),
        rank_scale=g.wants(op.operand("rank_scale")),
        dims={"Hx": logits.type.shape[2]},
        names={"d_logits": f"d_{logits.name}"},
    )
    return {
        "logits": grad.result("d_logits"),
        "rank_scale": grad.result("d_rank_scale"),
        "local_lse": grad.result("d_local_lse"),
    }


@rule("attend")
def _attend(g: Backward, op: Op, grads: Gradients) -> Gradients:
    shared = {
        **g.operands(op, "q", "k", "v", "chunk_start"),
        **dict(op.attrs),
        "d_parts": grads["parts"],
        "d_lse": grads["lse"],
    }
    inverse = g.operands(op, "order", "offsets")
    found: Gradients = {}
    if g.wants(op["q"]):
        indices = g.forward(op["indices"])
        found["q"] = g.b.emit("attend_grad_q", indices=indices, **inverse, **shared)
    if g.wants(op["k"]) or g.wants(op["v"]):
        if not inverse:
            start = op.operand("chunk_start")
            order, offsets = g.inverse(op["indices"], start.type.shape[0] if start else "C")
            inverse = {"order": order, "offsets": offsets}
        grad = g.b.op("attend_grad_kv", **inverse, **shared)
        found.update(k=grad.result("d_k"), v=grad.result("d_v"))
    return found


@rule("fuse")
def _fuse(g: Backward, op: Op, grads: Gradients) -> Gradients:
    weights, parts, block = op["weights"], op["parts"], op.attr("query_block")
    found: Gradients = {}
    if g.wants(weights):
        _, rows, heads, _ = weights.type.shape
        found["weights"] = g.b.emit(
            "fuse_grad_weights",
            d_out=grads["out"],
            parts=g.forward(parts),
            query_block=block,
            dims={"R": rows, "Hw": heads},
            names={"d_weights": f"d_{weights.name}"},
        )
    if g.wants(parts):
        found["parts"] = g.b.emit(
            "fuse_grad_parts", d_out=grads["out"], query_block=block, weights=g.forward(weights)
        )
    return found


@rule("merge_local")
def _merge_local(g: Backward, op: Op, grads: Gradients) -> Gradients:
    found: Gradients = {"out": grads["merged"]}
    if g.wants(op["local_out"]) or g.wants(op["local_weight"]):
        grad = g.b.op(
            "merge_local_grad",
            d_out=grads["merged"],
            query_block=op.attr("query_block"),
            **g.operands(op, "local_out", "local_weight"),
        )
        found.update(
            local_out=grad.result("d_local_out"), local_weight=grad.result("d_local_weight")
        )
    return found


@rule("fuse_joint")
def _fuse_joint(g: Backward, op: Op, grads: Gradients) -> Gradients:
    out, total_lse = (g.forward(value) for value in op.results)
    delta = g.b.emit("row_dot", a=out, b=grads["out"])
    shared: dict[str, Any] = {"d_out": grads["out"], "total_lse": total_lse, "delta": delta}
    found: Gradients = {}
    if g.wants(op["parts"]):
        grad = g.b.op("fuse_joint_grad", **shared, **g.operands(op, "parts", "lse"))
        found.update(parts=grad.result("d_parts"), lse=grad.result("d_lse"))
    if g.wants(op.operand("local_out")) or g.wants(op.operand("local_lse")):
        grad = g.b.op("local_joint_grad", **shared, **g.operands(op, "local_out", "local_lse"))
        found.update(local_out=grad.result("d_local_out"), local_lse=grad.result("d_local_lse"))
    return found
