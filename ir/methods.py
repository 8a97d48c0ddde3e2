"""Published methods as programs: a few lines each.

Chunk summaries (landmarks) are inputs; a method's own chunk or sliding window is the local branch
(local_out and its log-sum-exp). Inputs are named as in `programs.py`; where a method scores with
its attention queries, the caller passes them as q_slc.
"""

from __future__ import annotations

from .core import Program
from .programs import AttentionOptions, RetrieveOptions, hsa_program


def gca(top_k: int, chunk: int, score_scale: float, scale: float, dtype: str = "bf16") -> Program:
    """Grouped cross-attention (arXiv 2410.01651): `chunk` tokens share one selection.

    Rows R = ceil(L / chunk); a row sees what its first token sees.
    """
    return hsa_program(
        RetrieveOptions(top_k, score_scale, dtype=dtype),
        AttentionOptions(chunk, scale, query_block=chunk, dtype=dtype),
        name="gca",
    )


def hils(top_k: int, chunk: int, score_scale: float, scale: float, dtype: str = "bf16") -> Program:
    """HiLS (arXiv 2607.02980): indices per KV head, weights per query head, one mix with a window.

    Hr = Hw = Hq score and weight heads, Hi = H index heads (the best of a group decides), an
    entropy bias per chunk; the window's LSE (local_lse) is one more logit of the mix.
    """
    return hsa_program(
        RetrieveOptions(
            top_k, score_scale, normalize="lse_mix", reduce="max", bias=True, dtype=dtype
        ),
        AttentionOptions(chunk, scale, local=True, dtype=dtype),
        name="hils",
    )


def moba(top_k: int, chunk: int, scale: float, dtype: str = "bf16") -> Program:
    """MoBA (arXiv 2502.13189): every query head selects for itself by the mean of a chunk's keys.

    Hr = Hi = Hq, landmarks the means of k (Hm = H), q_slc = q. The token's own chunk, which MoBA
    always attends to, is the local branch, so `top_k` counts the past chunks alone.
    """
    return hsa_program(
        RetrieveOptions(top_k, scale, normalize=None, dtype=dtype),
        AttentionOptions(chunk, scale, joint=True, local=True, dtype=dtype),
        name="moba",
    )


def nsa_selected(
    top_k: int,
    chunk: int,
    scale: float,
    force_first: int = 0,
    force_last: int = 0,
    dtype: str = "bf16",
) -> Program:
    """The selected branch of NSA (arXiv 2502.11089), compression blocks equal to chunks.

    Landmarks are the compressed keys (Hm = H), q_slc = q, row_lse the compression branch's LSE:
    a group of query heads (Hi = H) picks the chunks with the largest sum of its probabilities.
    """
    return hsa_program(
        RetrieveOptions(
            top_k,
            scale,
            normalize=None,
            reduce="sum",
            row_lse=True,
            force_first=force_first,
            force_last=force_last,
            dtype=dtype,
        ),
        AttentionOptions(chunk, scale, joint=True, dtype=dtype),
        name="nsa_selected",
    )


def infllm_v2(
    top_k: int,
    chunk: int,
    scale: float,
    force_first: int = 1,
    force_last: int = 1,
    dtype: str = "bf16",
) -> Program:
    """InfLLM-v2 (arXiv 2509.24663): a group shares its chunks; the first and last are forced.

    Landmarks are one summary per chunk, pooled from the overlapping kernels by the caller
    (Hm = H); row_lse normalises each head's scores before a group (Hi = H) sums them. The token's
    incomplete chunk is the local branch.
    """
    return hsa_program(
        RetrieveOptions(
            top_k,
            scale,
            normalize=None,
            reduce="sum",
            row_lse=True,
            force_first=force_first,
            force_last=force_last,
            dtype=dtype,
        ),
        AttentionOptions(chunk, scale, joint=True, local=True, dtype=dtype),
        name="infllm_v2",
    )
