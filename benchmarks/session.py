"""One run of a suite: row by row, everything on one device and in one process.

A row is drawn, our results are checked, then every implementation's calls are built and timed
against each other. What fails is recorded with its reason and the run goes on, unless the GPU is
lost to the process; the file is rewritten after every row.
"""

from __future__ import annotations

import dataclasses
import gc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hsa_compiler.benchmarks import ours, outside, train_steps, work
from hsa_compiler.benchmarks.ahead import compile_rows
from hsa_compiler.benchmarks.case import Case, make_case
from hsa_compiler.benchmarks.contest import (
    OURS,
    PARTS,
    WHOLE,
    CannotRun,
    Contestant,
    NotOffered,
)
from hsa_compiler.benchmarks.peers import Peer
from hsa_compiler.benchmarks.results import (
    Check,
    Failure,
    KernelTime,
    Measurement,
    Result,
    RowResult,
    make_folder,
)
from hsa_compiler.benchmarks.rows import Row, Suite
from hsa_compiler.benchmarks.timing import captured, clocks, measure, peak_bytes
from hsa_compiler.configs import default_store, device_record, versions
from hsa_compiler.runtime.dispatch import resolve_backend
from hsa_compiler.schedules.hardware import Hardware, calibrated, detect
from hsa_compiler.threads import tvm_threads
from hsa_compiler.tuner.bench import failure_kind
from hsa_compiler.tuner.measure import Clock, Run, Timing

SEED = 0


class DeviceLost(Exception):
    """A kernel ended the process's CUDA context; nothing can be measured after it."""


@dataclass(frozen=True)
class Request:
    """What to measure, where, against whom, for how many seconds each, and where it is written.

    `workers` processes compile our kernels beforehand; 0 leaves that to each kernel's first launch.
    """

    suite: Suite
    rows: tuple[Row, ...]
    device: str
    peers: tuple[Peer, ...]
    outside: tuple[outside.Outside, ...]
    seconds: float
    folder: Path
    workers: int = 0


@dataclass(frozen=True)
class Entry:
    """A built call."""

    contestant: Contestant
    run: Run
    note: str


def run(request: Request, say: Callable[[str], None]) -> Result:
    """Measure every row; the file is written after each.

    Args:
        say: takes one line of progress.

    Raises InputError where the folder cannot be written.
    """
    device = torch.device(request.device)
    resolve_backend("auto", device)
    make_folder(request.folder)
    hardware = calibrated(detect(request.device), request.device)
    threads = tvm_threads() if device.type == "cpu" else None
    stamp = versions(threads)
    labels = {peer.name: peer.label for peer in request.peers}
    labels |= {peer.name: f"{Path(peer.file).name}:{peer.function}" for peer in request.outside}
    result = Result(
        suite=request.suite.name,
        date=stamp.date,
        device=device_record(detect(request.device)).model_dump(mode="json"),
        versions=stamp.model_dump(mode="json"),
        ceilings={
            "bf16_flops": hardware.bf16_rate,
            "fp32_flops": hardware.fp32_rate,
            "dram_bytes_per_s": hardware.dram_bandwidth,
        },
        settings={
            "seconds": request.seconds,
            "seed": SEED,
            "l2": "cold" if device.type == "cuda" else "as it is",
        },
        peers=labels,
        notes=request.suite.notes,
    )
    if request.workers:
        compile_rows(request.rows, request.suite, device, request.workers, say)
    session = _Session(request, device, hardware, say)
    for number, row in enumerate(request.rows, 1):
        say(f"{row.name} ({number} of {len(request.rows)})")
        found, lost = session.row(row)
        result = dataclasses.replace(
            result,
            rows=(*result.rows, found),
            complete=number == len(request.rows) and not lost,
        )
        result.write(request.folder)
        if lost:
            say("the GPU is lost to this process: stopping here; what was measured is kept")
            break
    return result


class _Session:
    """The clocks of a run and what it measures of one row at a time."""

    def __init__(
        self, request: Request, device: torch.device, hardware: Hardware, say: Callable[[str], None]
    ) -> None:
        self._request = request
        self._device = device
        self._hardware = hardware
        self._say = say
        self._clocks = clocks(device)
        self._failures: list[Failure] = []
        self._found = RowResult("", {}, {})

    def row(self, row: Row) -> tuple[RowResult, bool]:
        """Everything about one row, and whether the GPU was lost on the way."""
        self._failures = []
        self._found = RowResult(row.name, {**dataclasses.asdict(row.shape), "C": row.shape.C}, {})
        lost = False
        try:
            self._measure(row)
        except DeviceLost:
            lost = True
        if not lost:
            _release(self._device)
        return dataclasses.replace(self._found, failures=tuple(self._failures)), lost

    def _measure(self, row: Row) -> None:
        """Fill in what was found, step by step: whatever fails, the steps before it stand."""
        suite = self._request.suite
        try:
            if row.model is not None:
                self._train(row)
                return
            case = make_case(row, self._device, suite.parts, suite.backward, SEED)
            self._add(selection=_selection(case))
            self._add(checks=self._checks(case))
            self._add(kernels=self._kernels(case))
            made = self._contestants(case)
            for part in PARTS:
                mine = [contestant for contestant in made if contestant.part == part]
                measured = self._part(case, part, mine)
                self._add(measurements=(*self._found.measurements, *measured))
        except Exception as error:
            self._failed(OURS, "row", error)

    def _train(self, row: Row) -> None:
        names = [peer.name for peer in self._request.peers]
        names += [peer.name for peer in self._request.outside]
        measured, failed = train_steps.measure(
            row, self._request.device, names, self._request.seconds
        )
        self._add(measurements=tuple(measured))
        for who, error in failed.items():
            self._failed(who, "step", error)

    def _add(self, **found: Any) -> None:
        self._found = dataclasses.replace(self._found, **found)

    def _contestants(self, case: Case) -> list[Contestant]:
        """Everybody's calls, not yet built; ours come first."""
        made = ours.contestants(case)
        for peer in self._request.peers:
            made += peer.contestants(case)
        for stranger in self._request.outside:
            made += outside.contestants(stranger, case)
        return made

    def _checks(self, case: Case) -> tuple[Check, ...]:
        tolerance = ours.TOLERANCE[case.shape.dtype]
        try:
            errors = ours.errors(case)
        except Exception as error:
            self._failed(OURS, "check", error)
            return ()
        return tuple(Check(what, error, tolerance) for what, error in errors.items())

    def _kernels(self, case: Case) -> tuple[KernelTime, ...]:
        mode = "eager" if self._device.type == "cpu" else "device"
        try:
            runs = {run.kernel: run for run in ours.kernel_runs(case, self._hardware)}
            times = measure(
                {name: run.run for name, run in runs.items()},
                self._clocks[mode],
                self._request.seconds,
            )
        except Exception as error:
            self._failed(OURS, "kernels", error)
            return ()
        return tuple(_kernel_time(runs[name], timing) for name, timing in times.items())

    def _part(self, case: Case, part: str, made: Sequence[Contestant]) -> list[Measurement]:
        """One part of a row by everyone who has it, in every mode."""
        entries = self._entries(part, made)
        if not entries:
            return []
        peaks = {name: peak_bytes(entry.run, self._device) for name, entry in entries.items()}
        found: list[Measurement] = []
        for mode, runs in self._modes(part, entries).items():
            timings = self._timed(part, runs, self._clocks[mode])
            for name, timing in timings.items():
                base = timings.get(OURS)
                ratio = timing.median_ms / base.median_ms if base else None
                found.append(
                    self._measurement(case, entries[name], mode, timing, ratio, peaks[name])
                )
        return found

    def _entries(self, part: str, made: Sequence[Contestant]) -> dict[str, Entry]:
        """The calls of a part that can be built and run once; others are recorded."""
        entries: dict[str, Entry] = {}
        for contestant in made:
            try:
                built = contestant.build()
                built.run()
                self._finish()
            except NotOffered:
                continue
            except Exception as error:
                self._failed(contestant.who, part, error)
                continue
            entries[contestant.who] = Entry(contestant, built.run, built.note)
        return entries

    def _modes(self, part: str, entries: Mapping[str, Entry]) -> dict[str, dict[str, Run]]:
        """The calls of each mode: GPU time for all of them; whole calls in the other modes too."""
        runs = {name: entry.run for name, entry in entries.items()}
        if self._device.type == "cpu":
            return {"eager": runs}
        modes = {"device": runs}
        if part in WHOLE:
            modes["eager"] = runs
            graphs: dict[str, Run] = {}
            for name, call in runs.items():
                try:
                    graphs[name] = captured(call, self._device)
                    graphs[name]()
                    self._finish()
                except Exception as error:
                    self._failed(name, "graph", error)
                    graphs.pop(name, None)
            if graphs:
                modes["graph"] = graphs
        return modes

    def _timed(self, part: str, runs: Mapping[str, Run], clock: Clock) -> dict[str, Timing]:
        """Interleaved; one by one where that fails, to find out who it is."""
        try:
            return measure(runs, clock, self._request.seconds)
        except Exception as error:
            if len(runs) == 1:
                self._failed(next(iter(runs)), part, error)
                return {}
        found: dict[str, Timing] = {}
        for name, call in runs.items():
            found |= self._timed(part, {name: call}, clock)
        return found

    def _measurement(
        self,
        case: Case,
        entry: Entry,
        mode: str,
        timing: Timing,
        ratio: float | None,
        peak: int | None,
    ) -> Measurement:
        todo, dtype = entry.contestant.work, case.shape.dtype
        ms = timing.median_ms
        split = None
        if entry.contestant.part == "backward" and entry.contestant.who == OURS:
            seven = work.attention(case, work.SPLIT_PRODUCTS)
            split = seven.roofline(ms, self._hardware, dtype)
        return Measurement(
            who=entry.contestant.who,
            part=entry.contestant.part,
            mode=mode,
            median_ms=ms,
            spread_ms=timing.spread_ms,
            samples=timing.samples,
            ratio=ratio,
            tflops=todo.tflops(ms) if todo else None,
            roofline=todo.roofline(ms, self._hardware, dtype) if todo else None,
            roofline_split=split,
            peak_bytes=peak,
            note=entry.note,
        )

    def _failed(self, who: str, part: str, error: Exception) -> None:
        """Record a failure. Raises DeviceLost where nothing can run after it."""
        if isinstance(error, DeviceLost):
            raise error
        kind, fatal = failure_kind(error, "run")
        if isinstance(error, CannotRun):
            kind, fatal = "refused", False
        text = " ".join(str(error).split())[:500]
        reason = text if isinstance(error, CannotRun) else f"{type(error).__name__}: {text}"
        self._failures.append(Failure(who, part, kind, reason))
        self._say(f"  {who} {part}: {reason[:160]}")
        if fatal and self._device.type == "cuda" and not self._alive():
            raise DeviceLost

    def _alive(self) -> bool:
        """Whether the GPU still works; a failed capture, say, does not end its context."""
        try:
            torch.ones(1, device=self._device).sum().item()
        except Exception:
            return False
        return True

    def _finish(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _selection(case: Case) -> dict[str, float | str]:
    return {
        "kind": case.row.selection,
        "union": case.union,
        "own_union": case.own_union,
        "mean_slots": case.slots,
    }


def _kernel_time(run: ours.KernelRun, timing: Timing) -> KernelTime:
    row = run.dispatched.row
    return KernelTime(
        kernel=run.kernel,
        median_ms=timing.median_ms,
        spread_ms=timing.spread_ms,
        samples=timing.samples,
        roofline=1e3 * run.floor_seconds / timing.median_ms,
        schedule=row.schedule,
        tier=row.tier,
        source=_portable(row.source),
        reason=_portable(row.reason),
    )


def _portable(text: str) -> str:
    """A text that names config files by device and kernel, not by where this machine has them."""
    for folder in default_store().folders:
        text = text.replace(f"{folder}{os.sep}", "")
    return text


def _release(device: torch.device) -> None:
    """Give a row's memory back before the next one is drawn."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
