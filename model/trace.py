"""What a model's HSA layers select on a text or on the needle task, as a `Trace`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.model.config import HSAConfig, check_seed
from hsa_compiler.model.data import PAD, ByteCorpus
from hsa_compiler.model.hsa_ultralong import HSAUltraLong
from hsa_compiler.model.niah import NiahTask
from hsa_compiler.runtime.recording import record_selections
from hsa_compiler.trace import Trace


@torch.inference_mode()
def trace_model(
    model: HSAUltraLong, tokens: Tensor, name: str, layers: Sequence[int] | None = None
) -> Trace:
    """Record one forward pass over tokens [B, L] (int64), all of them at once.

    `layers` are HSA layers, counted from 0; None: all. Memory grows with L by the activations of
    one layer. Raises InputError as `check_trace`.
    """
    check_trace(model.config, tokens.shape[1], layers)
    with record_selections(layers) as recorder:
        model.hidden(tokens)
    return recorder.trace(name)


def check_trace(config: HSAConfig, length: int, layers: Sequence[int] | None) -> None:
    """Raise InputError for layers that a model lacks, and for so few tokens that none sees a
    chunk."""
    unknown = sorted(set(layers or ()) - set(range(config.groups)))
    if unknown:
        raise InputError(
            f"layers {', '.join(map(str, unknown))}: the model's HSA layers are 0 .. "
            f"{config.groups - 1}"
        )
    if length <= config.chunk_size:
        raise InputError(
            f"{length} tokens: a token sees chunks of {config.chunk_size} before it; give more "
            f"than {config.chunk_size}"
        )


def text_tokens(model: HSAUltraLong, corpus: ByteCorpus, length: int) -> Tensor:
    """The first bytes of a text, int64 [1, length]. Raises InputError where it has fewer, or the
    model does not read bytes."""
    if model.config.vocab_size <= PAD:
        raise InputError(
            f"this model has a vocabulary of {model.config.vocab_size}: bytes and their specials "
            f"need {PAD + 1}"
        )
    tokens = np.concatenate((corpus.train, corpus.held_out))[:length]
    if len(tokens) < length:
        raise InputError(
            f"{corpus.source}: has {len(tokens)} bytes: give fewer tokens than {length}, or more "
            "text"
        )
    return torch.from_numpy(tokens.astype(np.int64))[None]


def needle_tokens(model: HSAUltraLong, task: NiahTask, length: int, seed: int) -> Tensor:
    """A prompt of the needle task, int64 [1, length]. Raises InputError where it is too short."""
    check_seed(seed)
    rng = np.random.default_rng((seed, length))
    prompts, _ = task.eval_batch(rng, 1, length, model.config.reach)
    return torch.from_numpy(prompts)
