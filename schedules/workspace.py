"""Buffers that a launch needs beside its inputs and outputs, and how much memory they may take."""

from __future__ import annotations

from collections.abc import Mapping

from hsa_compiler.schedules.footprint import (
    CHUNK_SUMS,
    RANKING,
    WITH_PARTS,
    KernelShape,
    chunk_count,
    list_capacity,
)
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.legality import shares_chunks
from hsa_compiler.schedules.problem import Problem
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule

#: Share of a device's memory that the buffers of one launch may take: tensors need the rest.
SHARE = 1 / 16


def workspace_bytes(problem: Problem, schedule: Schedule, sizes: Mapping[str, int]) -> float:
    """Bytes of the buffers that grow with tokens times top-k, or with tokens times chunks."""
    shape = KernelShape.of(problem)
    rows = sizes.get("B", 1) * sizes.get("R", sizes.get("L", 1))
    tokens = sizes.get("B", 1) * sizes.get("L", sizes.get("R", 1))
    heads = shape.programs * shape.row_group
    if shape.kind in RANKING:
        lists = rows * shape.index_heads
        if schedule.top_k == "threshold":
            return 8.0 * lists * list_capacity(shape.top_k)
        if schedule.parts:
            # Scores of all chunks, keys of the best blocks and of their chunks.
            keys = shape.top_k * (schedule.chunk_block + schedule.fan + 2)
            return lists * (4.0 * chunk_count(problem, sizes) + 8.0 * keys)
        return 0.0
    if shape.kind not in WITH_PARTS:
        return 0.0
    if schedule.order == "union":
        return 4.0 * rows * shape.index_heads * shape.top_k
    if schedule.order == "chunk":
        parts = 4.0 * tokens * heads * shape.head_dim
        if schedule.combine == "buffer":
            lse = 4 if shape.joint and shape.kind == "attend" else 0
            slots = shape.top_k
            if shape.kind in CHUNK_SUMS:  # programs share out sub-tiles
                slots *= shape.key_tiles(schedule)
            parts = tokens * heads * slots * (float(shape.head_dim * shape.width) + lse)
        keys = sizes.get("B", 1) * sizes.get("Lkv", 0) * shape.head_dim
        if schedule.copies:
            parts += 2 * 4.0 * keys * shape.programs * schedule.copies
        elif shape.kind in CHUNK_SUMS and shares_chunks(schedule) and shape.width < 4:
            parts += 2 * 4.0 * keys * shape.kv_heads
        return parts
    return 4.0 * tokens * heads * schedule.parts * (shape.head_dim + 2)


def affordable(
    problem: Problem, schedule: Schedule, sizes: Mapping[str, int], hardware: Hardware
) -> bool:
    """Whether the buffers of a call take no more than `SHARE` of the device's memory."""
    return workspace_bytes(problem, schedule, sizes) <= SHARE * hardware.memory_bytes


def check_workspace(
    problem: Problem, schedule: Schedule, sizes: Mapping[str, int], hardware: Hardware
) -> None:
    """Refuse a schedule whose buffers are too large for a call.

    Raises:
        IllegalSchedule: kind ``"workspace"``.
    """
    if not affordable(problem, schedule, sizes, hardware):
        size = workspace_bytes(problem, schedule, sizes) / 2**30
        most = SHARE * hardware.memory_bytes / 2**30
        raise IllegalSchedule(
            "workspace",
            f"{problem.kind} with {schedule} needs {size:.1f} GiB of buffers for {dict(sizes)}; "
            f"at most {most:.1f} GiB of {hardware.name}'s memory",
        )
