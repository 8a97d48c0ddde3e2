"""A short real tuning on this machine's CPU: TVM compiles, the gate checks, the race decides."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hsa_compiler.configs import load_config
from hsa_compiler.schedules.hardware import host_cpu
from hsa_compiler.tuner import session
from hsa_compiler.tuner.correctness import TOLERANCE
from hsa_compiler.tuner.effort import EFFORTS
from tests.tuner.fakes import SHAPE, SilentView, request


@pytest.mark.parametrize("kernel", ["attend", "weigh_grad"])
def test_a_kernel_is_tuned_for_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    short = dataclasses.replace(EFFORTS["quick"], seconds=12, trials=3, race_rounds=10)
    monkeypatch.setitem(EFFORTS, "quick", short)
    wanted = request(
        tmp_path,
        kernels=(kernel,),
        effort="quick",
        shapes=(SHAPE.resized(L=512, S=32),),
        bench=session.KERNEL_BENCH,
    )
    outcome = session.run(wanted, SilentView())
    (result,) = outcome.results
    assert result.outcome in ("tuned", "default"), result.message
    assert result.trials <= 3
    (entry,) = load_config(Path(result.file)).entries
    assert 0 < entry.error <= TOLERANCE["fp32"]
    assert entry.shape.backend == "tvm"
    assert entry.time.samples >= 8
    assert entry.default.time.median_ms > 0
    assert entry.planned is not None
    assert entry.roofline is not None
    assert entry.roofline > 0
    assert 0 < entry.locality.union < 16
    assert entry.provenance.tvm
    assert Path(result.file).parent.name == host_cpu().slug
    if result.outcome == "tuned":
        assert entry.gain_over_default.low > 1
