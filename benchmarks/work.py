"""How much work a measurement is: FLOPs on what is not empty, bytes moved once, the roofline.

Attention has products of ``2 * L * Hq * D * slots * S`` FLOPs each, with the mean number of filled
slots a token: 2 forward; backward 5 at least (one kernel computes all gradients) and 7 where the
query and key gradients are computed apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from hsa_compiler.benchmarks.case import Case
from hsa_compiler.schedules.hardware import Hardware

FORWARD_PRODUCTS, BACKWARD_PRODUCTS, SPLIT_PRODUCTS = 2, 5, 7


@dataclass(frozen=True)
class Work:
    """FLOPs, and bytes of the tensors that are read or written once."""

    flops: float
    bytes: float

    def tflops(self, ms: float) -> float:
        """TFLOP/s at a time in milliseconds."""
        return self.flops / ms / 1e9

    def roofline(self, ms: float, hardware: Hardware, dtype: str) -> float:
        """The share of the device's roofline that a time in milliseconds reaches, 0 to about 1."""
        return self.floor_seconds(hardware, dtype) / (ms / 1e3)

    def floor_seconds(self, hardware: Hardware, dtype: str) -> float:
        """The least seconds it takes on a device, for tensors of `dtype`."""
        return max(self.flops / hardware.rate(dtype), self.bytes / hardware.dram_bandwidth)

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.bytes + other.bytes)


def attention(case: Case, products: int) -> Work:
    """Attention to the row's selection, forward (2 products) or backward (5 or 7)."""
    shape = case.shape
    one = 2.0 * shape.B * shape.L * shape.Hq * shape.D * case.slots * shape.S
    names = ["q", "d_out", "indices", "weights"]
    if products > FORWARD_PRODUCTS:
        names += ["q", "k", "v", "weights"]  # their gradients
    moved = _bytes(case[name] for name in names)
    return Work(products * one, moved + gathered(case, "k") + gathered(case, "v"))


def gathered(case: Case, name: str) -> float:
    """Bytes of keys, values or landmarks that the chosen chunks hold; all where chunks repeat.

    A decoded token reads a few chunks of millions.
    """
    whole = _bytes([case[name]])
    return whole * min(1.0, case.shape.L * case.slots / case.shape.C)


def retrieval(case: Case, backward: bool = False) -> Work:
    """Scores of all visible chunks forward; two products over the chosen ones backward."""
    shape = case.shape
    per_chunk = 2.0 * shape.B * shape.L * shape.Hr * shape.Dr
    visible = float((case["hi"] - case["lo"]).float().mean())
    names = ["q_slc", "landmarks", "indices", "weights"]
    if backward:
        names += ["q_slc", "landmarks", "weights"]
    chunks = 2 * case.slots if backward else visible
    return Work(per_chunk * chunks, _bytes(case[name] for name in names))


def dense(case: Case, products: int) -> Work:
    """Causal attention to every key."""
    shape = case.shape
    keys = case.q_offset + (shape.L + 1) / 2
    one = 2.0 * shape.B * shape.L * shape.Hq * shape.D * keys
    names = ["q", "k", "v", "d_out"] + ["q", "k", "v"] * (products > FORWARD_PRODUCTS)
    return Work(products * one, _bytes(case[name] for name in names))


def total(case: Case) -> Work:
    """`hsa_attention` forward and, where the suite measures it, backward."""
    work = attention(case, FORWARD_PRODUCTS) + retrieval(case)
    if case.backward:
        work += attention(case, BACKWARD_PRODUCTS) + retrieval(case, backward=True)
    return work


def _bytes(tensors: Iterable[Tensor]) -> float:
    return float(sum(x.numel() * x.itemsize for x in tensors))
