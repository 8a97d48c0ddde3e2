"""What tuning one kernel gave, as plain data: for the final table, `--json` and the study."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class StudyPlan:
    """What a study searches and on what, kept in it so that it can be read anywhere.

    `shape` are the fields of the tuner's shape, `dims` all of the problem's; `generic`, `planned`
    and `starts` the knobs of the two defaults and of what is tried first. Optuna records an ordinal
    knob as an index into its `choices`.
    """

    kernel: str
    shape: dict[str, Any]
    locality: str
    backend: str
    device: str
    dims: dict[str, int]
    seed: int
    warm_l2: bool
    choices: dict[str, tuple[Any, ...]]
    generic: dict[str, Any]
    planned: dict[str, Any] | None
    starts: tuple[dict[str, Any], ...]
    versions: dict[str, Any]


@dataclass(frozen=True)
class KernelResult:
    """One kernel at one shape. Times are milliseconds, gains ratios (1.2 = 1.2 times as fast).

    `outcome`: ``"tuned"`` a found schedule beats every default; ``"default"`` none is shown to, so
    `shipped` (``"planned"`` or ``"generic"``) stands; ``"failed"`` or ``"skipped"``: nothing was
    written, `message` says why. `entry` is the config entry that was written, `note` what else is
    worth knowing.
    """

    kernel: str
    shape: str
    locality: str
    outcome: str
    message: str = ""
    note: str = ""
    shipped: str = ""
    schedule: str = ""
    time_ms: float | None = None
    generic_ms: float | None = None
    planned_ms: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    gain_over_planned: float | None = None
    roofline: float | None = None
    error: float | None = None
    trials: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    file: str = ""
    entry: dict[str, Any] | None = None

    @property
    def is_written(self) -> bool:
        """Whether a config entry came of it."""
        return self.entry is not None

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> KernelResult:
        """Read back what `to_json` wrote."""
        return cls(**data)
