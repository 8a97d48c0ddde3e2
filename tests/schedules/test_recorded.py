"""The cost model against measured schedules: benchmarks/results/*/schedules.json."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from hsa_compiler.schedules import cost_model, hardware
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.shapes import SHAPES
from hsa_compiler.tuner.workload import Task

RECORDED = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
H100, H200 = "nvidia_h100_80gb_hbm3", "nvidia_h200"
#: Of the measured schedules of a kernel the model's favourite may be this much slower than the
#: best; its order and theirs agree at least so much (Spearman) where many were measured.
REGRET = 1.15
AGREEMENT = 0.8
#: The same where every pair leaves a part of its row, which the model knows more roughly.
PARTS_REGRET, PARTS_AGREEMENT = 1.25, 0.55
#: The same for retrieval.
RETRIEVAL_REGRET = 1.25
RETRIEVAL_AGREEMENT = 0.6


@functools.cache
def recorded(device: str) -> dict[str, Any]:
    """A device's file of measured schedules."""
    data: dict[str, Any] = json.loads((RECORDED / device / "schedules.json").read_text())
    return data


Key = tuple[str, str, str, str]


def groups() -> dict[Key, list[tuple[Schedule, float]]]:
    """Measured schedules of the kernels as they are, by (device, shape, selection, kernel)."""
    found: dict[Key, list[tuple[Schedule, float]]] = defaultdict(list)
    for device in (H100, H200):
        rows = recorded(device)["measurements"]
        latest: dict[str, int] = defaultdict(int)
        for row in rows:
            latest[row["kernel"]] = max(latest[row["kernel"]], row["step"])
        for row in rows:
            if row["step"] == latest[row["kernel"]] and row["kernel"] != "landmark_grad":
                key = (device, row["shape"], row["selection"], row["kernel"])
                found[key].append((Schedule.from_json(row["schedule"]), row["median_ms"]))
    return {key: rows for key, rows in found.items() if len(rows) > 1}


def spearman(first: list[float], second: list[float]) -> float:
    """Rank correlation of two lists without ties."""

    def ranks(values: list[float]) -> list[int]:
        order = sorted(range(len(values)), key=values.__getitem__)
        return sorted(range(len(values)), key=order.__getitem__)

    count = len(first)
    squares = sum((a - b) ** 2 for a, b in zip(ranks(first), ranks(second), strict=True))
    return 1 - 6 * squares / (count * (count**2 - 1))


@pytest.mark.parametrize(("key", "rows"), groups().items(), ids=lambda x: str(x)[:40])
def test_the_model_ranks_measured_schedules(key: Key, rows: list[tuple[Schedule, float]]) -> None:
    device, shape, selection, kernel = key
    task = Task(kernel, SHAPES[shape], "cuda:0", selection)
    unions = recorded(device)["settings"]["union"]
    union = unions.get(f"{shape} {selection}", unions[shape])
    row = hardware.named(device)
    predicted = [
        cost_model.predict(task.problem, schedule, task.sizes, row, union).seconds
        for schedule, _ in rows
    ]
    measured = [milliseconds for _, milliseconds in rows]
    favourite = measured[predicted.index(min(predicted))]
    parts = kernel != "attend_grad_kv" and any(s.order == "chunk" for s, _ in rows)
    assert favourite <= (PARTS_REGRET if parts else REGRET) * min(measured)
    if len(rows) >= 10:
        agreement = PARTS_AGREEMENT if parts else AGREEMENT
        assert spearman(predicted, measured) >= agreement


def retrievals() -> dict[str, list[tuple[Schedule, float]]]:
    """Measured schedules of retrieval by shape, where many were measured."""
    data = json.loads((RECORDED / H100 / "retrieval.json").read_text())
    found: dict[str, list[tuple[Schedule, float]]] = defaultdict(list)
    for row in data["measurements"]:
        if row["kernel"] == "retrieve" and row["shape"] in SHAPES:
            found[row["shape"]].append((Schedule.from_json(row["schedule"]), row["median_ms"]))
    return found


@pytest.mark.parametrize(("shape", "rows"), retrievals().items(), ids=lambda x: str(x)[:10])
def test_the_model_ranks_measured_retrievals(
    shape: str, rows: list[tuple[Schedule, float]]
) -> None:
    task, row = Task("retrieve", SHAPES[shape], "cuda:0"), hardware.named(H100)
    predicted = [
        cost_model.predict(task.problem, schedule, task.sizes, row).seconds for schedule, _ in rows
    ]
    measured = [milliseconds for _, milliseconds in rows]
    assert measured[predicted.index(min(predicted))] <= RETRIEVAL_REGRET * min(measured)
    assert spearman(predicted, measured) >= RETRIEVAL_AGREEMENT
