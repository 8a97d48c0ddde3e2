"""Checkpoints: one folder per step, written whole or not at all, nothing executable in it.

RUN/step-00000100/checkpoint.json       configuration, progress, sha256 of the other files
RUN/step-00000100/weights.safetensors
RUN/step-00000100/optimizer.safetensors     optimizer and random-generator state
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hsa_compiler.errors import ConfigError, InputError, WriteError
from hsa_compiler.model.config import (
    SCHEMA_VERSION,
    Backend,
    HSAConfig,
    check_schema,
    read_json,
    validate,
)
from hsa_compiler.model.hsa_ultralong import HSAUltraLong

_STEP = re.compile(r"step-(\d{8})")
_WEIGHTS, _OPTIMIZER, _INFO = "weights.safetensors", "optimizer.safetensors", "checkpoint.json"


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.step < 0 or self.tokens < 0 or not self.seconds >= 0:
            raise InputError(f"{self}: give numbers of at least 0")


@dataclass(frozen=True)
class Checkpoint:
    """What `checkpoint.json` says, and where it stands."""

    path: Path
    model: HSAConfig
    train: dict[str, Any]  # a TrainConfig, undecoded: reading weights does not need it
    progress: Progress
    sha256: dict[str, str]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Read one tensor file. Raises ConfigError if it is missing, damaged or another one."""
        path = self.path / name
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != self.sha256.get(name):
                raise ConfigError(
                    f"{path}: its contents do not match the checksum in {_INFO}: the checkpoint is "
                    "damaged; remove its folder to use the one before it"
                )
            return load_file(path)
        except (OSError, SafetensorError) as err:
            raise ConfigError(f"{path}: cannot be read: {err}") from err

    def load_model(
        self, device: torch.device | str, backend: Backend | None = None
    ) -> HSAUltraLong:
        """The model in evaluation mode; `backend` replaces its attention backend."""
        config = self.model
        if backend is not None:
            config = dataclasses.replace(config, attention_backend=backend)
        with torch.device("meta"):
            model = HSAUltraLong(config)
        self.load_weights(model, assign=True)
        return model.to(device).eval()

    def load_weights(self, model: HSAUltraLong, assign: bool = False) -> None:
        """Put the stored weights into a model. Raises ConfigError if they are not of its shape."""
        try:
            model.load_state_dict(self.tensors(_WEIGHTS), assign=assign)
        except RuntimeError as err:
            raise ConfigError(f"{self.path / _WEIGHTS}: does not fit the model: {err}") from err

    def load_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Restore optimizer and random-generator state."""
        stored = self.tensors(_OPTIMIZER)
        try:
            torch.set_rng_state(stored.pop("rng.cpu"))
            if torch.cuda.is_available() and "rng.cuda" in stored:
                torch.cuda.set_rng_state(stored.pop("rng.cuda"))
            stored.pop("rng.cuda", None)
            body = optimizer.state_dict()
            body["state"] = {}
            for name, value in stored.items():
                index, key = name.split(".", 1)
                body["state"].setdefault(int(index), {})[key] = value
            # Fewer is a run whose sequences were all shorter than a chunk: what retrieves had no
            # gradient yet.
            expected = sum(len(group["params"]) for group in body["param_groups"])
            if not body["state"].keys() <= set(range(expected)):
                raise ValueError(f"state of parameter {max(body['state'])} of {expected}")
            optimizer.load_state_dict(body)
        except (KeyError, ValueError, RuntimeError) as err:
            raise ConfigError(
                f"{self.path / _OPTIMIZER}: does not fit the optimizer: {err}"
            ) from err


def save(
    run: Path,
    model: HSAUltraLong,
    train: dict[str, Any],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    keep: int = 2,
) -> Path:
    """Write a checkpoint of a run and delete all but its last `keep`; returns its folder.

    It is written beside its place and renamed, so a killed run leaves no half checkpoint.
    Raises WriteError if it cannot be written.
    """
    final = run / f"step-{progress.step:08d}"
    work = run / f".{final.name}.{os.getpid()}"
    for left in run.glob(".step-*"):  # by a run that was killed while it saved
        shutil.rmtree(left, ignore_errors=True)
    try:
        with _writing(run):
            _write(work, model, train, optimizer, progress)
            shutil.rmtree(final, ignore_errors=True)
            os.replace(work, final)
    except WriteError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    for old in _steps(run)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def append_record(run: Path, record: dict[str, Any]) -> None:
    """Add a line to the log of a run. Raises WriteError if it cannot be written."""
    with _writing(run):
        run.mkdir(parents=True, exist_ok=True)
        with (run / "log.jsonl").open("a+b") as file:
            # A line that a kill or a full disk tore would spoil this one, too.
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - (1 << 16)))
            tail = file.read()
            file.truncate(end - len(tail) + tail.rfind(b"\n") + 1)
            file.write(json.dumps(record).encode() + b"\n")


@contextmanager
def _writing(run: Path) -> Iterator[None]:
    """Raise what stops a write inside it as WriteError, which names the run's folder."""
    try:
        yield
    except (OSError, SafetensorError) as err:
        raise WriteError(
            f"{run}: cannot be written: {err}; make room, or give a folder that can be written"
        ) from err


def _write(
    work: Path,
    model: HSAUltraLong,
    train: dict[str, Any],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """The files of a checkpoint, into a new folder."""
    work.mkdir(parents=True)
    state = {
        f"{index}.{key}": value
        for index, entry in optimizer.state_dict()["state"].items()
        for key, value in entry.items()
    }
    state["rng.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        state["rng.cuda"] = torch.cuda.get_rng_state()
    weights = dict(model.state_dict())
    for name, tensors in ((_WEIGHTS, weights), (_OPTIMIZER, state)):
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, work / name)
    body = {
        "schema_version": SCHEMA_VERSION,
        "model": dataclasses.asdict(model.config),
        "train": train,
        "progress": dataclasses.asdict(progress),
        "sha256": {name: _digest(work / name) for name in (_WEIGHTS, _OPTIMIZER)},
    }
    (work / _INFO).write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


def open_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder, or the newest checkpoint of a run folder.

    Raises InputError if there is none, ConfigError naming file and field if it is not valid.
    """
    if not (path / _INFO).is_file():
        steps = _steps(path)
        if not steps:
            raise InputError(f"{path}: no checkpoint here; give a run's or a checkpoint's folder")
        path = steps[-1]
    source = path / _INFO
    body = read_json(source)
    check_schema(body, str(source), SCHEMA_VERSION)
    return Checkpoint(
        path=path,
        model=HSAConfig.from_dict(body, str(source)),
        train=validate(dict[str, Any], body.get("train"), str(source), "train"),
        progress=validate(Progress, body.get("progress"), str(source), "progress"),
        sha256=validate(dict[str, str], body.get("sha256"), str(source), "sha256"),
    )


def has_checkpoint(run: Path) -> bool:
    """Whether a run folder holds a checkpoint."""
    return bool(_steps(run))


def _steps(run: Path) -> list[Path]:
    if not run.is_dir():
        return []
    return sorted(p for p in run.iterdir() if _STEP.fullmatch(p.name) and (p / _INFO).is_file())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
