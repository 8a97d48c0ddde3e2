"""The sweep on the reference back end: what the door makes of a call, whatever runs it."""

from __future__ import annotations

import pytest

from tests.sweep import examples, sweep_attention, sweep_hsa


def test_hsa_attention(request: pytest.FixtureRequest) -> None:
    sweep_hsa("reference", "cpu", examples(request, 25))


def test_chunk_attention(request: pytest.FixtureRequest) -> None:
    sweep_attention("reference", "cpu", examples(request, 25))
