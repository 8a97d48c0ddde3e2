"""Which knobs mean something for a kernel, and their values.

Choices, order and help of a knob come from its declaration in `schedule.Schedule`; the one table
here, `KNOBS`, says which kernel and back end reads it.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

from hsa_compiler.schedules.footprint import RANKING
from hsa_compiler.schedules.schedule import Schedule

#: Triton, TVM on CPUs, and TVM on GPUs.
BACKENDS = ("triton", "tvm", "cuda")


def on_gpu(backend: str) -> bool:
    """Whether a back end's programs are thread blocks of a GPU: both of these read the same knobs
    and have the same tiles."""
    return backend != "tvm"


@dataclass(frozen=True)
class KernelKnobs:
    """The knobs that one kernel reads: on every back end, on GPUs alone, on CPUs alone.

    `orders` are the loop orders it has a lowering for; a kernel with one order does not search it.
    """

    orders: tuple[str, ...]
    shared: tuple[str, ...] = ()
    gpu: tuple[str, ...] = ()
    cpu: tuple[str, ...] = ()

    @property
    def has_unions(self) -> bool:
        """Whether `tokens` are those of a tile in union order."""
        return "union" in self.orders

    @property
    def has_partials(self) -> bool:
        """Whether in chunk order every pair has a part of a row's result: they meet in a buffer or
        by atomic adds, and of several orders only this one reads the knobs of pairs."""
        return "combine" in self.shared

    @property
    def sums_chunks(self) -> bool:
        """Whether results are sums over a chunk's rows: programs that share a chunk add them
        atomically."""
        return self.orders == ("chunk",)

    def names(self, backend: str) -> tuple[str, ...]:
        """Knob names in search order for a back end."""
        own = self.gpu if on_gpu(backend) else self.cpu
        return ("order", *self.shared, *own)


_RANKING = KernelKnobs(
    ("token",),
    ("parts", "fan", "tokens", "chunk_block", "dim_block"),
    ("top_k", "warps", "stages", "registers"),
    ("lanes", "unroll"),
)
KNOBS: dict[str, KernelKnobs] = {
    "retrieve": _RANKING,
    "select": _RANKING,
    "weigh": KernelKnobs(("token",), ("dim_block",), ("warps",)),
    "attend": KernelKnobs(
        ("token", "union", "chunk"),
        ("parts", "tokens", "chunk_tile", "pairs", "window", "combine"),
        ("warps", "stages", "registers", "descriptors"),
        ("lanes", "unroll"),
    ),
    "attend_grad_q": KernelKnobs(
        ("token", "union", "chunk"),
        ("tokens", "chunk_tile", "pairs", "window", "combine"),
        ("warps", "stages", "registers", "descriptors"),
        ("lanes", "unroll"),
    ),
    "invert_index": KernelKnobs(("token",), ("index_blocks",), ("tokens", "warps")),
    "attend_grad_kv": KernelKnobs(
        ("chunk",),
        ("pairs", "chunk_tile"),
        ("split", "window", "combine", "warps", "stages", "registers"),
        ("lanes", "unroll"),
    ),
    "attend_grad": KernelKnobs(
        ("chunk",),
        ("pairs", "chunk_tile", "combine"),
        ("window", "warps", "stages", "registers"),
        ("window", "copies", "lanes", "unroll"),
    ),
    "weigh_grad": KernelKnobs(("token",), ("dim_block",), ("warps",)),
    "landmark_grad": KernelKnobs(
        ("chunk",), ("pairs", "dim_block"), ("split", "window", "combine", "warps", "stages")
    ),
}

#: Rows of a window that one program owns: 256 and 1024 are within 5 %.
OWNED_WINDOW = 512
#: Copies that a few cores fill.
OWNED_COPIES = 4
#: Values of a knob that one kernel takes on a back end, where they are fewer than the knob's own
#: choices; those of ``"triton"`` hold for every back end on GPUs. A CPU's registers hold few rows,
#: so more tokens a tile than fill its lanes gain nothing.
LIMITS: dict[tuple[str, str, str], tuple[Any, ...]] = {
    **{(kind, x, "tokens"): (1, 16, 32, 64, 128) for kind in RANKING for x in ("triton", "tvm")},
    **{(kind, "triton", "parts"): (0, 256, 1024) for kind in RANKING},
    **{(kind, "tvm", "parts"): (0, 8, 64) for kind in RANKING},
    ("attend", "triton", "parts"): (0, 2, 4, 8, 16, 32, 64),
    ("attend", "tvm", "parts"): (0, 2, 8),
    ("attend", "tvm", "tokens"): (1, 2, 4, 8, 16),
    ("invert_index", "triton", "tokens"): (1, 2, 4),
    ("attend", "triton", "window"): (0, 2048, 8192),
    ("attend", "tvm", "window"): (0, OWNED_WINDOW),
    ("attend_grad_q", "triton", "window"): (0, 2048, 8192),
    ("attend_grad_q", "tvm", "window"): (0, OWNED_WINDOW),
    ("attend_grad_kv", "triton", "window"): (0, 1024, 2048, 4096, 8192),
    ("landmark_grad", "triton", "window"): (0, 1024, 2048, 4096, 8192),
    # Planned beside the kernels whose place it may take: few values that differ little are left.
    ("attend_grad", "triton", "window"): (0, 2048, 8192),
    ("attend_grad", "tvm", "window"): (0, OWNED_WINDOW),
    ("attend_grad", "triton", "warps"): (2, 4, 8),
    ("attend_grad", "triton", "stages"): (1, 2),
    ("attend_grad_q", "tvm", "tokens"): (1, 2, 4, 8, 16),
}
#: Knobs that of several orders only chunk order reads.
CHUNK_KNOBS = ("pairs", "window", "combine")


@dataclass(frozen=True)
class Knob:
    """One axis of a search space: its name, legal values in order, and help text.

    `ordinal` says that neighbouring values behave alike, so a sampler may treat it as a number.
    """

    name: str
    choices: tuple[Any, ...]
    ordinal: bool
    doc: str


def knobs(kind: str, backend: str) -> tuple[Knob, ...]:
    """The axes of kernel `kind` on `backend`; a knob with one legal value is not an axis."""
    fields = {field.name: field for field in dataclasses.fields(Schedule)}
    axes = []
    for name in KNOBS[kind].names(backend):
        choices = allowed(kind, backend, name)
        if len(choices) > 1:
            meta = fields[name].metadata
            axes.append(Knob(name, choices, meta["ordinal"], meta["doc"]))
    return tuple(axes)


@functools.cache
def allowed(kind: str, backend: str, name: str) -> tuple[Any, ...]:
    """The values knob `name` may take for a kernel; for a knob it does not read, the default."""
    field = next(f for f in dataclasses.fields(Schedule) if f.name == name)
    if name == "order":
        return KNOBS[kind].orders
    if name not in KNOBS[kind].names(backend):
        return (field.default,)
    if name == "combine":
        parts = KNOBS[kind].has_partials
        # Without another order than chunk order there are always parts.
        none = () if parts and KNOBS[kind].sums_chunks else ("none",)
        owned = parts and not on_gpu(backend)
        return (*none, *["buffer"] * parts, *["atomic"] * on_gpu(backend), *["owned"] * owned)
    if name == "descriptors" and backend == "cuda":
        return ("none",)
    choices: tuple[Any, ...] = field.metadata["choices"]
    limits = "triton" if on_gpu(backend) else backend
    return LIMITS.get((kind, limits, name), choices)


def owning(kind: str, schedule: Schedule) -> dict[str, int]:
    """The knobs of programs that own a window of rows: those of `schedule`, where it has any."""
    copies = max(schedule.copies, OWNED_COPIES) if KNOBS[kind].sums_chunks else 0
    return {"window": schedule.window or OWNED_WINDOW, "copies": copies}


def canonical(kind: str, backend: str, schedule: Schedule) -> Schedule:
    """The same kernel with every knob it does not read at its default, so equal kernels compare
    equal."""
    read = KNOBS[kind].names(backend)
    return Schedule(**{name: getattr(schedule, name) for name in read})


def knob_values(kind: str, backend: str, schedule: Schedule) -> dict[str, Any]:
    """The knobs that the kernel reads, by name: the JSON form of a tuned schedule."""
    return {name: getattr(schedule, name) for name in KNOBS[kind].names(backend)}
