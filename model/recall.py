"""Retrieval recall: how much of what dense attention looks at far away, a chunk retrieval finds.

    q, k = recorded_qk(model, tokens)          # of a trained model's HSA layers
    q, k = synthetic_qk(shape, seed=0)         # or drawn
    recall = retrieval_recall(q, k, chunk_size=64, top_k=16, retrieval_heads=1, window=128)

It ranks chunk sizes, top-k and retrieval heads without training a model for each: chunks are
scored by the mean of their keys, in place of landmarks, which are learned for one chunk size.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.model.hsa_ultralong import HSALayer, HSAUltraLong
from hsa_compiler.runtime import validate
from hsa_compiler.tuner.shapes import Shape

#: Query tokens that are looked at, evenly spaced; more change the mean little.
SAMPLES = 1024
#: Logits that are held at once.
LOGITS_AT_ONCE = 1 << 24

#: Synthetic keys: stretches of this many tokens share a topic, ...
SEGMENT = (16, 96)
#: ... which is this share of each key's variance, ...
TOPIC = 0.5
#: ... and of the query's, which looks for one topic of its past and is this large.
ASKED, SHARPNESS = 0.6, 1.5


@torch.no_grad()
def retrieval_recall(
    q: Tensor, k: Tensor, *, chunk_size: int, top_k: int, retrieval_heads: int, window: int
) -> float:
    """The mean share, 0 to 1, of dense attention's mass beyond the window in the chosen chunks.

    For the query at position t and query head h, dense attention is ``softmax(q k^T / sqrt(D))``
    without positions. Its mass on keys ``i <= t - window``, which windows cannot reach, counts;
    of it, what lies in the top-k visible chunks (``(c + 1) * S <= t``) is found. The mean is over
    query heads and at most 1024 evenly spaced tokens that have such keys. Chunks are scored by
    ``q . mean(keys of the chunk)``, over the query heads of one retrieval head the mean; with one
    retrieval head per query head, the largest score of a KV head's group counts, as in
    `hsa_attention`.

    Args:
        q: [B, L, Hq, D], the end of the sequence where it is shorter than k.
        k: [B, Lkv, H, D].
        chunk_size, top_k: S and K.
        retrieval_heads: Hr: 1, H or Hq.
        window: W; no query looks beyond it where it is Lkv or more.

    Raises InputError for shapes or sizes that do not fit.
    """
    check_qk(q, k)
    validate.at_least("chunk_size", chunk_size, 1)
    validate.at_least("top_k", top_k, 1)
    heads, kv_heads, keys = q.shape[2], k.shape[2], k.shape[1]
    validate.selection_heads(retrieval_heads, kv_heads, heads, None, "query")
    require_far(keys, window)
    if keys < chunk_size:
        raise InputError(f"chunk_size = {chunk_size}: {keys} keys hold no chunk; give more")
    first = keys - q.shape[1]
    eligible = torch.arange(max(0, window - first), q.shape[1])
    picked = torch.linspace(0, len(eligible) - 1, min(SAMPLES, len(eligible))).round().long()
    rows = eligible[picked].to(q.device)
    wide = torch.promote_types(q.dtype, torch.float32)
    grouped = q[:, rows].to(wide).view(q.shape[0], len(rows), kv_heads, -1, q.shape[3])
    k = k.to(wide)
    landmarks = _by_chunk(k, 1, chunk_size).mean(2)
    at_once = max(1, LOGITS_AT_ONCE // (q.shape[0] * heads * keys))
    found = torch.zeros((), dtype=torch.float64, device=q.device)
    blocks = torch.split(grouped, at_once, dim=1), torch.split(rows + first, at_once)
    for block, position in zip(*blocks, strict=True):
        scores = torch.einsum("bthgd,bchd->bhgtc", block, landmarks)
        chosen = _chosen(scores, position, chunk_size, top_k, retrieval_heads, kv_heads)
        mass = _far_mass(block, k, position - window, chunk_size)
        found += (mass * chosen[:, :, None]).sum(dtype=torch.float64)
    return float(found) / (q.shape[0] * heads * len(rows))


def _chosen(
    scores: Tensor, position: Tensor, size: int, top_k: int, retrieval_heads: int, kv_heads: int
) -> Tensor:
    """Which chunks are retrieved, bool [B, H or 1, T, C], by scores [B, H, G, T, C]."""
    if retrieval_heads == 1:
        ranked = scores.mean((1, 2)).unsqueeze(1)
    elif retrieval_heads == kv_heads:
        ranked = scores.mean(2)
    else:
        ranked = scores.amax(2)
    ends = (torch.arange(ranked.shape[-1], device=scores.device) + 1) * size
    visible = ends <= position[:, None]
    best = ranked.masked_fill(~visible, -torch.inf).topk(min(top_k, ranked.shape[-1]), dim=-1)
    return torch.zeros_like(ranked, dtype=torch.bool).scatter(-1, best.indices, True) & visible


def _far_mass(q: Tensor, k: Tensor, last: Tensor, size: int) -> Tensor:
    """Attention of q [B, T, H, G, D] to keys 0 .. last[T], by chunk: [B, H, G, T, C]."""
    logits = torch.einsum("bthgd,bmhd->bhgtm", q, k) * q.shape[-1] ** -0.5
    hidden = torch.arange(k.shape[1], device=k.device) > last[:, None]
    mass = logits.masked_fill_(hidden, -torch.inf).softmax(-1)
    return _by_chunk(mass, -1, size).sum(-1)


def _by_chunk(x: Tensor, axis: int, size: int) -> Tensor:
    """An axis of keys as complete chunks x size; the incomplete last chunk is left out."""
    chunks = x.shape[axis] // size
    parts: Tensor = torch.unflatten(x.narrow(axis, 0, chunks * size), axis, (chunks, size))
    return parts


def synthetic_qk(shape: Shape, seed: int) -> tuple[Tensor, Tensor]:
    """Queries and keys with something to find: q fp32 [B, L, Hq, D], k fp32 [B, Lkv, H, D].

    Keys come in stretches of 16 to 96 tokens that share a topic, another one for each KV head;
    the queries of a KV head look for one earlier stretch. Chunks of many sizes cut them somewhere.
    Drawn on the CPU: the same seed gives the same tensors for every device.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    def mixed(topic: Tensor, share: float, noise: Tensor) -> Tensor:
        return math.sqrt(share) * topic + math.sqrt(1 - share) * noise

    batch, keys, kv_heads, dim = shape.B, shape.Lkv, shape.H, shape.D
    most = -(-keys // SEGMENT[0])
    lengths = torch.randint(SEGMENT[0], SEGMENT[1] + 1, (most,), generator=generator)
    segment = torch.repeat_interleave(torch.arange(len(lengths)), lengths)[:keys]
    topics = draw(batch, int(segment[-1]) + 1, kv_heads, dim)
    k = mixed(topics[:, segment], TOPIC, draw(batch, keys, kv_heads, dim))
    own = segment[keys - shape.L :, None]
    target = (torch.rand((batch, shape.L, kv_heads), generator=generator) * own).long()
    asked = topics.gather(1, target[..., None].expand(-1, -1, -1, dim))
    asked = asked.repeat_interleave(shape.Hq // kv_heads, dim=2)
    return SHARPNESS * mixed(asked, ASKED, draw(batch, shape.L, shape.Hq, dim)), k


@torch.inference_mode()
def recorded_qk(model: HSAUltraLong, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """What the HSA layers of a model attend with on tokens [B, L] (int64, on its device).

    Returns q [groups * B, C*S, Hq, D] and k [groups * B, C*S, H, D], one layer after the other;
    the tokens of an incomplete last chunk have no keys and are left out. Raises InputError where
    no chunk is complete.
    """
    size = model.config.chunk_size
    whole = tokens.shape[1] // size * size
    if whole == 0:
        raise InputError(
            f"{tokens.shape[1]} tokens hold no chunk of the model's {size}: give more tokens"
        )
    queries: list[Tensor] = []
    keys: list[Tensor] = []

    def keep_q(module: nn.Module, args: Any, out: Tensor) -> None:
        queries.append(out)

    def keep_k(module: nn.Module, args: Any, out: Any) -> None:
        keys.append(out.k)

    layers = [layer for layer in model.upper if isinstance(layer, HSALayer)]
    handles = [layer.q_norm.register_forward_hook(keep_q) for layer in layers]
    handles.append(model.encoder.register_forward_hook(keep_k))
    try:
        model.hidden(tokens[:, :whole])
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat(queries), keys[0].repeat(len(layers), 1, 1, 1)


def read_qk(path: Path) -> tuple[Tensor, Tensor]:
    """The tensors ``q`` and ``k`` of a safetensors file, fp32 [B, L, heads, D].

    A batch of one may be left out. Raises ConfigError for a file that cannot be read, InputError
    for tensors that do not fit.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: not a file: give one of safetensors with q and k")
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as err:
        raise ConfigError(
            f"{path}: cannot be read as safetensors ({err}): give a file with q and k"
        ) from err
    missing = [name for name in ("q", "k") if name not in stored]
    if missing:
        raise InputError(
            f"{path}: has no tensor {' and no '.join(missing)}, but {', '.join(stored) or 'none'}: "
            "give q [B, L, Hq, D] and k [B, Lkv, H, D]"
        )
    q, k = (x[None] if x.ndim == 3 else x for x in (stored["q"], stored["k"]))
    check_qk(q, k)
    return q.float(), k.float()


def require_far(keys: int, window: int) -> None:
    """Raise InputError unless the last of `keys` tokens has keys beyond the window."""
    validate.at_least("window", window, 1)
    if keys <= window:
        raise InputError(
            f"window = {window}: none of {keys} tokens looks beyond it; give a smaller one, or "
            "longer sequences"
        )


def check_qk(q: Tensor, k: Tensor) -> None:
    """Raise InputError unless q [B, L, Hq, D] and k [B, Lkv, H, D] fit, with L <= Lkv, finite."""
    dims: dict[str, int] = {}
    validate.shape(dims, "q", q, "B L Hq D")
    validate.shape(dims, "k", k, "B Lkv H D")
    validate.query_heads(dims["Hq"], dims["H"])
    for name, x in (("q", q), ("k", k)):
        validate.floating(name, x)
        if x.numel() == 0 or not bool(x.isfinite().all()):
            raise InputError(f"{name} is empty or holds numbers that are not finite: give others")
    if dims["L"] > dims["Lkv"]:
        raise InputError(
            f"q has L={dims['L']} tokens and k has Lkv={dims['Lkv']}: the queries are the end of "
            "the sequence, so there must be as many keys at least"
        )
