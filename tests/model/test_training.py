"""The training loop: schedules, accumulation, logs, checkpoints that resume bit-exactly."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hsa_compiler.errors import ConfigError, InputError, WriteError
from hsa_compiler.model import checkpoint, training
from hsa_compiler.model.checkpoint import open_checkpoint
from hsa_compiler.model.config import HSAConfig
from hsa_compiler.model.data import ByteCorpus
from hsa_compiler.model.training import TrainConfig, TrainRun, make_optimizer

pytestmark = pytest.mark.usefixtures("naive_door")

TEXT = ByteCorpus(
    np.frombuffer(b"the quick brown fox jumps over the lazy dog. " * 40, np.uint8).astype(
        np.uint16
    ),
    "fox",
)
SHORT = TrainConfig(
    steps=6,
    batch_tokens=256,
    stages=((0.0, 32), (0.5, 64)),
    synthetic=0.5,
    log_every=2,
    eval_every=3,
    save_every=3,
    eval_tokens=128,
)


def state(run: TrainRun) -> dict[str, Any]:
    moments = {
        (i, k): v for i, e in run.optimizer.state_dict()["state"].items() for k, v in e.items()
    }
    return {**run.model.state_dict(), **moments}


def test_a_stopped_run_resumes_bit_exactly(tmp_path: Path, small: HSAConfig) -> None:
    whole = TrainRun(small, SHORT, tmp_path / "whole", corpus=TEXT)
    last = whole.train()

    stopped = TrainRun(small, SHORT, tmp_path / "stopped", corpus=TEXT)

    def stop(record: dict[str, Any]) -> None:
        if record["event"] == "step" and record["step"] == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stopped.train(stop)
    torch.rand(3)  # another process would not have this generator's state either
    resumed = TrainRun.resume(tmp_path / "stopped", corpus=TEXT)
    assert resumed.progress.step == 4
    assert resumed.train()["held_out_loss"] == last["held_out_loss"]
    assert resumed.progress.tokens == whole.progress.tokens == 6 * 256
    wanted, given = state(whole), state(resumed)
    assert wanted.keys() == given.keys()
    assert all(torch.equal(wanted[name], given[name]) for name in wanted)


def test_a_run_that_has_seen_no_full_chunk_resumes(tmp_path: Path, small: HSAConfig) -> None:
    config = dataclasses.replace(SHORT, synthetic=0.0, stages=((0.0, 8), (0.5, 64)))
    whole = TrainRun(small, config, tmp_path / "whole", corpus=TEXT)
    whole.train()
    shutil.copytree(tmp_path / "whole" / "step-00000003", tmp_path / "again" / "step-00000003")
    resumed = TrainRun.resume(tmp_path / "again", corpus=TEXT)
    assert len(state(resumed)) < len(state(whole))
    resumed.train()
    wanted, given = state(whole), state(resumed)
    assert wanted.keys() == given.keys()
    assert all(torch.equal(wanted[name], given[name]) for name in wanted)


def test_a_second_interrupt_stops_at_once(tmp_path: Path, small: HSAConfig) -> None:
    def stop(record: dict[str, Any]) -> None:
        if record["event"] == "step":
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        TrainRun(small, SHORT, tmp_path, corpus=TEXT).train(stop)
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_log_tells_the_run(
    tmp_path: Path, small: HSAConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "explain", list)  # kernels that other tests ran
    TrainRun(small, SHORT, tmp_path, corpus=TEXT).train()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [r["event"] for r in records] == ["start", "step", "eval", "step", "step", "eval"]
    assert records[0]["train"]["stages"] == [[0.0, 32], [0.5, 64]]
    assert [r["seq_len"] for r in records if r["event"] == "step"] == [32, 64, 64]
    for record in records:
        if record["event"] == "step":
            assert record["tokens_per_s"] > 0
            assert math.isfinite(record["loss"])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "log.jsonl",
        "step-00000003",
        "step-00000006",
    ]


def test_kernels_are_logged_once(
    tmp_path: Path, small: HSAConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Row:
        def to_json(self) -> dict[str, str]:
            return {"kernel": "attend", "schedule": "token", "tier": "generic", "dtype": "fp32"}

    monkeypatch.setattr(training, "explain", lambda: [Row()])
    TrainRun(small, SHORT, tmp_path, corpus=TEXT).train()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    kernels = [r for r in lines if r["event"] == "kernels"]
    assert len(kernels) == 1
    assert kernels[0]["kernels"][0]["tier"] == "generic"


def test_the_learning_rate_warms_up_and_decays() -> None:
    config = TrainConfig(lr=1.0, lr_end=0.1, warmup=0.1)
    assert config.lr_at(0.05) == pytest.approx(0.5)
    assert config.lr_at(0.1) == pytest.approx(1.0)
    assert config.lr_at(0.55) == pytest.approx(0.55)
    assert config.lr_at(1.0) == pytest.approx(0.1)


def test_accumulation_gives_the_same_gradients(tmp_path: Path, small: HSAConfig) -> None:
    norms = []
    for micro in (65536, 64):
        config = dataclasses.replace(SHORT, micro_tokens=micro)
        run = TrainRun(small, config, tmp_path, corpus=TEXT)
        loss, norm, tokens = run.step(64)
        assert tokens == 256
        norms.append((float(loss), float(norm)))
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_large_vocabularies_take_their_loss_in_parts(
    tmp_path: Path, small: HSAConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TrainRun(small, SHORT, tmp_path, corpus=TEXT)
    whole = run.step(64)[:2]
    monkeypatch.setattr(training, "LOGITS_AT_ONCE", 100 * small.vocab_size)
    parts = TrainRun(small, SHORT, tmp_path, corpus=TEXT).step(64)[:2]
    torch.testing.assert_close(whole, parts)


def test_decay_spares_norms_vectors_and_the_embedding(small: HSAConfig) -> None:
    model = training.HSAUltraLong(dataclasses.replace(small, rank_scale=True))
    decay, plain = make_optimizer(model, TrainConfig(weight_decay=0.3)).param_groups
    names = {id(p): n for n, p in model.named_parameters()}
    spared = {names[id(p)] for p in plain["params"]}
    assert decay["weight_decay"] == 0.3
    assert plain["weight_decay"] == 0.0
    assert len(spared) + len(decay["params"]) == len(names)
    assert {"embedding.weight", "encoder.cls", "norm.weight"} <= spared
    assert "upper.0.rank_scale" in spared
    assert all(p.ndim == 2 for p in decay["params"])


def test_a_time_budget_ends_the_run(tmp_path: Path, small: HSAConfig) -> None:
    config = dataclasses.replace(SHORT, steps=10**6, max_seconds=0.3, log_every=10**6)
    run = TrainRun(small, config, tmp_path, corpus=TEXT)
    run.train()
    assert run.share >= 1
    assert run.progress.step < 1000
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["event"] == "step"]
    assert steps[-1] == run.progress.step  # though no step was a multiple of `log_every`


@pytest.mark.parametrize(
    ("file", "damage", "says"),
    [
        ("weights.safetensors", lambda b: b[:-7], "checksum"),
        ("weights.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1]), "checksum"),
        ("optimizer.safetensors", lambda b: b"", "checksum"),
        ("checkpoint.json", lambda b: b[:40], "cannot be read as JSON"),
        (
            "checkpoint.json",
            lambda b: b.replace(b'"schema_version": 1', b'"schema_version": 7'),
            "7",
        ),
        ("checkpoint.json", lambda b: b.replace(b'"width": 32', b'"width": 48'), "does not fit"),
        ("checkpoint.json", lambda b: b.replace(b'"lr":', b'"rate":'), "train.rate"),
        ("checkpoint.json", lambda b: b.replace(b'"step": 1', b'"step": "x"'), "progress.step"),
        ("checkpoint.json", lambda b: b.replace(b'"step": 1', b'"step": -1'), "step=-1"),
        ("checkpoint.json", lambda b: b"[" * 100_000, "cannot be read as JSON"),
        ("checkpoint.json", lambda b: b"1" * 5000, "cannot be read as JSON"),
    ],
)
def test_a_damaged_checkpoint_is_named(
    tmp_path: Path, small: HSAConfig, file: str, damage: Any, says: str
) -> None:
    config = dataclasses.replace(SHORT, steps=1)
    TrainRun(small, config, tmp_path, corpus=TEXT).train()
    path = tmp_path / "step-00000001" / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=says) as error:
        TrainRun.resume(tmp_path, corpus=TEXT)
    assert "step-00000001" in str(error.value)


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path, small: HSAConfig) -> None:
    TrainRun(small, dataclasses.replace(SHORT, steps=1), tmp_path, corpus=TEXT).train()
    (tmp_path / ".step-00000002.77").mkdir()
    (tmp_path / "step-00000003").mkdir()
    assert open_checkpoint(tmp_path).progress.step == 1
    with pytest.raises(InputError, match="no checkpoint here"):
        open_checkpoint(tmp_path / "step-00000003")


def test_what_a_killed_run_left_is_removed(tmp_path: Path, small: HSAConfig) -> None:
    (tmp_path / ".step-00000001.77").mkdir()
    TrainRun(small, dataclasses.replace(SHORT, steps=1), tmp_path, corpus=TEXT).train()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "step-00000001"]


def test_a_torn_line_of_the_log_is_cut_off(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for before in (b"", b'{"a": 1}\n'):
        log.write_bytes(before + b'{"b": ')
        checkpoint.append_record(tmp_path, {"c": 3})
        assert log.read_bytes() == before + b'{"c": 3}\n'


def test_a_finished_run_is_not_saved_again(
    tmp_path: Path, small: HSAConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    TrainRun(small, dataclasses.replace(SHORT, steps=1), tmp_path, corpus=TEXT).train()
    run = TrainRun.resume(tmp_path, corpus=TEXT)
    monkeypatch.setattr(training, "save", None)
    assert "held_out_loss" in run.train()


def test_a_run_that_diverges_stops_and_leaves_the_last_checkpoint(
    tmp_path: Path, small: HSAConfig
) -> None:
    TrainRun(small, dataclasses.replace(SHORT, steps=1), tmp_path, corpus=TEXT).train()
    run = TrainRun.resume(tmp_path, corpus=TEXT, steps=9, lr=1e30)
    with pytest.raises(InputError, match=r"the run diverged with lr = 1e\+30"):
        run.train()
    assert open_checkpoint(tmp_path).progress.step == 1
    assert "NaN" not in (tmp_path / "log.jsonl").read_text()


def test_a_full_disk_leaves_the_last_checkpoint(
    tmp_path: Path, small: HSAConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    TrainRun(small, dataclasses.replace(SHORT, steps=1), tmp_path, corpus=TEXT).train()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(WriteError, match=r"cannot be written: .*No space left"):
        TrainRun.resume(tmp_path, corpus=TEXT, steps=2).train()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "step-00000001"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, small: HSAConfig) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(WriteError, match=r"file.* cannot be written"):
            TrainRun(small, SHORT, folder, corpus=TEXT).train()


def test_changes_on_resume_replace_the_stored_run(tmp_path: Path, small: HSAConfig) -> None:
    TrainRun(small, dataclasses.replace(SHORT, steps=1), tmp_path, corpus=TEXT).train()
    run = TrainRun.resume(tmp_path, corpus=TEXT, steps=3)
    assert run.share == pytest.approx(1 / 3)
    run.train()
    assert open_checkpoint(tmp_path).progress.step == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 0}, "steps = 0"),
        ({"lr": 0.0}, "lr = 0.0"),
        ({"lr": math.inf}, "lr = inf"),
        ({"warmup": 1.0}, r"warmup = 1\.0.* shares"),
        ({"save_every": 0}, "save_every = 0"),
        ({"stages": ((0.0, 18), (0.5, 64))}, "length = 18: a needle and a question need 19"),
        ({"precision": "fp8"}, "precision = 'fp8'"),
        ({"stages": ((0.5, 64),)}, "stages start at"),
        ({"stages": ()}, "stages start at"),
        ({"stages": ((0.0, 9999),)}, "does not fit batch_tokens"),
        ({"max_seconds": 0.0}, "max_seconds = 0.0"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 1 << 63}, "seed = 9223372036854775808"),
    ],
)
def test_a_bad_run_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        dataclasses.replace(SHORT, **change)


def test_text_needs_a_vocabulary_of_bytes(tmp_path: Path, small: HSAConfig) -> None:
    with pytest.raises(InputError, match="vocab_size = 200"):
        TrainRun(dataclasses.replace(small, vocab_size=200), SHORT, tmp_path, corpus=TEXT)
