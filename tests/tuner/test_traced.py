"""Tuning on a trace: what a shape's kernels get of it, what does not fit, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hsa_compiler.cli.main import main
from hsa_compiler.configs import ConfigStore, load_config
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.schedules.hardware import host_cpu
from hsa_compiler.schedules.locality import causal_bounds, measured_union
from hsa_compiler.schedules.problem import Target
from hsa_compiler.tuner import session, setting
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.traced import TraceFile, fit
from hsa_compiler.tuner.tune import Plan
from hsa_compiler.tuner.workload import Task, timing_values
from tests.traces import K, S, selection, trace
from tests.tuner.fakes import InProcessWorker, SilentView, request


def shape(tokens: int, **sizes: Any) -> Shape:
    given: dict[str, Any] = {"Hq": 4, "H": 2, "D": 16, "S": S, "K": K, "dtype": "fp32"}
    return Shape("probe", L=tokens, **(given | sizes))


def same(found: Tensor, expected: Tensor) -> None:
    assert torch.equal(found, expected)


def test_a_shape_of_the_traces_size_gets_the_trace() -> None:
    one = selection()
    found = fit(trace(one), shape(128))
    same(found["indices"], one.indices)
    assert one.weights is not None
    same(found["weights"], one.weights.float())
    assert found["indices"].dtype == torch.int32
    assert found["indices"].is_contiguous()


def test_a_shorter_shape_gets_its_part() -> None:
    one = selection()
    same(fit(trace(one), shape(50))["indices"], one.indices[:, :50])
    # With more keys than queries, these are the end of the sequence.
    same(fit(trace(one), shape(30, Lkv=100))["indices"], one.indices[:, 70:100])


@pytest.mark.parametrize("tokens", [129, 500, 1024])
@pytest.mark.parametrize("rows", [128, 120, (K + 1) * S])
def test_a_longer_shape_repeats_rows_that_see_k_chunks(tokens: int, rows: int) -> None:
    found = fit(trace(selection(rows=rows)), shape(tokens))["indices"]
    same(found[:, :rows], selection(rows=rows).indices)
    _, hi = causal_bounds(1, tokens, tokens // S, S)
    assert bool((found < hi[..., None, None].clamp(min=1)).all())
    assert bool((found[:, rows:] >= 0).all()), "every token beyond the trace has K chunks"
    distance = torch.arange(tokens)[None, :, None, None] // S - found
    assert int(distance[:, rows:].max()) <= rows // S + 1
    beyond = found[:, K * S + 16 :]
    known = found[:, K * S : rows]
    assert measured_union(beyond) == pytest.approx(measured_union(known), rel=0.35)


def test_heads_and_sequences_are_streams() -> None:
    both = trace(selection(0), selection(1))
    one, two = (s.indices for s in both.selections)
    found = fit(both, shape(128, B=2))["indices"]
    same(found, torch.cat((one, two)))
    few = fit(both, shape(128, H=1, Hq=2))["indices"]
    same(few, one[:, :, :1])
    spread = fit(both, shape(128, B=2, H=1, Hq=2))["indices"]
    same(spread, torch.cat((one[:, :, :1], two[:, :, :1])))
    again = fit(both, shape(128, B=3))["indices"]
    same(again, torch.cat((one, two, one)))


def test_weight_heads_share_an_index_head() -> None:
    one = selection(heads=1, weight_heads=2)
    assert one.weights is not None
    per_query = shape(128, H=1, Hq=4, Hr=4)
    assert (per_query.Hi, per_query.Hw) == (1, 4)
    found = fit(trace(one), per_query)
    same(found["indices"], one.indices)
    same(found["weights"], one.weights.float().repeat(1, 1, 2, 1))
    assert "weights" not in fit(trace(selection(weight_heads=0)), shape(128))


def test_rows_of_several_tokens_are_one_row_per_token() -> None:
    one = selection(rows=16, query_block=8)
    same(fit(trace(one), shape(128))["indices"], one.indices.repeat_interleave(8, dim=1))


def test_a_part_of_a_sequence_serves_where_it_reaches() -> None:
    first, second = selection(0, rows=64), selection(1, rows=64, q_offset=64)
    both = trace(first, second)
    same(fit(both, shape(20, Lkv=100))["indices"], second.indices[:, 16:36])


@pytest.mark.parametrize(
    ("given", "sizes", "says"),
    [
        ({}, {"S": 32}, "recorded with S=16 and K=4, shape probe has S=32 and K=4"),
        ({}, {"K": 2}, "shape probe has S=16 and K=2"),
        ({}, {"Lkv": 64}, "128 tokens but only 64 keys"),
        ({"rows": (K + 1) * S - 1}, {}, "tokens 0 to 127 cannot be made of the trace's 79"),
        ({"q_offset": 16}, {}, "record from position 0 on and at least .* = 80 tokens"),
    ],
)
def test_what_does_not_fit_says_why(given: Any, sizes: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        fit(trace(selection(**given)), shape(128, **sizes))


@pytest.fixture
def file(tmp_path: Path) -> TraceFile:
    trace().save(tmp_path / "a.trace")
    return TraceFile.of(tmp_path / "a.trace")


def test_a_kernel_is_timed_on_the_trace(file: TraceFile) -> None:
    task = Task("attend", shape(128), "cpu", "trace", trace=file)
    values = timing_values(task, torch.device("cpu"))
    wanted = fit(file.read(), shape(128))
    same(values["indices"], wanted["indices"])
    same(values["weights"], wanted["weights"])
    joint = Task("attend", shape(128, normalize="joint"), "cpu", "trace", trace=file)
    assert "weights" not in timing_values(joint, torch.device("cpu"))


def test_another_trace_in_the_file_is_noticed(file: TraceFile) -> None:
    trace(selection(7)).save(file.path)
    with pytest.raises(ConfigError, match="another trace was written here"):
        file.read()


def test_what_is_tuned_names_its_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: TraceFile
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(setting, "Worker", InProcessWorker)
    for given in (None, file):
        outcome = session.run(
            request(tmp_path, shapes=(shape(128),), trace=given, seed=1), SilentView()
        )
    (result,) = outcome.results
    assert result.locality == "trace"
    entries = load_config(Path(result.file)).entries
    found = {entry.locality.kind: entry.locality for entry in entries}
    assert found["trace"].trace == file.hash
    assert found["trace"].union == 1.3, "as the worker measured it"
    assert found["local"].trace is None

    task = Task("attend", shape(128), "cpu", "trace", trace=file)
    store = ConfigStore([tmp_path / "out"])
    choice = store.choose(task.problem, task.sizes, Target("tvm", "x"), host_cpu())
    assert choice.locality == f"trace {file.hash[:12]}"
    name = Plan.of(task, "tvm", host_cpu()).study_name()
    assert f"/trace-{file.hash[:12]}/" in name


def test_a_trace_that_does_not_fit_is_refused_before_anything_runs(
    tmp_path: Path, file: TraceFile
) -> None:
    with pytest.raises(InputError, match="shape probe has S=16 and K=2"):
        request(tmp_path, shapes=(shape(128), shape(128, K=2)), trace=file)
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--trace", "nowhere"], "nowhere: cannot be read"),
        (["--trace", ""], "--trace is empty"),
        (["--trace", "a.trace", "--locality", "random"], "give one of them"),
        (["--trace", "a.trace", "--shapes", "cpu2k"], "shape cpu2k has S=64 and K=16"),
        (["--locality", "trace"], "unknown locality 'trace': choose from random, local"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    options: list[str],
    says: str,
    file: TraceFile,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(file.path.parent)
    assert main(["autotune", "--device", "cpu", *options]) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert says in error
    assert len(error.splitlines()) == 1
    assert [p.name for p in file.path.parent.iterdir()] == ["a.trace"]
