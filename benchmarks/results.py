"""What a benchmark found, as frozen records, and its JSON file.

    <device slug>/<suite>.json ::= Result(schema_version, suite, date, device, versions, ceilings,
                                          settings, peers, notes, rows, complete)
    row ::= RowResult(name, shape, selection, checks, measurements, kernels, failures)

Times are milliseconds, memory bytes, ceilings FLOP/s and bytes/s. Only times of one file are
comparable: they come from one run on one device.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hsa_compiler.benchmarks.contest import OURS
from hsa_compiler.errors import ConfigError, InputError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Measurement:
    """One call: the median of `samples` interleaved ones and their interquartile range.

    Attributes:
        who: ``"ours"`` or a peer.
        part: see `contest`.
        mode: ``"device"``, ``"eager"`` or ``"graph"``; see `timing`.
        ratio: its median over ours of the same part and mode; above 1 it is slower.
        tflops: on its own work, empty slots left out; roofline: the share of it, 0 to about 1.
        roofline_split: backward, against 7 products instead of 5.
        peak_bytes: GPU memory allocated by the call, at its peak; of a training step on a CPU, the
            process's own beyond what it held before.
    """

    who: str
    part: str
    mode: str
    median_ms: float
    spread_ms: float
    samples: int
    ratio: float | None = None
    tflops: float | None = None
    roofline: float | None = None
    roofline_split: float | None = None
    peak_bytes: int | None = None
    note: str = ""


@dataclass(frozen=True)
class KernelTime:
    """One of our kernels by itself, with the schedule it ran with and where that came from."""

    kernel: str
    median_ms: float
    spread_ms: float
    samples: int
    roofline: float
    schedule: str
    tier: str
    source: str
    reason: str


@dataclass(frozen=True)
class Check:
    """A normwise error and whether it is within its tolerance."""

    what: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """False for an error that is no number, too."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Failure:
    """What could not be measured, and why.

    `kind` as the tuner counts failures, or ``"refused"``.
    """

    who: str
    part: str
    kind: str
    reason: str


@dataclass(frozen=True)
class RowResult:
    """Everything measured of one row."""

    name: str
    shape: dict[str, Any]
    selection: dict[str, Any]
    checks: tuple[Check, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    kernels: tuple[KernelTime, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether our own results were right and could be measured."""
        ours = [failure for failure in self.failures if failure.who == OURS]
        unmeasured = [failure for failure in ours if failure.part != "graph"]
        return all(check.ok for check in self.checks) and not unmeasured

    def find(self, who: str, part: str, mode: str) -> Measurement | None:
        """One measurement, or None."""
        key = (who, part, mode)
        return next((m for m in self.measurements if (m.who, m.part, m.mode) == key), None)


@dataclass(frozen=True)
class Result:
    """A run of one suite. `complete` is False until its last row is done."""

    suite: str
    date: str
    device: dict[str, Any]
    versions: dict[str, Any]
    ceilings: dict[str, float]
    settings: dict[str, Any]
    peers: dict[str, str]
    notes: tuple[str, ...]
    rows: tuple[RowResult, ...] = ()
    complete: bool = False
    schema_version: int = field(default=SCHEMA_VERSION)

    @property
    def ok(self) -> bool:
        """Whether every row of ours was right and measured."""
        return self.complete and all(row.ok for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values; numbers that JSON lacks become null."""
        data: dict[str, Any] = _plain(asdict(self))
        for row, checked in zip(data["rows"], self.rows, strict=True):
            for check, known in zip(row["checks"], checked.checks, strict=True):
                check["ok"] = known.ok
        return {"schema_version": data.pop("schema_version"), **data}

    def write(self, folder: Path) -> Path:
        """Replace ``<folder>/<suite>.json`` in one step: a reader sees the old text or the new.

        Raises InputError where it cannot be written.
        """
        path = folder / f"{self.suite}.json"
        text = json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return path


def read_result(path: Path) -> Result:
    """A result from its file. Raises ConfigError for anything that this version did not write."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data["schema_version"]
        if version != SCHEMA_VERSION:
            raise ConfigError(
                f"{path}: schema_version {version!r}, this version reads {SCHEMA_VERSION}"
            )
        data["rows"] = tuple(_row(row) for row in data["rows"])
        return Result(**{**data, "notes": tuple(data["notes"])})
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path}: not a result of `hsa-compiler bench`: {error}") from error


def _row(data: Mapping[str, Any]) -> RowResult:
    checks = [{name: x for name, x in check.items() if name != "ok"} for check in data["checks"]]
    # A number that JSON lacks was written as null.
    parts = {
        "checks": tuple(Check(**{**c, "error": _number(c["error"])}) for c in checks),
        "measurements": tuple(Measurement(**found) for found in data["measurements"]),
        "kernels": tuple(KernelTime(**found) for found in data["kernels"]),
        "failures": tuple(Failure(**found) for found in data["failures"]),
    }
    return RowResult(**{**data, **parts})


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path`, to be written, that takes its place when all went well.

    Raises InputError where it cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make the folder of the results. Raises InputError where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be made: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"--out {folder}: cannot be written to")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(x) for x in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
