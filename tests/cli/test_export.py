"""export: options that do not fit, folders that are not free, missing compilers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from hsa_compiler.cli.main import main
from hsa_compiler.codegen import tvm_build
from hsa_compiler.errors import BackendError

SMALL = "L=64,Hq=2,H=2,D=16,S=16,K=2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "metal"], "--target 'metal': give cpu, cpu:NAME, cpu:NAME:THREADS or"),
        (["--target", "sm_9a"], "--target 'sm_9a': give cpu"),
        (["--target", "sm_50"], "there is no hardware row for it; rows exist for: sm_80"),
        (["--target", "sm_86"], "--target sm_86: no such GPU is here"),
        (["--target", "cpu:pentium99"], "LLVM knows no such CPU"),
        (["--target", "cpu::0"], "'0' is not a number of threads"),
        (["--target", "cpu", "--device", "nvidia_h200"], "plans for this machine's CPU alone"),
        (["--target", "sm_90", "--device", "gtx"], "no hardware row 'gtx'; known: cpu"),
        (
            ["--target", "sm_90", "--device", "nvidia_l40s"],
            "nvidia_l40s is sm_89, --target is sm_90; devices of it: nvidia_h100_pcie",
        ),
        (["--target", "sm_90", "--bundle"], "which kernels for GPUs do not use"),
        (["--target", "cpu", "--passes", "backward"], "--passes"),
        (["--target", "cpu", "--shapes", "a9"], "unknown shape 'a9'"),
        (["--target", "sm_90", "--shapes", "d1m"], "give a shape without decode=1"),
        (["--target", "cpu", "--shapes", "tiny,cpu2k"], "an export holds the kernels of one shape"),
        (["--target", "cpu", "--shapes", "L=64,Hq=3,H=2,D=16,S=16,K=2"], "3"),
        (["--target", "cpu", "--name", "Hsa-1"], "give a name of C and Python"),
        (["--target", "cpu", "--name", "class"], "give a name of C and Python"),
        (["--target", "cpu", "--name", "numpy"], "is taken"),
        (["--target", "cpu", "--name", "json"], "is taken"),
        (["--target", "cpu:x86-64-v3:99999999999"], "from 1 to 4096"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments if "--shapes" in arguments else [*arguments, "--shapes", SMALL]
    assert main(["export", "--out", str(tmp_path / "out"), *given]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1 and captured.err.startswith("error: ")
    assert not list(tmp_path.iterdir())


def test_target_and_out_must_be_given(tmp_path: Path) -> None:
    assert main(["export", "--out", str(tmp_path / "out")]) == 2
    assert main(["export", "--target", "cpu"]) == 2
    assert main(["export", "--target", "cpu", "--out", " "]) == 2


def test_only_a_free_folder_or_an_earlier_export_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    command = ["export", "--target", "cpu", "--shapes", SMALL, "--out", str(out)]
    out.mkdir(parents=True)
    mine = out / "thesis.txt"
    mine.write_text("mine")
    assert main(command) == 2
    assert "is not empty: give another folder, or --force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 2
    assert "--force replaces exports alone" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    mine.unlink()
    assert main([*command, "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert {row["tier"] for row in outcome["kernels"]} == {"planned"}
    assert set(outcome["files"]) == {
        str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()
    }
    assert main(command) == 2
    assert main([*command, "--force", "--name", "other"]) == 0
    assert (out / "libother.so").is_file() and not (out / "libhsa.so").exists()
    assert "README.md there says how to call them" in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_file_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    command = ["export", "--target", "cpu", "--shapes", SMALL, "--out"]
    assert main([*command, str(tmp_path / "file")]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "file" / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_missing_compilers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--shapes", SMALL, "--out", str(tmp_path / "out")]
    monkeypatch.setattr(tvm_build, "c_compiler", lambda: None)
    assert main(["export", "--target", "cpu", *out]) == 2
    assert "needs a C compiler" in capsys.readouterr().err

    def missing() -> None:
        raise BackendError("TVM is not installed; it runs the kernels on CPUs: pip install")

    monkeypatch.setattr(tvm_build, "import_tvm", missing)
    assert main(["export", "--target", "cpu", *out]) == 2
    assert "TVM is not installed" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "triton", None)
    assert main(["export", "--target", "sm_90", *out]) == 2
    assert "Triton is not installed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_build_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tvm_build, "c_compiler", lambda: "/bin/false")
    out = ["--shapes", SMALL, "--out", str(tmp_path / "out")]
    assert main(["export", "--target", "cpu", *out]) == 2
    assert "/bin/false could not link libhsa.so" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
