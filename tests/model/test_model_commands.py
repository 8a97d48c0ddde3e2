"""The commands train, generate and eval niah: what they print, write, and exit with."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from hsa_compiler.cli.main import main
from hsa_compiler.cli.model_commands import parse_stages
from hsa_compiler.errors import InputError
from hsa_compiler.model.config import HSAConfig

pytestmark = pytest.mark.usefixtures("naive_door")


class Done(NamedTuple):
    exit_code: int
    output: str
    error: str


Call = Callable[..., Done]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    """Run the command line and catch what it prints."""

    def run(*args: object) -> Done:
        code = main([str(a) for a in args])
        return Done(code, *capfd.readouterr())

    return run


@pytest.fixture
def run(tmp_path: Path, small: HSAConfig, call: Call) -> Path:
    """The folder of a run of 4 steps on text."""
    text, config = tmp_path / "text.txt", tmp_path / "model.json"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 40)
    small.save(config)
    options = ["--steps", 4, "--seq-len", "32,0.5:64", "--batch-tokens", 128, "--device", "cpu"]
    done = call("train", "--data", text, "--config", config, "--out", tmp_path / "run", *options)
    assert done.exit_code == 0, done.error
    assert "held-out" in done.output
    return tmp_path / "run"


def test_an_interrupted_run_says_how_to_go_on(
    run: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hsa_compiler.model.training.TrainRun.train", interrupted)
    done = call("train", "--data", run.parent / "text.txt", "--out", run, "--resume")
    assert done.exit_code == 130
    assert f"stopped at step 4; `hsa-compiler train --resume --out {run}`" in done.error


def test_a_run_cannot_go_on_to_fewer_steps(run: Path, call: Call) -> None:
    text = run.parent / "text.txt"
    done = call("train", "--data", text, "--out", run, "--resume", "--steps", 2)
    assert done.exit_code == 2
    assert "steps = 2" in done.error
    assert "has done 4 already" in done.error


def test_train_writes_a_run_and_resumes_it(run: Path, call: Call) -> None:
    text = run.parent / "text.txt"
    again = call("train", "--data", text, "--out", run)
    assert again.exit_code == 2
    assert "--resume" in again.error
    more = call("train", "--data", text, "--out", run, "--resume", "--steps", 6, "--json")
    assert more.exit_code == 0, more.error
    records = [json.loads(line) for line in more.output.splitlines()]
    assert records[0]["event"] == "resume"
    assert records[0]["step"] == 4
    assert records[-1]["step"] == 6
    assert [p.name for p in sorted(run.glob("step-*"))] == ["step-00000004", "step-00000006"]


def test_a_run_is_resumed_as_the_model_it_is(run: Path, call: Call) -> None:
    resume = ["train", "--data", run.parent / "text.txt", "--resume", "--json", "--out"]
    same = call(*resume, run, "--config", run.parent / "model.json")
    assert same.exit_code == 0, same.error
    record = json.loads(same.output.splitlines()[0])
    assert record["model"]["attention_backend"] == "reference"  # as its configuration says
    changed = call(*resume, run, "--backend", "tvm")
    assert json.loads(changed.output.splitlines()[0])["model"]["attention_backend"] == "tvm"
    other = call(*resume, run, "--preset", "345m")
    assert other.exit_code == 2
    assert "another model than --preset 345m" in other.error
    one = call(*resume, run / "step-00000004")
    assert one.exit_code == 2
    assert "is one checkpoint: give its run's folder" in one.error


def test_train_on_needles_needs_no_file(tmp_path: Path, small: HSAConfig, call: Call) -> None:
    small.save(tmp_path / "model.json")
    done = call(
        "train", "--data", "synthetic", "--config", tmp_path / "model.json", "--json",
        "--out", tmp_path / "run", "--steps", 2, "--seq-len", 64, "--batch-tokens", 128,
    )  # fmt: skip
    assert done.exit_code == 0, done.error
    assert json.loads(done.output.splitlines()[0])["data"] == "synthetic"


def test_generate_continues_the_prompt(run: Path, call: Call) -> None:
    first = call("generate", "--checkpoint", run, "--prompt", "the quick", "--max-new", 20)
    assert first.exit_code == 0, first.error
    assert first.output.startswith("the quick")
    again = call("generate", "--checkpoint", run, "--prompt", "the quick", "--max-new", 20)
    other = call(
        "generate", "--checkpoint", run, "--prompt", "the quick", "--max-new", 20, "--seed", 1
    )
    assert first.output == again.output != other.output


def test_generate_writes_what_the_terminal_can_show(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["generate", "--checkpoint", str(run), "--prompt", "né", "--max-new", "1"]) == 0
    assert raw.getvalue().startswith(b"n?")


def test_eval_niah_counts_and_checks(run: Path, call: Call) -> None:
    asked = ["eval", "niah", "--checkpoint", run, "--lengths", "60,100", "--samples", 3]
    done = call(*asked, "--json", "--zero-hsa")
    assert done.exit_code == 0, done.error
    rows = json.loads(done.output)
    assert [(r["length"], r["samples"], r["found"]) for r in rows] == [(60, 3, 0), (100, 3, 0)]
    assert all(r["zero_hsa"] for r in rows)
    table = call(*asked, "--scoring", "substring")
    assert "substring" in table.output
    assert call(*asked, "--at-least", 0.5).exit_code == 1
    assert call(*asked, "--at-least", 0).exit_code == 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["train", "--data", "nowhere", "--out", "x"], "nowhere: no such file"),
        (["train", "--data", "synthetic", "--out", "x", "--preset", "8b"], "unknown preset '8b'"),
        (["train", "--data", "synthetic", "--config", "x", "--preset", "8b"], "unknown preset"),
        (["train", "--data", "synthetic", "--out", "x", "--seq-len", "big"], "seq-len 'big'"),
        (["train", "--data", "synthetic", "--out", "x", "--device", "tpu"], "device 'tpu'"),
        (["train", "--data", "synthetic", "--out", "x", "--backend", "c"], "backend 'c'"),
        (["train", "--data", "synthetic", "--out", "x", "--steps", "0"], "steps = 0"),
        (["train", "--data", "synthetic", "--out", "x", "--resume"], "no checkpoint here"),
        (["generate", "--checkpoint", "nowhere"], "no checkpoint here"),
        (["eval", "niah", "--checkpoint", "nowhere"], "no checkpoint here"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    args: list[str], says: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*args)
    assert done.exit_code == 2
    assert done.output == ""
    assert done.error.startswith("error: ")
    assert says in done.error
    assert len(done.error.splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_bad_options_of_eval(run: Path, call: Call) -> None:
    for option, value in (
        ("--lengths", "a"),
        ("--samples", "0"),
        ("--scoring", "luck"),
        ("--at-least", "95"),
    ):
        done = call("eval", "niah", "--checkpoint", run, option, value)
        assert done.exit_code == 2, done.error


def test_stages() -> None:
    assert parse_stages("512") == ((0.0, 512),)
    assert parse_stages("256,0.5:512") == ((0.0, 256), (0.5, 512))
    with pytest.raises(InputError, match="seq-len"):
        parse_stages("a:b")
