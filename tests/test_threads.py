"""The settings of thread pools, and what the user says about them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hsa_compiler import threads

SETTINGS = ("TVM_NUM_THREADS", "TVM_THREAD_POOL_SPIN_COUNT", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)


def test_what_the_user_has_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVM_THREAD_POOL_SPIN_COUNT", "7")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    threads.settle_tvm()
    threads.settle_openmp()
    assert os.environ["TVM_THREAD_POOL_SPIN_COUNT"] == "7"
    assert os.environ["TVM_NUM_THREADS"] == str(threads.usable_cpus())
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize("told", ["", "0", "-1", "two", "\u0662"])
def test_threads_are_all_cpus_unless_a_number_says_otherwise(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVM_NUM_THREADS", told)
    assert threads.tvm_threads() == threads.usable_cpus()


def test_commands_settle_openmp_before_torch_reads_it() -> None:
    probe = (
        "import sys; from hsa_compiler.cli import main; assert 'torch' not in sys.modules; "
        "main.main = lambda _: 0\n"
        "try: main.run()\n"
        "except SystemExit: pass\n"
        "import os; print(os.environ['GOMP_SPINCOUNT'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == str(threads.OPENMP_TURNS)
