"""Benchmarks on a GPU: every mode is measured, graphs and FlexAttention included."""

from __future__ import annotations

from pathlib import Path

from hsa_compiler.benchmarks.peers import PEERS
from hsa_compiler.benchmarks.rows import SUITES, Row
from hsa_compiler.benchmarks.session import Request, run
from hsa_compiler.tuner.shapes import Shape


def test_a_row_in_every_mode(tmp_path: Path) -> None:
    row = Row("small", Shape("small", L=1024, Hq=16, H=2, D=64, S=64, K=4))
    peers = tuple(PEERS.values())
    request = Request(SUITES["paper"], (row,), "cuda", peers, (), 0.1, tmp_path)
    result = run(request, print)
    assert result.ok
    (found,) = result.rows
    measured = {(m.who, m.part, m.mode) for m in found.measurements}
    for mode in ("device", "eager", "graph"):
        assert ("ours", "total", mode) in measured
    for who in ("cudnn", "flash2", "flex"):
        assert {(who, "forward", "device"), (who, "backward", "device")} <= measured
    # The row is too large for the interpreter, which says so.
    assert {failure.who for failure in found.failures} <= {"reference"}
