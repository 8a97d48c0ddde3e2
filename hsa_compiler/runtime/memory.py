"""Will a call fit? What it is going to allocate, compared with what is free."""

from __future__ import annotations

import functools

import psutil
import torch

from hsa_compiler.errors import MemoryEstimateError

#: A call below this share of a device's memory is not worth asking how much of it is free.
CHEAP_SHARE = 1 / 16

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def require(what: str, estimate: int, device: torch.device) -> None:
    """Raise unless `estimate` bytes can be allocated on `device`.

    Args:
        what: the call, for the message.
        estimate: bytes of outputs, gradients and workspaces.
        device: a CPU or CUDA device.

    Raises:
        MemoryEstimateError: with the estimate and what is free.
    """
    if estimate < CHEAP_SHARE * total_bytes(device.type, device.index):
        return
    free = free_bytes(device)
    if estimate > free:
        raise MemoryEstimateError(
            f"{what} needs about {readable(estimate)} for its outputs, gradients and workspaces, "
            f"but {device} has {readable(free)} free: use a smaller batch or shorter segments, "
            "a smaller top_k, or free memory first"
        )


@functools.cache
def total_bytes(kind: str, index: int | None) -> int:
    """All memory of a device."""
    if kind == "cuda":
        return int(torch.cuda.get_device_properties(index or 0).total_memory)
    return int(psutil.virtual_memory().total)


def free_bytes(device: torch.device) -> int:
    """What can still be allocated, counting what torch's own allocator holds but does not use."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    return int(psutil.virtual_memory().available)


def readable(count: int) -> str:
    """``3221225472`` -> ``"3.0 GiB"``."""
    size = float(count)
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
