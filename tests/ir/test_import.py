"""One name for every class: `ir` imported by its bare name would be a second copy of it all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_the_bare_name_is_refused() -> None:
    done = run("import ir")
    assert done.returncode == 1
    assert "ImportError: import hsa_compiler.ir, not ir" in done.stderr


def test_programs_are_built_without_torch() -> None:
    done = run(
        "import sys; from hsa_compiler.ir import differentiate, fuse_groups, methods;"
        "fuse_groups(differentiate(methods.hils(8, 64, 0.5, 0.5))); "
        "assert 'torch' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
