"""What generation remembers: per window layer the last W keys and values; once for the whole model
the chunk memory (K, V, landmarks) and the hidden states of the chunk that is not yet full."""

from __future__ import annotations

import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.model.config import HSAConfig


class GrowingBuffer:
    """A tensor [B, n, ...] that grows along dim 1 by doubling, so that appending stays cheap.

    `reserve` rows are taken at the first append: no growth, hence no copy, until they are full.
    """

    def __init__(self, reserve: int = 0) -> None:
        self._reserve = reserve
        self._store: Tensor | None = None
        self.length = 0

    def append(self, rows: Tensor) -> None:
        """Add rows [B, m, ...] at the end."""
        end = self.length + rows.shape[1]
        if self._store is None or end > self._store.shape[1]:
            size = max(end, 2 * self.length, self._reserve)
            grown = rows.new_zeros(rows.shape[0], size, *rows.shape[2:])
            if self._store is not None:
                grown[:, : self.length] = self._store[:, : self.length]
            self._store = grown
        self._store[:, self.length : end] = rows
        self.length = end

    def whole(self) -> Tensor:
        """The rows so far and zeros after them, contiguous, without a copy.

        The spare chunks lie past every token, so retrieval never sees them.
        """
        if self._store is None:
            raise RuntimeError("the buffer is empty: append first")
        return self._store


class Cache:
    """State of one batch of equally long sequences between calls of the model.

    `position` is the number of tokens seen. Memory: per window layer 2 * W * H * D numbers, and
    per S tokens seen 2 * S * H * D + Hr * Dr for the whole model (up to twice that where more than
    the `reserve` tokens come).
    """

    def __init__(self, config: HSAConfig, reserve: int = 0) -> None:
        chunks = reserve // config.chunk_size
        self.config = config
        self.position = 0
        self.windows: dict[int, tuple[Tensor, Tensor]] = {}
        self.chunk_k = GrowingBuffer(chunks * config.chunk_size)  # [B, C*S, H, D]
        self.chunk_v = GrowingBuffer(chunks * config.chunk_size)  # [B, C*S, H, D]
        self.landmarks = GrowingBuffer(chunks)  # [B, C, Hr, Dr]
        self.ring: Tensor | None = None  # [B, < S, width], hidden states of the incomplete chunk

    def check(self, config: HSAConfig, batch: int) -> None:
        """Raises InputError unless `batch` sequences of such a model can go on from here."""
        if config != self.config:
            raise InputError("the cache is one of another configuration: use Cache(model.config)")
        if self.ring is not None and self.ring.shape[0] != batch:
            raise InputError(
                f"the cache holds {self.ring.shape[0]} sequences, the tokens {batch}: give as "
                "many, or a new cache"
            )

    def extend_window(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put the stored keys and values before new ones [B, L, H, D] and keep the last W."""
        if layer in self.windows:
            past_k, past_v = self.windows[layer]
            k, v = torch.cat((past_k, k), dim=1), torch.cat((past_v, v), dim=1)
        last = self.config.window
        # A copy, not a slice: a slice would keep the whole segment alive.
        self.windows[layer] = (k[:, -last:].clone(), v[:, -last:].clone())
        return k, v

    def take_full_chunks(self, hidden: Tensor) -> Tensor:
        """Add hidden states [B, L, width]; return those of full chunks [B, n*S, width], n >= 0."""
        if self.ring is not None:
            hidden = torch.cat((self.ring, hidden), dim=1)
        full = hidden.shape[1] // self.config.chunk_size * self.config.chunk_size
        self.ring = hidden[:, full:].clone()
        return hidden[:, :full]

    def remember(self, k: Tensor, v: Tensor, landmarks: Tensor) -> None:
        """Append encoded chunks to the memory that all HSA layers share."""
        self.chunk_k.append(k)
        self.chunk_v.append(v)
        self.landmarks.append(landmarks)
