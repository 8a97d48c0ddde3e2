"""The operator in plain PyTorch, chunk by chunk, against ours."""

from __future__ import annotations

import pytest
import torch

from hsa_compiler.benchmarks import chunk_major, ours, peers
from hsa_compiler.benchmarks.contest import relative_error
from tests.benchmarks.cases import tiny_case


@pytest.mark.parametrize(("length", "block"), [(1, 1), (3, 2), (16, 64)])
@pytest.mark.parametrize("sizes", [{}, {"H": 1}, {"Hq": 8, "H": 2, "Hr": 8, "B": 2}])
def test_it_computes_the_operator(sizes: dict[str, int], length: int, block: int) -> None:
    case = tiny_case("random", L=200, **sizes)
    shape = case.shape
    pieces = chunk_major.pieces_of(case["indices"], shape.H, shape.C, length)
    inputs = ours.attention_inputs(case)
    out = chunk_major.attend(*inputs, pieces, shape.S, block)
    expected = ours.attend(case)
    assert relative_error(out, expected) < 1e-5
    found = torch.autograd.grad(out, inputs, case["d_out"])
    for x, y in zip(found, torch.autograd.grad(expected, inputs, case["d_out"]), strict=True):
        assert relative_error(x, y) < 1e-5


def test_pieces_hold_every_pair_once() -> None:
    case = tiny_case("random", L=200)
    indices, shape = case["indices"], case.shape
    pieces = chunk_major.pieces_of(indices, shape.H, shape.C, 4)
    assert bool((pieces.lists.diff() >= 0).all())
    chosen = indices.repeat_interleave(shape.H // shape.Hi, dim=2).transpose(1, 2).flatten(2)[0]
    for number in range(shape.H * shape.C):
        head, chunk = divmod(number, shape.C)
        of_list = pieces.lists == number
        pairs = pieces.pairs[of_list][pieces.filled[of_list]]
        assert pairs.tolist() == torch.nonzero(chosen[head] == chunk).flatten().tolist()


def test_the_peer_chooses_sizes_and_says_which() -> None:
    parts = {c.part: c.build() for c in peers.PEERS["chunk_major"].contestants(tiny_case())}
    assert set(parts) == {"forward", "backward"}
    for built in parts.values():
        built.run()
        assert "pairs a piece" in built.note


def test_deterministic_gradients_are_a_peer() -> None:
    found = {c.part: c for c in peers.PEERS["deterministic"].contestants(tiny_case())}
    assert set(found) == {"backward", "retrieve_backward", "total"}
    for contestant in found.values():
        contestant.build().run()
