"""How the device fared while a study's candidates were timed."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hsa_compiler.report.study import Timed


@dataclass(frozen=True)
class Spread:
    """Readings of one thing; their least, median and most."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """None where there is no reading."""
        known = [value for value in values if value is not None]
        return cls(min(known), statistics.median(known), max(known)) if known else None


@dataclass(frozen=True)
class Device:
    """Numbers of candidates: `counted` those of which it is known how often they were timed,
    `repeated` those that were timed again, in `windows` more windows, and `disturbed` those whose
    steadiest window still was.

    `clock_mhz` and `watts` are a GPU's; `throttled` counts candidates by what held its clocks down.
    """

    counted: int
    repeated: int
    windows: int
    disturbed: int
    clock_mhz: Spread | None
    watts: Spread | None
    throttled: dict[str, int]


def device(timed: Sequence[Timed]) -> Device:
    """Sum up what was recorded with candidates; earlier versions recorded less."""
    known = [t.outcome for t in timed if t.outcome is not None and t.outcome.tries]
    return Device(
        counted=len(known),
        repeated=sum(outcome.tries > 1 for outcome in known),
        windows=sum(outcome.tries - 1 for outcome in known),
        disturbed=sum(outcome.is_disturbed for outcome in known),
        clock_mhz=Spread.of(outcome.clock_mhz for outcome in known),
        watts=Spread.of(outcome.watts for outcome in known),
        throttled=dict(
            Counter(why for outcome in known for why in outcome.throttled).most_common()
        ),
    )
