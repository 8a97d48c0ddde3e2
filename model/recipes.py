"""Runs as data, and the one that shows retrieval: needles out of reach of the windows.

    from hsa_compiler.model.recipes import train_needle
    result = train_needle(Path("needle"), device="cuda", max_seconds=240)

What makes retrieval form soon at this size: sequences that start short (all chunks fit in the
top-k) and grow, several questions a sequence, and a loss that is mostly on the answers. Windows
too short to solve the task by themselves matter too: a wide one starves HSA of gradient
(arXiv 2511.23319).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from hsa_compiler.model.config import HSAConfig, preset
from hsa_compiler.model.data import ByteCorpus
from hsa_compiler.model.evaluate import evaluate_niah
from hsa_compiler.model.niah import NiahTask
from hsa_compiler.model.training import TrainConfig, TrainRun

#: Bytes of text on a CPU: a few minutes for `tiny`.
TEXT = TrainConfig(
    steps=400,
    batch_tokens=4096,
    stages=((0.0, 256),),
    lr=3e-3,
)

#: The needle task on a CPU: the shortest run that was seen to form retrieval.
NEEDLE_CPU = TrainConfig(
    steps=600,
    batch_tokens=4096,
    stages=((0.0, 256), (0.8, 512)),
    lr=2e-3,
    synthetic=1.0,
    task=NiahTask(needles=1, questions=4),
)

#: The needle task on a GPU, up to four needles a sequence of which any may be asked.
NEEDLE_GPU = TrainConfig(
    steps=5000,
    batch_tokens=32768,
    stages=((0.0, 256), (0.3, 512), (0.5, 1024), (0.7, 2048)),
    lr=2e-3,
    warmup=0.02,
    precision="bf16",
    synthetic=1.0,
    task=NiahTask(needles=4, questions=8),
    log_every=100,
    save_every=2500,
)


#: The published 345M run: 128 sequences of 8K a step, 5 % of them synthetic.
PUBLISHED_345M = TrainConfig(
    steps=100_000,
    batch_tokens=128 * 8192,
    micro_tokens=16384,
    stages=((0.0, 8192),),
    lr=3e-4,
    warmup=0.01,
    precision="bf16",
    synthetic=0.05,
    task=NiahTask(needles=6, questions=2),
    save_every=1000,
)


def recipe(model: str, device: str, text: bool) -> TrainConfig:
    """The run that fits a preset, a device ("cpu" or "cuda...") and whether there is text."""
    on_gpu = torch.device(device).type == "cuda"
    if model == "345m":
        return PUBLISHED_345M if text else dataclasses.replace(PUBLISHED_345M, synthetic=1.0)
    if not text:
        return NEEDLE_GPU if on_gpu else NEEDLE_CPU
    return dataclasses.replace(TEXT, precision="bf16" if on_gpu else "fp32")


def train_needle(
    folder: Path,
    *,
    device: str = "cuda",
    model: HSAConfig | None = None,
    config: TrainConfig | None = None,
    lengths: Sequence[int] = (2048, 8192),
    samples: int = 200,
    report: Callable[[dict[str, Any]], None] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Train `tiny` (or `model`) on needles, then ask at each length, also with the HSA zeroed.

    `config` defaults to the recipe of the device's kind; `changes` replace fields of it, such as
    `max_seconds`, `steps` and `seed`. The run stops at its steps or its seconds, whichever comes
    first, and its schedules follow. Returns plain data: parameters, steps, seconds, reach, and
    per length what was found with 0 and 3 distractors, and with the HSA output zeroed.
    """
    config = dataclasses.replace(config or recipe("tiny", device, text=False), **changes)
    run = TrainRun(model or preset("tiny"), config, folder, device=device)
    last = run.train(report)
    run.model.eval()
    asked = []
    with torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16"):
        for length in lengths:
            for distractors, zero in ((0, False), (3, False), (0, True)):
                result = evaluate_niah(
                    run.model,
                    config.task,
                    length,
                    samples,
                    distractors=distractors,
                    zero_hsa=zero,
                )
                asked.append(dataclasses.asdict(result))
    return {
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "steps": run.progress.step,
        "tokens": run.progress.tokens,
        "seconds": run.progress.seconds,
        "loss": last.get("loss"),
        "reach": run.model.config.reach,
        "longest_trained": config.length_at(1.0),
        "device": str(run.device),
        "niah": asked,
    }


def train_text(
    path: Path,
    folder: Path,
    *,
    device: str = "cpu",
    model: HSAConfig | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Train `tiny` (or `model`) on a text file or folder; its held-out loss beside the bigram's.

    Returns plain data: steps, tokens, seconds, held_out_loss and bigram_loss in nats per byte.
    """
    config = dataclasses.replace(recipe("tiny", device, text=True), **changes)
    corpus = ByteCorpus.read(path)
    run = TrainRun(model or preset("tiny"), config, folder, corpus=corpus, device=device)
    last = run.train(report)
    return {
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "steps": run.progress.step,
        "tokens": run.progress.tokens,
        "seconds": run.progress.seconds,
        "bytes": len(corpus.train),
        "held_out_loss": last["held_out_loss"],
        "bigram_loss": last["bigram_loss"],
        "device": str(run.device),
    }
