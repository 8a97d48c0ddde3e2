"""The cost model against measured decoding steps: benchmarks/results/*/decode_schedules.json."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from hsa_compiler.ir import fuse_groups
from hsa_compiler.ir.programs import (
    AttentionOptions,
    CacheOptions,
    RetrieveOptions,
    decode_program,
)
from hsa_compiler.schedules import cost_model, hardware
from hsa_compiler.schedules.problem import DYNAMIC_DIMS, Problem
from hsa_compiler.schedules.schedule import Schedule

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
H100 = "nvidia_h100_80gb_hbm3"
#: What an empty kernel takes in the recorded times, and how much slower than the best the model's
#: favourite among the measured may be, on top of it.
EMPTY_US, REGRET = 4.0, 1.2

OWN = RetrieveOptions(64, 0.1, own_indices=True)

Group = tuple[str, int, int]


@functools.cache
def recorded() -> dict[str, Any]:
    """The file of measured steps."""
    text = (RESULTS / H100 / "decode_schedules.json").read_text()
    data: dict[str, Any] = json.loads(text)
    return data


def groups() -> dict[Group, list[tuple[Schedule, float]]]:
    """Measured schedules by (kernel, tokens, rows)."""
    found: dict[Group, list[tuple[Schedule, float]]] = defaultdict(list)
    for row in recorded()["times"]:
        if len(row["launched"]) == 1 and "kernel" in row["launched"][0] and row["l2"] == "dirty":
            knobs = dict(row["launched"][0])
            key = (knobs.pop("kernel"), row["tokens"], row["rows"])
            found[key].append((Schedule.from_json(knobs), row["us"]))
    return found


@pytest.mark.parametrize("key", groups(), ids=str)
def test_the_favourite_is_near_the_best_measured(key: Group) -> None:
    kernel, tokens, rows = key
    shape = recorded()["shape"]
    program = decode_program(OWN, AttentionOptions(shape["S"], 0.1), CacheOptions())
    # Recorded before retrieval became one kernel; the launches are the same.
    kind = "retrieve" if kernel == "select" else kernel
    group = {g.kind: g for g in fuse_groups(program)}[kind]
    dims = {**shape, "Hi": 1, "Hw": 1, "L": rows, "R": rows, "Lkv": tokens}
    dims["C"] = tokens // shape["S"]
    problem = Problem.of(group, {n: v for n, v in dims.items() if isinstance(v, int)})
    names = group.program.dim_names()
    sizes = {name: dims[name] for name in DYNAMIC_DIMS if name in names}
    row = hardware.named(H100)
    measured = groups()[key]
    favourite = min(measured, key=lambda m: cost_model.predict(problem, m[0], sizes, row).seconds)
    best = min(us for _, us in measured)
    assert favourite[1] - EMPTY_US <= REGRET * (best - EMPTY_US), favourite


def test_few_rows_are_shared_out_and_many_are_not() -> None:
    program = decode_program(OWN, AttentionOptions(64, 0.1), CacheOptions())
    dims = {**recorded()["shape"], "Hi": 1, "Hw": 1}
    dims = {name: value for name, value in dims.items() if isinstance(value, int)}
    for group in fuse_groups(program):
        problem = Problem.of(group, dims)
        names = group.program.dim_names()
        for rows, tokens, shared in (
            (1, 1 << 24, True),
            (16, 1 << 20, True),
            (32768, 32768, False),
        ):
            all_sizes = {"B": 1, "L": rows, "R": rows, "C": tokens // 64, "Lkv": tokens}
            sizes = {name: size for name, size in all_sizes.items() if name in names}
            schedule = cost_model.planned(problem, sizes, hardware.named(H100))
            assert bool(schedule.parts) == shared, (group.kind, rows, str(schedule))
