"""Candidates that hang the GPU, fault, corrupt its memory or give garbage end no run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.tuner.planted import GOOD, GPU_KINDS, KINDS, tune_among_planted


def test_planted_candidates_cost_themselves_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds = KINDS | GPU_KINDS
    result, planted = tune_among_planted(tmp_path, monkeypatch, "cuda:0", deeds)
    assert result.outcome in ("tuned", "default"), result.message
    assert result.failures == Counter(deeds.values())
    assert result.schedule not in planted
    assert result.trials == len(planted) + GOOD
