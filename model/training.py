"""Training: AdamW, cosine with warm-up, a length curriculum, checkpoints that resume bit-exactly.

    corpus = ByteCorpus.read(Path("docs"))
    TrainRun(preset("tiny"), TrainConfig(steps=300), Path("run"), corpus=corpus).train()
    TrainRun.resume(Path("run"), corpus=corpus).train()  # goes on from the last checkpoint

A folder holds `log.jsonl` (one JSON object a line) and the checkpoints of `checkpoint.py`.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hsa_compiler.errors import InputError
from hsa_compiler.model.checkpoint import Progress, append_record, open_checkpoint, save
from hsa_compiler.model.config import Backend, HSAConfig, check_seed, validate
from hsa_compiler.model.data import PAD, Batches, ByteCorpus, bigram_loss
from hsa_compiler.model.hsa_ultralong import HSAUltraLong
from hsa_compiler.model.interrupt import InterruptBetweenSteps
from hsa_compiler.model.niah import NiahTask
from hsa_compiler.runtime.explain import explain

#: Logits are made for at most this many numbers at a time; more are recomputed in the backward.
LOGITS_AT_ONCE = 1 << 26


@dataclass(frozen=True)
class TrainConfig:
    """One training run as data. Raises InputError for values out of range."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    steps: int = 300
    batch_tokens: int = 4096  # tokens of one optimizer step, rounded down to whole sequences
    micro_tokens: int = 65536  # at most this many at once; more are accumulated
    stages: tuple[tuple[float, int], ...] = ((0.0, 256),)  # (from this share of the run, length)
    lr: float = 2e-3
    lr_end: float = 0.1  # share of `lr` at the end of the cosine
    warmup: float = 0.05  # share of the run
    weight_decay: float = 0.1  # not on norms, biases and embeddings
    clip: float = 1.0  # largest gradient norm
    precision: str = "fp32"  # or "bf16": autocast, fp32 weights
    synthetic: float = 0.0  # share of rows from the needle task
    task: NiahTask = field(default_factory=NiahTask)
    seed: int = 0
    max_seconds: float | None = (
        None  # of steps, schedules included; evaluating and saving come on top
    )
    log_every: int = 10  # steps
    eval_every: int = 100  # steps; only with text
    eval_tokens: int = 65536
    save_every: int = 500  # steps; the last step is always saved

    def __post_init__(self) -> None:
        tokens = ("batch_tokens", "micro_tokens", "eval_tokens")
        for name in ("steps", *tokens, "log_every", "eval_every", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: give at least 1")
        check_seed(self.seed)
        if not 0 < self.lr < math.inf or not self.clip > 0:
            raise InputError(f"lr = {self.lr}, clip = {self.clip}: give finite numbers above 0")
        if not 0 <= self.warmup < 1 or not 0 <= self.lr_end <= 1 or not 0 <= self.synthetic <= 1:
            raise InputError(
                f"warmup = {self.warmup}, lr_end = {self.lr_end}, synthetic = {self.synthetic} are "
                "shares: give numbers in 0 .. 1, warmup below 1"
            )
        if self.precision not in ("fp32", "bf16"):
            raise InputError(f"precision = {self.precision!r}: allowed are 'fp32', 'bf16'")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InputError(f"max_seconds = {self.max_seconds}: give a number above 0")
        starts = [start for start, _ in self.stages]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] >= 1:
            raise InputError(f"stages start at {starts}: give rising shares of the run from 0")
        for _, length in self.stages:
            if not 1 <= length <= self.batch_tokens:
                raise InputError(
                    f"a stage of {length} tokens does not fit batch_tokens = {self.batch_tokens}: "
                    "give at least 1 token, or more batch_tokens"
                )
            if self.synthetic > 0:
                self.task.check_length(length)

    def length_at(self, share: float) -> int:
        """Sequence length at a share of the run."""
        return next(length for start, length in reversed(self.stages) if share >= start)

    def lr_at(self, share: float) -> float:
        """Learning rate at a share of the run: linear warm-up, then cosine to lr * lr_end."""
        if share < self.warmup:
            return self.lr * share / self.warmup
        cosine = 0.5 + 0.5 * math.cos(math.pi * (share - self.warmup) / (1 - self.warmup))
        return self.lr * (self.lr_end + (1 - self.lr_end) * cosine)


class TrainRun:
    """A model, its optimizer and its place in the data, in a folder of its own."""

    def __init__(
        self,
        model_config: HSAConfig,
        config: TrainConfig,
        folder: Path,
        *,
        corpus: ByteCorpus | None = None,
        device: str = "cpu",
    ) -> None:
        """Start at step 0. Raises InputError if data, precision and device do not fit."""
        self.config, self.folder, self.corpus = config, folder, corpus
        self.device = torch.device(device)
        self.batches = Batches(corpus, config.task, config.synthetic, config.seed)
        if model_config.vocab_size <= PAD:
            raise InputError(
                f"vocab_size = {model_config.vocab_size}: bytes and their specials need {PAD + 1}"
            )
        if corpus is not None:  # too little text should fail now, not at the last stage
            longest = max(length for _, length in config.stages)
            corpus.held_out_rows(longest, 1)
        torch.manual_seed(config.seed)
        self.model = HSAUltraLong(model_config).to(self.device)
        self.optimizer = make_optimizer(self.model, config)
        self.progress = Progress()
        self._kernels_logged = 0
        self._saved: int | None = None  # step of the newest checkpoint: none is written twice
        self._bigram: float | None = None

    @classmethod
    def resume(
        cls,
        path: Path,
        *,
        corpus: ByteCorpus | None = None,
        device: str = "cpu",
        backend: Backend | None = None,
        **changes: Any,
    ) -> TrainRun:
        """Continue a run folder from its newest checkpoint; `changes` replace TrainConfig fields.

        `backend` replaces the model's attention backend.

        On a CPU, without `max_seconds` and with nothing changed, the run goes on bit-exactly.
        Raises InputError if the folder is no run's.
        """
        stored = open_checkpoint(path)
        if stored.path == path:
            raise InputError(
                f"{path} is one checkpoint: give its run's folder, and remove newer checkpoints "
                "there to go on from an older one"
            )
        config = validate(TrainConfig, stored.train, str(stored.path), "train")
        config = dataclasses.replace(config, **changes)
        model = stored.model
        if backend is not None:
            model = dataclasses.replace(model, attention_backend=backend)
        run = cls(model, config, path, corpus=corpus, device=device)
        stored.load_weights(run.model)
        stored.load_optimizer(run.optimizer)
        run.progress = stored.progress
        run._saved = run.progress.step
        if config.steps < run.progress.step:
            raise InputError(
                f"steps = {config.steps}: the run in {path} has done {run.progress.step} already; "
                "give more, or another folder"
            )
        return run

    @property
    def share(self) -> float:
        """How much of the run is done, 0 .. 1: by steps, or by time if that is further along."""
        share = self.progress.step / self.config.steps
        if self.config.max_seconds is not None:
            share = max(share, self.progress.seconds / self.config.max_seconds)
        return share

    def train(self, report: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """Run to the end; every logged record also goes to `report`. Returns the last record.

        Ctrl-C lets the step in hand finish and saves it, then raises KeyboardInterrupt; a second
        one stops at once, and what was done since the last checkpoint is lost.
        Raises WriteError if the folder cannot be written, InputError if the loss stops being a
        number: a log of those is no JSON, and no weights of them may replace a checkpoint.
        """

        def log(entry: dict[str, Any]) -> dict[str, Any]:
            append_record(self.folder, entry)
            if report is not None:
                report(entry)
            return entry

        log(self._start_record())
        with InterruptBetweenSteps() as interrupt:
            last = self._loop(log, interrupt)
        if self._saved != self.progress.step:
            self.save()
        if interrupt.asked:
            raise KeyboardInterrupt
        if self.corpus is not None:
            last = log({"event": "eval", "step": self.progress.step, **self.evaluate()})
        return last

    def _loop(
        self, log: Callable[[dict[str, Any]], dict[str, Any]], interrupt: InterruptBetweenSteps
    ) -> dict[str, Any]:
        c = self.config
        last: dict[str, Any] = {}
        waiting: list[Tensor] = []
        logged_tokens, logged_seconds = self.progress.tokens, self.progress.seconds
        while self.share < 1 and not interrupt.asked:
            # As if the run had begun now and had not been stopped or evaluated in between.
            began = time.perf_counter() - self.progress.seconds
            share = self.share
            # Half a step ahead: otherwise the first step would have a learning rate of 0.
            lr = c.lr_at(share + 0.5 / c.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            length = c.length_at(share)
            loss, norm, tokens = self.step(length)
            waiting.append(loss)
            step = self.progress.step + 1
            seconds = time.perf_counter() - began
            self.progress = Progress(step, self.progress.tokens + tokens, seconds)
            # The last step is always logged: a short time budget may hold no tenth one.
            due = step % c.log_every == 0 or self.share >= 1 or interrupt.asked
            mean = 0.0
            if due or step % c.save_every == 0:
                mean = float(torch.stack(waiting).mean())  # waits for the device
                if not math.isfinite(mean) or not math.isfinite(float(norm)):
                    raise InputError(
                        f"step {step}: loss {mean}, gradient norm {float(norm)}: the run diverged "
                        f"with lr = {c.lr}; give a smaller one"
                    )
                seconds = time.perf_counter() - began
                self.progress = dataclasses.replace(self.progress, seconds=seconds)
            if due:
                waiting.clear()
                last = {
                    "event": "step",
                    "step": step,
                    "loss": mean,
                    "grad_norm": float(norm),
                    "lr": lr,
                    "seq_len": length,
                    "tokens": self.progress.tokens,
                    "tokens_per_s": (self.progress.tokens - logged_tokens)
                    / max(seconds - logged_seconds, 1e-9),
                    "seconds": seconds,
                }
                logged_tokens, logged_seconds = self.progress.tokens, seconds
                log(last)
            if (kernels := self._kernel_record()) is not None:
                log(kernels)
            if self.corpus is not None and step % c.eval_every == 0 and self.share < 1:
                log({"event": "eval", "step": step, **self.evaluate()})
            if step % c.save_every == 0 and self.share < 1:
                self.save()
        return last

    def step(self, length: int) -> tuple[Tensor, Tensor, int]:
        """One optimizer step on sequences of `length`: (loss, gradient norm, tokens), on device."""
        c = self.config
        rows = c.batch_tokens // length
        tokens, weights = self.batches.at(self.progress.step, rows, length)
        total = weights.sum().clamp_min(1e-9)
        losses = []
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        for part in torch.split(torch.arange(rows), max(1, c.micro_tokens // length)):
            ids = tokens[part].to(self.device, non_blocking=True)
            weight = (weights[part] / total).to(self.device, non_blocking=True)
            with self._autocast():
                loss = weighted_loss(self.model, ids, weight)
            torch.autograd.backward(loss)
            losses.append(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        self.optimizer.step()
        return torch.stack(losses).sum(), norm, rows * length

    def evaluate(self) -> dict[str, float]:
        """Held-out loss, and a smoothed bigram model's on the same bytes, in nats per byte.

        Over at most `eval_tokens` bytes, cut into rows of the longest length trained on.
        """
        if self.corpus is None:
            raise InputError("this run has no text to hold out")
        longest = max(length for _, length in self.config.stages)
        rows = torch.from_numpy(self.corpus.held_out_rows(longest, self.config.eval_tokens))
        with self._autocast():
            loss = text_loss(self.model, rows, self.config.micro_tokens)
        if self._bigram is None:
            self._bigram = bigram_loss(self.corpus.train, rows.numpy(), PAD + 1)
        return {"held_out_loss": loss, "bigram_loss": self._bigram}

    def save(self) -> Path:
        """Write a checkpoint of the last finished step; returns its folder."""
        train = dataclasses.asdict(self.config)
        folder = save(self.folder, self.model, train, self.optimizer, self.progress)
        self._saved = self.progress.step
        return folder

    def _autocast(self) -> torch.autocast:
        on = self.config.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=on)

    def _start_record(self) -> dict[str, Any]:
        return {
            "event": "start" if self.progress.step == 0 else "resume",
            "step": self.progress.step,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "device": str(self.device),
            "torch": torch.__version__,
            "data": self.corpus.source if self.corpus is not None else "synthetic",
            "model": dataclasses.asdict(self.model.config),
            "train": dataclasses.asdict(self.config),
        }

    def _kernel_record(self) -> dict[str, Any] | None:
        """Kernels that ran for the first time: schedule and config tier of each; None if none."""
        new = explain()[self._kernels_logged :]
        if not new:
            return None
        self._kernels_logged += len(new)
        rows = [row.to_json() for row in new]
        return {"event": "kernels", "step": self.progress.step, "kernels": rows}


def make_optimizer(model: HSAUltraLong, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW(0.9, 0.95); weight decay on matrices only, not on norms, vectors and the embedding."""
    decay: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim >= 2 and not name.startswith("embedding.")
        (decay if matrix else plain).append(parameter)
    groups = [
        {"params": decay, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    fused = next(model.parameters()).is_cuda
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95), fused=fused)


def weighted_loss(model: HSAUltraLong, tokens: Tensor, weights: Tensor) -> Tensor:
    """sum of weights * cross-entropy, in fp32; tokens [B, L + 1], weights [B, L]; scalar."""
    hidden = model.hidden(tokens[:, :-1]).flatten(0, 1)
    targets, weights = tokens[:, 1:].flatten(), weights.flatten()

    def loss(h: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        losses = F.cross_entropy(model.logits(h).float(), target, reduction="none")
        return (losses * weight).sum()

    rows = max(1, LOGITS_AT_ONCE // model.config.vocab_size)
    if len(targets) <= rows:
        return loss(hidden, targets, weights)
    parts = zip(*(torch.split(x, rows) for x in (hidden, targets, weights)), strict=True)
    return torch.stack([checkpoint(loss, *part, use_reentrant=False) for part in parts]).sum()


@torch.no_grad()
def text_loss(model: HSAUltraLong, rows: Tensor, tokens_at_once: int = 65536) -> float:
    """Mean nats per predicted token of rows [n, L + 1]."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    length, total = rows.shape[1] - 1, 0.0
    for part in torch.split(rows, max(1, tokens_at_once // length)):
        ids = part.to(device)
        total += float(weighted_loss(model, ids, torch.ones_like(ids[:, 1:], dtype=torch.float32)))
    model.train(was_training)
    return total / (rows.shape[0] * length)
