"""What a row's tensors and its work are."""

from __future__ import annotations

import pytest
import torch

from hsa_compiler.benchmarks import ours, work
from hsa_compiler.benchmarks.case import make_case
from hsa_compiler.schedules import hardware
from tests.benchmarks.cases import tiny_case, tiny_row


def test_weights_are_a_softmax_over_the_filled_slots() -> None:
    case = tiny_case()
    sums = case["weights"].sum(-1)
    seen = (case["indices"] >= 0).any(-1)
    torch.testing.assert_close(sums, seen.to(sums.dtype))
    assert bool((case["weights"][case["indices"] < 0] == 0).all())


def test_retrieval_of_a_local_row_is_local_too() -> None:
    """What `total` selects by itself must resemble the selection that attention is given."""
    sizes = {"L": 1024, "K": 8}
    local = tiny_case("local", **sizes)
    random = tiny_case("random", **sizes)
    assert local.own_union < 0.6 * random.own_union
    assert local.own_union == pytest.approx(local.union, rel=0.4)


def test_a_row_is_drawn_the_same_again() -> None:
    again = make_case(tiny_row(), torch.device("cpu"), ("attention",), False)
    for name, tensor in again.tensors.items():
        assert torch.equal(tensor, tiny_case()[name]), name
    assert not again["q"].requires_grad


def test_work_counts_filled_slots() -> None:
    case = tiny_case()
    shape = case.shape
    filled = int((case["indices"] >= 0).sum())
    # Every index head serves Hq / Hi query heads; 2 products of 2 * S * D each.
    expected = 2 * 2 * shape.S * shape.D * filled * shape.Hq // shape.Hi
    assert work.attention(case, work.FORWARD_PRODUCTS).flops == pytest.approx(expected)
    backward = work.attention(case, work.BACKWARD_PRODUCTS)
    assert backward.flops == pytest.approx(2.5 * expected)
    dense = work.dense(case, work.FORWARD_PRODUCTS)
    pairs = shape.L * (shape.L + 1) // 2
    assert dense.flops == pytest.approx(2 * 2 * pairs * shape.Hq * shape.D)


def test_a_decoded_token_reads_only_its_chunks() -> None:
    case = tiny_case("random", backward=False, L=1, Lkv=1024)
    assert case.q_offset == 1023
    one_chunk = 16 * 2 * 16 * 4  # S * H * D * bytes
    assert work.gathered(case, "k") == pytest.approx(2 * one_chunk)
    assert work.gathered(tiny_case(), "k") == 64 * 2 * 16 * 4


def test_the_roofline_is_the_slower_of_products_and_bytes() -> None:
    device = hardware.named("nvidia_h100_80gb_hbm3")
    compute = work.Work(flops=989e12, bytes=1.0)
    assert compute.roofline(2000.0, device, "bf16") == pytest.approx(0.5)
    assert compute.tflops(1000.0) == pytest.approx(989.0)
    moved = work.Work(flops=1.0, bytes=3350e9)
    assert moved.roofline(1000.0, device, "bf16") == pytest.approx(1.0)
    assert (compute + moved).flops == compute.flops + 1


@pytest.mark.parametrize(
    ("selection", "sizes"),
    [("local", {}), ("random", {}), ("random", {"Hr": 4})],
)
def test_our_results_are_right_on_a_slice(selection: str, sizes: dict[str, int]) -> None:
    found = ours.errors(tiny_case(selection, **sizes))
    assert set(found) == {"out", "d_q", "d_weights", "weights"}
    assert max(found.values()) < 1e-5


def test_a_slice_without_any_chunk_is_right_too() -> None:
    assert ours.errors(tiny_case(L=16))["out"] == 0.0


def test_every_kernel_is_measured_by_itself() -> None:
    runs = ours.kernel_runs(tiny_case(), hardware.host_cpu())
    assert [run.kernel for run in runs] == [
        "retrieve",
        "invert_index",
        "attend",
        "attend_grad_q",
        "attend_grad_kv",
        "weigh_grad",
        "landmark_grad",
    ]
    assert all(run.dispatched.row.tier == "planned" for run in runs)
    forward = ours.kernel_runs(tiny_case(backward=False), hardware.host_cpu())
    assert [run.kernel for run in forward] == ["retrieve", "attend"]
