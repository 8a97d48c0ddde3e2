"""The custom ops in torch: opcheck, torch.compile, checkpointing, autocast, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from hsa_compiler import Selection, chunk_attention, hsa_attention, retrieve
from hsa_compiler.errors import InputError
from hsa_compiler.runtime.attention_op import chunk_attention as attention_op
from hsa_compiler.runtime.index_op import invert_index
from hsa_compiler.runtime.retrieve_op import retrieve as retrieve_op

S = 16
OPTIONS: dict[str, Any] = {"chunk_size": S, "top_k": 2, "backend": "reference"}


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """A leaf, a function of its shape and seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(dtype).requires_grad_()


def hsa_inputs(length: int = 40, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The five tensors of `hsa_attention`."""
    shapes = {
        "q": (1, length, 4, 16),
        "k": (1, length, 2, 16),
        "v": (1, length, 2, 16),
        "q_slc": (1, length, 2, 16),
        "landmarks": (1, length // S, 2, 16),
    }
    return {n: rand(*shape, seed=i, dtype=dtype) for i, (n, shape) in enumerate(shapes.items())}


def intervals(rows: int, chunks: int) -> tuple[Tensor, Tensor]:
    """lo and hi of a causal batch of one."""
    hi = (torch.arange(rows, dtype=torch.int32) // S).clamp(max=chunks).view(1, rows)
    return torch.zeros_like(hi), hi


@pytest.mark.parametrize("normalize", ["softmax", "stick_breaking", "lse_mix", "none"])
@pytest.mark.parametrize("length", [40, 9])
def test_retrieve_passes_opcheck(normalize: str, length: int) -> None:
    inputs = hsa_inputs(length)
    chunks = length // S
    mixed = normalize == "lse_mix"
    args = (
        inputs["q_slc"],
        inputs["landmarks"],
        *intervals(length, chunks),
        rand(1, chunks, 2, seed=6),
        rand(1, length, 2, seed=7) if normalize in ("softmax", "lse_mix") else None,
        rand(1, length, 2, seed=8) if mixed else None,
        torch.tensor([3], dtype=torch.int32) if normalize == "softmax" else None,
        *(2, 2, 2, normalize, 0.25, 0, 0, True, False, "reference"),
    )
    torch.library.opcheck(retrieve_op, args)


@pytest.mark.parametrize("kind", ["weights", "local", "joint", "joint local", "packed"])
@pytest.mark.parametrize("length", [40, 9])
def test_chunk_attention_passes_opcheck(kind: str, length: int) -> None:
    inputs = hsa_inputs(length)
    chunks = length // S
    joint, local = kind.startswith("joint"), kind.endswith("local")
    indices = torch.arange(length, dtype=torch.int32).view(1, length, 1, 1) // S - 1
    args = (
        inputs["q"],
        inputs["k"],
        inputs["v"],
        indices.expand(1, length, 2, 2).contiguous(),
        None if joint else rand(1, length, 2, 2, seed=6),
        rand(1, length, 4, 16, seed=7) if local else None,
        rand(1, length, 2, seed=8) if local and not joint else None,
        rand(1, length, 4, seed=9) if local and joint else None,
        torch.arange(chunks, dtype=torch.int32) * S if kind == "packed" else None,
        *(None, None),
        *(S, 0.25, 1, False, False, False, "reference"),
    )
    torch.library.opcheck(attention_op, args)


@pytest.mark.parametrize("length", [40, 9])
def test_invert_index_passes_opcheck(length: int) -> None:
    chosen = 0 if length >= S else -1
    indices = torch.full((1, length, 2, 3), chosen, dtype=torch.int32)
    torch.library.opcheck(invert_index, (indices, length // S, False, "reference"))


def gradients(function: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
    """A call's output and the gradients of a fixed projection of it."""
    out = function(**inputs)
    weights = rand(*out.shape, seed=20).detach().to(out.dtype)
    return out.detach(), list(torch.autograd.grad((out * weights).sum(), list(inputs.values())))


def test_torch_compile_captures_the_whole_call() -> None:
    inputs = hsa_inputs()

    def call(**tensors: Tensor) -> Tensor:
        return hsa_attention(**tensors, **OPTIONS, noise_seed=3, window=20) * 2

    expected = gradients(call, inputs)
    found = gradients(torch.compile(call, fullgraph=True, backend="aot_eager"), inputs)
    torch.testing.assert_close(found, expected)


def test_torch_compile_with_dynamic_lengths() -> None:
    compiled = torch.compile(
        lambda **tensors: hsa_attention(**tensors, **OPTIONS),
        fullgraph=True,
        backend="aot_eager",
        dynamic=True,
    )
    for length in (40, 57, 70):
        inputs = hsa_inputs(length)
        expected = hsa_attention(**inputs, **OPTIONS)
        torch.testing.assert_close(compiled(**inputs), expected)


def test_torch_compile_of_packed_sequences_and_lse_mix() -> None:
    inputs = hsa_inputs(40)
    inputs["local_out"], inputs["local_lse"] = rand(1, 40, 4, 16), rand(1, 40, 4)
    starts = torch.tensor([0, 22, 40])

    def call(**tensors: Tensor) -> Tensor:
        return hsa_attention(
            **tensors, **OPTIONS, normalize="lse_mix", cu_seqlens_q=starts, cu_seqlens_kv=starts
        )

    expected = gradients(call, inputs)
    found = gradients(torch.compile(call, fullgraph=True, backend="aot_eager"), inputs)
    torch.testing.assert_close(found, expected)


def test_torch_compile_of_the_joint_softmax() -> None:
    inputs = {name: hsa_inputs()[name] for name in "qkv"}
    indices = torch.zeros(1, 40, 1, 2, dtype=torch.int64)

    def call(**tensors: Tensor) -> Tensor:
        return chunk_attention(
            **tensors, selection=Selection(indices), chunk_size=S, backend="reference"
        )

    expected = gradients(call, inputs)
    found = gradients(torch.compile(call, fullgraph=True, backend="aot_eager"), inputs)
    torch.testing.assert_close(found, expected)


def test_checkpointing_recomputes_the_same_noisy_selection() -> None:
    inputs = hsa_inputs(70)
    chosen: list[Tensor] = []

    def call(**tensors: Tensor) -> Tensor:
        out, selection = hsa_attention(**tensors, **OPTIONS, noise_seed=7, return_selection=True)
        chosen.append(selection.indices.clone())
        return out

    expected = gradients(call, inputs)
    with set_checkpoint_early_stop(False):
        found = gradients(lambda **x: checkpoint(call, **x, use_reentrant=False), inputs)
    torch.testing.assert_close(found, expected)
    assert len(chosen) == 3  # once plain, once checkpointed, once recomputed
    assert all(torch.equal(indices, chosen[0]) for indices in chosen)


def test_autocast_casts_the_data_and_keeps_weights_in_fp32() -> None:
    inputs = hsa_inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, selection = hsa_attention(**inputs, **OPTIONS, return_selection=True)
    assert out.dtype == torch.bfloat16
    assert selection.weights.dtype == selection.scores.dtype == torch.float32
    halves = {name: x.detach().bfloat16().requires_grad_() for name, x in inputs.items()}
    expected, chosen = hsa_attention(**halves, **OPTIONS, return_selection=True)
    assert torch.equal(out, expected)
    assert torch.equal(selection.scores, chosen.scores)  # no op inside was autocast
    out.sum().backward()
    assert all(x.grad.dtype == torch.float32 for x in inputs.values())


def test_autocast_under_torch_compile() -> None:
    inputs = hsa_inputs()

    def call(**tensors: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return hsa_attention(**tensors, **OPTIONS)

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(**inputs), call(**inputs))


def test_only_wanted_gradients_are_computed() -> None:
    inputs = {name: x.detach() for name, x in hsa_inputs().items()}
    inputs["v"].requires_grad_()
    out = hsa_attention(**inputs, **OPTIONS)
    out.sum().backward()
    assert inputs["v"].grad is not None
    assert all(x.grad is None for name, x in inputs.items() if name != "v")


def test_outputs_share_no_memory_with_inputs() -> None:
    inputs = hsa_inputs()
    indices = torch.zeros(1, 40, 1, 1, dtype=torch.int32)
    tensors = {name: inputs[name].detach() for name in "qkv"}
    local_out, local_lse = rand(1, 40, 4, 16).detach(), rand(1, 40, 4).detach()
    out = chunk_attention(
        **tensors,
        selection=indices,
        local_out=local_out,
        local_lse=local_lse,
        chunk_size=S,
        backend="reference",
    )
    before = out.clone()
    for x in (*tensors.values(), local_out, local_lse):
        x.zero_()
    assert torch.equal(out, before)


@pytest.mark.parametrize("half", ["retrieve", "chunk_attention"])
def test_double_backward_is_refused(half: str) -> None:
    inputs = hsa_inputs()
    if half == "retrieve":
        tensors = {name: inputs[name] for name in ("q_slc", "landmarks")}
        out = retrieve(**tensors, **OPTIONS).weights
    else:
        tensors = {name: inputs[name] for name in "qkv"}
        indices = torch.zeros(1, 40, 1, 1, dtype=torch.int32)
        out = chunk_attention(**tensors, selection=indices, chunk_size=S, backend="reference")
    grads = torch.autograd.grad(out.square().sum(), list(tensors.values()), create_graph=True)
    with pytest.raises(InputError, match=rf"{half} has no second derivative"):
        grads[0].sum().backward()


def test_vmap_is_refused() -> None:
    inputs = {name: torch.stack([x, x]) for name, x in hsa_inputs().items()}
    with pytest.raises(InputError, match=r"retrieve has no vmap rule.*batch axis"):
        torch.vmap(lambda tensors: hsa_attention(**tensors, **OPTIONS))(inputs)


def forward_mode(function: Any, x: Tensor) -> None:
    with forward_ad.dual_level():
        function(forward_ad.make_dual(x, x))


TRANSFORMS = {
    "grad": lambda function, x: torch.func.grad(function)(x),
    "jvp": lambda function, x: torch.func.jvp(function, (x,), (x,)),
    "forward mode": forward_mode,
}


@pytest.mark.parametrize("name", ["q", "landmarks"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_function_transforms_are_refused(name: str, transform: str) -> None:
    inputs = {n: x.detach() for n, x in hsa_inputs().items()}

    def loss(x: Tensor) -> Tensor:
        return hsa_attention(**{**inputs, name: x}, **OPTIONS).sum()

    with pytest.raises(InputError, match=r"has no rule for torch.func .* use torch.autograd.grad"):
        TRANSFORMS[transform](loss, inputs[name])


def test_a_call_is_deterministic() -> None:
    inputs = hsa_inputs(70)
    calls = [
        gradients(lambda **x: hsa_attention(**x, **OPTIONS, deterministic=True), inputs)
        for _ in range(2)
    ]
    assert torch.equal(calls[0][0], calls[1][0])
    assert all(torch.equal(a, b) for a, b in zip(calls[0][1], calls[1][1], strict=True))


def test_a_compiled_call_takes_changing_seeds_and_returns_the_selection() -> None:
    inputs = hsa_inputs(70)

    def call(seed: int, **tensors: Tensor) -> tuple[Tensor, Selection]:
        return hsa_attention(**tensors, **OPTIONS, noise_seed=seed, return_selection=True)

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    for seed in (3, 4, -1, 2**31):
        out, selection = compiled(seed, **inputs)
        expected, chosen = call(seed, **inputs)
        torch.testing.assert_close(out, expected)
        assert torch.equal(selection.indices, chosen.indices)
