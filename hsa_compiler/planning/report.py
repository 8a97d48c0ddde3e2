"""A plan as plain values: one record per kernel, and the rows of its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from hsa_compiler.planning.compiled import Built, Outcome
from hsa_compiler.planning.forecast import Candidate, Forecast
from hsa_compiler.tuner.worker import CandidateFailed

Record = dict[str, Any]


def record(forecast: Forecast, built: Built) -> Record:
    """One kernel. Times are milliseconds; `built` holds what was compiled of its schedules."""
    problem = forecast.task.problem
    return {
        "shape": forecast.task.shape.name,
        "kernel": forecast.task.kernel,
        "legal": forecast.legal,
        "roofline_ms": 1e3 * forecast.floor.seconds,
        "roofline_bound": forecast.floor.bound,
        "schedules": [
            {**_expected(candidate), "compiled": _outcome(built.get((problem, candidate.schedule)))}
            for candidate in forecast.candidates
        ],
        "no_generic": forecast.no_generic or None,
        "refused": [asdict(refusal) for refusal in forecast.refusals],
    }


def _expected(candidate: Candidate) -> Record:
    found = candidate.prediction
    on_gpu = candidate.registers is not None
    return {
        "place": candidate.place,
        "predicted_ms": 1e3 * found.seconds,
        "bound": found.bound,
        "roofline_share": candidate.share,
        "registers": candidate.registers,
        "shared_bytes": found.shared_bytes if on_gpu else None,
        "resident": found.resident if on_gpu else None,
        "schedule": str(found.schedule),
    }


def _outcome(outcome: Outcome | None) -> Record | None:
    if outcome is None:
        return None
    if isinstance(outcome, CandidateFailed):
        return {"ok": False, "kind": outcome.kind, "reason": str(outcome)}
    return {"ok": True, "launches": [asdict(launch) for launch in outcome]}


def schedule_rows(records: Sequence[Record]) -> list[Record]:
    """What is expected of every listed schedule."""
    return [
        {"kernel": of["kernel"], **{name: x for name, x in row.items() if name != "compiled"}}
        for of in records
        for row in of["schedules"]
    ]


def refusal_rows(records: Sequence[Record]) -> list[Record]:
    """Schedules that are not ranked, counted by the kind of reason."""
    return [{"kernel": of["kernel"], **row} for of in records for row in of["refused"]]


def compiled_rows(records: Sequence[Record]) -> list[Record]:
    """Every launch of what was compiled under what was expected of its kernel."""
    return [
        {"kernel": of["kernel"], "place": row["place"], **line}
        for of in records
        for row in of["schedules"]
        for line in _lines(row)
    ]


def _lines(row: Record) -> Iterator[Record]:
    names = ("registers", "stack_bytes", "shared_bytes", "resident")
    nothing = dict.fromkeys(names)
    if row["registers"] is not None:
        yield {"launch": "predicted", **{name: row.get(name) for name in names}}
    outcome = row["compiled"]
    if not outcome["ok"]:
        yield {"launch": f"fails: {outcome['reason']}", **nothing}
    elif not outcome["launches"]:
        yield {"launch": "built by LLVM, which does not report registers", **nothing}
    else:
        for launch in outcome["launches"]:
            yield {"launch": launch["name"], **{name: launch[name] for name in names}}
