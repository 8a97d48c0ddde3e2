"""Reads a tile along one axis and writes it along the other, in registers.

W vectors of W lanes are exchanged in log2(W) rounds. A round takes vectors i and i + W/2 apart
into their interleaved halves, which become vectors 2i and 2i + 1: it moves the highest bit of the
vector number to the end of the lane number, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_elements import At
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.codegen.tvm_tiles import Read, Tiles

_SMALLEST = 8


def interleaved(a: X, b: X) -> tuple[X, X]:
    """``a0 b0 a1 b1 ...`` from the lower and from the upper halves of two vectors."""
    half = a.lanes // 2
    results = []
    for start in (0, half):
        order = [i for lane in range(start, start + half) for i in (lane, lane + a.lanes)]
        text = f"T.Shuffle([{a.text}, {b.text}], {order})"
        results.append(X(text, a.dtype, a.lanes))
    return results[0], results[1]


def block_width(shape: tuple[int, ...], width: int) -> int:
    """The side of the square blocks a tile can be cut into; 0 where transposing does not pay."""
    while width >= _SMALLEST:
        if len(shape) == 2 and all(n % width == 0 for n in shape):
            return width
        width //= 2
    return 0


def print_transposed(
    tiles: Tiles,
    shape: tuple[int, ...],
    lanes: int,
    dtype: str,
    read: Read,
    write: Callable[[tuple[At, ...], X], None],
) -> None:
    """`write` every vector along axis `lanes`, having called `read` for vectors along the other."""
    width, writer = block_width(shape, tiles.width), tiles.writer
    half, first, second = width // 2, 1 - lanes, lanes
    names = [
        tiles.temporary(f"block_{part}", half * width, dtype)
        for part in ("low", "high", "next_low", "next_high")
    ]

    def vector(name: str, number: X) -> X:
        return tiles.vector(name, number, width, dtype)

    def place(along: At, across: At) -> tuple[At, ...]:
        return (along, across) if first == 0 else (across, along)

    def exchange(now: list[str], then: list[str]) -> None:
        for part in (0, 1):
            with tiles.unrolled(half // 2) as u:
                source = tx.add(u, tx.const(part * half // 2, "int32"))
                pair = interleaved(vector(now[0], source), vector(now[1], source))
                twice = tx.mul(u, tx.const(2, "int32"))
                for odd, value in enumerate(pair):
                    number = tx.add(twice, tx.const(odd, "int32"))
                    tiles.set(vector(then[part], number), value)

    counts = [n // width for n in shape]
    with (
        tiles.loop("m", counts[first], lanes=width) as along,
        tiles.loop("n", counts[second], lanes=width) as across,
    ):
        for part in (0, 1):
            with tiles.unrolled(half) as u:
                number = tx.add(u, tx.const(part * half, "int32"))
                row = At(tx.add(across.base, number), 1, writer.depth)
                tiles.set(vector(names[part], u), read(place(along, row)))
        now, then = names[:2], names[2:]
        rounds = width.bit_length() - 1
        if rounds % 2 == 0:
            with tiles.unrolled(rounds // 2, "r"):
                exchange(now, then)
                exchange(then, now)
        else:
            for _ in range(rounds):
                exchange(now, then)
                now, then = then, now
        for part in (0, 1):
            with tiles.unrolled(half) as u:
                number = tx.add(u, tx.const(part * half, "int32"))
                col = At(tx.add(along.base, number), 1, writer.depth)
                write(place(col, across), vector(now[part], u))
