"""Training data: bytes of text files, the synthetic needle task, or a mixture of both.

A batch is a function of (seed, step) alone, so a resumed run sees the very same data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.model.niah import NiahTask

#: Token ids above the 256 bytes. Only EOS, between files, occurs in training data.
BOS, EOS, PAD = 256, 257, 258

#: The last share of a corpus is never trained on.
HELD_OUT = 0.1


class ByteCorpus:
    """Text as byte tokens, uint16: `train`, and the held-out last 10 %, `held_out`."""

    def __init__(self, tokens: np.ndarray, source: str) -> None:
        cut = len(tokens) - int(len(tokens) * HELD_OUT)
        self.train, self.held_out, self.source = tokens[:cut], tokens[cut:], source

    @classmethod
    def read(cls, path: Path) -> ByteCorpus:
        """A file, or every UTF-8 text file under a folder in path order, EOS between files.

        Hidden files and folders are left out. Raises InputError if there is no text, or some
        cannot be read.
        """
        parts: list[np.ndarray] = []
        try:
            for file in _files(path):
                data = file.read_bytes()
                if data and is_text(data):
                    parts += [np.frombuffer(data, dtype=np.uint8).astype(np.uint16)]
                    parts += [np.array([EOS], dtype=np.uint16)]
        except OSError as err:
            raise InputError(f"{path}: cannot be read: {err}; give text that can be read") from err
        if not parts:
            raise InputError(f"{path}: found no UTF-8 text in it")
        return cls(np.concatenate(parts), str(path))

    def batch(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Random windows of the training part, int64 [batch, length + 1]."""
        if len(self.train) <= length + 1:
            raise InputError(
                f"{self.source}: {len(self.train)} training bytes are too few for sequences of "
                f"{length}: give more text, or a smaller sequence length"
            )
        starts = rng.integers(len(self.train) - length - 1, size=batch)
        rows: np.ndarray = self.train[starts[:, None] + np.arange(length + 1)].astype(np.int64)
        return rows

    def held_out_rows(self, length: int, most: int) -> np.ndarray:
        """The first held-out bytes as rows int64 [n, length + 1] that overlap by one token.

        At least one row, at most `most` predicted tokens. Raises InputError if there is too little.
        """
        rows = min((len(self.held_out) - 1) // length, max(1, most // length))
        if rows < 1:
            raise InputError(
                f"{self.source}: {len(self.held_out)} held-out bytes are fewer than one sequence "
                f"of {length}: give more text, or a smaller sequence length"
            )
        index = np.arange(rows)[:, None] * length + np.arange(length + 1)
        found: np.ndarray = self.held_out[index].astype(np.int64)
        return found


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        what = "not a file of text" if path.exists() else "no such file or folder"
        raise InputError(f"{path}: {what}; give a text, or synthetic data")
    return sorted(
        f
        for f in path.rglob("*")
        if f.is_file() and not any(p.startswith(".") for p in f.relative_to(path).parts)
    )


def is_text(data: bytes) -> bool:
    """Whether bytes are UTF-8 without NUL."""
    if b"\0" in data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True)
class Batches:
    """Where a run's batches come from: text, needles, or rows of each by `synthetic`'s share."""

    corpus: ByteCorpus | None
    task: NiahTask
    synthetic: float  # share of synthetic rows; 1 without a corpus
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.synthetic <= 1:
            raise InputError(f"synthetic = {self.synthetic}: give a share in 0 .. 1")
        if self.corpus is None and self.synthetic != 1:
            raise InputError(f"synthetic = {self.synthetic}: without text it can only be 1")

    def at(self, step: int, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: tokens int64 [rows, length + 1], weights fp32 [rows, length].

        weights[:, i] belongs to the prediction of token i + 1; 1 everywhere on text.
        """
        rng = np.random.default_rng((self.seed, step))
        made = int((rng.random(rows) < self.synthetic).sum())
        tokens = np.empty((rows, length + 1), dtype=np.int64)
        weights = np.ones((rows, length), dtype=np.float32)
        if made:
            tokens[:made], weights[:made] = self.task.train_batch(rng, made, length)
        if made < rows and self.corpus is not None:
            tokens[made:] = self.corpus.batch(rng, rows - made, length)
        return torch.from_numpy(tokens), torch.from_numpy(weights)


def bigram_loss(train: np.ndarray, rows: np.ndarray, vocab: int) -> float:
    """Nats per token of a smoothed bigram model of `train` on rows [n, length + 1].

    p(b | a) = (n_ab + m * p(b)) / (n_a + m), p(b) with add-one smoothing. m is the best of a few
    on `rows` themselves, which favours this baseline, never what is compared with it.
    """
    pairs = np.bincount(train[:-1].astype(np.int64) * vocab + train[1:], minlength=vocab * vocab)
    pairs = pairs.reshape(vocab, vocab).astype(np.float64)
    single = np.bincount(train, minlength=vocab) + 1.0
    single /= single.sum()
    a, b = rows[:, :-1], rows[:, 1:]
    seen, before = pairs[a, b], pairs.sum(1)[a]
    return min(
        float(-np.log((seen + m * single[b]) / (before + m)).mean()) for m in (0.1, 1, 10, 100)
    )
