"""The sweep: hypothesis-drawn calls of the public door on one back end, against naive float64.

    sweep_hsa("tvm", "cpu", examples=12)        # retrieval and attention, all gradients
    sweep_attention("tvm", "cpu", examples=12)  # attention to arbitrary indices

Selected sets are compared first, apart from values: they must be the best ones up to score ties
within rounding. Everything else is computed in float64 from the same rounded inputs with the same
indices, and compared normwise: ``||x - ref|| / ||ref||`` below 1e-5 in fp32 and 1e-2 in bf16 and
fp16, the output and every gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hsa_compiler import Selection, chunk_attention, hsa_attention
from tests import naive
from tests.drawn_schedules import drawn_schedules
from tests.sweep_cases import (
    ATTENTION_EXAMPLES,
    HSA_EXAMPLES,
    AttentionCase,
    HsaCase,
    attention_cases,
    hsa_cases,
)

BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
#: A gradient whose exact value is 0 by cancellation (one chunk has weight 1, whatever its score)
#: is compared with this much per element instead of with itself.
FLOOR = 1e-3
#: Scores closer than this may be taken in either order.
TIE = 1e-4


def examples(request: pytest.FixtureRequest, default: int) -> int:
    """How many cases to draw: what --sweep-examples says, else the default."""
    return int(request.config.getoption("--sweep-examples") or default)


def sweep_hsa(backend: str, device: str, examples: int) -> None:
    """`check_hsa` for the fixed cases and `examples` drawn ones."""
    _sweep(lambda case: check_hsa(case, backend, device), HSA_EXAMPLES, hsa_cases(), examples)


def sweep_attention(backend: str, device: str, examples: int) -> None:
    """`check_attention` for the fixed cases and `examples` drawn ones."""
    _sweep(
        lambda case: check_attention(case, backend, device),
        ATTENTION_EXAMPLES,
        attention_cases(),
        examples,
    )


def check_hsa(case: HsaCase, backend: str, device: str) -> None:
    """Run one case on a back end and compare all of its results."""
    made = _Inputs(case.dtype, device, case.seed, case.frozen)
    tensors, options = _hsa_call(case, made)
    out, selection = hsa_attention(
        **made.given(tensors),
        **options,
        noise_seed=case.seed if case.noise else None,
        cu_seqlens_q=_table(case.packed, 0, device),
        cu_seqlens_kv=_table(case.packed, 1, device),
        backend=backend,
        return_selection=True,
    )
    indices = selection.indices.cpu()
    reference = made.reference(tensors)
    _check_selected(case, reference, indices)
    if "local_lse" in reference:
        heads = selection.local_weight.shape[2]
        wide = reference["local_lse"].repeat_interleave(heads // tensors["local_lse"].shape[2], 2)
        reference["local_lse"] = wide
    expected, chosen = naive.naive_hsa(
        **reference,
        **{**options, "weight_heads": _naive_weight_heads(case, selection)},
        cu_seqlens_q=_starts(case.packed, 0),
        cu_seqlens_kv=_starts(case.packed, 1),
        indices=indices,
    )
    results = {
        "out": (out, expected),
        "weights": (selection.weights, chosen.weights),
        "local_weight": (selection.local_weight, chosen.local_weight),
        "scores": (_filled(selection.scores), _filled(chosen.scores)),
    }
    made.compare(results, tensors, [] if case.scores_loss else ["scores"])


def check_attention(case: AttentionCase, backend: str, device: str) -> None:
    """Run one case on a back end and compare all of its results."""
    made = _Inputs(case.dtype, device, case.seed, case.frozen)
    heads = {"one": 1, "kv": case.kv_heads, "query": case.kv_heads * case.group}
    query_heads = heads["query"]
    kv_length = sum(case.packed) if case.packed else case.chunks * case.chunk + case.tail
    starts = _cumulative(case.packed) if case.packed else None
    chunks = sum(n // case.chunk for n in case.packed) if case.packed else kv_length // case.chunk
    rows = -(-case.length // case.query_block)
    joint = case.weight == "joint"
    tensors = {
        "q": made.data(case.batch, case.length, query_heads, case.head_dim),
        "k": made.data(case.batch, kv_length, case.kv_heads, case.head_dim),
        "v": made.data(case.batch, kv_length, case.kv_heads, case.head_dim),
    }
    if case.local:
        tensors["local_out"] = made.data(case.batch, case.length, query_heads, case.head_dim)
    if case.local and joint:
        tensors["local_lse"] = made.side(case.batch, case.length, query_heads)
    shape = (case.batch, rows, heads[case.index], case.slots)
    indices = made.indices(shape, chunks, case.empty)
    selected: dict[str, Tensor] = {}
    if not joint:
        selected["weights"] = made.side(case.batch, rows, heads[case.weight], case.slots)
        if case.local:
            selected["local_weight"] = made.side(case.batch, rows, heads[case.weight])
    options: dict[str, Any] = {
        "chunk_size": case.chunk,
        "query_block": case.query_block,
        "plus_one": case.plus_one,
        "hide_last": case.hide_last,
    }
    chosen = made.given(selected)
    out = chunk_attention(
        **made.given(tensors),
        selection=Selection(
            indices.to(device), chosen.get("weights"), None, chosen.get("local_weight")
        ),
        **options,
        cu_seqlens_kv=None if starts is None else torch.tensor(starts, device=device),
        backend=backend,
    )
    reference = made.reference({**tensors, **selected})
    expected = naive.naive_chunk_attention(
        **{"weights": None, **reference},
        indices=indices,
        chunk_start=None if starts is None else naive.chunk_starts(starts, case.chunk),
        **options,
    )
    made.compare({"out": (out, expected)}, {**tensors, **selected}, [])


# -------------------------------------------------------------------------------- internals
class _Inputs:
    """Random tensors as leaves on the device, and the same numbers as float64 leaves."""

    def __init__(self, dtype: str, device: str, seed: int, frozen: bool) -> None:
        self.dtype = DTYPES[dtype]
        self.device = device
        self.generator = torch.Generator().manual_seed(seed)
        self.frozen = frozen
        self._leaves: dict[int, Tensor] = {}
        self._wide: dict[int, Tensor] = {}

    def data(self, *shape: int) -> Tensor:
        """Normal numbers in the case's dtype."""
        return torch.randn(shape, generator=self.generator).to(self.dtype)

    def side(self, *shape: int) -> Tensor:
        """Normal numbers in fp32."""
        return torch.randn(shape, generator=self.generator)

    def indices(self, shape: tuple[int, ...], chunks: int, empty: str) -> Tensor:
        """Chunk numbers with repetitions; some slots, and some rows, empty."""
        if chunks == 0 or empty == "all":
            return torch.full(shape, -1, dtype=torch.int32)
        low = 0 if empty == "none" else -1
        found = torch.randint(low, chunks, shape, generator=self.generator, dtype=torch.int32)
        if empty == "some":
            found[:, ::3] = -1
        return found

    def given(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leaves on the device, the same ones every time."""
        for x in tensors.values():
            if id(x) not in self._leaves:
                wanted = not self.frozen or float(torch.rand((), generator=self.generator)) < 0.5
                self._leaves[id(x)] = x.detach().to(self.device).requires_grad_(wanted)
        return {name: self._leaves[id(x)] for name, x in tensors.items()}

    def reference(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Float64 leaves of the same values on the CPU."""
        for x in tensors.values():
            if id(x) not in self._wide:
                self._wide[id(x)] = x.detach().double().requires_grad_()
        return {name: self._wide[id(x)] for name, x in tensors.items()}

    def compare(
        self,
        results: dict[str, tuple[Tensor | None, Tensor | None]],
        tensors: dict[str, Tensor],
        without_gradient: list[str],
    ) -> None:
        """Results, then the gradients of a random projection of them."""
        bound = BOUNDS[self.dtype]
        pairs = {n: (a, b) for n, (a, b) in results.items() if a is not None and b is not None}
        outputs, expected, cotangents = [], [], []
        for name, (found, wanted) in pairs.items():
            _close(name, found, wanted, bound)
            if name not in without_gradient and found.requires_grad and wanted.requires_grad:
                outputs.append(found)
                expected.append(wanted)
                cotangents.append(
                    torch.randn(wanted.shape, generator=self.generator).to(found.dtype)
                )
        leaves, wide = self.given(tensors), self.reference(tensors)
        leaves = {name: x for name, x in leaves.items() if x.requires_grad}
        if not outputs or not leaves:
            return
        grads = torch.autograd.grad(
            outputs, list(leaves.values()), [c.to(self.device) for c in cotangents],
            allow_unused=True,
        )  # fmt: skip
        wanted_grads = torch.autograd.grad(
            expected,
            [wide[name] for name in leaves],
            [c.double() for c in cotangents],
            allow_unused=True,
        )
        for name, grad, want in zip(leaves, grads, wanted_grads, strict=True):
            zero = torch.zeros_like(wide[name])
            _close(f"d_{name}", zero if grad is None else grad, zero if want is None else want,
                   bound)  # fmt: skip


def _close(name: str, found: Tensor, expected: Tensor, bound: float) -> None:
    """Raise unless the normwise error is within `bound`."""
    assert found.shape == expected.shape, f"{name}: {found.shape}, expected {expected.shape}"
    found = found.detach().double().cpu()
    expected = expected.detach()
    if expected.numel() == 0:
        return
    assert torch.isfinite(found).all(), f"{name} is not finite"
    size = max(float(expected.norm()), FLOOR * math.sqrt(expected.numel()))
    error = float((found - expected).norm()) / size
    assert error < bound, f"{name}: normwise error {error:.3g}, bound {bound:g}"
    empty = expected == 0
    # Tokens without a chunk are exactly 0, not nearly.
    rows = empty.flatten(2).all(2) if name in ("out", "d_q") else None
    if rows is not None:
        assert not found[rows].any(), f"{name} is not exactly 0 where no chunk is seen"


def _filled(scores: Tensor | None) -> Tensor | None:
    """Scores with 0 in place of the -inf of empty slots."""
    return None if scores is None else torch.where(scores > -math.inf, scores, 0)


def _hsa_call(case: HsaCase, made: _Inputs) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a case and the options that both sides take."""
    heads = {"one": 1, "kv": case.kv_heads, "query": case.kv_heads * case.group}
    if case.packed:
        length = sum(q for q, _ in case.packed)
        kv_length = sum(kv for _, kv in case.packed)
        chunks = sum(kv // case.chunk for _, kv in case.packed)
    else:
        length, chunks = case.length, case.chunks
        kv_length = chunks * case.chunk + case.tail
    score_heads = heads[case.score]
    landmark_heads = 1 if case.one_landmark else score_heads
    tensors = {
        "q": made.data(case.batch, length, heads["query"], case.head_dim),
        "k": made.data(case.batch, kv_length, case.kv_heads, case.head_dim),
        "v": made.data(case.batch, kv_length, case.kv_heads, case.head_dim),
        "q_slc": made.data(case.batch, length, score_heads, case.score_dim),
        "landmarks": made.data(case.batch, chunks, landmark_heads, case.score_dim),
    }
    if case.bias:
        tensors["chunk_bias"] = made.side(case.batch, chunks, landmark_heads)
    if case.rank_scale:
        tensors["rank_scale"] = made.side() * 0.3
    if case.normalize == "lse_mix":
        # An LSE per query head makes the weights so, and weights per query head need no less.
        tensors["local_out"] = made.data(*tensors["q"].shape)
        tensors["local_lse"] = made.side(case.batch, length, heads[case.lse])
    options = {
        "chunk_size": case.chunk,
        "top_k": case.top_k,
        "normalize": case.normalize,
        "weight_heads": case.weight_heads,
        "window": case.window,
        "q_offset": case.q_offset,
    }
    return tensors, options


def _naive_weight_heads(case: HsaCase, selection: Selection) -> str:
    assert selection.weights is not None
    return "query" if selection.weights.shape[2] == case.kv_heads * case.group else "kv"


def _check_selected(case: HsaCase, reference: dict[str, Tensor], indices: Tensor) -> None:
    """The chosen chunks are the best visible ones, newest first, up to ties within rounding."""
    q_slc, landmarks = reference["q_slc"].detach(), reference["landmarks"].detach()
    batch, rows, heads, dim = q_slc.shape
    chunks = landmarks.shape[1]
    of_head = torch.arange(heads) * landmarks.shape[2] // heads
    scores = torch.einsum("brhd,bchd->brhc", q_slc, landmarks[:, :, of_head]) / math.sqrt(dim)
    if "chunk_bias" in reference:
        bias = reference["chunk_bias"].detach()[:, :, of_head]
        scores = scores + bias.permute(0, 2, 1)[:, None]
    index_heads = indices.shape[2]
    values = scores.unflatten(2, (index_heads, heads // index_heads)).amax(3)
    if case.noise:
        values = values + naive.naive_gumbel(case.seed, batch, rows, index_heads, chunks)
    lo, hi = naive.visible_range(
        rows,
        chunks,
        case.chunk,
        q_offset=case.q_offset,
        window=case.window,
        cu_seqlens_q=_starts(case.packed, 0),
        cu_seqlens_kv=_starts(case.packed, 1),
        batch=batch,
    )
    chunk = torch.arange(chunks)
    visible = ((chunk >= lo[..., None]) & (chunk < hi[..., None]))[:, :, None]
    filled = indices >= 0
    counts = filled.sum(3)
    wanted = visible.sum(3).clamp(max=case.top_k)
    assert torch.equal(counts, wanted.expand_as(counts)), "wrong number of chosen chunks"
    assert bool((indices[..., 1:] < indices[..., :-1])[filled[..., 1:]].all()), "not newest first"
    assert bool((filled[..., 1:] <= filled[..., :-1]).all()), "an empty slot before a chosen one"
    if chunks == 0:
        return
    chosen = torch.zeros(values.shape, dtype=torch.bool)
    chosen.scatter_(3, indices.clamp(min=0).long(), filled)
    # Empty slots scatter False to chunk 0, maybe after it was chosen: set those again.
    chosen[..., 0] = (indices == 0).any(3)
    assert bool((chosen <= visible).all()), "an invisible chunk was chosen"
    worst = torch.where(chosen, values, math.inf).amin(3)
    best_left = torch.where(visible & ~chosen, values, -math.inf).amax(3)
    slack = TIE * (1 + values.abs().amax())
    assert bool((worst >= best_left - slack).all()), "a better chunk was left out"


def _cumulative(lengths: tuple[int, ...]) -> list[int]:
    return [0, *torch.tensor(lengths).cumsum(0).tolist()]


def _starts(packed: tuple[tuple[int, int], ...], side: int) -> list[int] | None:
    return _cumulative(tuple(pair[side] for pair in packed)) if packed else None


def _table(packed: tuple[tuple[int, int], ...], side: int, device: str) -> Tensor | None:
    starts = _starts(packed, side)
    return None if starts is None else torch.tensor(starts, dtype=torch.int32, device=device)


Case = TypeVar("Case", HsaCase, AttentionCase)


def _sweep(
    check: Callable[[Case], None],
    fixed: tuple[Case, ...],
    cases: st.SearchStrategy[Case],
    examples: int,
) -> None:
    def run(case: Case) -> None:
        try:
            with drawn_schedules(case.schedules, case.seed):
                check(case)
        except Exception as error:
            error.add_note(f"reproduce with tests.sweep.{check_name(case)}: {case!r}")
            raise

    for case in fixed:
        run(case)

    # No shrinking: a smaller case costs a compilation each.
    @settings(
        max_examples=examples,
        phases=(Phase.generate,),
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def drawn(case: Case) -> None:
        run(case)

    drawn()


def check_name(case: HsaCase | AttentionCase) -> str:
    """The function that checks a case."""
    return "check_hsa" if isinstance(case, HsaCase) else "check_attention"
