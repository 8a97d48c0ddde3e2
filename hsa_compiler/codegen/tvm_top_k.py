"""The running top-k: rows in lanes, candidates sinking through the list."""

from __future__ import annotations

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_elements import At
from hsa_compiler.codegen.tvm_layout import COL
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.codegen.tvm_tiles import Tiles
from hsa_compiler.tile.ir import Let, Var


def print_merge_top_k(tiles: Tiles, let: Let) -> None:
    """Rows of `running` (descending) take in the elements of `fresh`.

    Four candidates at a time sink through the list: at each place the larger stays and the
    smaller goes on. Candidates that beat the last place of no row are passed over at once.
    """
    running, fresh = let.args
    assert isinstance(running, Var)
    assert isinstance(fresh, Var)
    writer, elements, layout = tiles.writer, tiles.elements, tiles.layout
    out = layout.buffers[let.var]
    if layout.owner(running) is not layout.owner(let.var):
        lanes = tiles.lane_axis(out)
        tiles.fill(out, lambda at: elements.element(running, at, "int64"), lanes)
    (rows, kept), count = running.shape, fresh.shape[1]
    writer.line(f"# {out.name}: the {kept} largest of itself and {fresh.name}, per row")
    group = 4 if count % 4 == 0 else 1

    def merge(at: tuple[At, ...]) -> None:
        (row,) = at
        lanes = row.lanes
        last = elements.read(out, (row, At(tx.const(kept - 1, "int32"), 1, writer.depth)))
        name = tiles.temporary(f"fresh_{lanes}", group * lanes, "int64")
        slots = [tiles.vector(name, tx.const(g, "int32"), lanes, "int64") for g in range(group)]
        with tiles.loop("n", count // group, lanes=group) as first:
            beats: X | None = None
            for g, slot in enumerate(slots):
                place = At(tx.add(first.base, tx.const(g, "int32")), 1, first.depth)
                tiles.set(slot, elements.element(fresh, (row, place), "int64"))
                more = tx.infix(">", slot, last)
                beats = more if beats is None else tx.infix("|", beats, more)
            assert beats is not None
            with writer.block(f"if {_any_lane(beats)}:"):
                _sink(tiles, let, row, slots)

    def _sink(tiles: Tiles, let: Let, row: At, slots: list[X]) -> None:
        with writer.block(f"for k in range({kept}):") as depth:
            place = (row, At(X("k", "int32"), 1, depth))
            top = elements.read(out, place)
            for slot in slots:
                best = writer.bind("best", tx.call("max", top, slot))
                tiles.set(slot, tx.call("min", top, slot))
                top = best
            tiles.assign(out, place, top)

    vector = out.order == COL and tiles.places.vectorises(fresh, 0)
    tiles.over((rows,), 0 if vector else None, merge)


def _any_lane(condition: X) -> str:
    if condition.lanes == 1:
        return condition.text
    return f'T.call_llvm_pure_intrin("bool", "llvm.vector.reduce.or", {condition.text})'
