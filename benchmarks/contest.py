"""What an implementation brings to a row: calls to time, made only when their turn comes.

Parts that are compared with each other:

    forward             attention to the given selection (of dense peers: to every key)
    backward            its gradients
    retrieve            scores, top-k and weights
    retrieve_backward   the gradients of the weights
    total               `hsa_attention` from end to end, forward and backward
    decode              `hsa_decode` from end to end, the cache's length on the device
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hsa_compiler.benchmarks.case import Case
from hsa_compiler.benchmarks.work import Work
from hsa_compiler.errors import HSAError
from hsa_compiler.tuner.measure import Run

PARTS = ("forward", "backward", "retrieve", "retrieve_backward", "total", "decode")
#: Parts that are whole calls, measured eagerly and as CUDA graphs too.
WHOLE = ("total", "decode")
OURS = "ours"


class CannotRun(HSAError):
    """An implementation has no kernel for a row, or not on this device."""


class NotOffered(CannotRun):
    """An implementation has no call for this part, which is nothing to report."""


@dataclass(frozen=True)
class Built:
    """A call ready to be timed, and what a reader must know about it."""

    run: Run
    note: str = ""


@dataclass(frozen=True)
class Contestant:
    """One implementation's call for one part of a row; `build` may raise anything."""

    who: str
    part: str
    build: Callable[[], Built]
    work: Work | None = None


def parts_of(case: Case) -> tuple[str, ...]:
    """The parts of a row that its suite measures; gradients only where it has backward passes."""
    found: tuple[str, ...] = ()
    if "attention" in case.parts:
        found += ("forward", "backward")
    if "retrieval" in case.parts:
        found += ("retrieve", "retrieve_backward")
    found += tuple(part for part in WHOLE if part in case.parts)
    return tuple(part for part in found if case.backward or not part.endswith("backward"))


def without_gradients(call: Callable[[], object]) -> Run:
    """A call outside autograd that drops its result."""

    def run() -> None:
        with torch.no_grad():
            call()

    return run


def gradients(output: Tensor, inputs: Sequence[Tensor], upstream: Tensor) -> Run:
    """The backward pass of one recorded forward pass, again and again."""

    def run() -> None:
        torch.autograd.grad(output, inputs, upstream, retain_graph=True)

    return run


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Normwise, ``||found - expected|| / ||expected||``; infinite for a wrong shape or a NaN."""
    if found.shape != expected.shape:
        return float("inf")
    wide, reference = found.detach().double(), expected.detach().double()
    size = float(reference.norm())
    error = float((wide - reference).norm())
    if error != error:
        return float("inf")
    return error / size if size else (0.0 if error == 0 else float("inf"))
