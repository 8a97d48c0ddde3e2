"""Which rows of a sweep fall behind their neighbours."""

from __future__ import annotations

import dataclasses

from hsa_compiler.benchmarks.neighbours import gaps
from hsa_compiler.benchmarks.report import gaps_table
from hsa_compiler.benchmarks.results import Measurement, Result, RowResult
from hsa_compiler.benchmarks.rows import RATIO


def row(name: str, share: float | None, part: str = "forward") -> RowResult:
    measured = Measurement("ours", part, "device", 1.0, 0.1, 20, roofline=share)
    shape = dataclasses.asdict(RATIO[name].shape)
    return RowResult(name, shape, {"kind": "local"}, measurements=(measured,))


def result(*rows: RowResult) -> Result:
    return Result("ratio", "2026-01-01", {}, {}, {}, {}, {}, (), rows, True)


def test_a_row_is_compared_with_the_next_on_every_axis() -> None:
    found = gaps(
        result(
            row("r16-d128-k16-l8k", 0.5),
            row("r16-d128-k16-l16k", 0.1),  # behind both lengths beside it
            row("r16-d128-k16-l32k", 0.6),
            row("r8-d128-k16-l8k", 0.21),  # above 40 % of its neighbour
        )
    )
    assert [(gap.row, gap.neighbour) for gap in found] == [
        ("r16-d128-k16-l16k", "r16-d128-k16-l32k")
    ]
    assert found[0].ratio == 0.1 / 0.6


def test_rows_that_differ_in_two_axes_or_were_not_measured_are_no_neighbours() -> None:
    assert not gaps(result(row("r16-d128-k16-l8k", 0.5), row("r8-d128-k32-l8k", 0.01)))
    assert not gaps(result(row("r16-d128-k16-l8k", 0.5), row("r8-d128-k16-l8k", None)))
    other = row("r8-d128-k16-l8k", 0.01, part="backward")
    assert not gaps(result(row("r16-d128-k16-l8k", 0.5), other))


def test_the_table_says_how_far_behind() -> None:
    (line,) = gaps_table(result(row("r4-d64-k8-l1k", 0.04), row("r2-d64-k8-l1k", 0.2)))
    assert line["ratio"] == "0.20"
    assert line["neighbour"] == "r2-d64-k8-l1k: 20 %"
