"""Retrieval recall: its definition in float64, the tensors it looks at, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hsa_compiler import retrieve
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.model import hsa_ultralong, recall
from hsa_compiler.model.config import HSAConfig
from hsa_compiler.model.hsa_ultralong import HSAUltraLong
from hsa_compiler.model.recall import read_qk, recorded_qk, retrieval_recall, synthetic_qk
from hsa_compiler.tuner.shapes import Shape


def draw(length: int, keys: int, heads: int, kv_heads: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    return normal(2, length, heads, 8), normal(2, keys, kv_heads, 8)


def naive(q: Tensor, k: Tensor, size: int, top_k: int, retrieval_heads: int, window: int) -> float:
    """The definition, a query at a time."""
    shares = []
    heads, kv_heads, keys = q.shape[2], k.shape[2], k.shape[1]
    group = heads // kv_heads
    for b in range(q.shape[0]):
        for row in range(q.shape[1]):
            t = keys - q.shape[1] + row
            if t < window:
                continue
            chunks = [c for c in range(keys // size) if (c + 1) * size <= t]
            scores = {
                (head, c): float(
                    q[b, row, head] @ k[b, c * size : (c + 1) * size, head // group].mean(0)
                )
                for head in range(heads)
                for c in chunks
            }
            for head in range(heads):
                served = range(heads)
                if retrieval_heads > 1:
                    served = range(head // group * group, (head // group + 1) * group)
                whole = max if retrieval_heads > kv_heads else sum
                ranked = sorted(chunks, key=lambda c: -whole(scores[h, c] for h in served))
                found = set(ranked[:top_k])
                logits = [
                    float(q[b, row, head] @ k[b, i, head // group]) / math.sqrt(8)
                    for i in range(t + 1)
                ]
                masses = [math.exp(x) / sum(map(math.exp, logits)) for x in logits]
                far = masses[: t - window + 1]
                shares.append(sum(m for i, m in enumerate(far) if i // size in found) / sum(far))
    return sum(shares) / len(shares)


@pytest.mark.parametrize(
    ("keys", "length", "size", "top_k", "retrieval_heads", "window"),
    [
        (26, 26, 4, 2, 1, 4),
        (26, 26, 4, 2, 2, 4),
        (26, 26, 4, 2, 4, 4),
        (26, 9, 4, 3, 2, 6),  # the end of a sequence
        (24, 24, 8, 1, 2, 3),  # a window shorter than a chunk: some far keys are in none
        (25, 25, 8, 9, 1, 8),  # more top-k than chunks
        (25, 25, 8, 2, 4, 24),  # one query has one far key
    ],
)
def test_the_definition(
    keys: int, length: int, size: int, top_k: int, retrieval_heads: int, window: int
) -> None:
    q, k = draw(length, keys, 4, 2)
    found = retrieval_recall(
        q, k, chunk_size=size, top_k=top_k, retrieval_heads=retrieval_heads, window=window
    )
    assert found == pytest.approx(naive(q, k, size, top_k, retrieval_heads, window), rel=1e-12)


def test_all_chunks_find_everything_beyond_a_window_of_a_chunk() -> None:
    q, k = draw(40, 40, 4, 2)
    found = retrieval_recall(q, k, chunk_size=8, top_k=5, retrieval_heads=1, window=8)
    assert found == pytest.approx(1.0)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = draw(40, 40, 4, 2)

    def found() -> float:
        return retrieval_recall(q, k, chunk_size=8, top_k=2, retrieval_heads=2, window=8)

    whole = found()
    monkeypatch.setattr(recall, "LOGITS_AT_ONCE", 3 * 2 * 4 * 40)
    assert found() == pytest.approx(whole, rel=1e-12)


def test_samples_are_evenly_spaced_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = draw(40, 40, 4, 2)
    monkeypatch.setattr(recall, "SAMPLES", 2)
    found = retrieval_recall(q, k, chunk_size=8, top_k=2, retrieval_heads=2, window=20)
    ends = [naive(q[:, t : t + 1], k[:, : t + 1], 8, 2, 2, 20) for t in (20, 39)]
    assert found == pytest.approx(sum(ends) / 2, rel=1e-12)


@pytest.mark.parametrize("retrieval_heads", [2, 4])
def test_the_chunks_are_those_that_the_operator_chooses(retrieval_heads: int) -> None:
    q, k = draw(64, 64, 4, 2)
    q, k = (torch.nn.functional.pad(x, (0, 8)) for x in (q, k))
    means = k.unflatten(1, (4, 16)).mean(2)
    queries = q if retrieval_heads == 4 else q.unflatten(2, (2, 2)).mean(3)
    chosen = retrieve(
        queries,
        means,
        chunk_size=16,
        top_k=2,
        kv_heads=2,
        weight_heads="query" if retrieval_heads == 4 else "kv",
        backend="reference",
    ).indices
    scores = torch.einsum("bthgd,bchd->bhgtc", q.unflatten(2, (2, 2)), means)
    ours = recall._chosen(scores, torch.arange(64), 16, 2, retrieval_heads, 2)
    expected = torch.zeros(2, 64, 2, 5, dtype=torch.bool).scatter(
        -1, torch.where(chosen >= 0, chosen, 4).long(), True
    )
    assert torch.equal(ours.transpose(1, 2), expected[..., :4])


def test_what_does_not_fit_is_refused() -> None:
    q, k = draw(40, 40, 4, 2)

    def found(q: Tensor = q, k: Tensor = k, **changes: int) -> float:
        sizes = {"chunk_size": 8, "top_k": 2, "retrieval_heads": 1, "window": 8, **changes}
        return retrieval_recall(q, k, **sizes)

    for changes, message in (
        ({"window": 40}, "none of 40 tokens looks beyond"),
        ({"window": 0}, "window=0"),
        ({"top_k": 0}, "top_k=0"),
        ({"chunk_size": 41, "window": 1}, "hold no chunk"),
        ({"retrieval_heads": 3}, "Hr=3"),
    ):
        with pytest.raises(InputError, match=message):
            found(**changes)
    with pytest.raises(InputError, match="as many keys at least"):
        found(k=k[:, :30])
    with pytest.raises(InputError, match="axis D"):
        found(k=k[..., :4])
    with pytest.raises(InputError, match="not finite"):
        found(q=q * torch.inf)


def test_synthetic_tensors_have_something_to_find() -> None:
    shape = Shape("x", L=256, Lkv=512, Hq=4, H=2, D=32, S=16, K=1)
    q, k = synthetic_qk(shape, seed=1)
    assert q.shape == (1, 256, 4, 32) and k.shape == (1, 512, 2, 32)
    assert torch.equal(k, synthetic_qk(shape, seed=1)[1])
    assert not torch.equal(k, synthetic_qk(shape, seed=2)[1])
    few, more = (
        retrieval_recall(q, k, chunk_size=16, top_k=n, retrieval_heads=2, window=64)
        for n in (4, 16)
    )
    assert 3 * 4 * 16 / 512 < few < more < 1


def test_a_model_records_what_its_attention_gets(
    small: HSAConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    door = hsa_ultralong.hsa_attention

    def spy(*tensors: Tensor, **options: object) -> object:
        calls.append(tensors)
        return door(*tensors, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(hsa_ultralong, "hsa_attention", spy)
    torch.manual_seed(0)
    model = HSAUltraLong(small).eval()
    tokens = torch.randint(256, (2, 37))
    q, k = recorded_qk(model, tokens)
    assert len(calls) == small.groups == 2
    assert torch.equal(q, torch.cat([call[0] for call in calls]))
    assert torch.equal(k, torch.cat([call[1] for call in calls]))
    assert q.shape == (4, 32, 4, 16)
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(InputError, match="hold no chunk"):
        recorded_qk(model, tokens[:, :15])


def test_a_file_of_tensors(tmp_path: Path) -> None:
    q, k = draw(40, 40, 4, 2)
    path = tmp_path / "qk.safetensors"
    save_file({"q": q.bfloat16(), "k": k[0]}, path)
    with pytest.raises(InputError, match="axis B"):
        read_qk(path)
    save_file({"q": q[0].bfloat16(), "k": k[0], "more": k[0].clone()}, path)
    read = read_qk(path)
    assert read[0].shape == (1, 40, 4, 8) and read[0].dtype == torch.float32
    save_file({"q": q, "keys": k}, path)
    with pytest.raises(InputError, match="no tensor k, but keys, q"):
        read_qk(path)
    save_file({"q": q.long(), "k": k.long()}, path)
    with pytest.raises(InputError, match="floating-point"):
        read_qk(path)
    save_file({"q": q[:, :0], "k": k}, path)
    with pytest.raises(InputError, match="q is empty"):
        read_qk(path)
    whole = path.read_bytes()
    for damaged in (b"", b"not tensors at all", whole[:40]):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match=r"qk\.safetensors: cannot be read"):
            read_qk(path)
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match="not a file: give one of safetensors"):
            read_qk(missing)
