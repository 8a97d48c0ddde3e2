"""What a run shows: lines, the live view, the final table, the command line and its JSON."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from rich.console import Console

from hsa_compiler.cli.main import main
from hsa_compiler.schedules.cost_model import Roofline
from hsa_compiler.schedules.hardware import host_cpu
from hsa_compiler.tuner import session, setting, ui
from hsa_compiler.tuner.effort import effort
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.results import KernelResult
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.session import Outcome
from hsa_compiler.tuner.setting import Turn
from hsa_compiler.tuner.tune import Plan
from hsa_compiler.tuner.ui import (
    Progress,
    describe_failures,
    milliseconds,
    results_table,
    summary,
)
from hsa_compiler.tuner.workload import Task
from tests.tuner.fakes import SHAPE as SMALL
from tests.tuner.fakes import InProcessWorker, request

SHAPE = "L=64,Hq=4,H=2,D=16,S=16,K=4"


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(setting, "Worker", InProcessWorker)
    monkeypatch.setattr(setting, "KERNEL_BENCH", "")  # nothing is compiled ahead either
    monkeypatch.setenv("COLUMNS", "200")


def arguments(folder: Path, *more: str) -> list[str]:
    files = ["--out", str(folder / "out"), "--storage", str(folder / "journal")]
    what = ["--device", "cpu", "--kernels", "retrieve,attend", "--shapes", SHAPE]
    return ["autotune", *what, *files, *more]


def show(folder: Path, terminal: bool) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=160)
    with Progress(console) as progress:
        session.run(request(folder, kernels=("attend",)), progress)
    return file.getvalue()


def test_plain_lines_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "LINE_EVERY", 0.0)
    text = show(tmp_path, terminal=False)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert any(line.startswith("[1/1] attend probe: search, ") for line in lines)
    best = r"best 1 ms, 1\.00x the default's speed, \d+% of the roofline, "
    left = r"\d+ s left, \d+ s of the run$"
    assert any(re.search(best + left, line) for line in lines)
    assert lines[-1].startswith("attend probe: 1 ms, the planned schedule stands")


def test_the_line_of_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "time", SimpleNamespace(monotonic=lambda: 50.0))
    plan = Plan.of(Task("landmark_grad", SMALL, "cpu"), "tvm", host_cpu())
    search = Search(plan.space, optuna.create_study(), trials=60, enumerate_below=500)
    file = io.StringIO()
    progress = Progress(Console(file=file, force_terminal=True, width=240, no_color=True))

    def line() -> str:
        file.truncate(0)
        with progress:
            progress.update(search, "search")
        return file.getvalue()

    progress.begin(Turn(plan, 0, 2, 170.0, 290.0, effort("quick")))
    start = f"[1/2] landmark_grad probe: search, {{}} of {len(plan.order)} trials, "
    left = "120 s left, 240 s of the run"
    assert start.format(0) + left in line()
    failed, timed = search.next(), search.next()
    assert failed is not None and timed is not None
    search.fail(failed, "wrong_result", "off by 1")
    search.succeed(timed, Timing(2.0, 0.1, 20), 1e-7)
    assert start.format(2) + f"best 2 ms, failed: 1 wrong_result, {left}" in line()
    search.set_floor(Roofline(seconds=1e-3, bound="dram", flops=1.0, bytes=1.0))
    best = "best 2 ms, 50% of the roofline, failed: 1 wrong_result, "
    assert start.format(2) + best + left in line()


def test_live_view_on_a_terminal(tmp_path: Path) -> None:
    text = show(tmp_path, terminal=True)
    assert "attend probe: race" in text
    assert "attend probe: 1 ms, the planned schedule stands" in text


def test_the_command_prints_a_table_and_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path)) == 0
    out = capsys.readouterr().out
    assert "gain (95 %)" in out
    assert "planned" in out
    assert out.count("wrote ") == 2
    assert str(tmp_path / "out") in out


def test_the_table_keeps_its_figures_in_80_columns() -> None:
    results = [
        KernelResult(
            *("attend_grad_kv", shape, "local", "default"),
            shipped="generic",
            time_ms=0.123,
            generic_ms=12.3,
            planned_ms=123.0,
            gain=12.34,
            gain_low=11.34,
            gain_high=13.34,
            roofline=1.0,
            trials=1000,
        )
        for shape in ("cpu2k", "L=8192 Hq=16 H=1 D=64")
    ]
    outcome = Outcome("cpu", "tvm", "max", Path("o"), "j", tuple(results), False, 1.0)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, no_color=True)
    console.print(results_table(outcome))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    words = "cpu2k Hq=16 D=64 attend_grad_kv generic 123 us 12.3 ms 12.34x (11.34-13.34) 100% 1000"
    for word in words.split():
        assert word in text
    assert "…" not in text


def test_json_stands_alone_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, "--json", "--seed", "3")) == 0
    data = json.loads(capsys.readouterr().out)
    assert {result["kernel"] for result in data["results"]} == {"retrieve", "attend"}
    assert len(data["files"]) == 2
    assert data["results"][0]["entry"]["seed"] == 3
    assert data["interrupted"] is False


def test_a_failed_kernel_ends_with_1_and_bad_input_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_BENCH", '{"broken": true}')
    assert main(arguments(tmp_path)) == 1
    assert "these inputs cannot be made" in capsys.readouterr().out
    assert main(arguments(tmp_path, "--effort", "huge")) == 2
    assert "unknown effort 'huge'" in capsys.readouterr().err
    assert main(arguments(tmp_path, "--device", "cuda:99")) == 2
    assert main(arguments(tmp_path, "--sampler", "x")) == 2
    assert main(arguments(tmp_path, "--l2", "tepid")) == 2
    for device in ("cpu:", "cpu:1", "cpu:99999999999999999999", "cuda:", "cuda:²", "cuda:-1"):
        capsys.readouterr()
        assert main(arguments(tmp_path, "--device", device)) == 2
        assert f"device '{device}': " in capsys.readouterr().err
    for option in ("--out", "--storage"):
        capsys.readouterr()
        assert main(arguments(tmp_path, option, "")) == 2
        assert f"{option} is empty: give a path" in capsys.readouterr().err


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(InProcessWorker, "evaluate", stop)
    assert main(arguments(tmp_path)) == 130
    assert "the same command with --resume continues" in capsys.readouterr().err


def test_words() -> None:
    assert milliseconds(0.01234) == "12.3 us"
    assert milliseconds(12.345) == "12.3 ms"
    assert describe_failures({"crash": 2, "timeout_run": 1}) == "2 crash, 1 timeout_run"
    result = KernelResult("attend", "a8", "local", "failed", "no\nluck", trials=3)
    assert summary(result) == "attend a8: failed: no luck, 3 trials"
    result = KernelResult(
        *("attend", "a8", "local", "tuned"),
        schedule="warps=2",
        time_ms=0.5,
        gain=2.0,
        gain_low=1.9,
        gain_high=2.1,
    )
    assert summary(result) == (
        "attend a8: 500 us, 2.00x (1.90-2.10) over the default with warps=2, 0 trials"
    )
