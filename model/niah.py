"""Single needle in a haystack, in bytes: `#kqz=4821;` somewhere in noise, `?kqz=` at the end.

The haystack is words of a fixed made-up lexicon, letters and spaces only. Chance is 10^-digits for
the exact value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsa_compiler.errors import InputError

LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", dtype=np.uint8)
DIGITS = np.frombuffer(b"0123456789", dtype=np.uint8)


def _lexicon(words: int = 512) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [rng.choice(LETTERS, rng.integers(2, 8)).tobytes() for _ in range(words)]


LEXICON = _lexicon()


@dataclass(frozen=True)
class NiahTask:
    """The synthetic task as data. Training sequences may hold several needles and questions.

    A question asks for any needle before it. Targets outside the answers weigh `noise_weight`.
    """

    key_letters: int = 3
    value_digits: int = 4
    needles: int = 1  # at most, per training sequence
    questions: int = 4  # per training sequence
    noise_weight: float = 0.05

    def __post_init__(self) -> None:
        for name in ("key_letters", "value_digits", "needles", "questions"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: give at least 1")
        if not 0 <= self.noise_weight <= 1:
            raise InputError(f"noise_weight = {self.noise_weight}: give a number in 0 .. 1")

    @property
    def needle_length(self) -> int:
        """Bytes of `#key=value;`."""
        return self.key_letters + self.value_digits + 3

    @property
    def question_length(self) -> int:
        """Bytes of `?key=`."""
        return self.key_letters + 2

    def check_length(self, length: int) -> None:
        """Raises InputError if a training sequence of `length` cannot hold the task."""
        shortest = self.needle_length + self.question_length + self.value_digits
        if length < shortest:
            raise InputError(
                f"length = {length}: a needle and a question need {shortest}; give longer sequences"
            )

    def train_batch(
        self, rng: np.random.Generator, batch: int, length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sequences int64 [batch, length + 1] and target weights fp32 [batch, length].

        weights[:, i] belongs to the prediction of token i + 1 from tokens 0 .. i.
        """
        self.check_length(length)
        size = length + 1
        tokens = np.empty((batch, size), dtype=np.int64)
        weights = np.full((batch, size), self.noise_weight, dtype=np.float32)
        for row in range(batch):
            text = haystack(rng, size)
            for start, event, answer in self._layout(rng, size):
                text[start : start + len(event)] = event
                end = start + len(event) - 1  # before the closing ';'
                weights[row, end - answer : end] = 1.0
            tokens[row] = text
        return tokens, weights[:, 1:]

    def eval_batch(
        self,
        rng: np.random.Generator,
        batch: int,
        length: int,
        reach: int,
        distractors: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Prompts int64 [batch, length] that end in a question, and answers int64 [batch, digits].

        The needle's last byte lies more than `reach` tokens before the end of the prompt, its place
        uniform in what that leaves. `distractors` more needles with other keys, which must not be
        mistaken for it, lie anywhere. Raises InputError if there is no room.
        """
        room = length - max(reach, self.question_length) - self.needle_length
        if room < 1:
            raise InputError(
                f"length = {length} leaves no place for a needle more than {reach} tokens back: "
                f"give at least {length - room + 1}"
            )
        slots = np.arange(0, length - self.question_length - self.needle_length, self.needle_length)
        if len(slots) < distractors + 2:
            raise InputError(f"length = {length} has no room for {distractors} distractors")
        prompts = np.empty((batch, length), dtype=np.int64)
        answers = np.empty((batch, self.value_digits), dtype=np.int64)
        for row in range(batch):
            key, value = self._pair(rng)
            start = rng.integers(room)
            prompts[row] = haystack(rng, length)
            clear = slots[abs(slots - start) >= self.needle_length]
            for at in rng.choice(clear, distractors, replace=False):
                other, wrong = self._pair(rng)
                while (other == key).all():
                    other, wrong = self._pair(rng)
                prompts[row, at : at + self.needle_length] = _needle(other, wrong)
            prompts[row, start : start + self.needle_length] = _needle(key, value)
            prompts[row, length - self.question_length :] = _question(key)
            answers[row] = value
        return prompts, answers

    def _pair(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.choice(LETTERS, self.key_letters), rng.choice(DIGITS, self.value_digits)

    def _layout(self, rng: np.random.Generator, size: int) -> list[tuple[int, np.ndarray, int]]:
        """Events (start, bytes, how many last bytes are an answer), from left to right.

        The first is a needle, the last a question at the very end; the gaps are uniform. Where
        not all fit, there are fewer questions, then fewer needles.
        """
        asked = self.question_length + self.value_digits + 1
        # Half the sequences hold one needle: finding digits at all is learnt before keys are.
        needles = 1 if rng.random() < 0.5 else int(rng.integers(1, self.needles + 1))
        questions = max(1, min(self.questions, (size - needles * self.needle_length) // asked))
        needles = max(1, min(needles, (size - questions * asked) // self.needle_length))
        is_needle = np.zeros(needles + questions, dtype=bool)
        is_needle[0] = True
        is_needle[1 + rng.permutation(needles + questions - 2)[: needles - 1]] = True
        free = size - needles * self.needle_length - questions * asked
        cuts = np.sort(rng.integers(free + 1, size=len(is_needle) - 1))
        gaps = np.diff(np.append(cuts, free), prepend=0)

        pairs: list[tuple[np.ndarray, np.ndarray]] = []
        events = []
        at = 0
        for gap, new in zip(gaps, is_needle, strict=True):
            at += int(gap)
            if new:
                pairs.append(self._pair(rng))
                event, answer = _needle(*pairs[-1]), 0
            else:
                key, value = pairs[rng.integers(len(pairs))]
                event, answer = np.concatenate((_question(key), value, [59])), len(value)
            events.append((at, event, answer))
            at += len(event)
        return events


def haystack(rng: np.random.Generator, length: int) -> np.ndarray:
    """Noise uint8 [length]: words of the lexicon with spaces between them."""
    picks = rng.integers(len(LEXICON), size=length // 3 + 1)  # the shortest word and its space
    text = b" ".join([LEXICON[i] for i in picks])
    return np.frombuffer(text, dtype=np.uint8)[:length].copy()


def _needle(key: np.ndarray, value: np.ndarray) -> np.ndarray:
    return np.concatenate(([35], key, [61], value, [59]))


def _question(key: np.ndarray) -> np.ndarray:
    return np.concatenate(([63], key, [61]))
