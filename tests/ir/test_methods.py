"""The published methods as programs against their definitions, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from hsa_compiler.ir import differentiate, methods
from tests.ir.helpers import assert_same_gradients, run
from tests.naive import (
    masked_attention,
    naive_gca,
    naive_hils,
    naive_infllm_v2,
    naive_moba,
    naive_nsa_selected,
    visible_range,
)

B, L, HQ, H, D, DR, S = 2, 45, 4, 2, 6, 5, 8
C = L // S
SCALE = D**-0.5


def leaf(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


def inputs(**options: int) -> dict[str, Tensor]:
    lo, hi = visible_range(L, C, S, batch=B, **options)
    return {
        "q": leaf(B, L, HQ, D, seed=1),
        "k": leaf(B, L, H, D, seed=2),
        "v": leaf(B, L, H, D, seed=3),
        "lo": lo,
        "hi": hi,
    }


def own_chunk(v: dict[str, Tensor]) -> dict[str, Tensor]:
    """The local branch over a token's own chunk, by ordinary tensor code."""
    t = torch.arange(L)
    mask = (t[:, None] >= t) & (t[:, None] // S == t // S)
    out, lse = masked_attention(v["q"], v["k"], v["v"], mask[:, None], SCALE)
    return {"local_out": out, "local_lse": lse}


def test_gca() -> None:
    program = methods.gca(3, S, DR**-0.5, SCALE, dtype="fp32")
    v = inputs(query_block=S)
    v |= {"q_slc": leaf(B, -(-L // S), 2, DR), "landmarks": leaf(B, C, 2, DR, seed=4)}
    ours = run(program, v, {"Hi": 2, "Hw": 2, "C": C, "Hr": 2, "Hm": 2, "R": -(-L // S), "K": 3})
    theirs = naive_gca(v["q"], v["k"], v["v"], v["q_slc"], v["landmarks"], chunk=S, top_k=3)
    assert_same_gradients(ours["out"], theirs, v)


def test_hils() -> None:
    program = methods.hils(2, S, DR**-0.5, SCALE, dtype="fp32")
    v = inputs(window=11)
    v |= {
        "q_slc": leaf(B, L, HQ, DR),
        "landmarks": leaf(B, C, H, DR, seed=4),
        "chunk_bias": leaf(B, C, H, seed=5),
    }
    t = torch.arange(L)
    near = (t[:, None] >= t) & (t[:, None] - t < 11)
    out, lse = masked_attention(v["q"], v["k"], v["v"], near[:, None], SCALE)
    ours = run(
        program,
        {**v, "local_out": out, "local_lse": lse},
        {"Hi": H, "Hw": HQ, "C": C, "Hr": HQ, "Hm": H, "K": 2},
    )
    theirs = naive_hils(
        v["q"],
        v["k"],
        v["v"],
        v["q_slc"],
        v["landmarks"],
        v["chunk_bias"],
        chunk=S,
        top_k=2,
        window=11,
    )
    assert_same_gradients(ours["out"], theirs, v)


def test_moba() -> None:
    program = methods.moba(2, S, SCALE, dtype="fp32")
    v = inputs()
    means = v["k"][:, : C * S].reshape(B, C, S, H, D).mean(2)
    ours = run(
        program, {**v, **own_chunk(v), "q_slc": v["q"], "landmarks": means}, {"Hi": HQ, "C": C}
    )
    theirs = naive_moba(v["q"], v["k"], v["v"], chunk=S, top_k=2)
    assert_same_gradients(ours["out"], theirs, v)


def test_nsa_selected() -> None:
    v = inputs()
    landmarks = leaf(B, C, H, D, seed=6)
    row_lse = group_lse(v["q"], landmarks)
    for first, last in ((0, 0), (1, 2)):
        program = methods.nsa_selected(3, S, SCALE, first, last, dtype="fp32")
        ours = run(
            program,
            {**v, "q_slc": v["q"], "landmarks": landmarks, "row_lse": row_lse},
            {"Hi": H, "C": C},
        )
        theirs = naive_nsa_selected(
            v["q"], v["k"], v["v"], landmarks, chunk=S, top_k=3, force_first=first, force_last=last
        )
        assert_same_gradients(ours["out"], theirs, v)


def test_infllm_v2() -> None:
    program = methods.infllm_v2(4, S, SCALE, dtype="fp32")
    v = inputs()
    # Overlapping pools (kernel 4, stride 2) of the keys, averaged per chunk.
    pools = v["k"].detach().unfold(1, 4, 2).mean(-1)
    landmarks = torch.stack([pools[:, c * S // 2 : c * S // 2 + 3].mean(1) for c in range(C)], 1)
    ours = run(
        program,
        {
            **v,
            **own_chunk(v),
            "q_slc": v["q"],
            "landmarks": landmarks,
            "row_lse": group_lse(v["q"], landmarks),
        },
        {"Hi": H, "C": C},
    )
    theirs = naive_infllm_v2(v["q"], v["k"], v["v"], landmarks, chunk=S, top_k=4)
    assert_same_gradients(ours["out"], theirs, v)


def test_scores_learn_where_the_method_says_so() -> None:
    learns = {"gca": True, "hils": True, "moba": False, "nsa_selected": False, "infllm_v2": False}
    programs = [
        methods.gca(2, S, 1.0, 1.0),
        methods.hils(2, S, 1.0, 1.0),
        methods.moba(2, S, 1.0),
        methods.nsa_selected(2, S, 1.0),
        methods.infllm_v2(2, S, 1.0),
    ]
    for program in programs:
        grads = {value.name for value in differentiate(program, of=["out"]).outputs}
        assert ("d_q_slc" in grads) == ("d_landmarks" in grads) == learns[program.name]
        assert {"d_q", "d_k", "d_v"} <= grads


def group_lse(q: Tensor, landmarks: Tensor) -> Tensor:
    """The compression branch's log-sum-exp over the chunks a token sees; -inf where none."""
    seen = (torch.arange(C) + 1) * S <= torch.arange(L)[:, None]
    return masked_attention(q, landmarks, landmarks, seen[:, None], SCALE)[1].detach()
