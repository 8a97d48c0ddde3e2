"""Nothing is compiled ahead of time in a process that interprets."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsa_compiler.cli.main import main


def test_a_process_that_interprets_exports_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["export", "--target", "sm_90", "--shapes", "a8", "--out", out]) == 2
    assert "TRITON_INTERPRET is set: unset it" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
