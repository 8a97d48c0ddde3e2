"""Tracing a model: its layers' selections, and the command `trace`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from hsa_compiler import Trace
from hsa_compiler.cli.main import main
from hsa_compiler.errors import InputError
from hsa_compiler.model.config import HSAConfig
from hsa_compiler.model.data import ByteCorpus
from hsa_compiler.model.hsa_ultralong import HSAUltraLong
from hsa_compiler.model.niah import NiahTask
from hsa_compiler.model.trace import needle_tokens, text_tokens, trace_model
from hsa_compiler.model.training import TrainConfig, TrainRun


class Done(NamedTuple):
    exit_code: int
    output: str
    error: str


Call = Callable[..., Done]
LENGTH = 100


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    """Run the command line on the interpreter and catch what it prints."""

    def run(*args: object) -> Done:
        code = main([str(a) for a in args])
        return Done(code, *capfd.readouterr())

    return run


@pytest.fixture
def model(small: HSAConfig) -> HSAUltraLong:
    torch.manual_seed(0)
    return HSAUltraLong(small).eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(256, (2, LENGTH), generator=torch.Generator().manual_seed(0))


def test_every_layer_is_recorded(model: HSAUltraLong, tokens: torch.Tensor) -> None:
    c = model.config
    found = trace_model(model, tokens, "a model")
    assert (found.model, found.chunk_size, found.top_k) == ("a model", c.chunk_size, c.top_k)
    assert found.layers == list(range(c.groups))
    for selection in found.selections:
        assert selection.indices.shape == (2, LENGTH, c.hsa_kv_heads, c.top_k)
        assert selection.weights is not None
        assert selection.chunks == LENGTH // c.chunk_size
    one = trace_model(model, tokens, "a model", [1])
    assert one.layers == [1]
    assert torch.equal(one.selections[0].indices, found.selections[1].indices)


def test_what_cannot_be_traced_says_why(model: HSAUltraLong, tokens: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"layers 2, 7: the model's HSA layers are 0 \.\. 1"):
        trace_model(model, tokens, "", [0, 7, 2])
    with pytest.raises(InputError, match=r"16 tokens: .* give more than 16"):
        trace_model(model, tokens[:, :16], "")
    assert trace_model(model, tokens[:, :17], "").tokens == 17


def test_a_text_is_read_from_its_start(model: HSAUltraLong, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("abc" * 40)
    corpus = ByteCorpus.read(tmp_path / "text")
    read = text_tokens(model, corpus, LENGTH)
    assert (read.shape, bytes(read[0, :6].tolist())) == ((1, LENGTH), b"abcabc")
    assert text_tokens(model, corpus, 121).shape == (1, 121)  # with the end of the file
    with pytest.raises(InputError, match="has 121 bytes: give fewer tokens than 122"):
        text_tokens(model, corpus, 122)
    other = HSAUltraLong(dataclasses.replace(model.config, vocab_size=200))
    with pytest.raises(InputError, match="a vocabulary of 200"):
        text_tokens(other, corpus, LENGTH)


def test_the_needle_task_is_a_function_of_its_seed(model: HSAUltraLong) -> None:
    task = NiahTask()
    first = needle_tokens(model, task, LENGTH, 1)
    assert first.shape == (1, LENGTH)
    assert torch.equal(first, needle_tokens(model, task, LENGTH, 1))
    assert not torch.equal(first, needle_tokens(model, task, LENGTH, 2))
    with pytest.raises(InputError, match="leaves no place for a needle"):
        needle_tokens(model, task, 20, 1)


@pytest.fixture
def run(tmp_path: Path, small: HSAConfig) -> Path:
    """The folder of a run that has not taken a step."""
    TrainRun(small, TrainConfig(synthetic=1.0), tmp_path / "run").save()
    return tmp_path / "run"


@pytest.fixture
def traced(run: Path, call: Call) -> Callable[..., Done]:
    """Trace the run to a file beside it."""

    def command(*options: object, out: object = "a.trace") -> Done:
        given = ["trace", run, "--out", run.parent / str(out), "--backend", "reference"]
        return call(*given, "--device", "cpu", *options)

    return command


def test_a_run_is_traced(run: Path, traced: Callable[..., Done]) -> None:
    done = traced("--tokens", LENGTH, "--json")
    assert done.exit_code == 0, done.error
    rows = json.loads(done.output)
    assert [(r["layer"], r["tokens"], r["heads"], r["chunks"]) for r in rows] == [
        (0, LENGTH, 2, 6),
        (1, LENGTH, 2, 6),
    ]
    assert all(1 <= r["union_over_k"] <= 16 for r in rows)
    found = Trace.load(run.parent / "a.trace")
    assert found.model == "run/step-00000000"
    again = traced("--tokens", LENGTH, "--synthetic", "--layers", "0, 1", out="deep/b.trace")
    assert again.exit_code == 0, again.error
    assert found.hash[:12] in again.output
    assert Trace.load(run.parent / "deep" / "b.trace").hash == found.hash
    text = run.parent / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 4)
    other = traced("--tokens", LENGTH, "--text", text, "--layers", "1", out="c.trace")
    assert other.exit_code == 0, other.error
    assert Trace.load(run.parent / "c.trace").layers == [1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--text", "x", "--synthetic"], "give one of them"),
        (["--text", "nowhere"], "nowhere: no such file"),
        (["--tokens", "0"], "--tokens=0: give 1 or more"),
        (["--tokens", "20"], "leaves no place for a needle"),
        (["--layers", "0,x"], "layers '0,x': give whole numbers"),
        (["--layers", ""], "layers '': give whole numbers"),
        (["--layers", "2"], "layers 2: the model's HSA layers are 0 .. 1"),
        (["--seed", "-1"], "seed"),
        (["--device", "tpu"], "device 'tpu'"),
        (["--backend", "c"], "backend 'c'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    options: list[str], says: str, run: Path, traced: Callable[..., Done]
) -> None:
    done = traced(*options)
    assert done.exit_code == 2
    assert done.output == ""
    assert done.error.startswith("error: ")
    assert says in done.error
    assert len(done.error.splitlines()) == 1
    assert [p.name for p in run.parent.iterdir()] == ["run"]


def test_a_file_that_stands_is_kept(run: Path, traced: Callable[..., Done]) -> None:
    for name in ("a.trace", "folder"):
        (run.parent / name).mkdir() if name == "folder" else (run.parent / name).write_text("mine")
        done = traced("--tokens", LENGTH, out=name)
        assert done.exit_code == 2
        assert "exists: give another file" in done.error
    assert (run.parent / "a.trace").read_text() == "mine"
    done = traced("--tokens", LENGTH, out="a.trace/b")
    assert done.exit_code == 2
    assert "--out" in done.error
    assert "cannot be written" in done.error


def test_a_folder_without_a_run(tmp_path: Path, call: Call) -> None:
    done = call("trace", tmp_path / "nowhere", "--out", tmp_path / "a.trace")
    assert done.exit_code == 2
    assert "no checkpoint here" in done.error
