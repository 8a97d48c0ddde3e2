"""How good an architecture is: what it retrieves, or what a small model learns with it.

recall   the share of dense attention's far mass that is retrieved; see `model.recall`
loss     of `tiny` with this architecture after a few steps on the synthetic task
"""

from __future__ import annotations

import dataclasses
import hashlib
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from optuna.study import StudyDirection
from torch import Tensor

from hsa_compiler.model.checkpoint import Checkpoint
from hsa_compiler.model.config import HSAConfig, validate
from hsa_compiler.model.recall import (
    recorded_qk,
    require_far,
    retrieval_recall,
    synthetic_qk,
)
from hsa_compiler.model.recipes import recipe
from hsa_compiler.model.training import TrainConfig, TrainRun
from hsa_compiler.tuner.shapes import Shape

#: Tokens of a training sequence, where the call has as many.
TRAIN_LENGTH = 1024
#: The loss is the mean of this many last steps.
LAST_STEPS = 10


class Quality(Protocol):
    """A measure of a model's architecture."""

    @property
    def name(self) -> str:
        """As `--quality` calls it."""
        ...

    @property
    def direction(self) -> StudyDirection:
        """What is better."""
        ...

    def check(self, model: HSAConfig) -> None:
        """Raise InputError where no architecture of this model could be measured."""
        ...

    def prepare(self) -> None:
        """Make what all architectures share; what fails here is no single one's fault."""
        ...

    def of(self, model: HSAConfig) -> float:
        """The quality of a model's architecture."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Everything that the numbers depend on, as plain values."""
        ...


@dataclass(frozen=True)
class Recall:
    """Retrieval recall on q [B,L,Hq,D] and k [B,Lkv,H,D], which are made when they are needed.

    `source` says what they are, `keys` is Lkv.
    """

    source: dict[str, Any]
    keys: int
    make: Callable[[], tuple[Tensor, Tensor]]
    name: str = "recall"
    direction: StudyDirection = StudyDirection.MAXIMIZE

    @classmethod
    def of_drawn(cls, shape: Shape, seed: int, device: str) -> Recall:
        """On synthetic tensors of a call's sizes."""

        def make() -> tuple[Tensor, Tensor]:
            q, k = synthetic_qk(shape, seed)
            return q.to(device), k.to(device)

        return cls({"kind": "synthetic", "seed": seed}, shape.Lkv, make)

    @classmethod
    def of_file(cls, path: Path, qk: tuple[Tensor, Tensor], device: str) -> Recall:
        """On what `read_qk` found in a file."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        source = {"kind": "file", "sha256": digest}
        return cls(source, qk[1].shape[1], lambda: (qk[0].to(device), qk[1].to(device)))

    @classmethod
    def of_run(cls, stored: Checkpoint, batch: int, length: int, seed: int, device: str) -> Recall:
        """On what a trained model's HSA layers attend with, on `batch` sequences of its task.

        Raises InputError for sequences that cannot hold the task.
        """
        task = validate(TrainConfig, stored.train, str(stored.path), "train").task
        task.check_length(length)

        def make() -> tuple[Tensor, Tensor]:
            tokens, _ = task.train_batch(np.random.default_rng((seed, length)), batch, length)
            model = stored.load_model(device)
            return recorded_qk(model, torch.from_numpy(tokens[:, :-1]).to(device))

        sizes = {"sequences": batch, "tokens": length}
        source = {"kind": "run", "seed": seed, **sizes, "sha256": stored.sha256}
        return cls(source, length // stored.model.chunk_size * stored.model.chunk_size, make)

    @cached_property
    def _qk(self) -> tuple[Tensor, Tensor]:
        return self.make()

    def check(self, model: HSAConfig) -> None:
        """Some query must have keys beyond the model's window."""
        require_far(self.keys, model.window)

    def prepare(self) -> None:
        """Make the tensors. Raises ConfigError for a checkpoint that is damaged."""
        _ = self._qk

    def of(self, model: HSAConfig) -> float:
        """Higher is better, 0 to 1."""
        q, k = self._qk
        return retrieval_recall(
            q,
            k,
            chunk_size=model.chunk_size,
            top_k=model.top_k,
            retrieval_heads=model.retrieval_heads,
            window=model.window,
        )

    def to_json(self) -> dict[str, Any]:
        """The measure and the tensors' source; the window is the model's."""
        return {"measure": self.name, "source": self.source}


@dataclass(frozen=True)
class Loss:
    """The mean loss of the last steps of a short training run on the synthetic task.

    All architectures see the same sequences.
    """

    steps: int
    length: int
    seed: int
    device: str
    name: str = "loss"
    direction: StudyDirection = StudyDirection.MINIMIZE

    def check(self, model: HSAConfig) -> None:
        """The run must be one: steps, and tokens that hold the task."""
        self._config()

    def prepare(self) -> None:
        """Every architecture is trained from its own start."""

    def _config(self) -> TrainConfig:
        return dataclasses.replace(
            recipe("tiny", self.device, text=False),
            steps=self.steps,
            stages=((0.0, self.length),),
            seed=self.seed,
            log_every=1,
            save_every=self.steps,
        )

    def of(self, model: HSAConfig) -> float:
        """Lower is better; weighted nats per token."""
        losses: list[float] = []

        def keep(record: dict[str, Any]) -> None:
            if record["event"] == "step":
                losses.append(record["loss"])

        with tempfile.TemporaryDirectory() as folder:
            TrainRun(model, self._config(), Path(folder), device=self.device).train(keep)
        return statistics.fmean(losses[-LAST_STEPS:])

    def to_json(self) -> dict[str, Any]:
        """The training run's configuration."""
        return {"measure": self.name, **dataclasses.asdict(self._config())}
