"""The cached model equals the uncached one; streaming; sampling."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.model.cache import Cache
from hsa_compiler.model.config import HSAConfig
from hsa_compiler.model.data import EOS
from hsa_compiler.model.generate import choose, prefill, stream, stream_text
from hsa_compiler.model.hsa_ultralong import HSAUltraLong


def make(config: HSAConfig) -> HSAUltraLong:
    torch.manual_seed(0)
    return HSAUltraLong(config).double().eval()


def some_tokens(length: int, batch: int = 2) -> Tensor:
    return torch.randint(0, 256, (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("length", [1, 15, 16, 17, 33, 50])
@pytest.mark.parametrize("reserve", [0, 50])
def test_token_by_token_equals_uncached(small: HSAConfig, length: int, reserve: int) -> None:
    model, tokens = make(small), some_tokens(length)
    with torch.inference_mode():
        cache = Cache(small, reserve)
        cached = [model(tokens[:, i : i + 1], cache=cache) for i in range(length)]
        torch.testing.assert_close(torch.cat(cached, dim=1), model(tokens))
    assert cache.position == length
    assert cache.landmarks.length == length // 16
    assert cache.ring is not None
    assert cache.ring.shape[1] == length % 16


@pytest.mark.parametrize("segments", [[83], [16, 16, 51], [7, 40, 1, 35], [12, 12, 12, 47]])
@pytest.mark.parametrize(
    "change", [{}, {"hsa_window_sublayer": True}, {"window_aware": True}, {"window": 40}], ids=str
)
def test_segments_equal_uncached(
    small: HSAConfig, segments: list[int], change: dict[str, int]
) -> None:
    small = dataclasses.replace(small, **change)
    model, tokens = make(small), some_tokens(83)
    with torch.inference_mode():
        cache = Cache(small)
        cached = [model(part, cache=cache) for part in tokens.split(segments, dim=1)]
        torch.testing.assert_close(torch.cat(cached, dim=1), model(tokens))
    for k, v in cache.windows.values():
        assert k.shape[1] == v.shape[1] == small.window


def test_prefill_gives_the_last_logits(small: HSAConfig) -> None:
    model, tokens = make(small), some_tokens(45)
    last = prefill(model, tokens, Cache(small), segment=10)
    torch.testing.assert_close(last, model(tokens)[:, -1].detach())


def test_greedy_stream_is_the_uncached_argmax(small: HSAConfig) -> None:
    model, tokens = make(small), some_tokens(30)
    expected = tokens
    for _ in range(20):
        expected = torch.cat((expected, model(expected)[:, -1].argmax(-1, keepdim=True)), dim=1)
    got = torch.stack(list(stream(model, tokens, 20, segment=7)), dim=1)
    assert torch.equal(got, expected[:, 30:])


def test_a_cache_is_refused_while_gradients_are_recorded(small: HSAConfig) -> None:
    with pytest.raises(InputError, match="inference"):
        make(small)(some_tokens(4), cache=Cache(small))


def test_a_cache_of_something_else_is_refused(small: HSAConfig) -> None:
    model, cache = make(small), Cache(small)
    with torch.inference_mode():
        with pytest.raises(InputError, match="another configuration"):
            model(some_tokens(4), cache=Cache(dataclasses.replace(small, window=5)))
        model(some_tokens(4), cache=cache)
        with pytest.raises(InputError, match="2 sequences, the tokens 3"):
            model(some_tokens(4, batch=3), cache=cache)


def test_sampling_stays_in_the_nucleus_and_follows_its_seed() -> None:
    logits = torch.tensor([[0.0, 5.0, 4.9, -9.0]]).expand(400, 4)
    picks = choose(logits, 1.0, 0.9, torch.Generator().manual_seed(0))
    assert set(picks.tolist()) == {1, 2}
    assert torch.equal(picks, choose(logits, 1.0, 0.9, torch.Generator().manual_seed(0)))
    for cold in (0.0, 5e-324, 1e-45, 1e-30):
        assert (choose(logits, cold, 1.0, torch.Generator()) == 1).all()


def test_text_streams_whole_characters(small: HSAConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def scripted(*_: object, **__: object) -> list[Tensor]:
        return [torch.tensor([b]) for b in "né".encode() + b"\xff"] + [torch.tensor([EOS])]

    monkeypatch.setattr("hsa_compiler.model.generate.stream", scripted)
    assert list(stream_text(make(small), "x", 9)) == ["n", "é", "�"]


def test_memory_is_not_taken_for_text_that_may_not_come(small: HSAConfig) -> None:
    tokens = stream(make(small), some_tokens(30), 10**12)
    assert len([next(tokens) for _ in range(4)]) == 4


def test_an_empty_prompt_begins_a_file(small: HSAConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = []

    def scripted(_: object, prompt: Tensor, *__: object, **___: object) -> list[Tensor]:
        prompts.append(prompt.tolist())
        return []

    monkeypatch.setattr("hsa_compiler.model.generate.stream", scripted)
    assert list(stream_text(make(small), "", 1)) == []
    assert prompts == [[[EOS]]]


def test_a_prompt_that_is_no_text_is_refused(small: HSAConfig) -> None:
    with pytest.raises(InputError, match="not UTF-8"):
        list(stream_text(make(small), "\udcff", 1))  # how Python passes the argument byte ff on


def test_text_needs_a_vocabulary_of_bytes(small: HSAConfig) -> None:
    model = make(dataclasses.replace(small, vocab_size=200))
    with pytest.raises(InputError, match="vocabulary of 200: bytes and their specials need 259"):
        list(stream_text(model, "x", 1))


def test_a_larger_vocabulary_writes_bytes_alone(small: HSAConfig) -> None:
    model = make(dataclasses.replace(small, vocab_size=5000))
    text = "".join(stream_text(model, "x", 40, temperature=1e6))
    # 40 tokens at random of 5000 would hardly be bytes.
    assert len(text.encode()) >= 20


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"segment": 0},
        {"seed": 1 << 63},
    ],
)
def test_bad_options_are_named(small: HSAConfig, options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        list(stream(make(small), some_tokens(4), 1, **options))
