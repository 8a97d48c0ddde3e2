"""``hsa-compiler pareto``: exit codes, bad input before anything runs, the call and its sources."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from hsa_compiler.benchmarks import pareto as search
from hsa_compiler.benchmarks.pareto import Request
from hsa_compiler.benchmarks.quality import Loss, Recall
from hsa_compiler.cli.main import main
from hsa_compiler.cli.pareto import find_shape
from hsa_compiler.errors import InputError
from hsa_compiler.model.niah import NiahTask
from hsa_compiler.model.training import TrainConfig, TrainRun
from tests.model.conftest import SMALL

#: The call of `cases.WORD`, whose kernels the tests of this folder share.
CALL = "L=64,Hq=4,H=2,D=16"


class Ran(Exception):
    """The search was reached with this request."""


def asked(monkeypatch: pytest.MonkeyPatch, *words: str) -> Request:
    """What a command line asks for, without doing it."""

    def run(request: Request, say: object) -> None:
        raise Ran(request)

    monkeypatch.setattr(search, "run", run)
    with pytest.raises(Ran) as caught:
        main(["pareto", "--device", "cpu", *words])
    request: Request = caught.value.args[0]
    return request


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of no steps of the small model."""
    config = TrainConfig(stages=((0.0, 64),), synthetic=1.0, task=NiahTask())
    model = dataclasses.replace(SMALL, attention_backend="reference")
    TrainRun(model, config, tmp_path / "run").save()
    return tmp_path / "run"


def test_a_search_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["pareto", "--shape", CALL, "--chunk-sizes", "16", "--top-k", "2,9", "--device", "cpu"]
    words += ["--retrieval-heads", "2", "--backward", "--out", str(tmp_path / "out")]
    words += ["--storage", str(tmp_path / "journal")]
    assert main(words) == 0
    shown = capsys.readouterr()
    for text in ("forward and backward", "recall", "top_k=9 is more than the 4 chunks"):
        assert text in shown.out
    assert "(1 of 1)" in shown.err and "pareto.json" in shown.err
    assert main([*words, "--resume", "--json"]) == 0
    shown = capsys.readouterr()
    written = json.loads((tmp_path / "out" / "pareto.json").read_text())
    assert json.loads(shown.out) == written
    (point,) = written["points"]
    assert point["point"] == "S16-K2-Hr2" and point["on_front"] and not point["raced"]
    assert point["latency_ms"] > 0 and point["samples"] > 1 and 0 < point["quality"] < 1
    assert {"retrieve", "attend", "landmark_grad"} <= set(point["schedules"])
    assert "continuing after 1" in shown.err


def test_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    words = ["pareto", "--shape", CALL, "--top-k", "1", "--device", "cpu"]
    words += ["--chunk-sizes", "16", "--out", str(tmp_path), "--storage", str(tmp_path / "j")]
    monkeypatch.setattr(Recall, "of", stop)
    assert main(words) == 130
    monkeypatch.setattr(Recall, "of", lambda *_: float("nan"))
    assert main(words) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--chunk-sizes", "16,big"), "--chunk-sizes '16,big'"),
        (("--chunk-sizes", "48"), "chunk_size=48"),
        (("--top-k", "0"), "--top-k '0'"),
        (("--top-k", "4,4"), "each once"),
        (("--top-k", "64"), "no combination is legal"),
        (("--retrieval-heads", "3"), "no combination is legal"),
        (("--shape", "L=64,Hq=4,H=2,D=16,K=2"), "K is searched; give --top-k instead"),
        (("--shape", "L=64,Hq=4,H=2"), "D must be given too"),
        (("--shape", "a9"), "unknown shape 'a9'"),
        (("--quality", "speed"), "--quality='speed'"),
        (("--quality", "loss", "--run", "run"), "leave them out"),
        (("--run", "run", "--tensors", "qk.safetensors"), "give one of them"),
        (("--run", "nowhere"), "no checkpoint here"),
        (("--tensors", "nowhere"), "not a file"),
        (("--window", "64"), "none of 64 tokens looks beyond"),
        (("--window", "0"), "Invalid value for '--window'"),
        (("--trials", "0"), "Invalid value for '--trials'"),
        (("--steps", "0"), "Invalid value for '--steps'"),
        (("--seed", "-1"), "Invalid value for '--seed'"),
        (("--seconds", "nan"), "--seconds nan"),
        (("--seconds", "0"), "--seconds 0.0"),
        (("--storage", " "), "--storage is empty"),
        (("--device", "tpu"), "device 'tpu'"),
    ],
)
def test_bad_input_is_exit_code_2_before_anything_runs(
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "run", lambda *_: pytest.fail("it ran"))
    folder = tmp_path / "out"
    given = ["--shape", CALL, "--chunk-sizes", "16", "--device", "cpu", "--out", str(folder)]
    assert main(["pareto", *given, *words]) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not folder.exists()


def test_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    request = asked(monkeypatch)
    space = request.space
    assert (space.shape.L, space.shape.Hq, space.shape.dtype) == (2048, 16, "fp32")
    assert space.retrieval_heads == (1, 16)
    assert space.base.window == 128 and not request.backward and request.storage is None
    assert asked(monkeypatch, "--shape", "a8").space.shape.dtype == "fp32"
    assert asked(monkeypatch, "--window", "300").space.base.window == 300


def test_a_loss_is_that_of_the_tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    request = asked(monkeypatch, "--quality", "loss", "--steps", "7", "--shape", CALL)
    assert request.quality == Loss(steps=7, length=64, seed=0, device="cpu")
    assert request.space.base.window == 32


def test_a_run_gives_heads_window_and_tensors(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--run", str(run_folder), "--chunk-sizes", "16", "--top-k", "1,2")
    request = asked(monkeypatch, *words, "--shape", "L=64")
    assert request.space.shape.dims.items() >= {"L": 64, "Hq": 4, "H": 2, "D": 16}.items()
    assert request.space.base.window == SMALL.window
    assert request.space.base.groups == SMALL.groups
    points = request.space.points
    few, more = (request.quality.of(request.space.model_of(p)) for p in (points[0], points[3]))
    assert 0 < few < more <= 1
    assert asked(monkeypatch, *words).space.shape.L == 2048
    assert asked(monkeypatch, *words, "--window", "20").space.base.window == 20
    assert main(["pareto", "--device", "cpu", *words, "--shape", "L=64,Hq=8"]) == 2
    assert (
        "Hq=8, but what recall looks at has 4: give a shape without Hq" in capsys.readouterr().err
    )
    assert main(["pareto", "--device", "cpu", *words, "--shape", "L=64,Dr=32"]) == 2
    assert "Dr=32, but what recall looks at has 16" in capsys.readouterr().err
    assert main(["pareto", "--device", "cpu", *words, "--shape", "L=16"]) == 2
    assert "a needle and a question need" in capsys.readouterr().err


def test_a_damaged_run_is_one_error(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (weights,) = run_folder.glob("step-*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    words = ["pareto", "--run", str(run_folder), "--shape", "L=64", "--device", "cpu"]
    words += ["--chunk-sizes", "16", "--top-k", "1", "--storage", str(tmp_path / "journal")]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("the checkpoint is damaged") == 1 and not shown.out
    assert not (tmp_path / "out" / "pareto.json").exists()


def test_tensors_give_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "qk.safetensors"
    torch.manual_seed(0)
    save_file({"q": torch.randn(48, 4, 16), "k": torch.randn(1, 64, 2, 16)}, path)
    words = ("--tensors", str(path), "--chunk-sizes", "16,32", "--top-k", "1,2")
    request = asked(monkeypatch, *words)
    given = {"L": 48, "Lkv": 64, "Hq": 4, "H": 2, "D": 16}
    assert request.space.shape.dims.items() >= given.items()
    assert request.space.base.window == 32
    assert 0 < request.quality.of(request.space.base) < 1
    longer = asked(monkeypatch, *words, "--shape", "L=96").space.shape
    assert (longer.L, longer.Lkv) == (96, 96)
    source: Any = request.quality.to_json()["source"]
    save_file({"q": torch.randn(48, 4, 16), "k": torch.randn(1, 64, 2, 16)}, path)
    assert source != asked(monkeypatch, *words).quality.to_json()["source"]


def test_words_of_a_shape_are_checked_as_everywhere() -> None:
    with pytest.raises(InputError, match="L is given twice"):
        find_shape("L=64,L=64,Hq=4,H=2,D=16", "cpu", {})
    for decoding in ("d1m", "L=1,Lkv=64,Hq=4,H=2,D=16,decode=1"):
        with pytest.raises(InputError, match="not decoding: give a shape without decode=1"):
            find_shape(decoding, "cpu", {})
    assert find_shape(CALL, "cuda", {}).dtype == "bf16"
    assert find_shape(CALL, "cpu", {}).dtype == "fp32"
