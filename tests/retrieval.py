"""Selection and weights of one kernel against float64, on scores that are exact in any precision.

Retrieval queries pick one dim of the landmarks each, so that a score is a number of a landmark:
kernels, whatever the order of their sums, must choose the very chunks that sorting chooses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hsa_compiler.compiler import compile_kernel
from hsa_compiler.ir import fuse_groups
from hsa_compiler.ir.interpreter import TORCH_DTYPES
from hsa_compiler.ir.programs import RetrieveOptions, retrieve_program
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.correctness import poison

DIMS = 16
#: What landmarks hold: see `scores`.
KINDS = (
    "random",
    "ties",
    "equal",
    "zeros",
    "huge",
    "tiny",
    "negative",
    "rising",
    "falling",
    "one lane",
)


def scores(kind: str, chunks: int, generator: torch.Generator) -> Tensor:
    """fp32[DIMS, chunks]: scores of every way of ranking chunks."""
    drawn = torch.randn(DIMS, chunks, generator=generator)
    chunk = torch.arange(chunks, dtype=torch.float32).expand(DIMS, -1)
    if kind == "ties":
        return drawn.round()
    if kind == "equal":
        return torch.ones_like(drawn)
    if kind == "zeros":
        return torch.where(drawn > 0, 0.0, -0.0) + (drawn > 1.5)
    if kind == "huge":
        return drawn * torch.pow(10.0, (60 * torch.rand(drawn.shape, generator=generator) - 25))
    if kind == "tiny":
        return drawn * 1e-41
    if kind == "negative":
        return -drawn.abs()
    if kind in ("rising", "falling"):
        return chunk if kind == "rising" else -chunk
    if kind == "one lane":
        return torch.where(chunk % 32 == 5, drawn.abs() + 4, drawn.abs())
    return drawn


@dataclass(frozen=True)
class Case:
    """One retrieval: `score_heads` heads over `index_heads`; `options` of the program."""

    top_k: int
    chunks: int
    kind: str = "random"
    score_heads: int = 1
    index_heads: int = 1
    weight_heads: int = 1
    rows: int = 19
    batch: int = 1
    options: tuple[tuple[str, object], ...] = ()

    @property
    def program_options(self) -> RetrieveOptions:
        """Of the program; weights where nothing else is said."""
        given = {"dtype": "fp32", **dict(self.options)}
        return RetrieveOptions(self.top_k, 1.0, **given)  # type: ignore[arg-type]


def intervals(case: Case) -> tuple[Tensor, Tensor]:
    """``lo, hi`` i32[B,R]: rows that see nothing, one chunk, a window, and everything."""
    chunks, late = case.chunks, case.chunks // 2
    ways = [(0, 0), (late, late), (0, 1), (0, chunks), (late, chunks), (chunks // 3, late + 1)]
    ways += [(0, chunks), (1, chunks), (0, max(chunks - 1, 0))]
    picked = torch.tensor(ways, dtype=torch.int32)
    rows = torch.arange(case.batch * case.rows) % len(ways)
    table = picked[rows].reshape(case.batch, case.rows, 2)
    return table[..., 0].contiguous(), table[..., 1].contiguous()


def inputs(case: Case) -> dict[str, Tensor]:
    """The inputs of the case's program."""
    generator = torch.Generator().manual_seed(case.top_k + case.chunks)
    o, rows = case.program_options, case.rows
    landmarks = torch.stack(
        [scores(case.kind, case.chunks, generator).T for _ in range(case.batch)]
    )
    dim = torch.arange(case.batch * rows * case.score_heads) * 5 % DIMS
    one_hot = torch.nn.functional.one_hot(dim, DIMS).float()
    lo, hi = intervals(case)
    values = {
        "q_slc": one_hot.reshape(case.batch, rows, case.score_heads, DIMS),
        "landmarks": landmarks[:, :, None].contiguous(),
        "lo": lo,
        "hi": hi,
    }
    if o.bias:
        bias = torch.zeros(case.batch, case.chunks, 1)
        bias[:, ::3] = float("-inf")
        values["chunk_bias"] = bias
    if o.noise:
        values["seed"] = torch.tensor([11], dtype=torch.int32)
    side = (case.batch, rows, case.weight_heads)
    if o.rank_scale:
        values["rank_scale"] = torch.randn(side, generator=generator) * 0.1
    if o.normalize == "lse_mix":
        values["local_lse"] = torch.randn(side, generator=generator)
    return values


def expected_indices(case: Case, values: dict[str, Tensor], noise: Tensor | None = None) -> Tensor:
    """i32[B,R,Hi,K] by sorting in float64: the largest, of equals the newest, newest first."""
    o, chunks = case.program_options, case.chunks
    ranked = torch.einsum("brhd,bcd->brhc", values["q_slc"], values["landmarks"][:, :, 0]).double()
    if o.bias:
        ranked = ranked + values["chunk_bias"][:, None, None, :, 0]
    ranked = ranked.unflatten(2, (case.index_heads, -1))
    if o.reduce == "max":
        ranked = ranked.amax(3)
    else:
        ranked = ranked.sum(3) if o.reduce == "sum" else ranked[:, :, :, 0]
    if noise is not None:
        ranked = ranked + noise
    chunk = torch.arange(chunks)
    lo, hi = (values[name].long()[..., None, None] for name in ("lo", "hi"))
    visible = (chunk >= lo) & (chunk < hi)
    forced = (chunk < lo + o.force_first) | (chunk >= hi - o.force_last)
    ranked = torch.where(forced, torch.inf, ranked).masked_fill(~visible, -torch.inf)
    # Newest first, then stably by value: of equal values the newest stays in front.
    order = ranked.flip(3).sort(dim=3, descending=True, stable=True)
    best = (chunks - 1 - order.indices)[..., : case.top_k]
    best = best.masked_fill(order.values[..., : case.top_k] == -torch.inf, -1)
    best = torch.nn.functional.pad(best, (0, case.top_k - best.shape[3]), value=-1)
    return best.sort(dim=3, descending=True).values.int()


def run(case: Case, schedule: Schedule, target: Target) -> tuple[dict[str, Tensor], int]:
    """The outputs of the case's first kernel group, and its number of launches."""
    group = fuse_groups(retrieve_program(case.program_options))[0]
    dims = {
        "B": case.batch,
        "R": case.rows,
        "C": case.chunks,
        "K": case.top_k,
        "Dr": DIMS,
        "Hr": case.score_heads,
        "Hm": 1,
        "Hi": case.index_heads,
        "Hw": case.weight_heads,
    }
    outputs = {
        value.name: torch.empty(
            [dims[str(dim)] for dim in value.type.shape], dtype=TORCH_DTYPES[value.type.dtype]
        )
        for value in group.program.outputs
    }
    poison(outputs)
    kernel = compile_kernel(Problem.of(group, dims), schedule, target)
    kernel.launch({**inputs(case), **outputs}, dims)
    return outputs, len(kernel.launches)


def expected_weights(case: Case, values: dict[str, Tensor], indices: Tensor) -> dict[str, Tensor]:
    """Slots, weights and the local branch's weight in float64, written without the IR."""
    o = case.program_options
    score = torch.einsum("brhd,bcd->brhc", values["q_slc"], values["landmarks"][:, :, 0]).double()
    if o.bias:
        score = score + values["chunk_bias"][:, None, None, :, 0]
    empty = indices < 0
    slots = score.gather(3, indices.clamp(min=0).long()).masked_fill(empty, -torch.inf)
    shared = case.weight_heads // case.score_heads
    x, gone = (t.repeat_interleave(shared, 2) for t in (slots, empty))
    if o.rank_scale:
        x = x + values["rank_scale"].double()[..., None] * torch.arange(case.top_k)
    if o.normalize == "stick_breaking":
        softplus = torch.nn.functional.softplus(x.masked_fill(gone, 0)).masked_fill(gone, 0)
        weights = (x - softplus.cumsum(3)).exp().masked_fill(gone, 0)
        return {"slots": slots, "weights": weights}
    extra = torch.full((*x.shape[:3], 1), -torch.inf, dtype=torch.float64)
    if o.normalize == "softmax_off_by_one":
        extra = torch.zeros_like(extra)
    if o.normalize == "lse_mix":
        extra = values["local_lse"].double()[..., None]
    weights = torch.cat([x, extra], 3).softmax(3).nan_to_num(0.0)
    found = {"slots": slots, "weights": weights[..., :-1]}
    return {**found, "local_weight": weights[..., -1]} if o.normalize == "lse_mix" else found


def check(case: Case, schedule: Schedule, target: Target) -> int:
    """Compare one case, indices exactly; the number of launches it took."""
    values = inputs(case)
    outputs, launches = run(case, schedule, target)
    assert torch.equal(outputs["indices"], expected_indices(case, values))
    if len(outputs) > 1:
        expected = expected_weights(case, values, outputs["indices"])
        assert set(outputs) == {"indices", *expected}
        for name, wanted in expected.items():
            infinite = wanted.isinf()
            assert torch.equal(outputs[name].isinf(), infinite), name
            error = (outputs[name].double() - wanted).masked_fill(infinite, 0).norm()
            assert float(error) <= 1e-6 * float(wanted.masked_fill(infinite, 0).norm()), name
    return launches
