"""Building generated TVMScript: kept libraries, errors, a machine without TVM or a C compiler."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hsa_compiler.codegen import tvm, tvm_build
from hsa_compiler.errors import BackendError
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import TileProgram
from tests.tvm.harness import build

SCHEDULE = Schedule()


def doubling() -> TileProgram:
    def body(b: TileBuilder) -> None:
        x, out = b.pointer("x", "fp32"), b.pointer("out", "fp32")
        b.store(out, b.arange(16), b.load(x, b.arange(16)) * 2.0)

    return build(body, (1,))


def write(folder: Path) -> tuple[Path, TileProgram, Target]:
    program, target = doubling(), tvm.host_target(1)
    path = folder / "doubling_0123456789abcdef.py"
    path.write_text(tvm.generate(program, SCHEDULE, target))
    return path, program, target


def works(launches: tuple[tvm_build.TVMLaunch, ...]) -> bool:
    x, out = torch.arange(16.0), torch.zeros(16)
    launches[0]({"x": x, "out": out}, {}, (1,))
    return torch.equal(out, x * 2)


def test_what_was_compiled_is_kept_beside_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    path, program, target = write(tmp_path)
    assert works(tvm.load(path, program, SCHEDULE, target))
    (library,) = tmp_path.glob("doubling_*.so")

    compiled: list[Path] = []
    compile_file = tvm_build._compile

    def counted(*args: object) -> object:
        compiled.append(path)
        return compile_file(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(tvm_build, "_compile", counted)
    assert works(tvm.load(path, program, SCHEDULE, target))
    assert not compiled

    # An edited file is another program; a broken library is compiled again.
    path.write_text(path.read_text().replace("* 2.0", "* 2.0 + 0.0"))
    assert works(tvm.load(path, program, SCHEDULE, target))
    assert len(compiled) == 1
    for kept in tmp_path.glob("*.so"):
        kept.unlink()
        kept.write_bytes(b"not a library")
    with caplog.at_level(logging.WARNING):
        assert works(tvm.load(path, program, SCHEDULE, target))
    assert len(compiled) == 2
    assert "compiling again" in caplog.text
    assert library.is_file()


def test_without_a_c_compiler_every_process_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    path, program, target = write(tmp_path)
    assert works(tvm.load(path, program, SCHEDULE, target))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_that_does_not_build_is_a_back_end_error(tmp_path: Path) -> None:
    path, program, target = write(tmp_path)
    path.write_text(f"{tvm.MODULE_START}\nclass Module:\n    nonsense = T.nothing()\n")
    with pytest.raises(BackendError, match="could not build"):
        tvm.load(path, program, SCHEDULE, target)


def test_without_tvm_sources_are_printed_and_building_says_what_to_install() -> None:
    code = """
import sys
sys.modules["tvm"] = None
from hsa_compiler.codegen import tvm
from tests.tvm.test_codegen_golden import source_of
assert "def attend(" in source_of("attend")
try:
    tvm.host_target()
except Exception as error:
    print(type(error).__name__, error)
"""
    root = Path(__file__).resolve().parent.parent.parent
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    assert run.stdout.startswith("BackendError TVM is not installed")
    assert "pip install" in run.stdout
