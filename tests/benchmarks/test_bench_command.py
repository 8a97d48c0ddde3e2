"""``hsa-compiler bench``: exit codes, bad input before anything runs, the plot."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from hsa_compiler.benchmarks import report, session
from hsa_compiler.benchmarks.results import Measurement, Result, RowResult
from hsa_compiler.cli.main import main
from hsa_compiler.errors import NoPlot
from tests.benchmarks.cases import WORD


@pytest.fixture(autouse=True)
def uncalibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "calibrated", lambda hardware, device: hardware)


def bench(folder: Path, *words: str) -> int:
    return main(["bench", "--device", "cpu", "--out", str(folder), "--seconds", "0.01", *words])


def result_of(*lengths: int) -> Result:
    rows = tuple(
        RowResult(
            f"l{length}",
            {"L": length, "Lkv": length, "Hq": 4, "H": 2, "D": 16, "K": 2, "Dr": 16},
            {"kind": "local"},
            measurements=tuple(
                Measurement(who, part, "device", length / 100, 0.1, 9)
                for who in ("ours", "flash2")
                for part in ("forward", "backward", "retrieve", "total")
            ),
        )
        for length in lengths
    )
    return Result(
        "paper", "2026-01-01", {"name": "X"}, {}, {}, {}, {"flash2": "dense"}, (), rows, True
    )


def test_tables_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(tmp_path, "--suite", "ratio", "--rows", WORD, "--peers", "flash2,cudnn") == 0
    shown = capsys.readouterr()
    for text in ("roofline", "flash2", "attend_grad_kv", "cuDNN runs on NVIDIA GPUs"):
        assert text in shown.out
    assert "ratio.json" in shown.err
    assert json.loads((tmp_path / "ratio.json").read_text())["complete"]


def test_json_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--suite", "retrieval", "--rows", WORD, "--peers", "none", "--json")
    assert bench(tmp_path, *words) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((tmp_path / "retrieval.json").read_text())
    assert shown["peers"] == {}


def test_wrong_results_are_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsa_compiler.benchmarks.ours.errors", lambda case: {"out": 1.0})
    words = ("--suite", "retrieval", "--rows", WORD, "--peers", "none")
    assert bench(tmp_path, *words) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--suite", "papers"), "--suite='papers'"),
        (("--rows", "b8"), "no row 'b8'"),
        (("--seconds", "0"), "give a number above 0"),
        (("--seconds", "nan"), "give a number above 0"),
        (("--device", "tpu"), "device 'tpu'"),
        (("--peers", "flash3"), "--peers 'flash3'"),
        (("--peers", ""), "give all, none"),
        (("--peer", "nowhere.py:f"), "there is no file"),
    ],
)
def test_bad_input_is_exit_code_2_before_anything_runs(
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "run", lambda *_: pytest.fail("it ran"))
    folder = tmp_path / "out"
    assert bench(folder, *words) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_peers_must_have_names_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "peer.py"
    path.write_text("def flash2(row, tensors): ...")
    assert bench(tmp_path / "out", "--peer", f"{path}:flash2") == 2
    assert "names of their own" in capsys.readouterr().err


def test_without_a_checkout_the_folder_must_be_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hsa_compiler.cli.bench.checkout_folder", lambda: None)
    assert main(["bench", "--device", "cpu"]) == 2
    assert "--out DIR" in capsys.readouterr().err


def test_the_plot_needs_matplotlib_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(NoPlot, match=r"pip install 'hsa-compiler\[bench\]'"):
        report.plot(result_of(1024), tmp_path / "x.png")


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = report.plot(result_of(1024, 2048, 4096), tmp_path / "x.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(NoPlot, match="nothing was measured"):
        report.plot(result_of(), path)
    written = result_of(1024).write(tmp_path)
    assert main(["bench", "--plot", str(written)]) == 0
    assert written.with_suffix(".png").is_file()


def test_a_plot_of_nothing_is_bad_input(tmp_path: Path) -> None:
    assert main(["bench", "--plot", str(tmp_path / "paper.json")]) == 2


def test_one_line_of_a_plot_holds_one_family() -> None:
    series = report._series(result_of(1024, 2048), "forward")
    assert series[("ours", "4/2/16 K=2 Dr=16 local")] == [(1024, 10.24), (2048, 20.48)]
