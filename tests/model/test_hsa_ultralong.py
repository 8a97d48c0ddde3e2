"""The model: window attention, causality, gradients, options, and the door to the kernels."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.model.config import HSAConfig
from hsa_compiler.model.hsa_ultralong import (
    HSALayer,
    HSAUltraLong,
    Rope,
    SwiGLU,
    band_mask,
    window_attention,
)
from tests.model.saved import saved_bytes


def make(config: HSAConfig, dtype: torch.dtype = torch.float64) -> HSAUltraLong:
    torch.manual_seed(0)
    return HSAUltraLong(config).to(dtype)


def hsa_layers(model: HSAUltraLong) -> list[HSALayer]:
    return [block for block in model.upper if isinstance(block, HSALayer)]


def some_tokens(length: int, batch: int = 2) -> Tensor:
    return torch.randint(0, 256, (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("length", "past"), [(1, 0), (1, 5), (5, 2), (37, 0), (37, 8), (64, 3)])
@pytest.mark.parametrize("window", [8, 37, 100])
def test_window_attention_equals_a_dense_mask(length: int, past: int, window: int) -> None:
    torch.manual_seed(0)
    past = min(past, window)
    q = torch.randn(2, length, 4, 16, dtype=torch.float64, requires_grad=True)
    kv = torch.randn(2, 2, past + length, 2, 16, dtype=torch.float64, requires_grad=True)
    k, v = kv
    out = window_attention(q, k, v, window, band_mask(length, past, window, q.device))

    back = torch.arange(length)[:, None] + past - torch.arange(past + length)[None, :]
    keys, values = (x.repeat_interleave(2, dim=2).transpose(1, 2) for x in (k, v))
    dense = F.scaled_dot_product_attention(
        q.transpose(1, 2), keys, values, attn_mask=(back >= 0) & (back < window)
    )
    torch.testing.assert_close(out, dense.transpose(1, 2))
    grad = torch.randn_like(out)
    found = torch.autograd.grad(out, (q, kv), grad)
    torch.testing.assert_close(found, torch.autograd.grad(dense.transpose(1, 2), (q, kv), grad))


def test_window_attention_keeps_keys_and_values_once_per_kv_head() -> None:
    length, window, heads, dim = 64, 16, 8, 32
    q = torch.randn(1, length, heads, dim, requires_grad=True)
    k, v = torch.randn(2, 1, length, 1, dim, requires_grad=True)
    mask = band_mask(length, 0, window, q.device)
    kept = saved_bytes(lambda: window_attention(q, k, v, window, mask))
    queries, outputs, totals = heads * length * dim, heads * length * dim, heads * length
    bands = length // window * 2 * window
    assert kept <= 4 * (queries + outputs + totals + 2 * bands * dim + window * bands)


def test_swiglu_keeps_two_tensors_of_its_hidden_width_and_loses_no_bit() -> None:
    torch.manual_seed(0)
    mlp, x = SwiGLU(16, 256, 1e-6), torch.randn(10, 16, requires_grad=True)
    weights = tuple(mlp.parameters())
    kept = saved_bytes(lambda: mlp(x)) - sum(4 * weight.numel() for weight in weights)
    assert kept <= 4 * 10 * (2 * 256 + 2 * 16 + 1)

    def plain(x: Tensor) -> Tensor:
        h = mlp.norm(x)
        out: Tensor = mlp.down(F.silu(mlp.gate(h)) * mlp.up(h))
        return out

    grads = [torch.autograd.grad(f(x).square().sum(), (x, *weights)) for f in (mlp, plain)]
    for found, expected in zip(*grads, strict=True):
        assert torch.equal(found, expected)
    with torch.no_grad():
        assert torch.equal(mlp(x), plain(x))


def test_rope_depends_on_distance_alone_even_at_16m() -> None:
    q, k = torch.randn(2, 1, 1, 1, 64)

    def score(at: int) -> Tensor:
        rope = Rope.at(at, 8, 64, 1e4, q)
        turned = rope.turn(q.expand(1, 8, 1, 64)), rope.turn(k.expand(1, 8, 1, 64))
        return (turned[0][0, 7] * turned[1][0, 2]).sum()

    torch.testing.assert_close(score(0), score(16_000_000), atol=1e-4, rtol=0)


def test_no_token_sees_the_future(small: HSAConfig) -> None:
    model, tokens = make(small), some_tokens(83)
    before = model(tokens)
    assert before.shape == (2, 83, 264)
    # Inside a chunk, its first and its last token, and the incomplete tail.
    for changed in (21, 32, 47, 80):
        other = tokens.clone()
        other[:, changed] = (other[:, changed] + 1) % 256
        after = model(other)
        assert torch.equal(after[:, :changed], before[:, :changed])
        assert not torch.equal(after[:, changed], before[:, changed])


def test_a_far_token_reaches_only_through_hsa(small: HSAConfig) -> None:
    small = dataclasses.replace(small, top_k=9)
    model, tokens = make(small), some_tokens(90)
    other = tokens.clone()
    other[:, 3] = (other[:, 3] + 1) % 256
    far = 3 + small.reach + 1
    on = (model(other) - model(tokens)).abs().amax(dim=(0, 2))
    off = (model(other, zero_hsa=True) - model(tokens, zero_hsa=True)).abs().amax(dim=(0, 2))
    assert small.reach == 33
    assert (on[far:] > 0).all()
    assert (off[far:] == 0).all()
    assert off[far - 1] > 0


def test_gradients_reach_every_parameter(small: HSAConfig) -> None:
    model, tokens = make(dataclasses.replace(small, rank_scale=True)), some_tokens(97)
    F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent
    # Retrieval learns from the language-model loss: landmarks and queries of every group.
    for parameter in (
        model.encoder.cls,
        model.encoder.landmark.weight,
        *(layer.retrieval.weight for layer in hsa_layers(model)),
    ):
        assert parameter.grad.abs().max() > 1e-6


def test_retrieval_gradient_is_the_derivative(small: HSAConfig) -> None:
    small = dataclasses.replace(small, top_k=9)  # no selection that a small step could change
    model, tokens = make(small), some_tokens(80)
    for weight in (model.encoder.landmark.weight, hsa_layers(model)[0].retrieval.weight):
        direction = torch.randn_like(weight)
        model.zero_grad()
        model(tokens).square().mean().backward()
        slope = (weight.grad * direction).sum()
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight += step * direction
                values.append(model(tokens).square().mean())
                weight -= step * direction
        torch.testing.assert_close(slope, (values[0] - values[1]) / 2e-5, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "change",
    [{}, {"window_aware": True}, {"top_k": 9}, {"retrieval_heads": 1}, {"hsa_kv_heads": 1}],
    ids=str,
)
def test_the_door_computes_what_a_plain_implementation_does(
    small: HSAConfig, change: dict[str, int], request: pytest.FixtureRequest
) -> None:
    if "hsa_kv_heads" in change:
        change = {**change, "retrieval_heads": 1}
    model, tokens = make(dataclasses.replace(small, **change)), some_tokens(75)
    out = model(tokens)
    grads = torch.autograd.grad(out.square().mean(), [*model.parameters()])
    request.getfixturevalue("naive_door")
    plain = model(tokens)
    torch.testing.assert_close(out, plain)
    for given, wanted in zip(
        grads, torch.autograd.grad(plain.square().mean(), [*model.parameters()]), strict=True
    ):
        torch.testing.assert_close(given, wanted)


def test_the_compiled_kernels_compute_the_same(
    small: HSAConfig, request: pytest.FixtureRequest
) -> None:
    model = make(dataclasses.replace(small, attention_backend="auto"), torch.float32)
    tokens = some_tokens(75)
    out = model(tokens)
    grads = torch.autograd.grad(out.square().mean(), [*model.parameters()])
    request.getfixturevalue("naive_door")
    plain = model(tokens)
    torch.testing.assert_close(out, plain, rtol=1e-4, atol=1e-4)
    for given, wanted in zip(
        grads, torch.autograd.grad(plain.square().mean(), [*model.parameters()]), strict=True
    ):
        assert (given - wanted).norm() <= 1e-4 * wanted.norm() + 1e-7


@pytest.mark.parametrize(
    "change",
    [
        {"normalize": "stick_breaking"},
        {"normalize": "softmax_off_by_one"},
        {"weight_heads": "query", "retrieval_heads": 4},
        {"hsa_window_sublayer": True},
        {"bypass_residual": False},
        {"encoder_layers": 2, "encoder_ffn": 16},
        {"group_layers": 0},
    ],
    ids=str,
)
def test_options_change_the_model_and_keep_it_causal(
    small: HSAConfig, change: dict[str, int | str | bool]
) -> None:
    model, tokens = make(dataclasses.replace(small, **change)), some_tokens(70)
    out = model(tokens)
    torch.testing.assert_close(model(tokens[:, :50]), out[:, :50])
    assert out.isfinite().all()


def test_the_residual_bypasses_what_was_retrieved(small: HSAConfig) -> None:
    tokens = some_tokens(70)
    bypassing = make(small)
    plain = make(dataclasses.replace(small, bypass_residual=False))
    for model in (bypassing, plain):
        for layer in hsa_layers(model):
            layer.mlp.down.weight.data.zero_()
    assert torch.equal(bypassing(tokens), bypassing(tokens, zero_hsa=True))
    assert not torch.allclose(plain(tokens), plain(tokens, zero_hsa=True))


def test_sequences_shorter_than_a_chunk_see_windows_alone(small: HSAConfig) -> None:
    model, tokens = make(small), some_tokens(16)
    assert torch.equal(model(tokens), model(tokens, zero_hsa=True))


def test_recomputed_activations_give_the_same_gradients(small: HSAConfig) -> None:
    tokens = some_tokens(50)
    grads = []
    for again in (False, True):
        model = make(dataclasses.replace(small, checkpoint_activations=again))
        model(tokens).square().mean().backward()
        grads.append([p.grad for p in model.parameters()])
    for plain, recomputed in zip(*grads, strict=True):
        assert torch.equal(plain, recomputed)


def test_autocast_runs_in_bf16(small: HSAConfig) -> None:
    model, tokens = make(small, torch.float32), some_tokens(70)
    exact = model(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(tokens)
        out.float().square().mean().backward()
    assert out.dtype == torch.bfloat16
    assert (out.float() - exact).norm() < 0.05 * exact.norm()


def test_initialisation_follows_its_table(small: HSAConfig) -> None:
    config = dataclasses.replace(small, width=128, rank_scale=True)
    start = make(config, torch.float32).state_dict()
    assert (start["norm.weight"] == 1).all()
    assert (start["upper.0.q_norm.weight"] == 1).all()
    assert start["upper.0.rank_scale"] == 0
    assert float(start["lower.0.attention.q.weight"].std()) == pytest.approx(0.2, rel=0.05)
    # 5 blocks add to the residual stream, each twice.
    down = float(start["lower.0.mlp.down.weight"].std())
    assert down == pytest.approx(0.2 / 10**0.5, rel=0.05)
    assert start["encoder.cls"].std() > 0


@pytest.mark.parametrize("shape", [(5,), (2, 0), (1, 2, 3)])
def test_tokens_of_another_shape_are_refused(small: HSAConfig, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="tokens have shape"):
        make(small)(torch.zeros(shape, dtype=torch.int64))
