"""The sweep on CUDA through TVM: generated CUDA source, run by the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cuda import emulator
from tests.cuda.door import emulated
from tests.drawn_schedules import drawn_schedules
from tests.sweep import check_attention, examples, sweep_attention, sweep_hsa
from tests.sweep_cases import AttentionCase


def test_hsa_attention(request: pytest.FixtureRequest) -> None:
    with emulated():
        sweep_hsa("tvm", "cpu", examples(request, 2))


def test_chunk_attention(request: pytest.FixtureRequest) -> None:
    with emulated():
        sweep_attention("tvm", "cpu", examples(request, 3))


def test_products_of_warpgroups(monkeypatch: pytest.MonkeyPatch) -> None:
    case = AttentionCase(
        1, 9, 4, 0, 1, 16, 64, 64, 3, "kv", "kv", False, False, True, 1, (), "some", "bf16", 52,
        schedules="tiled",
    )  # fmt: skip
    load, sources = emulator.load, {}

    def loaded(path: Path, *given: Any) -> Any:
        sources[path.name.rpartition("_")[0]] = path.read_text()
        return load(path, *given)

    monkeypatch.setattr(emulator, "load", loaded)
    with emulated(), drawn_schedules(case.schedules, case.seed):
        check_attention(case, "tvm", "cpu")
    assert all("warpgroup_mma" in sources[name] for name in ("attend", "attend_grad"))
