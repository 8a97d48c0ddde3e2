"""Scoring needles: counts, both scorings, and the control."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.model import evaluate
from hsa_compiler.model.config import HSAConfig
from hsa_compiler.model.evaluate import evaluate_niah
from hsa_compiler.model.hsa_ultralong import HSAUltraLong
from hsa_compiler.model.niah import NiahTask

pytestmark = pytest.mark.usefixtures("naive_door")


class Oracle(HSAUltraLong):
    """Reads the answer off the text so far, unless its HSA output is zeroed."""

    def hidden(self, tokens: Tensor, *, cache: Any = None, zero_hsa: bool = False) -> Tensor:
        start = cache.position
        cache.seen = torch.cat((cache.seen, tokens), dim=1) if start else tokens
        cache.position += tokens.shape[1]
        said = [
            [ord("x") if zero_hsa else self._next(row[: end + 1]) for end in range(start, len(row))]
            for row in cache.seen.tolist()
        ]
        return torch.tensor(said)

    def _next(self, row: list[int]) -> int:
        found = re.fullmatch(rb".*#(\w+)=(\d+);.*\?\1=(\d*)", bytes(row))
        return (found[2] + b";;;;;;;;")[len(found[3])] if found else ord("x")

    def logits(self, hidden: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(hidden, self.config.vocab_size).float()


@pytest.mark.parametrize("scoring", evaluate.SCORINGS)
@pytest.mark.parametrize("segment", [1000, 64])
def test_who_knows_the_answer_finds_every_needle(
    small: HSAConfig, scoring: str, segment: int
) -> None:
    result = evaluate_niah(Oracle(small), NiahTask(), 120, 9, scoring=scoring, segment=segment)
    assert (result.found, result.samples, result.share) == (9, 9, 1.0)
    assert result.scoring == scoring
    assert result.reach == small.reach
    assert result.digits_right == (36 if scoring == "teacher_forced" else None)
    blind = evaluate_niah(
        Oracle(small), NiahTask(), 120, 9, scoring=scoring, segment=segment, zero_hsa=True
    )
    assert blind.found == 0
    assert blind.zero_hsa


@pytest.mark.parametrize("scoring", evaluate.SCORINGS)
def test_an_untrained_model_finds_none_and_segments_change_nothing(
    small: HSAConfig, scoring: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = HSAUltraLong(small)
    whole = evaluate_niah(model, NiahTask(), 100, 8, scoring=scoring, distractors=2)
    assert whole.found == 0
    monkeypatch.setattr(evaluate, "BATCH_TOKENS", 300)
    parts = evaluate_niah(model, NiahTask(), 100, 8, scoring=scoring, distractors=2, segment=30)
    assert parts == whole


@pytest.mark.parametrize(
    "options",
    [{"samples": 0}, {"length": 40}, {"scoring": "guess"}, {"distractors": -1}, {"seed": -1}],
)
def test_bad_options_are_named(small: HSAConfig, options: dict[str, Any]) -> None:
    wanted: dict[str, Any] = {"length": 100, "samples": 1, **options}
    with pytest.raises(InputError, match=next(iter(options))):
        evaluate_niah(HSAUltraLong(small), NiahTask(), **wanted)
