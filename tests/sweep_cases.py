"""The cases of the sweep: what one is, how it is drawn, and the fixed ones."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

DTYPES = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class HsaCase:
    """One call of `hsa_attention`."""

    batch: int
    length: int
    chunks: int
    tail: int
    q_offset: int
    kv_heads: int
    group: int
    head_dim: int
    chunk: int
    top_k: int
    score: str  # "one", "kv" or "query": Hr
    one_landmark: bool
    score_dim: int
    normalize: str
    weight_heads: str
    lse: str  # "one", "kv" or "query": heads of local_lse with lse_mix
    window: int | None
    packed: tuple[tuple[int, int], ...]
    bias: bool
    rank_scale: bool
    noise: bool
    scores_loss: bool
    dtype: str
    seed: int
    frozen: bool = False  # some inputs, by the seed, want no gradient
    # "chosen" by dispatch or "drawn", random ones by the seed; where a kernel has them "tiled", of
    # union order and windows of rows, or "blocks", of tensor descriptors; "fused", all gradients of
    # attention in one kernel.
    schedules: str = "chosen"


@dataclass(frozen=True)
class AttentionCase:
    """One call of `chunk_attention`."""

    batch: int
    length: int
    chunks: int
    tail: int
    kv_heads: int
    group: int
    head_dim: int
    chunk: int
    slots: int
    index: str  # "one", "kv" or "query": Hi
    weight: str  # the same, Hw (at least Hi); "joint" for the joint softmax
    local: bool
    plus_one: bool
    hide_last: bool
    query_block: int
    packed: tuple[int, ...]
    empty: str  # "none", "some", "all": empty slots
    dtype: str
    seed: int
    frozen: bool = False  # some inputs, by the seed, want no gradient
    # "chosen" by dispatch or "drawn", random ones by the seed; where a kernel has them "tiled", of
    # union order and windows of rows, or "blocks", of tensor descriptors; "fused", all gradients of
    # attention in one kernel.
    schedules: str = "chosen"


GROUPS = (1, 2, 3, 4, 16)
CHUNK_SIZES = (16, 16, 32, 64, 128)
HEAD_DIMS = (16, 32, 64, 128, 256)
SLOTS = (1, 2, 3, 5, 8, 16)
FEW = (1, 2, 3)
LEVELS = ("one", "kv", "query")
SCHEDULES = ("chosen", "drawn", "tiled", "blocks", "fused")
NORMALIZATIONS = ("softmax", "stick_breaking", "softmax_off_by_one", "lse_mix")
#: Every case is drawn afresh: hypothesis would otherwise spend a small budget on cases that differ
#: from the last one in a detail.
DICE = st.randoms(use_true_random=True)


@st.composite
def hsa_cases(draw: st.DrawFn) -> HsaCase:
    """Calls small enough for a CPU, in all combinations that the door allows."""
    dice = draw(DICE)
    chunk = dice.choice(CHUNK_SIZES)
    chunks, length = dice.randint(0, 7), dice.randint(1, 24)
    packed: tuple[tuple[int, int], ...] = ()
    if chunk <= 32 and dice.random() < 0.4:
        lengths = [
            (dice.randint(0, 12), dice.randint(0, 3 * chunk)) for _ in range(dice.choice(FEW))
        ]
        packed = (*lengths, (length, 2 * chunk + 3))
    score = dice.choice(LEVELS)
    normalize = dice.choice(NORMALIZATIONS)
    return HsaCase(
        batch=1 if packed else dice.choice(FEW),
        length=length,
        chunks=chunks,
        tail=dice.randrange(chunk),
        q_offset=dice.randint(0, (chunks + 1) * chunk),
        kv_heads=dice.choice(FEW),
        group=dice.choice(GROUPS),
        head_dim=dice.choice(HEAD_DIMS),
        chunk=chunk,
        top_k=dice.choice(SLOTS),
        score=score,
        one_landmark=dice.random() < 0.5,
        score_dim=dice.choice((16, 32, 48, 80, 128)),
        normalize=normalize,
        weight_heads="query" if score == "query" else dice.choice(("kv", "query")),
        lse=dice.choice(LEVELS),
        window=dice.choice((None, dice.randint(1, 3 * chunk))),
        packed=packed,
        bias=dice.random() < 0.5,
        rank_scale=normalize in ("softmax", "lse_mix") and dice.random() < 0.5,
        noise=dice.random() < 0.3,
        scores_loss=dice.random() < 0.5,
        dtype=dice.choice(DTYPES),
        seed=dice.randrange(1000),
        frozen=dice.random() < 0.3,
        schedules=dice.choice(SCHEDULES),
    )


@st.composite
def attention_cases(draw: st.DrawFn) -> AttentionCase:
    """Selections with holes, repetitions and no order, of any head ratio."""
    dice = draw(DICE)
    chunk = dice.choice(CHUNK_SIZES)
    packed: tuple[int, ...] = ()
    if chunk <= 32 and dice.random() < 0.4:
        packed = tuple(dice.randint(0, 3 * chunk) for _ in range(dice.choice(FEW)))
    index = dice.choice(LEVELS)
    return AttentionCase(
        batch=1 if packed else dice.choice(FEW),
        length=dice.randint(1, 24),
        chunks=dice.randint(1, 6),
        tail=dice.randrange(chunk),
        kv_heads=dice.choice(FEW),
        group=dice.choice(GROUPS),
        head_dim=dice.choice(HEAD_DIMS),
        chunk=chunk,
        slots=dice.choice(SLOTS),
        index=index,
        weight=dice.choice(("joint", *LEVELS[LEVELS.index(index) :])),
        local=dice.random() < 0.5,
        plus_one=dice.random() < 0.5,
        hide_last=dice.random() < 0.5,
        query_block=1 if packed else dice.choice((1, 1, 2, 5)),
        packed=packed,
        empty=dice.choice(("none", "some", "some", "all")),
        dtype=dice.choice(DTYPES),
        seed=dice.randrange(1000),
        frozen=dice.random() < 0.3,
        schedules=dice.choice(SCHEDULES),
    )


#: What drawing might miss with few examples.
HSA_EXAMPLES = (
    HsaCase(
        1, 5, 2, 7, 30, 1, 3, 256, 128, 5, "one", False, 16, "softmax", "kv", "one", None,
        (), False, False, False, False, "fp32", 1,
    ),
    HsaCase(
        2, 20, 5, 3, 70, 2, 4, 64, 16, 3, "query", True, 48, "lse_mix", "query", "query", 24,
        (), True, True, False, True, "bf16", 2, schedules="tiled",
    ),
    HsaCase(
        1, 9, 0, 0, 0, 2, 1, 32, 32, 2, "kv", False, 32, "stick_breaking", "query", "kv", None,
        ((7, 70), (0, 40), (10, 0), (9, 67)), True, False, False, True, "fp32", 3,
        schedules="tiled",
    ),
    HsaCase(
        1, 3, 1, 2, 0, 1, 16, 16, 16, 1, "one", False, 16, "softmax_off_by_one", "kv", "kv", None,
        (), False, False, False, False, "fp16", 4,
    ),
)  # fmt: skip
ATTENTION_EXAMPLES = (
    AttentionCase(
        1, 6, 3, 5, 1, 16, 128, 64, 5, "one", "joint", True, True, True, 1, (), "some", "fp32", 1
    ),
    AttentionCase(
        2, 11, 4, 0, 2, 3, 32, 16, 8, "kv", "query", True, False, False, 5, (), "some", "bf16", 2,
        schedules="tiled",
    ),
    AttentionCase(
        1, 7, 0, 0, 3, 1, 16, 32, 3, "query", "joint", False, True, False, 1, (70, 20, 40),
        "some", "fp32", 3, schedules="tiled",
    ),
    AttentionCase(
        1, 5, 2, 1, 2, 2, 64, 16, 2, "one", "kv", False, False, True, 2, (), "all", "fp32", 4
    ),
    AttentionCase(
        1, 13, 0, 0, 2, 8, 64, 16, 3, "kv", "kv", False, False, True, 1, (40, 20, 50),
        "some", "bf16", 5, schedules="blocks",
    ),
    AttentionCase(
        2, 9, 3, 4, 2, 2, 16, 32, 3, "kv", "query", True, False, True, 1, (), "some", "fp32", 6,
        schedules="fused",
    ),
    AttentionCase(
        1, 12, 4, 0, 1, 6, 32, 32, 5, "query", "joint", True, True, False, 2, (), "some", "fp16", 7,
        schedules="fused",
    ),
)  # fmt: skip
