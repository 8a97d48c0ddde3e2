"""Whether a schedule fits a problem and a device: tiles that divide, results that can be combined,
shared memory, registers, units that a device lacks."""

from __future__ import annotations

from hsa_compiler.schedules.footprint import (
    MAX_RANKED,
    MAX_REGISTERS,
    MAX_UNION_PAIRS,
    RANKING,
    WGMMA_ROWS,
    WGMMA_WARPS,
    WITH_PARTS,
    KernelShape,
    footprint,
    power_of_two,
    prefetches,
)
from hsa_compiler.schedules.hardware import WARP, Hardware, has_copy_engine
from hsa_compiler.schedules.kernel_knobs import on_gpu
from hsa_compiler.schedules.problem import Problem
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule


def _check_chunk_order(shape: KernelShape, schedule: Schedule, backend: str) -> None:
    """Chunk order of a kernel whose results belong to rows walks an inverse index and leaves parts,
    which a joint softmax must weigh before they are added. A CPU's programs share no windows."""
    if not shape.indexed:
        raise IllegalSchedule(
            "order",
            f"order=chunk for {shape.kind} of a program without an inverse index: it has token and "
            "union order",
        )
    if shape.joint and shape.kind == "attend" and schedule.combine != "buffer":
        raise IllegalSchedule(
            "combine",
            f"combine={schedule.combine!r} for attend of a joint softmax, whose parts are weighted "
            "when they meet; give combine='buffer'",
        )
    if schedule.window and schedule.combine != "owned" and not on_gpu(backend):
        raise IllegalSchedule(
            "combine",
            f"window={schedule.window} combine={schedule.combine!r} on {backend}: a window has one "
            "program there; give combine='owned', or window=0",
        )
    if schedule.copies and schedule.chunk_tile:
        raise IllegalSchedule(
            "combine",
            f"combine='owned' chunk_tile={schedule.chunk_tile} for {shape.kind}: programs that "
            "share a chunk's sub-tiles would all add to its rows; give chunk_tile=0",
        )


def _check_descriptors(shape: KernelShape, schedule: Schedule, hardware: Hardware | None) -> None:
    """Refuse blocks that the copy engine cannot load, or that gain nothing."""
    if schedule.order == "chunk":
        raise IllegalSchedule(
            "descriptors",
            f"descriptors={schedule.descriptors!r} in chunk order, where a chunk is loaded once "
            "and its rows lie apart; allowed: 'none'",
        )
    rows = schedule.tokens * shape.row_group
    if rows < WGMMA_ROWS or schedule.warps < WGMMA_WARPS or shape.width > 2:
        # Operands of other products come from registers: through a block they took a detour, and
        # were up to 1.9 x slower.
        raise IllegalSchedule(
            "descriptors",
            f"descriptors={schedule.descriptors!r} with {rows} rows of {shape.dtype} and "
            f"{schedule.warps} warps; allowed for products that read shared memory, from "
            f"{WGMMA_ROWS} rows of bf16 or fp16 and {WGMMA_WARPS} warps on",
        )
    if schedule.descriptors == "all" and shape.row_group != power_of_two(shape.row_group):
        raise IllegalSchedule(
            "descriptors",
            f"descriptors='all' with {shape.row_group} query heads a program: a block needs a "
            "power of two; allowed: 'none', 'keys'",
        )
    if hardware is not None and hardware.kind == "cuda" and not has_copy_engine(hardware.arch):
        raise IllegalSchedule(
            "target",
            f"descriptors={schedule.descriptors!r} on {hardware.name} ({hardware.arch}): needs "
            "sm_90 or newer",
        )


def check_resources(
    problem: Problem, schedule: Schedule, backend: str, hardware: Hardware | None
) -> None:
    """Refuse sub-tiles that do not divide the chunk and programs that do not fit the device.

    Raises:
        IllegalSchedule: kind ``"order"``, ``"combine"``, ``"chunk_tile"``, ``"parts"``,
            ``"tokens"``, ``"descriptors"``, ``"target"``, ``"shared_memory"`` or ``"registers"``.
    """
    shape = KernelShape.of(problem)
    if schedule.descriptors != "none":
        _check_descriptors(shape, schedule, hardware)
    tile = schedule.chunk_tile
    if tile and (tile >= shape.chunk or shape.chunk % tile):
        raise IllegalSchedule(
            "chunk_tile",
            f"chunk_tile={tile} must divide the chunk of {shape.chunk} and be smaller "
            "(0 holds the whole chunk)",
        )
    if shape.kind in WITH_PARTS and schedule.order == "chunk":
        _check_chunk_order(shape, schedule, backend)
    if shape.kind in RANKING and schedule.parts and shape.top_k > MAX_RANKED:
        raise IllegalSchedule(
            "parts",
            f"parts={schedule.parts} with top-k {shape.top_k}: at most {MAX_RANKED} chunks a row "
            "are ranked; use parts=0",
        )
    pairs = schedule.tokens * shape.top_k
    if schedule.order == "union" and pairs > MAX_UNION_PAIRS:
        raise IllegalSchedule(
            "tokens",
            f"tokens={schedule.tokens} of {shape.top_k} chunks each are {pairs} pairs to list the "
            f"union of; at most {MAX_UNION_PAIRS}",
        )
    if hardware is None or hardware.kind != "cuda" or backend == "tvm":
        return
    failing = backend == "triton" and hardware.arch.startswith("sm_10")
    if failing and prefetches(shape, schedule):
        raise IllegalSchedule(
            "target",
            f"{shape.kind} in union order with stages={schedule.stages} on {hardware.arch}: a pass "
            "of Triton fails; allowed: 1, 2",
        )
    held = footprint(shape, schedule, backend)
    if held.shared_bytes > hardware.shared_per_block:
        raise IllegalSchedule(
            "shared_memory",
            f"about {held.shared_bytes} bytes of shared memory a program; "
            f"{hardware.name} has {hardware.shared_per_block}",
        )
    registers = held.accumulators // (WARP * schedule.warps)
    if registers > MAX_REGISTERS:
        raise IllegalSchedule(
            "registers",
            f"{registers} accumulator registers a thread with {schedule.warps} warps; "
            f"at most {MAX_REGISTERS}",
        )
