"""HSA-UltraLong, dense (arXiv 2511.23319), read top to bottom.

    embed -> window blocks -> chunk encoder -> groups of [retrieval, HSA layer, window blocks]
          -> RMSNorm -> tied head

    model = HSAUltraLong(preset("tiny"))
    logits = model(tokens)                  # [B, L] int64 -> [B, L, vocab]
    logits = model(tokens, cache=cache)     # the same, continuing after what the cache has seen

Every sequence of a batch has its own positions, from 0 (or from where its cache stands). The last
chunk is encoded only once it is full; until then its tokens are seen through the windows alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hsa_compiler.errors import InputError
from hsa_compiler.model.cache import Cache
from hsa_compiler.model.config import HSAConfig
from hsa_compiler.model.rms_norm import RMSNorm
from hsa_compiler.runtime.api import hsa_attention
from hsa_compiler.runtime.decode import MAX_TOKENS, hsa_decode


class SwiGLU(nn.Module):
    """Pre-norm MLP: down(silu(gate(h)) * up(h)) with h = norm(x), to be added to x."""

    def __init__(self, width: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.norm = RMSNorm(width, eps)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        h = self.norm(x)
        gate, up = self.gate(h), self.up(h)
        # Not on GPUs, where small steps wait for their launches and this would add some.
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return self._gated(gate, up)
        # Two tensors of the hidden width are kept instead of four; nothing here draws numbers.
        out: Tensor = checkpoint(
            self._gated, gate, up, use_reentrant=False, preserve_rng_state=False
        )
        return out

    def _gated(self, gate: Tensor, up: Tensor) -> Tensor:
        out: Tensor = self.down(F.silu(gate) * up)
        return out


class Rope(NamedTuple):
    """Rotations of positions: cos and sin, each [L, 1, D/2]."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def at(cls, start: int, length: int, dim: int, theta: float, like: Tensor) -> Rope:
        """Rotations of positions start .. start + length - 1 on `like`'s device.

        Angles are computed in float64: at position 16M a float32 angle is off by a radian.
        """
        position = torch.arange(start, start + length, dtype=torch.float64, device=like.device)
        half = torch.arange(0, dim, 2, dtype=torch.float64, device=like.device)
        angle = (position[:, None] * theta ** (-half / dim)).unsqueeze(1)
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        return cls(angle.cos().to(dtype), angle.sin().to(dtype))

    def turn(self, x: Tensor) -> Tensor:
        """Rotate heads [B, L, H, D]; the result has x's dtype."""
        a, b = x.to(self.cos.dtype).chunk(2, dim=-1)
        turned = (a * self.cos - b * self.sin, b * self.cos + a * self.sin)
        return torch.cat(turned, dim=-1).to(x.dtype)


def band_mask(length: int, past: int, window: int, device: torch.device) -> Tensor:
    """Which of its keys each query of `window_attention` sees: bool [blocks, 1, rows, rows + W].

    Queries are cut into blocks of `rows = min(W, length)`; block n is given the W keys before its
    first query and its own `rows`. Query j sees its key m iff j < m <= j + W, unless m falls
    before the first key there is.
    """
    rows = min(window, length)
    blocks = -(-length // rows)
    query = torch.arange(rows, device=device)[:, None]
    key = torch.arange(rows + window, device=device)[None, :]
    band = (key > query) & (key <= query + window)
    first = torch.arange(blocks, device=device)[:, None, None] * rows
    return (band & (first + key >= window - past)).unsqueeze(1)


def window_attention(q: Tensor, k: Tensor, v: Tensor, window: int, mask: Tensor) -> Tensor:
    """Causal attention of each query to the last `window` keys, its own included.

    q [B, L, Hq, D]; k, v [B, past + L, H, D] with past <= W; mask from `band_mask(L, past, W)`;
    returns [B, L, Hq, D]. Memory is O(L * W): blocks of queries meet only the keys in reach.
    """
    batch, length, heads, dim = q.shape
    rows = mask.shape[2]
    blocks = mask.shape[0]
    after = blocks * rows - length
    before = window - (k.shape[1] - length)
    # Fused kernels for GPUs that take a mask take no `enable_gqa`: heads are repeated for them.
    shared = q.device.type == "cpu"
    copies = 1 if shared else heads // k.shape[2]

    def bands(x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, 0, before, after)).unfold(1, rows + window, rows)
        x = x.permute(1, 0, 2, 4, 3)  # [blocks, B, H, rows + W, D]
        return x.repeat_interleave(copies, dim=2).flatten(1, 2)

    qs = F.pad(q, (0, 0, 0, 0, 0, after)).view(batch, blocks, rows, heads, dim)
    qs = qs.permute(1, 0, 3, 2, 4).flatten(1, 2)  # [blocks, B * Hq, rows, D]
    out = F.scaled_dot_product_attention(qs, bands(k), bands(v), attn_mask=mask, enable_gqa=shared)
    out = out.view(blocks, batch, heads, rows, dim).permute(1, 0, 3, 2, 4)
    return out.reshape(batch, blocks * rows, heads, dim)[:, :length]


class Memory(NamedTuple):
    """Encoded chunks: k, v [B, C*S, H, D] and landmarks [B, C, Hr, Dr]."""

    k: Tensor
    v: Tensor
    landmarks: Tensor


class Step(NamedTuple):
    """What all layers of one forward call share."""

    rope: Rope
    mask: Tensor
    start: int  # position of the first token
    cache: Cache | None
    memory: Memory | None  # None: no chunk is full yet, HSA layers retrieve exact zeros
    kv_len: Tensor | None  # i32[B] on a cache and few tokens, which HSA layers decode


class WindowSublayer(nn.Module):
    """Pre-norm sliding-window attention: RMS-normed q and k heads, RoPE, grouped KV heads."""

    def __init__(self, config: HSAConfig, index: int) -> None:
        super().__init__()
        c, self.config, self.index = config, config, index
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.q = nn.Linear(c.width, c.heads * c.head_dim, bias=False)
        self.k = nn.Linear(c.width, c.window_kv_heads * c.head_dim, bias=False)
        self.v = nn.Linear(c.width, c.window_kv_heads * c.head_dim, bias=False)
        self.q_norm = RMSNorm(c.head_dim, c.norm_eps)
        self.k_norm = RMSNorm(c.head_dim, c.norm_eps)
        self.out = nn.Linear(c.heads * c.head_dim, c.width, bias=False)

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """The residual stream [B, L, width] -> what to add to it."""
        c, h = self.config, self.norm(x)
        q = step.rope.turn(self.q_norm(self.q(h).unflatten(-1, (c.heads, c.head_dim))))
        k = self.k_norm(self.k(h).unflatten(-1, (c.window_kv_heads, c.head_dim)))
        k = step.rope.turn(k)
        v = self.v(h).unflatten(-1, (c.window_kv_heads, c.head_dim))
        if step.cache is not None:
            k, v = step.cache.extend_window(self.index, k, v)
        out: Tensor = self.out(window_attention(q, k, v, c.window, step.mask).flatten(-2))
        return out


class WindowBlock(nn.Module):
    """x + window attention, then x + SwiGLU."""

    def __init__(self, config: HSAConfig, index: int) -> None:
        super().__init__()
        self.attention = WindowSublayer(config, index)
        self.mlp = SwiGLU(config.width, config.ffn, config.norm_eps)

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """[B, L, width] -> [B, L, width]."""
        x = x + self.attention(x, step)
        out: Tensor = x + self.mlp(x)
        return out


class EncoderBlock(nn.Module):
    """One bidirectional pre-norm layer over a chunk and its CLS row; RoPE over 0 .. S."""

    def __init__(self, config: HSAConfig) -> None:
        super().__init__()
        c, self.config = config, config
        inner = c.heads * c.head_dim
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.qkv = nn.Linear(c.width, 3 * inner, bias=False)
        self.q_norm = RMSNorm(c.head_dim, c.norm_eps)
        self.k_norm = RMSNorm(c.head_dim, c.norm_eps)
        self.out = nn.Linear(inner, c.width, bias=False)
        self.mlp = SwiGLU(c.width, c.encoder_ffn or c.ffn, c.norm_eps)

    def forward(self, x: Tensor, rope: Rope) -> Tensor:
        """[chunks, S + 1, width] -> [chunks, S + 1, width]."""
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.config.heads, self.config.head_dim))
        q, k, v = qkv.unbind(2)
        q, k = rope.turn(self.q_norm(q)), rope.turn(self.k_norm(k))
        o = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        x = x + self.out(o.transpose(1, 2).flatten(-2))
        out: Tensor = x + self.mlp(x)
        return out


class ChunkEncoder(nn.Module):
    """Full chunks of the mid-depth residual stream -> the memory that all HSA layers share."""

    def __init__(self, config: HSAConfig) -> None:
        super().__init__()
        c, self.config = config, config
        self.cls = nn.Parameter(torch.zeros(c.width))
        self.blocks = nn.ModuleList(EncoderBlock(c) for _ in range(c.encoder_layers))
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.k = nn.Linear(c.width, c.hsa_kv_heads * c.head_dim, bias=False)
        self.v = nn.Linear(c.width, c.hsa_kv_heads * c.head_dim, bias=False)
        self.k_norm = RMSNorm(c.head_dim, c.norm_eps)
        self.landmark = nn.Linear(c.width, c.retrieval_heads * c.retrieval_dim, bias=False)

    def forward(self, x: Tensor) -> Memory:
        """[B, C*S, width] -> Memory. K and V come from the token rows, landmarks from CLS."""
        c, batch = self.config, x.shape[0]
        x = x.reshape(-1, c.chunk_size, c.width)
        cls = self.cls.to(x.dtype).expand(x.shape[0], 1, c.width)
        x = torch.cat((x, cls), dim=1)
        rope = Rope.at(0, c.chunk_size + 1, c.head_dim, c.rope_theta, x)
        for block in self.blocks:
            x = block(x, rope)
        x = self.norm(x)
        rows = x[:, :-1].reshape(batch, -1, c.width)
        k = self.k_norm(self.k(rows).unflatten(-1, (c.hsa_kv_heads, c.head_dim)))
        v = self.v(rows).unflatten(-1, (c.hsa_kv_heads, c.head_dim))
        landmarks = self.landmark(x[:, -1].reshape(batch, -1, c.width))
        return Memory(k, v, landmarks.unflatten(-1, (c.retrieval_heads, c.retrieval_dim)))


class HSALayer(nn.Module):
    """Retrieve chunks, attend to them, then the MLP; no positional encoding (NoPE).

    The default residual is the bypassing one, x + MLP(norm(x + o)): o itself is not added.
    """

    def __init__(self, config: HSAConfig, index: int) -> None:
        super().__init__()
        c, self.config = config, config
        self.retrieval_norm = RMSNorm(c.width, c.norm_eps)
        self.retrieval = nn.Linear(c.width, c.retrieval_heads * c.retrieval_dim, bias=False)
        self.window = WindowSublayer(c, index) if c.hsa_window_sublayer else None
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.q = nn.Linear(c.width, c.heads * c.head_dim, bias=False)
        self.q_norm = RMSNorm(c.head_dim, c.norm_eps)
        self.out = nn.Linear(c.heads * c.head_dim, c.width, bias=False)
        self.rank_scale = nn.Parameter(torch.zeros(())) if c.rank_scale else None
        self.mlp = SwiGLU(c.width, c.ffn, c.norm_eps)

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """[B, L, width] -> [B, L, width]."""
        c, memory = self.config, step.memory
        q_slc = self.retrieval(self.retrieval_norm(x))
        if self.window is not None:
            x = x + self.window(x, step)
        y = x
        if memory is not None:
            q = self.q_norm(self.q(self.norm(x)).unflatten(-1, (c.heads, c.head_dim)))
            tensors = (
                q,
                memory.k.to(q.dtype),
                memory.v.to(q.dtype),
                q_slc.unflatten(-1, (c.retrieval_heads, c.retrieval_dim)).to(q.dtype),
                memory.landmarks.to(q.dtype),
            )
            options: dict[str, Any] = {
                "chunk_size": c.chunk_size,
                "top_k": c.top_k,
                "normalize": c.normalize,
                "weight_heads": c.weight_heads,
                "rank_scale": self.rank_scale,
                "window": c.window if c.window_aware else None,
                "backend": c.attention_backend,
            }
            if step.kv_len is None:
                options |= {"q_offset": step.start, "deterministic": c.deterministic}
                o = hsa_attention(*tensors, **options)
            else:
                o = hsa_decode(*tensors, kv_len=step.kv_len, **options)
            assert isinstance(o, Tensor)
            y = x + self.out(o.flatten(-2))
        out: Tensor = (x if c.bypass_residual else y) + self.mlp(y)
        return out


#: First match wins: parameter name pattern -> (distribution, scale as a function of the config).
INIT: tuple[tuple[str, str, Callable[[HSAConfig], float]], ...] = (
    (r"(^|\.)\w*norm\.weight$", "constant", lambda c: 1.0),
    (r"\.rank_scale$", "constant", lambda c: 0.0),
    (r"\.(out|down)\.weight$", "normal", lambda c: c.init_std / math.sqrt(2 * depth(c))),
    (r".", "normal", lambda c: c.init_std),
)


def depth(config: HSAConfig) -> int:
    """Blocks that add to the residual stream."""
    return config.lower_layers + config.groups * (1 + config.group_layers)


class HSAUltraLong(nn.Module):
    """The language model. Parameters are made on the current default device, in fp32."""

    def __init__(self, config: HSAConfig) -> None:
        super().__init__()
        c, self.config = config, config
        self.embedding = nn.Embedding(c.vocab_size, c.width)
        self.lower = nn.ModuleList(WindowBlock(c, i) for i in range(c.lower_layers))
        self.encoder = ChunkEncoder(c)
        self.upper = nn.ModuleList()
        for _ in range(c.groups):
            self.upper.append(HSALayer(c, c.lower_layers + len(self.upper)))
            for _ in range(c.group_layers):
                self.upper.append(WindowBlock(c, c.lower_layers + len(self.upper)))
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise every parameter from the table `INIT`, by torch's global generator."""
        for name, parameter in self.named_parameters():
            kind, scale = next((k, s) for pattern, k, s in INIT if re.search(pattern, name))
            if kind == "constant":
                parameter.fill_(scale(self.config))
            else:
                parameter.normal_(0.0, scale(self.config))

    def forward(
        self, tokens: Tensor, *, cache: Cache | None = None, zero_hsa: bool = False
    ) -> Tensor:
        """Next-token logits [B, L, vocab] of tokens [B, L] (int64); see `hidden`."""
        return self.logits(self.hidden(tokens, cache=cache, zero_hsa=zero_hsa))

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., width] -> [..., vocab], through the embedding's own weights (a tied head)."""
        return F.linear(hidden, self.embedding.weight)

    def hidden(
        self, tokens: Tensor, *, cache: Cache | None = None, zero_hsa: bool = False
    ) -> Tensor:
        """Final hidden states [B, L, width] of tokens [B, L] (int64).

        With a cache the tokens continue the sequences it has seen, and it is brought up to date.
        `zero_hsa` replaces what the HSA layers retrieve by zeros: the control that shows what
        the model can do by its windows alone. Raises InputError for tokens of another shape,
        or a cache of other sequences.
        """
        c = self.config
        if tokens.ndim != 2 or tokens.shape[1] == 0:
            raise InputError(f"tokens have shape {tuple(tokens.shape)}: give [batch, length >= 1]")
        if cache is not None:
            if torch.is_grad_enabled():
                raise InputError("a cache is for inference: use torch.inference_mode()")
            cache.check(c, tokens.shape[0])
        length, start = tokens.shape[1], cache.position if cache is not None else 0
        past = min(start, c.window)
        x = self.embedding(tokens)
        rope = Rope.at(start, length, c.head_dim, c.rope_theta, x)
        mask = band_mask(length, past, c.window, x.device)
        kv_len = None
        if cache is not None and length <= MAX_TOKENS:
            kv_len = x.new_full((x.shape[0],), start + length, dtype=torch.int32)
        step = Step(rope, mask, start, cache, None, kv_len)

        for block in self.lower:
            x = self._run(block, x, step)
        memory = self._memory(x, cache)
        step = step._replace(memory=None if zero_hsa else memory)
        for block in self.upper:
            x = self._run(block, x, step)

        if cache is not None:
            cache.position += length
        out: Tensor = self.norm(x)
        return out

    def _memory(self, x: Tensor, cache: Cache | None) -> Memory | None:
        """Encode the full chunks of x [B, L, width]; None while there is no full chunk."""
        size = self.config.chunk_size
        if cache is None:
            full = x[:, : x.shape[1] // size * size]
            return self._run(self.encoder, full) if full.shape[1] else None
        full = cache.take_full_chunks(x)
        if full.shape[1]:
            cache.remember(*self.encoder(full))
        if cache.landmarks.length == 0:
            return None
        return Memory(cache.chunk_k.whole(), cache.chunk_v.whole(), cache.landmarks.whole())

    def _run(self, block: nn.Module, *args: object) -> Any:
        """Call a block; while training, recompute it in the backward pass if the config says so."""
        if self.config.checkpoint_activations and torch.is_grad_enabled():
            return checkpoint(block, *args, use_reentrant=False)
        return block(*args)
