"""The inverse index of a selection: built once, shared by every pass and layer that can use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from hsa_compiler import Selection, chunk_attention, hsa_attention, retrieve
from hsa_compiler.compiler import CompiledKernel
from hsa_compiler.errors import InputError
from hsa_compiler.runtime.selection import InverseIndex

S = 16
OPTIONS: dict[str, Any] = {"chunk_size": S, "top_k": 2, "backend": "tvm"}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of the kernels that run."""
    kinds: list[str] = []
    launch = CompiledKernel.launch

    def spy(self: CompiledKernel, values: Mapping[str, Tensor], dims: Mapping[str, int]) -> None:
        kinds.append(self.problem.kind)
        launch(self, values, dims)

    monkeypatch.setattr(CompiledKernel, "launch", spy)
    return kinds


def inputs(*learn: str) -> dict[str, Tensor]:
    shapes = {
        "q": (1, 70, 2, 16),
        "k": (1, 70, 1, 16),
        "v": (1, 70, 1, 16),
        "q_slc": (1, 70, 1, 16),
        "landmarks": (1, 4, 1, 16),
    }
    generator = torch.Generator().manual_seed(0)
    made = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {name: x.requires_grad_(name in learn) for name, x in made.items()}


def test_one_index_serves_a_whole_step(launched: list[str]) -> None:
    tensors = inputs("q", "k", "v", "q_slc", "landmarks")
    hsa_attention(**tensors, **OPTIONS).sum().backward()
    assert launched.count("invert_index") == 1
    assert {"attend_grad_kv", "landmark_grad"} <= set(launched)


@pytest.mark.parametrize("learn", [(), ("q",), ("q", "q_slc")])
def test_no_index_where_no_gradient_sums_over_rows(launched: list[str], learn: tuple[str]) -> None:
    out = hsa_attention(**inputs(*learn), **OPTIONS)
    if learn:
        out.sum().backward()
    assert "invert_index" not in launched


def test_layers_share_the_index_of_their_selection(launched: list[str]) -> None:
    tensors = inputs("k", "v", "landmarks")
    selection = retrieve(tensors["q_slc"], tensors["landmarks"], **OPTIONS)
    assert selection.inverse is not None
    q, k, v = (tensors[name] for name in "qkv")
    for _ in range(2):
        chunk_attention(q, k, v, selection, chunk_size=S, backend="tvm").sum().backward(
            retain_graph=True
        )
    assert launched.count("invert_index") == 1


def test_a_bare_selection_is_indexed_once_a_call(launched: list[str]) -> None:
    tensors = inputs("k", "v")
    indices = retrieve(tensors["q_slc"], tensors["landmarks"], **OPTIONS).indices
    q, k, v = (tensors[name] for name in "qkv")
    chunk_attention(q, k, v, indices, chunk_size=S, backend="tvm").sum().backward()
    assert launched.count("invert_index") == 1


def test_an_index_of_other_chunks_is_built_again(launched: list[str]) -> None:
    """Landmarks of fewer chunks than the keys hold: the gradients are those of all keys."""
    tensors = inputs("k", "v", "landmarks")
    q, k, v = (tensors[name] for name in "qkv")
    fewer = tensors["landmarks"][:, :2]
    selection = retrieve(tensors["q_slc"], fewer, **OPTIONS)
    grads = []
    for chosen in (selection, selection._replace(inverse=None)):
        out = chunk_attention(q, k, v, chosen, chunk_size=S, backend="tvm")
        grads.append(torch.autograd.grad(out.sum(), [k, v]))
    assert launched.count("invert_index") == 3
    torch.testing.assert_close(grads[0], grads[1])
    assert (grads[0][0][:, 2 * S :] == 0).all()


@pytest.mark.parametrize("how", ["replaced", "in place"])
def test_an_index_of_other_indices_is_built_again(launched: list[str], how: str) -> None:
    tensors = inputs("k", "v", "landmarks")
    q, k, v = (tensors[name] for name in "qkv")
    selection = retrieve(tensors["q_slc"], tensors["landmarks"], **OPTIONS)
    fewer = torch.where(torch.arange(70).view(1, 70, 1, 1) % 3 == 0, -1, selection.indices)
    if how == "replaced":
        selection = selection._replace(indices=fewer)
    else:
        selection.indices.copy_(fewer)
    grads = []
    for chosen in (selection, selection._replace(inverse=None)):
        out = chunk_attention(q, k, v, chosen, chunk_size=S, backend="tvm")
        grads.append(torch.autograd.grad(out.sum(), [k, v]))
    assert launched.count("invert_index") == 3
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=0)


def inverse_of(order: Tensor) -> InverseIndex:
    return InverseIndex(order, torch.zeros(1, 1, 5), torch.zeros(1))


@pytest.mark.parametrize(
    ("inverse", "message"),
    [
        (torch.zeros(3), "give the InverseIndex that retrieve returned"),
        (inverse_of(torch.zeros(1, 1, 9)), r"selection.inverse.order has shape \[1, 1, 9"),
        (inverse_of(torch.zeros(1, 1, 140)), "selection.inverse.order is torch.float32"),
    ],
)
def test_what_is_no_inverse_index_is_refused(inverse: Any, message: str) -> None:
    tensors = inputs()
    indices = torch.zeros(1, 70, 1, 2, dtype=torch.int32)
    q, k, v = (tensors[name] for name in "qkv")
    with pytest.raises(InputError, match=message):
        chunk_attention(q, k, v, Selection(indices, inverse=inverse), chunk_size=S)
