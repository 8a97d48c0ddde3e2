"""The JSON of a tuned config, as typed models.

    <device slug>/<kernel>.json ::= KernelConfig(schema_version, kernel, device, entries)
    entry ::= Entry(shape, program, schedule, time, default, planned, gain, roofline, error,
                    locality, trials, seed, provenance, other_l2)

Unknown fields are refused: a typo must not silently become a default. So are numbers that are not
finite, which JSON has no words for.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hsa_compiler.configs.shapes import ShapeClass
from hsa_compiler.schedules.schedule import KERNELS, IllegalSchedule, Schedule

SCHEMA_VERSION = 1


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Timing(_Record):
    """Milliseconds of one launch: the median of `samples`, and their interquartile range."""

    median_ms: float = Field(gt=0)
    spread_ms: float = Field(ge=0)
    samples: int = Field(ge=1)


class ScheduleTime(_Record):
    """A schedule's knobs and its time in the same run as the winner's."""

    schedule: dict[str, Any]
    time: Timing

    @field_validator("schedule")
    @classmethod
    def _known_knobs(cls, value: dict[str, Any]) -> dict[str, Any]:
        return checked_schedule(value)


class Gain(_Record):
    """How many times faster the winner is than a baseline: the median of paired ratios and its
    bootstrap interval. An interval that holds 1 proves nothing."""

    ratio: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    confidence: float = Field(default=0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> Gain:
        if not self.low <= self.ratio <= self.high:
            raise ValueError(
                f"needs low <= ratio <= high, got {self.low}, {self.ratio}, {self.high}"
            )
        return self


class OtherL2(_Record):
    """The same schedules with a GPU's L2 cache in the other state than all else was timed in, warm
    or overwritten before each launch: a race of its own."""

    warm: bool
    time: Timing
    default: Timing
    planned: Timing | None = None


class LocalityRecord(_Record):
    """Which selections a schedule was timed on.

    `union` is the measured number of chunks in the union of 16 neighbouring tokens, over K;
    `trace` the hash of a recorded trace.
    """

    kind: Literal["random", "local", "trace"]
    union: float = Field(ge=0)
    trace: str | None = None

    @property
    def name(self) -> str:
        """Equal for entries that were timed on selections of one kind."""
        return self.kind if self.trace is None else f"{self.kind} {self.trace[:12]}"


class Provenance(_Record):
    """The software a schedule was measured with, and when (ISO 8601, UTC)."""

    date: str
    project: str
    python: str
    torch: str
    triton: str | None = None
    tvm: str | None = None
    driver: str | None = None
    ptxas: str | None = None
    threads: int | None = None


class DeviceRecord(_Record):
    """The fingerprint of the device a file belongs to. Bytes are bytes, bandwidth bytes/s."""

    name: str
    slug: str
    kind: Literal["cuda", "cpu"]
    arch: str
    units: int = Field(ge=1)
    shared_per_block: int = Field(ge=0)
    l2_bytes: int = Field(ge=0)
    memory_bytes: int = Field(ge=0)
    dram_bandwidth: float = Field(ge=0)
    power_limit_watts: float | None = None
    mig: bool = False


class Entry(_Record):
    """The tuned schedule of one shape class, with the evidence for it."""

    shape: ShapeClass
    program: str
    schedule: dict[str, Any]
    time: Timing
    default: ScheduleTime
    planned: ScheduleTime | None = None
    gain_over_default: Gain
    gain_over_planned: Gain | None = None
    roofline: float | None = Field(default=None, ge=0)
    error: float = Field(ge=0)
    locality: LocalityRecord
    sizes: dict[str, int]
    trials: int = Field(ge=0)
    seed: int
    provenance: Provenance
    other_l2: OtherL2 | None = None

    @field_validator("schedule")
    @classmethod
    def _known_knobs(cls, value: dict[str, Any]) -> dict[str, Any]:
        return checked_schedule(value)

    def as_schedule(self) -> Schedule:
        """The tuned schedule as a value."""
        return Schedule.from_json(self.schedule)

    def key(self) -> tuple[Any, ...]:
        """Entries of one key replace each other: same class, same kind of selection."""
        return (*self.shape.key(), self.locality.kind, self.locality.trace or "")


class KernelConfig(_Record):
    """One file: all tuned shape classes of one kernel on one device."""

    schema_version: int
    kernel: str
    device: DeviceRecord
    entries: tuple[Entry, ...]

    @field_validator("kernel")
    @classmethod
    def _known_kernel(cls, value: str) -> str:
        if value not in KERNELS:
            raise ValueError(f"no kernel {value!r}; kernels: {', '.join(KERNELS)}")
        return value

    @model_validator(mode="after")
    def _entries_belong(self) -> KernelConfig:
        for index, entry in enumerate(self.entries):
            if entry.shape.kernel != self.kernel:
                raise ValueError(
                    f"entries.{index}.shape.kernel is {entry.shape.kernel!r} in a file of "
                    f"{self.kernel!r}"
                )
        return self


def checked_schedule(value: dict[str, Any]) -> dict[str, Any]:
    """Knobs as they are; for a validator. Raises ValueError where they make no schedule."""
    try:
        Schedule.from_json(value)
    except IllegalSchedule as error:
        raise ValueError(str(error)) from error
    return value
