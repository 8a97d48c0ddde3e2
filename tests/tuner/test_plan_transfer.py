"""What a search begins with: the defaults, the model's best, and what won elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsa_compiler.configs import ConfigStore, set_default_store
from hsa_compiler.schedules.hardware import host_cpu
from hsa_compiler.tuner import session, setting
from hsa_compiler.tuner.tune import TRANSFERRED, Plan
from hsa_compiler.tuner.workload import Task
from tests.tuner.fakes import SHAPE, InProcessWorker, SilentView, request
from tests.tuner.test_session import deeds, other


@pytest.fixture
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(setting, "Worker", InProcessWorker)


@pytest.mark.usefixtures("_apart")
def test_winners_of_neighbouring_shapes_come_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = other()
    deeds(monkeypatch, times={winner: 0.5})
    session.run(request(tmp_path), SilentView())
    try:
        set_default_store(ConfigStore([tmp_path / "out"]))
        near = Plan.of(Task("attend", SHAPE.resized(L=128), "cpu"), "tvm", host_cpu())
        set_default_store(ConfigStore([]))
        alone = Plan.of(Task("attend", SHAPE.resized(L=128), "cpu"), "tvm", host_cpu())
    finally:
        set_default_store(None)
    assert [str(schedule) for schedule in near.transferred] == [winner]
    assert near.transferred[0] in near.starts[:3]
    assert near.starts[0] == near.generic
    assert alone.transferred == ()
    assert [s for s in near.starts if s not in near.transferred] == alone.starts
    assert near.study_name() == alone.study_name(), "what comes first changes no problem"


def test_illegal_winners_are_left_out() -> None:
    plan = Plan.of(Task("attend", SHAPE, "cpu"), "tvm", host_cpu())
    assert len(plan.transferred) <= TRANSFERRED
    assert all(plan.space.is_legal(schedule) for schedule in plan.transferred)
