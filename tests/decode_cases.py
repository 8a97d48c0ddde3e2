"""Decoding steps with everything in memory that must not be read being NaN, against float64.

check_decode(Step(lengths=(640, 133)), "tvm", "cpu")
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hsa_compiler import hsa_decode
from hsa_compiler.configs import Choice, ConfigStore, default_store, set_default_store
from hsa_compiler.schedules import space
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import Problem, Target
from tests import naive

S = 16
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class Step:
    """One call: a cache of `chunks` chunks with `lengths` tokens in it, the last `tokens` of them
    new; `pages` chunks a block (0: contiguous); schedules with `parts` or without, drawn from
    `seed`."""

    lengths: tuple[int, ...] = (40 * S, 133)
    tokens: int = 1
    heads: int = 4
    kv_heads: int = 2
    score_heads: int = 2
    landmark_heads: int = 1
    chunks: int = 40
    top_k: int = 8
    pages: int = 0
    window: int | None = None
    normalize: str = "softmax"
    bias: bool = False
    rank_scale: bool = False
    lse_heads: int = 4
    dtype: torch.dtype = torch.float32
    parts: bool = True
    seed: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """The options that the operator and its naive version share."""
        lse_heads = self.lse_heads if self.normalize == "lse_mix" else 1
        return {
            "chunk_size": S,
            "top_k": self.top_k,
            "window": self.window,
            "normalize": self.normalize,
            "weight_heads": "query" if max(self.score_heads, lse_heads) > self.kv_heads else "kv",
        }


def inputs(step: Step, device: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of a step on a contiguous cache, NaN past its lengths; and its extras."""
    generator = torch.Generator().manual_seed(step.seed)
    batch, tokens, heads = len(step.lengths), step.tokens, step.heads

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, step.dtype)

    tensors = {
        "q": draw(batch, tokens, heads, 32),
        "k": draw(batch, step.chunks * S, step.kv_heads, 32),
        "v": draw(batch, step.chunks * S, step.kv_heads, 32),
        "q_slc": draw(batch, tokens, step.score_heads, 48),
        "landmarks": draw(batch, step.chunks, step.landmark_heads, 48),
    }
    for b, length in enumerate(step.lengths):
        for name in ("k", "v"):
            tensors[name][b, length:] = float("nan")
        tensors["landmarks"][b, length // S :] = float("nan")
    extras: dict[str, Tensor] = {}
    if step.bias:
        extras["chunk_bias"] = draw(batch, step.chunks, step.landmark_heads).float()
    if step.rank_scale:
        extras["rank_scale"] = draw(1).float()
    if step.normalize == "lse_mix":
        extras["local_out"] = draw(batch, tokens, heads, 32)
        extras["local_lse"] = draw(batch, tokens, step.lse_heads).float()
    return tensors, extras


def in_pages(step: Step, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same step with its cache in pages, in any order, among pages of NaN."""
    batch, blocks = len(step.lengths), step.chunks // step.pages
    device = tensors["q"].device
    order = torch.randperm(batch * blocks + 3, generator=torch.Generator().manual_seed(step.seed))
    table = order[: batch * blocks].view(batch, blocks)
    paged = dict(tensors)
    for name, rows in (("k", step.pages * S), ("v", step.pages * S), ("landmarks", step.pages)):
        x = tensors[name]
        pool = torch.full((len(order), rows, *x.shape[2:]), float("nan")).to(device, x.dtype)
        pool[table.flatten().to(device)] = x.reshape(batch * blocks, rows, *x.shape[2:])
        paged[name] = pool
    for b, length in enumerate(step.lengths):
        # Blocks past the end name no page.
        table[b, -(-length // (step.pages * S)) :] = -77777
    return {**paged, "block_table": table.to(device, torch.int32)}


def expected(step: Step, tensors: Mapping[str, Tensor], extras: Mapping[str, Tensor]) -> Tensor:
    """The naive operator in float64, one sequence after the other."""
    out = torch.zeros(tensors["q"].shape, dtype=torch.float64)
    wide = {name: x.detach().cpu().double() for name, x in {**tensors, **extras}.items()}
    for b, length in enumerate(step.lengths):
        # Tokens before the first position exist in short sequences of a batch.
        first = max(step.tokens - length, 0)
        one = {name: x[b : b + 1] for name, x in wide.items() if name != "rank_scale"}
        if step.rank_scale:
            one["rank_scale"] = wide["rank_scale"].reshape(())
        for name in ("q", "q_slc", "local_out", "local_lse"):
            if name in one:
                one[name] = one[name][:, first:]
        for name, count in (("k", length // S * S), ("v", length // S * S)):
            one[name] = one[name][:, :count]
        for name in ("landmarks", "chunk_bias"):
            if name in one:
                one[name] = one[name][:, : length // S]
        found, _ = naive.naive_hsa(**one, **step.options, q_offset=max(length - step.tokens, 0))
        out[b, first:] = found[0]
        if "local_out" in wide:
            out[b, :first] = wide["local_out"][b, :first]
    return out


def check_decode(step: Step, backend: str, device: str) -> None:
    """Run one step on a back end and compare it; rows without a chunk must be exact."""
    tensors, extras = inputs(step, device)
    want = expected(step, tensors, extras)
    given = in_pages(step, tensors) if step.pages else tensors
    kv_len = torch.tensor(step.lengths, dtype=torch.int32, device=device)
    with schedules(step.parts, step.seed):
        out = hsa_decode(**given, **extras, kv_len=kv_len, backend=backend, **step.options)
    assert out.dtype == step.dtype
    compare(step, out, want, extras)


def compare(step: Step, out: Tensor, want: Tensor, extras: Mapping[str, Tensor]) -> None:
    """Normwise, and rows that see nothing bit by bit."""
    found = out.detach().cpu()
    assert torch.isfinite(found).all()
    size = float(want.norm())
    error = float((found.double() - want).norm())
    assert error <= BOUNDS[step.dtype] * size, f"{error / size:.2e} of {size:.2e}"
    blind = torch.zeros_like(want)
    if "local_out" in extras:
        blind = extras["local_out"].cpu().double()
    for b, length in enumerate(step.lengths):
        for i in range(step.tokens):
            if length - step.tokens + i < S:
                assert torch.equal(found[b, i].double(), blind[b, i]), (b, i)


class _Schedules(ConfigStore):
    """Any legal schedule with `parts`, or without, for the kernels that have the choice; of one row
    a program, in the smallest blocks, where `single`."""

    def __init__(self, parts: bool, seed: int, single: bool) -> None:
        super().__init__()
        self._dice, self._parts, self._single = random.Random(seed), parts, single

    def choose(
        self,
        problem: Problem,
        sizes: Mapping[str, int],
        target: Target,
        hardware: Hardware,
        union: float | None = None,
    ) -> Choice:
        found = space.feasible(problem, target.backend, hardware)
        found = tuple(s for s in found if bool(s.parts) == self._parts) or found
        if self._single:
            found = tuple(s for s in found if s.tokens == 1 and s.chunk_block == 16) or found
        return Choice(self._dice.choice(found), "generic", None, float("inf"), "drawn")


@contextmanager
def schedules(parts: bool, seed: int, single: bool = False) -> Iterator[None]:
    """Kernels get schedules with `parts`, or without, inside."""
    before = default_store()
    set_default_store(_Schedules(parts, seed, single))
    try:
        yield
    finally:
        set_default_store(before)


#: What every back end must get right: lengths at and around a chunk's edge, pages, heads, options.
STEPS = (
    Step(),
    Step(parts=False),
    Step(lengths=(0, 10)),
    Step(lengths=(S, S + 1), tokens=5),
    Step(lengths=(40 * S, 3), tokens=5, pages=2, seed=1),
    Step(lengths=(300, 639), tokens=64, pages=4, seed=2),
    Step(lengths=(300, 639), tokens=64, parts=False, seed=3),
    Step(lengths=(400, 133), pages=1, parts=False, seed=4),
    Step(lengths=(640, 200), window=50, tokens=3, seed=5),
    Step(lengths=(640, 20), window=1, pages=2, seed=6),
    Step(lengths=(600,), heads=8, kv_heads=8, score_heads=1, seed=7),
    Step(lengths=(600,), heads=16, kv_heads=1, score_heads=1, top_k=5, pages=5, seed=8),
    Step(lengths=(500, 17), score_heads=4, tokens=2, seed=9),
    Step(lengths=(500, 17), score_heads=4, landmark_heads=2, pages=2, seed=10),
    Step(lengths=(500, 5), normalize="stick_breaking", pages=2, seed=11),
    Step(lengths=(500, 5), normalize="lse_mix", tokens=3, seed=12),
    Step(lengths=(500, 15), normalize="lse_mix", lse_heads=2, pages=2, parts=False, seed=13),
    Step(lengths=(500, 133), normalize="softmax_off_by_one", bias=True, seed=14),
    Step(lengths=(500, 133), rank_scale=True, top_k=64, seed=15),
    Step(lengths=(500, 133), dtype=torch.bfloat16, seed=16),
)
