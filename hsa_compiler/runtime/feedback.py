"""Choosing schedules by what calls really select: how much neighbouring tokens agree, measured.

selection_feedback(True)

Calls of `hsa_attention` and `chunk_attention` then measure the union of 16 neighbouring tokens over
K: the first few of each shape class, later one in `EVERY`, on a part of the rows. Schedules are
chosen for the average (`configs.choose`), and anew only once it has moved by more than
`HYSTERESIS` octaves, so that an average between two choices does not swing between them. A call's
gradients use what its forward pass used.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping

import torch
from torch import Tensor

from hsa_compiler.configs.shapes import bucket
from hsa_compiler.runtime import calls, validate
from hsa_compiler.runtime.executor import torch_wants_deterministic
from hsa_compiler.runtime.prepare import AttentionArgs
from hsa_compiler.schedules.locality import GROUP, union_counts

#: The first calls of a class that measure, and how many of the later ones measure one.
FIRST, EVERY = 4, 64
#: Groups of neighbours that a measurement looks at, about: a few thousand numbers to sort.
GROUPS = 64
#: How much a new measurement counts in the average: one that is four times as large as all before
#: changes no choice yet.
WEIGHT = 0.25
#: Octaves that the average must have moved by since schedules were chosen for it.
HYSTERESIS = 0.5
#: Dims that calls of one class share; tokens and chunks count by their buckets.
STATIC = ("Hq", "H", "D", "K", "Hi", "Hw")

CallClass = tuple[object, ...]


class _Copy:
    """Two numbers on their way from a GPU, which nobody waits for."""

    def __init__(self, counts: Tensor) -> None:
        self._host = torch.empty(counts.shape, dtype=counts.dtype, pin_memory=True)
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        with torch.cuda.device(counts.device):
            self._host.copy_(counts, non_blocking=True)
            self._event.record()

    def arrived(self) -> list[int] | None:
        """The numbers, once they are here."""
        if not self._event.query():  # type: ignore[no-untyped-call]
            return None
        found: list[int] = self._host.tolist()
        return found


class _Measured:
    """What is known of the selections of one class."""

    def __init__(self, top_k: int) -> None:
        self._top_k = top_k
        self._calls = 0
        self._average: float | None = None  # in octaves, as the distances of `configs.lookup`
        self._copy: _Copy | None = None
        #: The average that schedules are chosen for.
        self.chosen: float | None = None

    def observe(self, indices: Tensor, group: int) -> None:
        """Take what has arrived, and measure this call if it is its turn."""
        turn = self._calls < FIRST or self._calls % EVERY == 0
        self._calls += 1
        counts = None if self._copy is None else self._copy.arrived()
        if counts is not None:
            self._copy = None
            self._take(*counts)
        if not turn or self._copy is not None:
            return
        found = union_counts(_sample(indices, group), group)
        if found.is_cuda:
            self._copy = _Copy(found)
        else:
            self._take(*found.tolist())

    def _take(self, distinct: int, groups: int) -> None:
        if not groups:
            return  # no row chose a chunk
        octaves = math.log2(distinct / groups / self._top_k)
        before = octaves if self._average is None else self._average
        self._average = before + WEIGHT * (octaves - before)
        if self.chosen is None or abs(self._average - math.log2(self.chosen)) > HYSTERESIS:
            self.chosen = float(f"{2**self._average:.3g}")


class _State:
    """The process's measurements, None while they are off; a class so that one name stays bound to
    one object."""

    measured: dict[CallClass, _Measured] | None = None
    lock = threading.Lock()


def selection_feedback(enabled: bool) -> None:
    """Choose schedules by measured selections from now on, or no longer; off by default.

    Off, a call does nothing more than look at this switch, and what was measured is forgotten. On,
    a call may run other schedules than the one before it, so results may differ in their last
    bits, and a new schedule is compiled in the call that takes it. Deterministic calls, calls
    that torch.compile traces and ``backend="reference"`` neither measure nor look; while a CUDA
    graph is captured, nothing is measured. On a GPU nobody waits for a measurement: a later call
    reads it once it has arrived.

    Raises:
        InputError: `enabled` is not True or False.
    """
    validate.flag("enabled", enabled)
    with _State.lock:
        if not enabled:
            _State.measured = None
        elif _State.measured is None:
            _State.measured = {}


def observe(args: AttentionArgs) -> float | None:
    """The union that schedules are chosen for in this call, which may be measured too; None where
    none is known."""
    classes = _State.measured
    if classes is None or torch.compiler.is_compiling():
        return None
    wanted = not (args.deterministic or torch_wants_deterministic())
    # Of a tensor that only traces a call there is nothing to measure.
    if not wanted or args.backend == "reference" or type(args.indices) is not Tensor:
        return None
    heads = None if args.weights is None else args.weights.shape[2]
    given = (args.q, args.k, args.indices, args.chunk_size, args.chunk_start, heads)
    dims = calls.attention_dims(*given)
    if calls.is_empty(dims):
        return None
    key = class_of(dims, args.chunk_size, args.q.dtype, args.q.device, args.query_block)
    with _State.lock:
        measured = classes.setdefault(key, _Measured(dims["K"]))
        if not (args.indices.is_cuda and torch.cuda.is_current_stream_capturing()):
            measured.observe(args.indices, max(1, GROUP // args.query_block))
        return measured.chosen


def known(key: CallClass) -> float | None:
    """The union that a call of this class would have its schedules chosen for, if one is known."""
    with _State.lock:
        measured = None if _State.measured is None else _State.measured.get(key)
        return None if measured is None else measured.chosen


def class_of(
    dims: Mapping[str, int],
    chunk: int,
    dtype: torch.dtype,
    device: torch.device,
    query_block: int = 1,
) -> CallClass:
    """What calls share whose selections are measured together: the shape class of their attention
    kernels, and the device."""
    if device == torch.device("cuda"):
        device = torch.device("cuda", torch.cuda.current_device())
    sizes = tuple(dims.get(name, 0) for name in STATIC)
    counted = (bucket(dims["B"] * dims["L"]), bucket(dims["C"]))
    return (device, dtype, chunk, query_block, sizes, counted)


def _sample(indices: Tensor, group: int) -> Tensor:
    """Whole groups of neighbouring rows, evenly spaced, about `GROUPS` of all batches and heads."""
    batch, rows, heads, top_k = indices.shape
    groups = rows // group
    if groups == 0:
        return indices
    step = max(1, groups * batch * heads // GROUPS)
    grouped = indices[:, : groups * group].reshape(batch, groups, group, heads, top_k)
    return grouped[:, ::step].flatten(1, 2)
