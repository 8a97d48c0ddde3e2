"""Gaps in a sweep of shapes: where a row reaches much less of its roofline than those next to it.

Two rows are neighbours when they differ in one of query heads per KV head, head dim, top-k and
tokens, and no row of the sweep lies between them there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hsa_compiler.benchmarks.contest import OURS
from hsa_compiler.benchmarks.results import Result, RowResult

#: The least part of a neighbour's roofline share that a row should reach.
FLOOR = 0.4
PARTS, MODES = ("forward", "backward"), ("device", "eager")
Point = tuple[int, ...]


@dataclass(frozen=True)
class Gap:
    """A row that falls behind a neighbour in one part: roofline shares, 0 to about 1."""

    row: str
    part: str
    share: float
    neighbour: str
    neighbour_share: float

    @property
    def ratio(self) -> float:
        """Of the two shares."""
        return self.share / self.neighbour_share


def gaps(result: Result, floor: float = FLOOR) -> list[Gap]:
    """Rows below `floor` of a neighbour's share, each with its best neighbour; the worst first."""
    found = []
    neighbours = _neighbours(result.rows)
    for row in result.rows:
        for part in PARTS:
            share = _share(row, part)
            beside = [
                (other_share, other.name)
                for other in neighbours.get(row.name, [])
                if (other_share := _share(other, part)) is not None
            ]
            if share is None or not beside:
                continue
            best, name = max(beside)
            if share < floor * best:
                found.append(Gap(row.name, part, share, name, best))
    return sorted(found, key=lambda gap: gap.ratio)


def _share(row: RowResult, part: str) -> float | None:
    measured = (row.find(OURS, part, mode) for mode in MODES)
    return next((m.roofline for m in measured if m is not None), None)


def _neighbours(rows: tuple[RowResult, ...]) -> dict[str, list[RowResult]]:
    found: dict[str, list[RowResult]] = {}
    for kind in {_kind(row) for row in rows}:
        points = {_point(row): row for row in rows if _kind(row) == kind}
        axes = [sorted(set(values)) for values in zip(*points, strict=True)]
        for point, row in points.items():
            found[row.name] = [points[other] for other in _beside(point, axes) if other in points]
    return found


def _beside(point: Point, axes: list[list[int]]) -> Iterator[Point]:
    """The same point one step further along each axis, either way."""
    for axis, values in enumerate(axes):
        at = values.index(point[axis])
        for step in (at - 1, at + 1):
            if 0 <= step < len(values):
                yield (*point[:axis], values[step], *point[axis + 1 :])


def _point(row: RowResult) -> Point:
    """Query heads per KV head, head dim, top-k and tokens."""
    shape = row.shape
    return shape["Hq"] // shape["H"], shape["D"], shape["K"], shape["L"]


def _kind(row: RowResult) -> str:
    return str(row.selection.get("kind", ""))
