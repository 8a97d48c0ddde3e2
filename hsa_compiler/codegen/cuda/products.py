"""How a kernel's matrix products are computed, and where their factors lie.

In half precision warps multiply by themselves (``mma.sync``), or four of them together what lies
in shared memory (``wgmma``), where the target has that and a tile has 16 rows for every warp. All
other products are multiply-adds of threads.
"""

from __future__ import annotations

from collections.abc import Iterator

from hsa_compiler.codegen.cuda import layout as lo
from hsa_compiler.codegen.cuda.layout import Layout
from hsa_compiler.codegen.cuda.shared import GROUP, PANEL
from hsa_compiler.codegen.cuda.values import Values
from hsa_compiler.tile.ir import Let, Stmt, Var

#: Warps that multiply together, the rows that each of them has in a block, and the most columns.
WARPGROUP = 4
WARP_ROWS = 16
_MOST_COLUMNS = 256
#: Registers of a thread where a schedule does not limit them, and the share of them that an operand
#: A may fill while a loop multiplies by it.
_REGISTERS = 255
_LEFT_SHARE = 5


class Products:
    """Answers questions about one kernel's products, for programs of `warps` warps with
    `registers` registers a thread (0: no limit); `warpgroups` where the target has ``wgmma``."""

    def __init__(self, values: Values, warps: int, registers: int, warpgroups: bool) -> None:
        self.values, self.warps = values, warps
        self._most_left = (registers or _REGISTERS) // _LEFT_SHARE
        self._warpgroups = warpgroups and warps >= WARPGROUP
        self._left_shared: dict[Let, bool] = {}

    def result(self, let: Let) -> Layout:
        """The layout of a product."""
        rows, columns = let.var.shape
        if self.by_warpgroups(let):
            return lo.warpgroup_accumulator((rows, columns), self.warps)
        make = lo.accumulator if self.by_matrix_unit(let) else lo.fma_result
        return make((rows, columns), self.warps)

    def by_matrix_unit(self, let: Let) -> bool:
        """Whether the matrix unit computes it: in half precision, from 16 x 16 x 16 on."""
        a, b = _factors(let)
        return a.dtype != "fp32" and min(*a.shape, *b.shape) >= 16

    def by_warpgroups(self, let: Let) -> bool:
        """Whether four warps compute it together, each 16 rows of a block: what they read from
        shared memory must fill panels."""
        if not self._warpgroups or not self.by_matrix_unit(let):
            return False
        rows, columns = let.var.shape
        fits = rows >= WARP_ROWS * self.warps and columns <= _MOST_COLUMNS
        bases = (self.values.base(x)[0] for x in self._read_there(let))
        return fits and all(
            base.shape[0] % GROUP == 0 and base.shape[1] % PANEL == 0 for base in bases
        )

    def left_from_shared(self, let: Let) -> bool:
        """Whether the matrix unit's operand A stays in shared memory until it is used: a loaded
        tile that is there anyway in the same block, or would fill too many registers."""
        if let not in self._left_shared:
            a, _ = _factors(let)
            base, _ = self.values.base(a)
            source = self.values.let(base)
            found = False
            if self.by_matrix_unit(let) and source is not None and source.op == "load":
                domain = lo.accumulator((let.var.shape[0], let.var.shape[1]), self.warps)
                # Two elements a register.
                registers = lo.left_operand(domain, a.shape[1]).registers // 2
                near = self.values.infos[base].body == self.values.infos[let.var].body
                there = any(
                    isinstance(use.stmt, Let) and use.stmt.op == "dot" and use.index == 1
                    for use in self.values.readers(base)
                )
                direct = base not in self.values.cloneable
                found = direct and (registers > self._most_left or (near and there))
            self._left_shared[let] = found
        return self._left_shared[let]

    def factors(self, stmt: Stmt) -> Iterator[Var]:
        """The tiles that a statement reads from shared memory."""
        if isinstance(stmt, Let) and stmt.op == "dot":
            yield from (self.values.base(x)[0] for x in self._read_there(stmt))

    def _read_there(self, let: Let) -> Iterator[Var]:
        a, b = _factors(let)
        yield b
        if not self.by_matrix_unit(let) or self.left_from_shared(let):
            yield a


def _factors(let: Let) -> tuple[Var, Var]:
    a, b = let.args[:2]
    assert isinstance(a, Var)
    assert isinstance(b, Var)
    return a, b
