"""What rows are compared with: that it is what its label says, and who refuses what."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend
from torch.nn.attention.flex_attention import flex_attention

from hsa_compiler.benchmarks import flex, ours, peers
from hsa_compiler.benchmarks.case import Case
from hsa_compiler.benchmarks.contest import CannotRun, parts_of, relative_error
from tests.benchmarks.cases import tiny_case


def reason(peer: str, case: Case, part: str) -> str:
    (found,) = (c for c in peers.PEERS[peer].contestants(case) if c.part == part)
    with pytest.raises(CannotRun) as error:
        found.build().run()
    return str(error.value)


@pytest.mark.parametrize("block", [64, 128])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_block_mask_shows_exactly_the_chosen_keys(heads: int, block: int) -> None:
    case = tiny_case("random", L=200, H=heads)
    q, k, v = (case[name].detach().transpose(1, 2) for name in "qkv")
    grouped = heads < 4
    mask = flex.block_mask(case, block)
    out = flex_attention(q, k, v, block_mask=mask, enable_gqa=grouped)
    indices = case["indices"].transpose(1, 2).repeat_interleave(4 // heads, dim=1)
    seen = (indices[..., None] == torch.arange(200) // 16).any(dim=-2)
    k, v = (x.repeat_interleave(4 // heads, dim=1) for x in (k, v))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    some = seen.any(dim=-1)
    torch.testing.assert_close(out[some], expected[some])
    assert bool((out[~some] == 0).all())


def test_the_block_mask_knows_whole_blocks() -> None:
    """Blocks that every token of a tile chose need no mask."""
    case = tiny_case(L=128, K=8)  # every visible chunk is chosen
    mask = flex.block_mask(case, 64)
    assert mask.full_kv_num_blocks is not None
    assert mask.full_kv_num_blocks[0, 0].tolist() == [0, 1]
    assert mask.kv_num_blocks[0, 0].tolist() == [1, 1]


def test_torch_retrieves_what_we_do() -> None:
    case = tiny_case("random", L=200)
    indices, weights = peers.torch_retrieval(case)
    chosen = ours.choose(case)
    assert chosen.weights is not None
    assert torch.equal(indices.sort(dim=-1, descending=True).values.int(), chosen.indices)
    assert relative_error(weights.sort().values, chosen.weights.sort().values) < 1e-5


def test_torch_retrieval_refuses_shared_selections() -> None:
    assert "one selection per score head" in reason("torch", tiny_case(Hr=4), "retrieve")


def test_dense_attention_and_its_gradients_run() -> None:
    case = tiny_case()
    for part in ("forward", "backward"):
        peers._build_dense(SDPBackend.FLASH_ATTENTION, case, part).run()


def test_dense_attention_decodes_one_token() -> None:
    case = tiny_case("random", backward=False, L=1, Lkv=256)
    assert parts_of(case) == ("forward", "retrieve", "total")
    peers._build_dense(SDPBackend.FLASH_ATTENTION, case, "forward").run()
    case = tiny_case("random", backward=False, L=2, Lkv=256)
    assert "L must be 1 or Lkv" in reason("flash2", case, "forward")


def test_gpu_peers_refuse_a_cpu() -> None:
    assert "NVIDIA" in reason("cudnn", tiny_case(), "forward")
    assert "on GPUs" in reason("flex", tiny_case(), "backward")


def test_the_interpreter_refuses_large_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    case = tiny_case()
    parts = [c.part for c in peers.PEERS["reference"].contestants(case)]
    assert parts == ["forward", "backward", "retrieve", "retrieve_backward"]
    monkeypatch.setattr(peers, "REFERENCE_LIMIT", 1)
    assert "small sizes" in reason("reference", case, "forward")


def test_what_fails_once_is_not_tried_again() -> None:
    tries = []

    def fail() -> int:
        tries.append(1)
        raise ValueError("no kernel")

    once = peers._Once(fail)
    for _ in range(2):
        with pytest.raises(ValueError, match="no kernel"):
            once.get()
    assert len(tries) == 1


def test_relative_errors_of_what_is_no_number() -> None:
    one = torch.ones(3)
    assert relative_error(one, one) == 0.0
    assert relative_error(one[:2], one) == float("inf")
    assert relative_error(one * float("nan"), one) == float("inf")
    assert relative_error(one, 0 * one) == float("inf")
    assert relative_error(1.5 * one, one) == pytest.approx(0.5)
