"""What every lowering shares: a kernel under construction, its pointers, and small tile idioms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hsa_compiler.errors import LoweringError
from hsa_compiler.ir import Op
from hsa_compiler.schedules.hardware import has_copy_engine
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Descriptor, Kernel, Pointer, Var, Workspace

LOG2E = math.log2(math.e)
LN2 = math.log(2.0)
#: Stands for "no maximum yet": finite, so that subtracting it from itself is not NaN.
LOWEST = -1e30


@dataclass(frozen=True)
class Capabilities:
    """What a target's tiles can be; lowering asks this instead of naming back ends."""

    pow2_tiles: bool
    half_dots: bool
    shared_atomics: bool
    while_loops: bool
    min_dot: int
    descriptors: bool = False
    #: Whether loops that load ahead must carry the numbers that addresses are made of, because the
    #: back end does not load those ahead as well.
    carried_addresses: bool = False

    @classmethod
    def of(cls, target: Target) -> Capabilities:
        """Tiles on GPUs have power-of-two axes; CPU programs have exact ones, no atomics and no
        while loops. Triton alone reads blocks by the copy engine."""
        if target.backend != "tvm":
            return cls(
                pow2_tiles=True,
                half_dots=True,
                shared_atomics=True,
                while_loops=True,
                min_dot=16,
                descriptors=target.backend == "triton" and has_copy_engine(target.arch),
                carried_addresses=target.backend == "triton",
            )
        return cls(
            pow2_tiles=False,
            half_dots=False,
            shared_atomics=False,
            while_loops=False,
            min_dot=1,
        )

    def pad(self, size: int) -> int:
        """The smallest legal tile axis that holds `size` elements."""
        return 1 << (size - 1).bit_length() if self.pow2_tiles else size

    def operand(self, dtype: str) -> str:
        """The dtype in which a matrix product takes operands stored as `dtype`."""
        return dtype if self.half_dots else "fp32"


@dataclass
class Lowering:
    """One kernel group on its way to tile programs: the group's facts and what was declared."""

    problem: Problem
    schedule: Schedule
    caps: Capabilities
    bindings: dict[str, str] = field(default_factory=dict)
    workspaces: dict[str, Workspace] = field(default_factory=dict)

    def op(self, kind: str) -> Op:
        """The group's only op of a kind; `LoweringError` when it has none."""
        op = self.problem.group.program.find(kind)
        if op is None:
            raise LoweringError(f"group {self.problem.kind!r} has no {kind!r} op")
        return op

    def find(self, kind: str) -> Op | None:
        """The group's first op of a kind, if it has one."""
        return self.problem.group.program.find(kind)

    def dim(self, name: str) -> int:
        """A static dim."""
        return self.problem[name]

    @property
    def index_heads(self) -> int:
        """Index heads: those of the group, or one per score head where it names none."""
        heads = self.problem.get("Hi", 0)
        return heads or self.dim("Hr")

    def bind(self, b: TileBuilder, role: str, value_name: str, dtype: str) -> Pointer:
        """A pointer named by its role that stands for a value of the group's program."""
        self.bindings[role] = value_name
        return b.pointer(role, dtype)

    def operand(self, b: TileBuilder, op: Op, name: str, role: str | None = None) -> Pointer:
        """A pointer for an op's operand, which must be an input of the group."""
        value = op.operand(name)
        if value is None:
            raise LoweringError(f"op {op.kind!r} has no operand {name!r}")
        return self.bind(b, role or name, value.name, value.type.dtype)

    def optional(
        self, b: TileBuilder, op: Op | None, name: str, role: str | None = None
    ) -> Pointer | None:
        """Like `operand`, or None where the op (or the operand) is absent."""
        if op is None or op.operand(name) is None:
            return None
        return self.operand(b, op, name, role)

    def result(self, b: TileBuilder, op: Op, name: str, role: str | None = None) -> Pointer:
        """A pointer for an op's result, which must be an output of the group."""
        value = op.result(name)
        if value is None:
            raise LoweringError(f"op {op.kind!r} has no result {name!r} here")
        return self.bind(b, role or name, value.name, value.type.dtype)

    def is_output(self, op: Op, name: str) -> bool:
        """Whether the group returns this result of the op."""
        value = op.result(name)
        return value is not None and value in self.problem.group.program.outputs

    def workspace(self, b: TileBuilder, space: Workspace) -> Pointer:
        """A pointer to a temporary buffer, declared once per group."""
        self.workspaces[space.name] = space
        return b.pointer(space.name, space.dtype)

    def need_order(self, *orders: str) -> None:
        """Refuse a loop order that this group has no lowering for."""
        if self.schedule.order not in orders:
            raise IllegalSchedule(
                "order",
                f"{self.problem.kind} has no lowering for order={self.schedule.order}; "
                f"allowed: {', '.join(orders)}",
            )

    def need_atomics(self) -> None:
        """Refuse schedules whose programs add into shared memory where that is impossible."""
        if not self.caps.shared_atomics:
            s = self.schedule
            raise IllegalSchedule(
                "target",
                f"{self.problem.kind} with split={s.split} window={s.window} combine={s.combine} "
                "adds from several programs at once, which this target cannot; use "
                "combine='buffer' where the kernel has it, split=0 and window=0",
            )

    def blocks(
        self, b: TileBuilder, tensor: Pointer, axes: tuple[int, ...], *block: int
    ) -> Descriptor:
        """A tensor read in blocks; refused where the target has no copy engine."""
        if not self.caps.descriptors:
            raise IllegalSchedule(
                "target",
                f"{self.problem.kind} with descriptors={self.schedule.descriptors} needs Triton "
                "and a GPU of sm_90 or newer; allowed here: descriptors='none'",
            )
        return b.descriptor(tensor, axes, block)


@dataclass(frozen=True)
class LoweredGroup:
    """The launches of a group before they become a `TileProgram`; `overlapped` as there."""

    kernels: tuple[Kernel, ...]
    zeroed: tuple[str, ...] = ()
    accumulators: Mapping[str, str] = field(default_factory=dict)
    overlapped: bool = False


def both(b: TileBuilder, first: Var | None, second: Var | None) -> Var | None:
    """The conjunction of two masks, either of which may be absent."""
    if first is None or second is None:
        return second if first is None else first
    return b.binary("and", first, second, "m")


def below(offsets: Var, limit: int, padded: int) -> Var | None:
    """``offsets < limit`` where a tile axis was padded; None where every lane is in use."""
    return None if limit == padded else offsets < limit


def share_head(head: Var | int, heads: int, of: int) -> Var | int:
    """Which of `heads` heads the head `head` of `of` heads uses."""
    if heads == 1:
        return 0
    return head if heads == of else head * heads // of


def tile_offset(base: Var, rows: Var, row_stride: int, cols: Var) -> Var:
    """``base + rows[:, None] * row_stride + cols[None, :]``."""
    return base + (rows * row_stride).as_column + cols.as_row


def count_valid(b: TileBuilder, indices: Pointer, base: Var, k: int, padded: int) -> Var:
    """How many leading slots hold every non-empty one of a row's `k` indices (a scalar)."""
    o_slot = b.arange(padded, "o_slot")
    mask = below(o_slot, k, padded)
    chosen = b.load(indices, base + o_slot, mask, other=-1, name="b_chosen")
    return b.max(b.where(chosen >= 0, o_slot + 1, 0), 0, "n_slots")
