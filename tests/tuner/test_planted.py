"""Candidates that hang, crash, corrupt memory or give garbage end no run and win no race."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.tuner.planted import GOOD, KINDS, tune_among_planted


def test_planted_candidates_cost_themselves_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, planted = tune_among_planted(tmp_path, monkeypatch, "cpu", KINDS)
    assert result.outcome in ("tuned", "default"), result.message
    assert result.failures == Counter(KINDS.values())
    assert result.schedule not in planted
    assert result.trials == len(planted) + GOOD
