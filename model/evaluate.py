"""S-NIAH: one needle in L bytes of haystack, asked at the end, out of reach of the windows.

Two scorings, and every result says which: `teacher_forced` counts a sample when each digit of the
value is the likeliest next byte given the right ones before it (published results of HSA models);
`substring` lets the model write freely and looks for the value in what it wrote (RULER).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.model.cache import Cache
from hsa_compiler.model.config import check_seed
from hsa_compiler.model.generate import SEGMENT, prefill, stream
from hsa_compiler.model.hsa_ultralong import HSAUltraLong
from hsa_compiler.model.niah import NiahTask

SCORINGS = ("teacher_forced", "substring")

#: Tokens of all samples that go through the model together.
BATCH_TOKENS = 1 << 17


@dataclass(frozen=True)
class NiahResult:
    """What was asked and how often it was found."""

    length: int  # tokens of each prompt
    samples: int
    found: int  # samples whose whole value was right
    digits_right: int | None  # of samples * value_digits; None where the model writes freely
    scoring: str
    zero_hsa: bool
    distractors: int
    reach: int  # tokens the stacked windows look back; every needle lies further away

    @property
    def share(self) -> float:
        """Found samples as a share of all."""
        return self.found / self.samples


@torch.inference_mode()
def evaluate_niah(
    model: HSAUltraLong,
    task: NiahTask,
    length: int,
    samples: int,
    *,
    seed: int = 1,
    scoring: str = "teacher_forced",
    zero_hsa: bool = False,
    distractors: int = 0,
    segment: int = SEGMENT,
) -> NiahResult:
    """Ask `samples` prompts of `length` tokens, needles uniform in depth beyond the windows' reach.

    `zero_hsa` zeroes what the HSA layers retrieve (the control: chance is then all that is left).
    Prefill runs in segments, so memory grows with `length` only by the chunk memory.
    Raises InputError for a length too short to put a needle out of reach.
    """
    if samples < 1 or distractors < 0:
        raise InputError(
            f"samples = {samples}, distractors = {distractors}: give at least 1 and at least 0"
        )
    if scoring not in SCORINGS:
        raise InputError(f"scoring = {scoring!r}: allowed are {', '.join(SCORINGS)}")
    check_seed(seed)
    rng = np.random.default_rng((seed, length))
    reach, device = model.config.reach, next(model.parameters()).device
    at_once = max(1, BATCH_TOKENS // length)
    found = digits = done = 0
    while done < samples:
        rows = min(at_once, samples - done)
        made = task.eval_batch(rng, rows, length, reach, distractors)
        prompts, answers = (torch.from_numpy(x).to(device) for x in made)
        if scoring == "substring":
            found += _written(model, prompts, answers, segment, zero_hsa)
        else:
            right = _teacher_forced(model, prompts, answers, segment, zero_hsa)
            found += int(right.all(dim=1).sum())
            digits += int(right.sum())
        done += rows
    right_digits = digits if scoring == "teacher_forced" else None
    return NiahResult(length, samples, found, right_digits, scoring, zero_hsa, distractors, reach)


def _teacher_forced(
    model: HSAUltraLong, prompts: Tensor, answers: Tensor, segment: int, zero_hsa: bool
) -> Tensor:
    """Which digits are predicted, given the right ones before: bool [B, digits]."""
    cache = Cache(model.config, reserve=prompts.shape[1] + answers.shape[1])
    logits = [prefill(model, prompts, cache, segment=segment, zero_hsa=zero_hsa)[:, None]]
    if answers.shape[1] > 1:
        logits.append(model(answers[:, :-1], cache=cache, zero_hsa=zero_hsa))
    return torch.cat(logits, dim=1).argmax(-1) == answers


def _written(
    model: HSAUltraLong, prompts: Tensor, answers: Tensor, segment: int, zero_hsa: bool
) -> int:
    """How many of the greedy continuations, twice an answer long, contain the answer."""
    count = 2 * answers.shape[1]
    tokens = list(stream(model, prompts, count, segment=segment, zero_hsa=zero_hsa))
    written = torch.stack(tokens, dim=1).tolist()
    size = answers.shape[1]
    return sum(
        any(row[i : i + size] == answer for i in range(count - size + 1))
        for row, answer in zip(written, answers.tolist(), strict=True)
    )
