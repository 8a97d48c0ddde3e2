"""The sweep on TVM: every kernel compiled for this machine's CPU."""

from __future__ import annotations

import pytest

from hsa_compiler.runtime import checks
from tests.sweep import check_attention, examples, sweep_attention, sweep_hsa
from tests.sweep_cases import ATTENTION_EXAMPLES


def test_hsa_attention(request: pytest.FixtureRequest) -> None:
    sweep_hsa("tvm", "cpu", examples(request, 3))


def test_chunk_attention(request: pytest.FixtureRequest) -> None:
    sweep_attention("tvm", "cpu", examples(request, 4))


def test_spare_entries_of_a_chunk_table_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a GPU the number of packed chunks is known only to the device, so the table is longer.
    case = next(case for case in ATTENTION_EXAMPLES if case.packed)
    chunks = sum(length // case.chunk for length in case.packed)
    assert sum(case.packed) // case.chunk > chunks
    monkeypatch.setattr(checks, "chunk_count", lambda tokens, size, table: tokens // size)
    check_attention(case, "tvm", "cpu")
