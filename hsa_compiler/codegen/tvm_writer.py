"""Collects the lines of generated TVMScript as a stack of open blocks.

A value that does not change in the innermost loop is bound in the block where it last changed:
that block's lines are still open, and the inner block is appended to them when it closes.
"""

from __future__ import annotations

import keyword
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from hsa_compiler.codegen.tvm_text import X

_INDENT = "    "


class Writer:
    """Lines of one function; depth 0 is its body."""

    def __init__(self, reserved: tuple[str, ...] = ()) -> None:
        self._blocks: list[list[str]] = [[]]
        self._memo: list[dict[Hashable, X]] = [{}]
        self._used = {"T", "I", *keyword.kwlist, *reserved}
        #: Buffers of `keep`: elements and dtype by name, to be allocated by the caller.
        self.kept: dict[str, tuple[int, str]] = {}

    @property
    def depth(self) -> int:
        """Number of open blocks."""
        return len(self._blocks) - 1

    def fresh(self, name: str) -> str:
        """`name`, or `name_1`, ... where it is taken."""
        number, result = 0, name
        while result in self._used:
            number += 1
            result = f"{name}_{number}"
        self._used.add(result)
        return result

    def line(self, text: str, depth: int | None = None) -> None:
        """Add a line to the innermost open block, or to the one at `depth`."""
        self._blocks[self.depth if depth is None else depth].append(text)

    @contextmanager
    def block(self, header: str) -> Iterator[int]:
        """The lines until the end of the ``with`` belong under `header`; gives their depth. A
        block that stays empty is left out."""
        self._blocks.append([])
        self._memo.append({})
        yield self.depth
        self._memo.pop()
        lines = self._blocks.pop()
        if lines:
            self._blocks[-1] += [header, *(_INDENT + line for line in lines)]

    def bind(self, name: str, value: X, depth: int | None = None) -> X:
        """An immutable variable of that value."""
        variable = self.fresh(name)
        self.line(f"{variable}: T.let = {value.text}", depth)
        return X(variable, value.dtype, value.lanes)

    def keep(self, name: str, value: X, depth: int | None = None) -> X:
        """Like `bind`, but through a small buffer, which LLVM keeps in a register.

        TVM copies what a bound variable stands for into each of its uses while it simplifies. A
        hash or a logarithm, every step of which uses the one before several times, would grow
        exponentially; what is read from a buffer is not copied.
        """
        if value.value is not None:
            return value
        buffer = self.fresh(f"{name}_kept")
        self.kept[buffer] = (value.lanes, value.dtype)
        place = f"{buffer}[{'0' if value.lanes == 1 else f'T.Ramp(0, 1, {value.lanes})'}]"
        self.line(f"{place} = {value.text}", depth)
        return self.bind(name, X(place, value.dtype, value.lanes), depth)

    # -- values already computed in an open block -----------------------------------------------
    def remember(self, key: Hashable, value: X, depth: int) -> None:
        """`value` may be used again until the block at `depth` closes."""
        self._memo[depth][key] = value

    def recall(self, key: Hashable) -> X | None:
        """What was remembered, if its block is still open."""
        for values in reversed(self._memo):
            if key in values:
                return values[key]
        return None

    def forget(self) -> None:
        """Forget all values: memory they were read from is about to change."""
        for values in self._memo:
            values.clear()

    def text(self, indent: int) -> str:
        """The finished lines."""
        (lines,) = self._blocks
        return "\n".join(_INDENT * indent + line if line else "" for line in lines)
