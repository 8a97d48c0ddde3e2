"""Generation: segment-wise prefill into the cache, then one token at a time, as it is made."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.model.cache import Cache
from hsa_compiler.model.config import check_seed
from hsa_compiler.model.data import EOS, PAD
from hsa_compiler.model.hsa_ultralong import HSAUltraLong

#: Tokens per prefill call: memory of a prefill is the cache plus this much of activations.
SEGMENT = 8192


@torch.inference_mode()
def prefill(
    model: HSAUltraLong,
    tokens: Tensor,
    cache: Cache,
    *,
    segment: int = SEGMENT,
    zero_hsa: bool = False,
) -> Tensor:
    """Feed tokens [B, L >= 1] through the model in segments; logits [B, vocab] after the last."""
    if segment < 1:
        raise InputError(f"segment = {segment}: give at least 1")
    for part in torch.split(tokens, segment, dim=1):
        hidden = model.hidden(part, cache=cache, zero_hsa=zero_hsa)
    return model.logits(hidden[:, -1])


def stream(
    model: HSAUltraLong,
    prompt: Tensor,
    max_new: int,
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    segment: int = SEGMENT,
    zero_hsa: bool = False,
    choices: int | None = None,
) -> Iterator[Tensor]:
    """Continue prompts int64 [B, L >= 1]: yields the next tokens int64 [B], `max_new` times.

    Temperature 0 takes the likeliest token; `top_p` below 1 samples from the smallest set of
    tokens with that much probability; only the first `choices` tokens of the vocabulary are
    chosen, if given. Raises InputError for values out of range.
    """
    if prompt.ndim != 2 or prompt.shape[1] == 0:
        raise InputError(f"the prompt has shape {tuple(prompt.shape)}: give [batch, length >= 1]")
    if max_new < 0 or not 0 <= temperature < math.inf or not 0 < top_p <= 1:
        raise InputError(
            f"max_new = {max_new}, temperature = {temperature}, top_p = {top_p}: give at least 0, "
            "a finite number of at least 0, and a share in (0, 1]"
        )
    check_seed(seed)
    # Not more than one segment ahead: most texts end before `max_new`, and the cache can grow.
    cache = Cache(model.config, reserve=prompt.shape[1] + min(max_new, SEGMENT))
    generator = torch.Generator(prompt.device).manual_seed(seed)
    tokens = prompt
    for _ in range(max_new):
        logits = prefill(model, tokens, cache, segment=segment, zero_hsa=zero_hsa)
        chosen = choose(logits[:, :choices], temperature, top_p, generator)
        yield chosen
        tokens = chosen[:, None]


def choose(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    """Next tokens int64 [B] from logits [B, vocab]."""
    if temperature == 0:
        return logits.argmax(-1)
    # In float64 and below the largest, so that no temperature, however small, makes an infinity.
    logits = logits.double() - logits.amax(-1, keepdim=True)
    probability, order = torch.softmax(logits / temperature, -1).sort(-1, descending=True)
    before = probability.cumsum(-1) - probability
    probability = probability.masked_fill(before >= top_p, 0.0)
    pick = torch.multinomial(probability, 1, generator=generator)
    return order.gather(-1, pick).squeeze(-1)


def stream_text(model: HSAUltraLong, prompt: str, max_new: int, **options: Any) -> Iterator[str]:
    """Continue a text with a model trained on bytes; ends at EOS or after `max_new` bytes.

    A vocabulary may hold more than bytes, as that of 345m does: the others are never chosen.

    Yields text as soon as its UTF-8 bytes are complete; what is no text becomes U+FFFD. After an
    empty prompt a new file begins.
    Options are those of `stream`.
    """
    if model.config.vocab_size <= PAD:
        raise InputError(
            f"this model has a vocabulary of {model.config.vocab_size}: bytes and their specials "
            f"need {PAD + 1}; use `stream` on token ids"
        )
    try:
        data = prompt.encode("utf-8")
    except UnicodeEncodeError as err:
        raise InputError(f"the prompt is not UTF-8 text: {err}; give it in UTF-8") from err
    ids = list(data) or [EOS]  # what comes before a file in training
    device = next(model.parameters()).device
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in stream(model, torch.tensor([ids], device=device), max_new, choices=PAD, **options):
        value = int(token)
        if value == EOS:
            break
        text = decoder.decode(bytes([value])) if value < 256 else ""
        if text:
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest
