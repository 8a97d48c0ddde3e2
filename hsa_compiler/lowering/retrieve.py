"""Retrieval whole: score, selection and weights where every score head selects for itself.

Threshold selection knows the scores of the chunks it chooses, so one kernel does it all. Merging
keeps no scores (a forced chunk's key holds none), so a second kernel computes those of the chosen
chunks again.
"""

from __future__ import annotations

from hsa_compiler.lowering.common import LoweredGroup, Lowering
from hsa_compiler.lowering.normalizing import Slots, normalize
from hsa_compiler.lowering.select import select_kernel
from hsa_compiler.lowering.threshold import Chosen, Threshold
from hsa_compiler.lowering.weigh import weigh_kernel
from hsa_compiler.tile.builder import TileBuilder


def lower_retrieve(low: Lowering) -> LoweredGroup:
    """``score + select + gather + normalize`` -> one kernel, or two."""
    if low.schedule.top_k == "merge":
        return LoweredGroup((select_kernel(low), weigh_kernel(low)))
    b = TileBuilder("retrieve")
    threshold = Threshold(low, b)
    chosen = threshold.run()
    threshold.store_indices(chosen)
    _weigh(low, threshold, chosen)
    return LoweredGroup((b.finish(threshold.rank.grid),))


def _weigh(low: Lowering, threshold: Threshold, chosen: Chosen) -> None:
    """Scores and weights of the chosen chunks, one weight head of the score head after another."""
    b, rank = threshold.b, threshold.rank
    gather, op = low.op("gather"), low.op("normalize")
    slots = Slots(b, chosen.value, chosen.mask, chosen.slot)
    if low.is_output(gather, "slots"):
        scores = low.result(b, gather, "slots")
        heads = rank.score_heads
        threshold.store_slots(scores, heads, rank.i_head, chosen, chosen.value, float("-inf"))
    weight_heads = low.dim("Hw")
    shared = weight_heads // rank.score_heads
    weights = low.result(b, op, "weights")
    with b.loop(0, shared, name="i_weight") as loop:
        head = rank.i_head * shared + loop.index
        place = rank.place * weight_heads + head
        found = normalize(low, op, slots, place, rank.m_row)
        threshold.store_slots(weights, weight_heads, head, chosen, found.slots, 0.0)
        if found.local is not None and low.is_output(op, "local_weight"):
            b.store(low.result(b, op, "local_weight"), place, found.local, rank.m_row)
