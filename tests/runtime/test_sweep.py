"""The sweep on the reference back end: the sweep itself and the door agree."""

from __future__ import annotations

import pytest

from tests.sweep import sweep_attention, sweep_hsa


def test_hsa_attention(request: pytest.FixtureRequest) -> None:
    sweep_hsa("reference", "cpu", 100)


def test_chunk_attention(request: pytest.FixtureRequest) -> None:
    sweep_attention("reference", "cpu", 100)
