"""The command line: lazy commands, exit codes, and one line for an error."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from hsa_compiler import __version__
from hsa_compiler.cli.main import COMMANDS, main
from hsa_compiler.errors import HSAError

ROOT = Path(__file__).resolve().parent.parent.parent


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hsa-compiler {__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in COMMANDS:
        assert command.name in out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_exists_and_has_help(
    command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    name, module, attribute = command.name, command.module, command.attribute  # type: ignore[attr-defined]
    found = getattr(importlib.import_module(module), attribute)
    assert callable(found) or isinstance(found, typer.Typer)
    assert main([name, "--help"]) == 0
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["cache", "burn"], ["show", "--stge", "x"]])
def test_bad_usage_is_2(arguments: list[str]) -> None:
    assert main(arguments) == 2


def test_an_expected_error_is_one_line_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise HSAError("q [B,L,Hq,D] has\n  3 axes")

    monkeypatch.setattr("hsa_compiler.cli.doctor.doctor", fail)
    assert main(["doctor"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: q [B,L,Hq,D] has 3 axes\n"
    assert captured.out == ""


def test_ctrl_c_while_a_command_is_imported_is_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hsa_compiler.cli.main._load", stop)
    assert main(["show"]) == 130
    assert capsys.readouterr().err == ""


def test_help_imports_neither_torch_nor_a_compiler() -> None:
    code = (
        "import sys\n"
        "from hsa_compiler.cli.main import main\n"
        "assert main(['--version']) == 0 and main(['--help']) == 0\n"
        "assert not {'torch', 'tvm', 'triton', 'optuna'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_python_dash_m() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hsa_compiler", "nonsense"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "nonsense" in done.stderr
