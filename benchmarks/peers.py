"""What a row is compared with: dense attention, FlexAttention, the operator and its retrieval in
plain torch, and the interpreter. Every label says what is computed, since dense attention and
FlexAttention compute something else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from hsa_compiler.benchmarks import chunk_major, dense_retrieval, flex, ours, work
from hsa_compiler.benchmarks.case import Case
from hsa_compiler.benchmarks.contest import (
    WHOLE,
    Built,
    CannotRun,
    Contestant,
    gradients,
    parts_of,
    without_gradients,
)

T = TypeVar("T")

#: The interpreter is measured up to this many products of query and key elements.
REFERENCE_LIMIT = 1 << 28


@dataclass(frozen=True)
class Peer:
    """One implementation to compare with: `label` says what it computes."""

    name: str
    label: str
    contestants: Callable[[Case], list[Contestant]]


def _attention(
    who: str, build: Callable[[Case, str], Built], case: Case, sized: Callable[[int], work.Work]
) -> list[Contestant]:
    products = {"forward": work.FORWARD_PRODUCTS, "backward": work.BACKWARD_PRODUCTS}
    return [
        Contestant(who, part, functools.partial(build, case, part), sized(products[part]))
        for part in parts_of(case)
        if part in products
    ]


def _dense(who: str, backend: SDPBackend, case: Case) -> list[Contestant]:
    build = functools.partial(_build_dense, backend)
    return _attention(who, build, case, lambda products: work.dense(case, products))


def _build_dense(backend: SDPBackend, case: Case, part: str) -> Built:
    shape = case.shape
    if backend == SDPBackend.CUDNN_ATTENTION and case.device.type != "cuda":
        raise CannotRun("cuDNN runs on NVIDIA GPUs")
    if shape.L not in (1, shape.Lkv):
        raise CannotRun("torch's causal mask starts at the first key: L must be 1 or Lkv")

    def attend(q: Tensor, k: Tensor, v: Tensor, grouped: bool) -> Tensor:
        with sdpa_kernel(backend):
            return torch.nn.functional.scaled_dot_product_attention(
                q, k, v, is_causal=shape.L > 1, enable_gqa=grouped
            )

    q, k, v = _heads_first(case)
    grouped, note = shape.Hq > shape.H, ""
    if grouped:
        try:
            out = attend(q, k, v, grouped=True)
            if part == "backward":
                torch.autograd.grad(out, (q, k, v), torch.ones_like(out))
        except RuntimeError:
            grouped, note = False, "keys and values repeated to all query heads beforehand"
            k, v = (
                x.detach().repeat_interleave(shape.Hq // shape.H, dim=1).requires_grad_()
                for x in (k, v)
            )
    if part == "forward":
        return Built(without_gradients(lambda: attend(q, k, v, grouped)), note)
    upstream = case["d_out"].transpose(1, 2)
    return Built(gradients(attend(q, k, v, grouped), (q, k, v), upstream), note)


def _heads_first(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v as [B,H,L,D] views, leaves of their own."""
    q, k, v = (case[name].detach().transpose(1, 2).requires_grad_(case.backward) for name in "qkv")
    return q, k, v


def _flex(case: Case) -> list[Contestant]:
    # Both parts share one compiled function: compiling it again would drop the first.
    build = functools.partial(_build_flex, _Once(lambda: flex.compiled(case, *_heads_first(case))))
    return _attention("flex", build, case, lambda products: work.attention(case, products))


def _build_flex(compiled: _Once[flex.Compiled], case: Case, part: str) -> Built:
    if case.device.type != "cuda":
        raise CannotRun("FlexAttention is measured compiled, on GPUs")
    made = compiled.get()
    if part == "forward":
        return Built(without_gradients(made.attend), made.note)
    upstream = case["d_out"].transpose(1, 2)
    return Built(gradients(made.attend(), made.inputs, upstream), made.note)


class _Once(Generic[T]):
    """A value that is made when it is first asked for; so is the error, if making it fails."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._value: list[T] = []
        self._error: Exception | None = None

    def get(self) -> T:
        """The value. Raises what making it raised."""
        if self._error is not None:
            raise self._error
        if not self._value:
            try:
                self._value.append(self._make())
            except Exception as error:
                self._error = error
                raise
        return self._value[0]


def _chunk_major(case: Case) -> list[Contestant]:
    return _attention(
        chunk_major.NAME, _build_chunk_major, case, lambda products: work.attention(case, products)
    )


def _build_chunk_major(case: Case, part: str) -> Built:
    made = chunk_major.tuned(case, backward=part == "backward")
    if part == "forward":
        return Built(without_gradients(made.attend), made.note)
    return Built(gradients(made.attend(), ours.attention_inputs(case), case["d_out"]), made.note)


def _torch_retrieval(case: Case) -> list[Contestant]:
    builds = {"retrieve": _build_torch_retrieve, "retrieve_backward": _build_torch_backward}
    return [
        Contestant(
            "torch",
            part,
            functools.partial(builds[part], case),
            work.retrieval(case, backward=part.endswith("backward")),
        )
        for part in parts_of(case)
        if part in builds
    ]


def torch_retrieval(case: Case) -> tuple[Tensor, Tensor]:
    """Indices and weights [B,L,Hi,K], the best chunk first, by einsum, top-k and softmax.

    Raises CannotRun where several score heads share a selection.
    """
    shape = case.shape
    if shape.Hi != shape.Hr:
        raise CannotRun("torch's retrieval has one selection per score head")
    return dense_retrieval.retrieve(case["q_slc"], case["landmarks"], case["hi"], shape.K)


def _build_torch_retrieve(case: Case) -> Built:
    return Built(without_gradients(lambda: torch_retrieval(case)))


def _build_torch_backward(case: Case) -> Built:
    weights = torch_retrieval(case)[1]
    upstream = case["d_weights"][:, :, : weights.shape[2], : weights.shape[3]]
    return Built(gradients(weights, (case["q_slc"], case["landmarks"]), upstream))


def _reference(case: Case) -> list[Contestant]:
    """The interpreter's calls, which refuse rows that would take it minutes."""
    shape = case.shape
    size = shape.B * shape.L * shape.Hq * shape.K * shape.S * shape.D
    made = ours.contestants(case, "reference", ours.How("reference"))
    found = [c for c in made if c.part not in WHOLE]
    if size <= REFERENCE_LIMIT:
        return found

    def refuse() -> Built:
        raise CannotRun("the interpreter is measured at small sizes only")

    return [Contestant(c.who, c.part, refuse, c.work) for c in found]


def _deterministic(case: Case) -> list[Contestant]:
    found = ours.contestants(case, "deterministic", ours.How(deterministic=True))
    return [c for c in found if c.part in ("backward", "retrieve_backward", "total")]


def _tvm(case: Case) -> list[Contestant]:
    if case.device.type != "cuda":
        return []  # ours already
    return [c for c in ours.contestants(case, "tvm", ours.How("tvm")) if c.part != "decode"]


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            "cudnn",
            "dense causal attention, torch SDPA with cuDNN",
            functools.partial(_dense, "cudnn", SDPBackend.CUDNN_ATTENTION),
        ),
        Peer(
            "flash2",
            "dense causal attention, torch SDPA with FlashAttention (version 2 on GPUs)",
            functools.partial(_dense, "flash2", SDPBackend.FLASH_ATTENTION),
        ),
        Peer(
            "flex",
            "FlexAttention, compiled, over the same tokens and keys by an exact block mask; "
            "approximate work: one joint softmax and no weights, where HSA has a softmax per "
            "chunk and learned weights",
            _flex,
        ),
        Peer(
            chunk_major.NAME,
            "the same attention in PyTorch, chunk by chunk with batched products; its lists are "
            "built beforehand, but in training steps as part of them",
            _chunk_major,
        ),
        Peer(
            "torch",
            "the same retrieval by torch einsum, topk and softmax; holds L x C scores",
            _torch_retrieval,
        ),
        Peer(
            "deterministic",
            "this project's kernels without atomic adds: gradients are equal bit by bit",
            _deterministic,
        ),
        Peer("tvm", "this project's kernels through TVM's CUDA target", _tvm),
        Peer("reference", "the same operator, run by this project's interpreter", _reference),
    )
}
