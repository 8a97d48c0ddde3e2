"""Shared memory of one kernel: where buffers lie, and where threads must wait for each other.

A kernel is printed twice. The first time only finds out from when to when every buffer is in use;
then buffers that are never in use together get the same place, and the second text is final.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

SIZES = {
    "float32": 4, "bfloat16": 2, "float16": 2, "int32": 4, "int64": 8, "uint32": 4, "bool": 1,
}  # fmt: skip
_ALIGN = 128
#: As ``wgmma`` reads 2-byte elements: panels of 64 columns; the number of a row in its group of 8
#: flips bits of the number of a piece of 8 columns; groups begin at multiples of their bytes.
PANEL = 64
PIECE = 8
GROUP = 8
MOST_ALIGN = GROUP * PANEL * 2
#: Between neighbouring rows: eight rows of any power of two of bytes then start in eight different
#: groups of four banks, so that matrices are read without conflicts.
_PADDING_BYTES = 16


@dataclass(frozen=True)
class SharedBuffer:
    """A buffer of rows that lie `pitch` elements apart; where it is `swizzled`, one of panels of 64
    columns, one after the other, for `pitch` columns in all."""

    name: str
    dtype: str
    rows: int
    columns: int
    pitch: int
    swizzled: bool = False

    @property
    def align(self) -> int:
        """Bytes that its place is a multiple of."""
        return MOST_ALIGN if self.swizzled else _ALIGN

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.rows * self.pitch * SIZES[self.dtype]


@dataclass
class _Life:
    buffer: SharedBuffer
    first: int
    last: int


class SharedMemory:
    """Buffers in the order they are made. `places` are byte offsets of an earlier printing."""

    def __init__(self, barrier: Callable[[], None], places: Mapping[str, int] | None) -> None:
        self._barrier, self._places = barrier, places
        self._lives: dict[str, _Life] = {}
        self._clock = 0
        self._written: set[str] = set()
        self._read: set[str] = set()
        self._staged: set[str] = set()
        #: Inside a loop anything may still be in use by the round before.
        self._all = False

    def buffer(
        self, name: str, shape: tuple[int, ...], dtype: str, swizzled: bool = False
    ) -> SharedBuffer:
        """A new buffer for a tile of one or two axes."""
        rows, columns = (1, *shape)[-2:]
        pad = _PADDING_BYTES // SIZES[dtype] if rows > 1 and not swizzled else 0
        made = SharedBuffer(name, dtype, rows, columns, columns + pad, swizzled)
        self._clock += 1
        self._lives[name] = _Life(made, self._clock, self._clock)
        return made

    def stages(
        self, name: str, shape: tuple[int, ...], dtype: str, count: int, swizzled: bool = False
    ) -> SharedBuffer:
        """A new buffer for `count` tiles, one below the other, whose users wait by themselves."""
        rows, columns = (1, *shape)[-2:]
        self._staged.add(name)
        return self.buffer(name, (rows * count, columns), dtype, swizzled)

    @property
    def buffers(self) -> list[SharedBuffer]:
        """All that were made."""
        return [life.buffer for life in self._lives.values()]

    # -- waiting --------------------------------------------------------------------------------
    def write(self, buffer: SharedBuffer) -> None:
        """Call before the threads write: they wait where others may still use that memory."""
        self._touch(buffer)
        if buffer.name in self._staged:
            return
        if self._all or self._overlaps(buffer, self._read | self._written):
            self.wait()
        self._written.add(buffer.name)

    def read(self, buffer: SharedBuffer) -> None:
        """Call before the threads read what others have written."""
        self._touch(buffer)
        if buffer.name in self._staged:
            return
        if self._all or self._overlaps(buffer, self._written):
            self.wait()
        self._read.add(buffer.name)

    def wait(self) -> None:
        """All threads wait for each other."""
        self._barrier()
        self._read.clear()
        self._written.clear()
        self._all = False

    def unsure(self) -> None:
        """Any buffer may have been used since the threads last waited: where paths meet."""
        self._all = True

    # -- lives ----------------------------------------------------------------------------------
    def begin_loop(self) -> int:
        """Call before a loop's body is printed; `end_loop` takes the result."""
        self._clock += 1
        self._all = True
        return self._clock

    def end_loop(self, start: int) -> None:
        """What was made before the loop and used in it is in use until its end."""
        self._clock += 1
        self._all = True
        for life in self._lives.values():
            if life.first <= start <= life.last:
                life.last = self._clock

    def _touch(self, buffer: SharedBuffer) -> None:
        self._clock += 1
        self._lives[buffer.name].last = self._clock

    def _overlaps(self, buffer: SharedBuffer, names: set[str]) -> bool:
        if self._places is None:
            return buffer.name in names
        start = self._places[buffer.name]
        end = start + buffer.bytes
        for name in names:
            other = self._places[name]
            if other < end and start < other + self._lives[name].buffer.bytes:
                return True
        return False

    def arrange(self) -> tuple[dict[str, int], int]:
        """A byte offset for every buffer, and how many bytes there are in all."""
        placed: list[tuple[_Life, int, int]] = []
        places: dict[str, int] = {}
        for life in sorted(self._lives.values(), key=lambda x: (-x.buffer.bytes, x.first)):
            align = life.buffer.align
            size = -(-life.buffer.bytes // _ALIGN) * _ALIGN
            busy = sorted(
                (start, end)
                for other, start, end in placed
                if other.first <= life.last and life.first <= other.last
            )
            offset = 0
            for start, end in busy:
                if offset + size <= start:
                    break
                offset = max(offset, -(-end // align) * align)
            placed.append((life, offset, offset + size))
            places[life.buffer.name] = offset
        return places, max((end for _, _, end in placed), default=0)
