"""Recorded measurements of schedules, as groups of one kernel on one device and selection.

    results/<device>/schedules.json ::= Recording(schema_version, date, device, versions, ceilings,
                                                  settings, steps, measurements)
    tuned_configs/<device>/<kernel>.json      per shape class the tuned, planned and generic one

A step of a recording is a state of the code generator; its kernels are those of that time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hsa_compiler.configs import DeviceRecord, Entry, Provenance, load_config
from hsa_compiler.configs.schema import checked_schedule
from hsa_compiler.configs.store import read_record
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.rebuild import shape_of
from hsa_compiler.tuner.shapes import SHAPES
from hsa_compiler.tuner.workload import Task

SCHEMA_VERSION = 1
RECORDING = "schedules.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Measured(_Record):
    """A schedule's median time, and what Triton said of the kernel: registers a thread, those
    spilled, bytes of shared memory."""

    step: int
    shape: str
    selection: Literal["local", "random"]
    kernel: str
    schedule: dict[str, Any]
    median_ms: float = Field(gt=0)
    registers: int | None = None
    spilled: int | None = None
    shared_bytes: int | None = None

    @field_validator("schedule")
    @classmethod
    def _known_knobs(cls, value: dict[str, Any]) -> dict[str, Any]:
        return checked_schedule(value)


class Settings(_Record):
    """How it was measured. `union` holds the chunks in the union of 16 neighbouring tokens over K,
    by ``"<shape>"`` for local selections and ``"<shape> random"``."""

    l2: str
    samples: str
    union: dict[str, Annotated[float, Field(gt=0)]]


class Recording(_Record):
    """One ``schedules.json``. `steps` says what each step changed."""

    schema_version: int
    date: str
    device: DeviceRecord
    versions: Provenance
    ceilings: dict[str, float]
    settings: Settings
    steps: dict[str, str]
    measurements: tuple[Measured, ...]


@dataclass(frozen=True)
class Group:
    """Schedules of one kernel that were timed on the same device, call and selection.

    `step` is None for tuned configs; `union` None where the selection's is not known; `times` are
    medians in milliseconds.
    """

    file: str
    device: Hardware
    backend: str
    step: int | None
    selection: str
    task: Task
    union: float | None
    versions: Provenance
    schedules: tuple[Schedule, ...]
    times: tuple[float, ...]


def recorded_groups(path: Path) -> list[Group]:
    """The groups of two schedules or more in a ``schedules.json``.

    Raises:
        ConfigError: for anything but such a file; it names file and field.
    """
    recording = read_record(path, Recording, SCHEMA_VERSION, "measure again")
    row = known_device(recording.device)
    if row is None:
        raise ConfigError(f"{path}: device: no hardware row for {recording.device.slug!r}")
    found: dict[tuple[int, str, str, str], list[Measured]] = defaultdict(list)
    for measured in recording.measurements:
        key = (measured.step, measured.shape, measured.selection, measured.kernel)
        found[key].append(measured)
    groups = []
    for (step, shape, selection, kernel), rows in sorted(found.items()):
        if len(rows) > 1:
            groups.append(
                Group(
                    file=path.name,
                    device=row,
                    backend="triton",
                    step=step,
                    selection=selection,
                    task=_recorded_task(path, kernel, shape, row),
                    union=_union(path, recording.settings.union, shape, selection),
                    versions=recording.versions,
                    schedules=tuple(Schedule.from_json(m.schedule) for m in rows),
                    times=tuple(m.median_ms for m in rows),
                )
            )
    return groups


def _recorded_task(path: Path, kernel: str, shape: str, row: Hardware) -> Task:
    if shape not in SHAPES:
        raise ConfigError(f"{path}: measurements: shape {shape!r}; known: {', '.join(SHAPES)}")
    task = Task(kernel, SHAPES[shape], row.kind)
    if kernel not in task.groups:
        raise ConfigError(
            f"{path}: measurements: shape {shape} has no kernel {kernel!r}; it has: "
            f"{', '.join(task.groups)}"
        )
    return task


def _union(path: Path, unions: Mapping[str, float], shape: str, selection: str) -> float:
    name = shape if selection == "local" else f"{shape} {selection}"
    if name not in unions:
        raise ConfigError(f"{path}: settings.union: {name!r} is missing")
    return unions[name]


def tuned_groups(folder: Path) -> tuple[list[Group], list[str]]:
    """One group per entry of a device's tuned configs: its different schedules of tuned, planned
    and generic.

    Returns:
        the groups, and notes on what was left out: entries of kernels that the operator no longer
        has, and devices that no hardware row describes here.

    Raises:
        ConfigError: for a file that is no tuned config.
    """
    groups, notes = [], []
    for path in sorted(folder.glob("*.json")):
        config = load_config(path)
        row = known_device(config.device)
        if row is None:
            return [], [f"{folder.name}: left out, no hardware row describes that device here"]
        tasks = [task_of(entry, row.kind) for entry in config.entries]
        groups += [
            _tuned_group(entry, task, row)
            for entry, task in zip(config.entries, tasks, strict=True)
            if task is not None
        ]
        if None in tasks:
            notes.append(
                f"{folder.name}/{path.name}: {tasks.count(None)} entries left out, since the "
                "operator has no such kernel any more"
            )
    return [group for group in groups if len(group.times) > 1], notes


def _tuned_group(entry: Entry, task: Task, row: Hardware) -> Group:
    timed = dict(_timed(entry))
    return Group(
        file="tuned_configs",
        device=row,
        backend=entry.shape.backend,
        step=None,
        selection=entry.locality.kind,
        task=task,
        # Kernels without indices have none.
        union=entry.locality.union or None,
        versions=entry.provenance,
        schedules=tuple(timed),
        times=tuple(timed.values()),
    )


def _timed(entry: Entry) -> Iterator[tuple[Schedule, float]]:
    """Schedules with their times; the last of equal ones stands, which is the tuned one."""
    for found in (entry.default, entry.planned):
        if found is not None:
            yield Schedule.from_json(found.schedule), found.time.median_ms
    yield entry.as_schedule(), entry.time.median_ms


def task_of(entry: Entry, kind: str) -> Task | None:
    """The kernel that an entry was tuned for; None where today's operator has no such kernel."""
    try:
        shape = shape_of(entry)
    except InputError:
        return None
    return Task(entry.shape.kernel, shape, kind)


def known_device(record: DeviceRecord) -> Hardware | None:
    """The hardware row of a recorded device: that of a GPU, or of this machine's CPU."""
    if record.kind == "cuda":
        return hardware.ROWS.get(record.slug)
    host = hardware.host_cpu()
    return host if (host.slug, host.units) == (record.slug, record.units) else None
