"""The correctness gate: a candidate's outputs against the interpreter in float64.

Outputs are poisoned before a launch, so an element that nobody wrote cannot pass. Errors are
normwise, ``||x - ref|| / ||ref||`` per tensor; selections are compared as sets, where chunks of
equal score (to rounding) may stand for each other; an inverse index must be exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from hsa_compiler.errors import HSAError
from hsa_compiler.ir import KernelGroup, Op, Program, interpret
from hsa_compiler.ir.core import prune
from hsa_compiler.ir.dims import evaluate
from hsa_compiler.ir.interpreter import TORCH_DTYPES
from hsa_compiler.ir.reference import gumbel_noise

#: Largest normwise error of any output, by the dtype of the tensors a kernel moves.
TOLERANCE = {"fp32": 1e-5, "bf16": 1e-2, "fp16": 1e-2}
#: Selections at real sizes may differ from another schedule's in this share of their slots: fp32
#: scores of a million chunks hold ties that rounding breaks either way.
TIES = 1e-3


class WrongResult(HSAError):
    """A candidate ran, but its outputs are not those of the reference."""


class CorruptedMemory(HSAError):
    """A candidate changed what it must only read: nothing can be checked in this process any
    more."""


def poisoned_outputs(
    group: KernelGroup, dims: Mapping[str, int], device: torch.device
) -> dict[str, Tensor]:
    """New outputs of a group, filled with NaN or the smallest integer."""
    outputs = {}
    for value in group.program.outputs:
        size = tuple(evaluate(dim, dims) for dim in value.type.shape)
        outputs[value.name] = torch.empty(size, dtype=TORCH_DTYPES[value.type.dtype], device=device)
    poison(outputs)
    return outputs


def poison(outputs: Mapping[str, Tensor]) -> None:
    """Overwrite outputs with what no kernel writes."""
    for tensor in outputs.values():
        floating = tensor.dtype.is_floating_point
        tensor.fill_(float("nan") if floating else torch.iinfo(tensor.dtype).min)


def checksums(tensors: Iterable[Tensor]) -> tuple[int, ...]:
    """A number for the bits of each tensor, which any single change of an element changes."""
    return tuple(_checksum(tensor) for tensor in tensors)


def _checksum(tensor: Tensor) -> int:
    # Words of the sum's own dtype: torch would copy all others to it first, and a cache is large.
    octets = tensor.detach().contiguous().view(-1).view(torch.uint8)
    whole = octets.numel() // 8 * 8
    words = octets[:whole] if octets.storage_offset() % 8 == 0 else octets[:whole].clone()
    return int(words.view(torch.int64).sum()) + int(octets[whole:].sum())


class Reference:
    """What a kernel must give on some inputs, computed once in float64."""

    def __init__(
        self,
        group: KernelGroup,
        values: Mapping[str, Tensor],
        dims: Mapping[str, int],
        tolerance: float,
    ) -> None:
        self._group = group
        self._values = dict(values)
        self._tolerance = tolerance
        self._expected = interpret(group.program, values, dims, dtype=torch.float64)
        self._dims = dict(dims)
        self._scores: Tensor | None = None
        if group.program.find("select") is not None:
            self._scores = selection_scores(group, values, dims)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What outputs are compared with."""
        return tuple(self._expected.values())

    def check(self, outputs: Mapping[str, Tensor]) -> float:
        """The largest normwise error. Raises WrongResult where it is too large, or where any
        output breaks a rule of its kind."""
        if self._scores is not None:
            check_selection(
                outputs["indices"], self._expected["indices"], self._scores, self._tolerance
            )
            return self._check_weights(outputs)
        if self._group.kind == "invert_index":
            check_inverse(outputs, self._expected)
            return 0.0
        return self._compare(outputs, self._expected, self._values.get("indices"))

    def _check_weights(self, outputs: Mapping[str, Tensor]) -> float:
        """What a kernel that selects gives beside the indices, for the chunks it chose itself:
        of equal scores it may have taken others than the reference."""
        if len(self._expected) == 1:
            return 0.0
        values = {**self._values, "indices": outputs["indices"]}
        program = given_selection(self._group.program)
        expected = interpret(program, values, self._dims, dtype=torch.float64)
        return self._compare(outputs, expected, outputs["indices"])

    def _compare(
        self,
        outputs: Mapping[str, Tensor],
        expected: Mapping[str, Tensor],
        indices: Tensor | None,
    ) -> float:
        """The largest error of float outputs; `indices` the selection that the kernel knows."""
        worst = 0.0
        for name, wanted in expected.items():
            worst = max(worst, compare(name, outputs[name], wanted, self._tolerance))
            if indices is None:
                continue
            empty = (indices < 0).flatten(2).all(2)  # bool[B,R]: rows that see no chunk at all
            if outputs[name].shape[:2] == empty.shape:
                check_empty_rows(name, outputs[name], wanted, empty)
        return worst


def given_selection(program: Program) -> Program:
    """A program that selects, with the indices as an input instead of an output."""
    select = program.find("select")
    assert select is not None
    (indices,) = select.results
    ops = tuple(op for op in program.ops if op is not select)
    outputs = tuple(value for value in program.outputs if value != indices)
    return prune(Program(program.name, (*program.inputs, indices), ops, outputs))


def compare(name: str, given: Tensor, expected: Tensor, tolerance: float) -> float:
    """Normwise error of one float output; -inf and +inf must stand in the same places.

    Raises WrongResult.
    """
    if given.shape != expected.shape:
        raise WrongResult(f"{name} has shape {list(given.shape)}, not {list(expected.shape)}")
    actual, wanted = given.double(), expected.double()
    if not torch.equal(actual.isnan(), wanted.isnan()):
        count = int((actual.isnan() & ~wanted.isnan()).sum())
        raise WrongResult(f"{name}: {count} of {actual.numel()} elements are NaN or unwritten")
    infinite = wanted.isinf()
    if not torch.equal(torch.where(actual.isinf(), actual, 0), torch.where(infinite, wanted, 0)):
        raise WrongResult(f"{name}: infinities stand in other places than in the reference")
    actual, wanted = actual.masked_fill(infinite, 0), wanted.masked_fill(infinite, 0)
    distance, size = float((actual - wanted).norm()), float(wanted.norm())
    error = distance / size if size > 0 else (0.0 if distance == 0 else float("inf"))
    if not error <= tolerance:
        raise WrongResult(f"{name}: normwise error {error:.2e}, allowed {tolerance:.0e}")
    return error


def check_empty_rows(name: str, given: Tensor, expected: Tensor, empty: Tensor) -> None:
    """Rows that see no chunk are exactly what the reference says where it says zero."""
    rows = empty & (expected.flatten(2) == 0).all(2)
    if bool((given.flatten(2)[rows] != 0).any()):
        raise WrongResult(f"{name}: rows that see no chunk must be exactly zero")


def selection_scores(
    group: KernelGroup, values: Mapping[str, Tensor], dims: Mapping[str, int]
) -> Tensor:
    """fp64[B,R,Hi,C]: what `select` ranks by; -inf out of sight, +inf where forced."""
    op = group.program.find("select")
    assert op is not None
    # Where the cache's length says what is visible, lo and hi are computed too.
    names = [_operand(op, operand) for operand in ("scores", "lo", "hi")]
    found = interpret(group.program.with_outputs(names), values, dims, dtype=torch.float64)
    scores = found[names[0]]
    row_lse = op.operand("row_lse")
    if row_lse is not None:
        scores = torch.exp(scores - values[row_lse.name].double()[..., None])
    heads = evaluate(op.results[0].type.shape[2], dims)
    grouped = scores.reshape(*scores.shape[:2], heads, -1, scores.shape[3])
    reduce = op.attr("reduce")
    if reduce == "max":
        ranked = grouped.amax(3)
    else:
        ranked = grouped.sum(3) if reduce == "sum" else grouped[:, :, :, 0]
    seed = op.operand("seed")
    if seed is not None:
        ranked = ranked + gumbel_noise(
            int(values[seed.name]), ranked.shape, ranked.dtype, ranked.device
        )
    chunk = torch.arange(ranked.shape[3], device=ranked.device)
    lo, hi = (found[name].long()[..., None, None] for name in names[1:])
    first, last = int(op.attr("force_first")), int(op.attr("force_last"))
    forced = (chunk < lo + first) | (chunk >= hi - last)
    ranked = torch.where(forced, torch.inf, ranked)
    return ranked.masked_fill((chunk < lo) | (chunk >= hi), -torch.inf)


def check_selection(given: Tensor, expected: Tensor, scores: Tensor, tolerance: float) -> None:
    """Compare selections i32[B,R,Hi,K] up to ties of `scores` fp64[B,R,Hi,C]. Raises WrongResult.

    Every row must hold as many chunks as the reference's, newest first and then -1, without
    repetition, all of them visible, and with the same scores to rounding.
    """
    if given.shape != expected.shape:
        raise WrongResult(f"indices have shape {list(given.shape)}, not {list(expected.shape)}")
    chosen = given >= 0
    if bool(((given < -1) | (given >= scores.shape[3])).any()):
        raise WrongResult("indices: chunk numbers that do not exist, or unwritten slots")
    if not torch.equal(chosen.sum(3), (expected >= 0).sum(3)):
        raise WrongResult("indices: rows hold more or fewer chunks than they should")
    falling = (given[..., :-1] > given[..., 1:]) | (given[..., 1:] == -1)
    if not bool(falling.all()):
        raise WrongResult("indices: not newest first, or repeated")
    value = scores.gather(3, given.clamp(min=0).long())
    if bool((chosen & (value == -torch.inf)).any()):
        raise WrongResult("indices: chunks that the row cannot see")
    best = scores.gather(3, expected.clamp(min=0).long())
    # The same scores in the same number, whichever chunks they belong to.
    mine, theirs = (
        x.masked_fill(~chosen_, -torch.inf).sort(3, descending=True).values
        for x, chosen_ in ((value, chosen), (best, expected >= 0))
    )
    finite = scores.masked_fill(scores.isinf(), 0)
    slack = tolerance * finite.abs().amax(3, keepdim=True).clamp(min=1)
    if bool(((mine != theirs) & ~((mine - theirs).abs() <= slack)).any()):
        raise WrongResult("indices: other chunks were chosen, with other scores")


def check_inverse(outputs: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Offsets and the listed part of order are exact; the rest of order is unspecified.

    Raises WrongResult.
    """
    offsets, order = outputs["offsets"], outputs["order"]
    if not torch.equal(offsets, expected["offsets"]):
        raise WrongResult("offsets differ from the exact prefix counts")
    place = torch.arange(order.shape[2], device=order.device)
    listed = place < offsets[..., -1:]
    if bool((listed & (order != expected["order"])).any()):
        raise WrongResult("order differs from the exact inverse index")


def check_witness(
    group: KernelGroup,
    outputs: Mapping[str, Tensor],
    witness: Mapping[str, Tensor],
    tolerance: float,
) -> None:
    """Compare outputs at full size with those of another schedule that passed the gate.

    The small shapes of the gate cannot see an address that overflows; two schedules that agree at
    full size can. Raises WrongResult.
    """
    for name, expected in witness.items():
        if group.kind == "invert_index":
            check_inverse(outputs, witness)
        elif expected.dtype.is_floating_point:
            compare(f"{name} at full size", outputs[name], expected, 2 * tolerance)
        else:
            share = float((outputs[name] != expected).double().mean())
            if share > TIES:
                raise WrongResult(f"{name} at full size: {share:.1%} of it differs")


def _operand(op: Op, name: str) -> str:
    value = op.operand(name)
    assert value is not None
    return value.name
