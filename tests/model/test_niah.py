"""The synthetic task: what a sequence holds, where the needle may lie, and its limits."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from hsa_compiler.errors import InputError
from hsa_compiler.model.niah import NiahTask, haystack

NEEDLE = re.compile(rb"#([a-z]{3})=(\d{4});")
QUESTION = re.compile(rb"\?([a-z]{3})=(\d{4});")


def text(row: np.ndarray) -> bytes:
    return row.astype(np.uint8).tobytes()


def test_training_answers_follow_from_needles_before_them() -> None:
    task = NiahTask(needles=4, questions=5, noise_weight=0.25)
    tokens, weights = task.train_batch(np.random.default_rng(0), 20, 256)
    assert tokens.shape == (20, 257)
    assert weights.shape == (20, 256)
    needles_seen = set()
    for row, weight in zip(tokens, weights, strict=True):
        line = text(row)
        needles = list(NEEDLE.finditer(line))
        questions = list(QUESTION.finditer(line))
        needles_seen.add(len(needles))
        assert len(questions) == 5
        assert questions[-1].end() == len(line)
        for asked in questions:
            source = next(n for n in needles if n[1] == asked[1])
            assert source.end() <= asked.start()
            assert source[2] == asked[2]
        answers = {i - 1 for q in questions for i in range(q.start(2), q.end(2))}
        assert set(np.flatnonzero(weight == 1)) == answers
        assert set(np.unique(weight)) == {0.25, 1.0}
    assert needles_seen == {1, 2, 3, 4}


def test_short_sequences_hold_fewer_events() -> None:
    task = NiahTask(needles=4, questions=8)
    tokens, _ = task.train_batch(np.random.default_rng(0), 30, 19)
    for row in tokens:
        assert len(NEEDLE.findall(text(row))) == 1
        assert len(QUESTION.findall(text(row))) == 1
    with pytest.raises(InputError, match="length = 18"):
        task.train_batch(np.random.default_rng(0), 1, 18)


def test_evaluation_needles_lie_out_of_reach_and_everywhere_there() -> None:
    task = NiahTask()
    prompts, answers = task.eval_batch(np.random.default_rng(0), 300, 200, reach=124)
    ends = []
    for row, answer in zip(prompts, answers, strict=True):
        line = text(row)
        (needle,) = NEEDLE.finditer(line)
        assert needle[2] == text(answer)
        assert line.endswith(b"?" + needle[1] + b"=")
        ends.append(needle.end())
    # From the last byte of the needle to the last of the prompt: more than the reach.
    assert max(ends) - 1 == 200 - 1 - 125
    assert min(ends) == task.needle_length
    assert np.mean(ends) == pytest.approx((10 + 75) / 2, abs=4)


def test_distractors_have_other_keys_and_do_not_overlap() -> None:
    prompts, answers = NiahTask(key_letters=1).eval_batch(
        np.random.default_rng(0), 50, 160, reach=20, distractors=5
    )
    for row, answer in zip(prompts, answers, strict=True):
        line = text(row)
        found = re.findall(rb"#([a-z])=(\d{4});", line)
        assert len(found) == 6
        assert [value for key, value in found if line.endswith(b"?" + key + b"=")] == [text(answer)]


def test_same_seed_same_samples() -> None:
    task = NiahTask(needles=3)
    first = task.train_batch(np.random.default_rng(5), 4, 100)
    again = task.train_batch(np.random.default_rng(5), 4, 100)
    other = task.train_batch(np.random.default_rng(6), 4, 100)
    assert (first[0] == again[0]).all()
    assert (first[0] != other[0]).any()


def test_the_haystack_is_letters_and_spaces() -> None:
    noise = haystack(np.random.default_rng(0), 5000)
    assert len(noise) == 5000
    assert re.fullmatch(rb"[a-z ]+", noise.tobytes())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: NiahTask(needles=0), "needles = 0"),
        (lambda: NiahTask(noise_weight=2.0), "noise_weight = 2.0"),
        (lambda: NiahTask().eval_batch(np.random.default_rng(0), 1, 134, 124), "at least 135"),
        (lambda: NiahTask().eval_batch(np.random.default_rng(0), 1, 60, 9, 5), "5 distractors"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()
    NiahTask().eval_batch(np.random.default_rng(0), 1, 135, 124)
