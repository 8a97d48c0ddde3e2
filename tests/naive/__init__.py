"""Plain PyTorch references: dense masks, loops over chunks, autograd; nothing of the compiler.

from tests.naive import naive_hsa, naive_retrieve, naive_chunk_attention, visible_range
"""

from .hsa import (
    NaiveSelection,
    naive_chunk_attention,
    naive_gumbel,
    naive_hsa,
    naive_retrieve,
    naive_weights,
)
from .methods import (
    masked_attention,
    naive_gca,
    naive_hils,
    naive_infllm_v2,
    naive_moba,
    naive_nsa_selected,
)
from .visibility import chunk_starts, visible_range

__all__ = [
    "NaiveSelection",
    "chunk_starts",
    "masked_attention",
    "naive_chunk_attention",
    "naive_gca",
    "naive_gumbel",
    "naive_hils",
    "naive_hsa",
    "naive_infllm_v2",
    "naive_moba",
    "naive_nsa_selected",
    "naive_retrieve",
    "naive_weights",
    "visible_range",
]
