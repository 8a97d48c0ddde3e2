"""What retrieval hands to attention: `Selection`, and the `InverseIndex` that belongs to it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from hsa_compiler.runtime import checks, index_op


class InverseIndex(NamedTuple):
    """Which (row, slot) pairs chose each chunk: pair ids ``row * K + slot`` sorted by chunk.

    Attributes:
        order: i32[B, Hi, R * K], the pair ids.
        offsets: i32[B, Hi, C + 1], where each chunk's pairs begin in `order`.
        indices: the very tensor that it was built from, and ...
        version: ... how often that had been written to in place.
    """

    order: Tensor
    offsets: Tensor
    indices: Tensor
    version: int = 0


class Selection(NamedTuple):
    """What `retrieve` chose.

    Slots are ordered newest chunk first; an empty slot has index -1, score -inf and weight 0.

    Attributes:
        indices: i32[B, R, Hi, K], chunk numbers.
        weights: fp32[B, R, Hw, K], or None: `chunk_attention` then softmaxes jointly.
        scores: fp32[B, R, Hr, K], the chosen chunks' scores, differentiable; or None.
        local_weight: fp32[B, R, Hw], the local branch's weight (``normalize="lse_mix"``), or None.
        inverse: the inverse index of `indices`, which every layer and gradient that uses the
            selection shares; or None. It is built again where `indices` are other ones by now.
    """

    indices: Tensor
    weights: Tensor | None = None
    scores: Tensor | None = None
    local_weight: Tensor | None = None
    inverse: InverseIndex | None = None


def usable_inverse(
    selection: Selection, dims: dict[str, int], chunks: int
) -> tuple[Tensor, Tensor] | None:
    """The selection's inverse index; None where it is of other indices, or counts other chunks than
    the keys have, and must be built again."""
    inverse = selection.inverse
    if inverse is None:
        return None
    checks.check_inverse(dims, inverse)
    same = inverse.indices is selection.indices
    if not same or inverse.version != index_op.version_of(selection.indices):
        return None
    return inverse[:2] if inverse.offsets.shape[2] == chunks + 1 else None
