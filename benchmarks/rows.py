"""The rows of every suite as data, and how ``--rows`` chooses among them.

A row is one shape of the operator and one kind of selection. ``--rows`` takes names, or a shape
spelt out as for `autotune`: ``L=8192,Hq=16,H=1,D=64,S=64,K=16,selection=random``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hsa_compiler.errors import InputError
from hsa_compiler.model.config import HSAConfig, preset
from hsa_compiler.runtime import validate
from hsa_compiler.schedules import locality
from hsa_compiler.tuner.shapes import SHAPES, Shape, parse_shape

#: What can be measured of a row: attention to a given selection, retrieval alone, `hsa_attention`
#: from end to end, `hsa_decode`, and a model's training steps.
PARTS = ("attention", "retrieval", "total", "decode", "train")


@dataclass(frozen=True)
class Row:
    """One line of a suite.

    `default_on` is the kind of device that runs it where `--rows` names none: ``"cuda"``,
    ``"cpu"``, or ``""`` for a row that must be named. `model`: training steps of this model are
    measured, and `shape` is that of its attention.
    """

    name: str
    shape: Shape
    selection: str = "local"
    default_on: str = "cuda"
    model: HSAConfig | None = None

    def __post_init__(self) -> None:
        validate.one_of("selection", self.selection, locality.KINDS)
        if self.shape.Lkv < self.shape.L:
            raise InputError(
                f"row {self.name}: L={self.shape.L} queries and Lkv={self.shape.Lkv} keys: the "
                "queries are the end of the sequence, so there must be as many keys at least"
            )
        if self.shape.Zk:
            raise InputError(
                f"row {self.name}: Zk={self.shape.Zk}: benchmarks decode on a contiguous cache: "
                "leave Zk out"
            )
        if self.shape.normalize != "softmax":
            raise InputError(
                f"row {self.name}: normalize={self.shape.normalize!r}: benchmarks measure 'softmax'"
            )

    def on(self, kind: str) -> Row:
        """The row as it runs on a kind of device: a CPU computes in fp32."""
        if kind != "cpu" or self.shape.dtype == "fp32":
            return self
        return replace(self, shape=self.shape.resized(dtype="fp32"))


@dataclass(frozen=True)
class Suite:
    """A set of rows, what is measured of each, and what a reader of the results must know."""

    name: str
    rows: dict[str, Row]
    parts: tuple[str, ...] = PARTS[:3]
    backward: bool = True
    notes: tuple[str, ...] = ()


def _table(rows: Iterable[Row]) -> dict[str, Row]:
    return {row.name: row for row in rows}


def _small(*names: str) -> list[Row]:
    """Shapes that a CPU finishes soon."""
    return [Row(name, SHAPES[name], default_on="cpu") for name in names]


PAPER = _table(
    [
        *(Row(name, SHAPES[name]) for name in ("a8", "a32", "a128")),
        *(Row(f"r{size}", SHAPES[f"a{size}"], "random") for size in (8, 32)),
        *(Row(name, SHAPES[name]) for name in ("g4", "g1", "m345")),
        *_small("tiny", "cpu2k"),
    ]
)

RATIOS, HEAD_DIMS, TOP_KS = (1, 2, 4, 8, 16, 32), (64, 128), (8, 16, 32, 64)
#: Thousands of tokens.
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
#: What `ratio` runs by default: one axis at a time around 16 query heads a KV head, D = 128,
#: K = 16 and 32K tokens.
CENTRE = (16, 128, 16, 32)


def _ratio_row(ratio: int, dim: int, top_k: int, length: int) -> Row:
    point = (ratio, dim, top_k, length)
    on_an_axis = sum(a != b for a, b in zip(point, CENTRE, strict=True)) <= 1
    heads = max(16, ratio)
    name = f"r{ratio}-d{dim}-k{top_k}-l{length}k"
    shape = Shape(name, L=1024 * length, Hq=heads, H=heads // ratio, D=dim, S=64, K=top_k)
    small = ratio in (1, 16) and point[1:] == (64, 8, 1)
    return Row(name, shape, default_on="cuda" if on_an_axis else "cpu" if small else "")


RATIO = _table(
    _ratio_row(ratio, dim, top_k, length)
    for ratio in RATIOS
    for dim in HEAD_DIMS
    for top_k in TOP_KS
    for length in LENGTHS
)


def _cpu_row(ratio: int, thousands: int, dim: int = 64) -> Row:
    name = f"g{ratio}-d{dim}-{thousands}k"
    shape = Shape(name, L=1024 * thousands, Hq=16, H=16 // ratio, D=dim, S=64, K=16, dtype="fp32")
    return Row(name, shape, "random", default_on="cpu")


#: What a CPU finishes in a second: head ratios at two lengths, and 32 query heads a KV head.
CPU = _table(
    [
        *(_cpu_row(ratio, thousands) for thousands in (2, 8) for ratio in (16, 8, 4, 2, 1)),
        _cpu_row(16, 2, 128),
        Row(
            "g32-d64-2k",
            Shape("g32-d64-2k", L=2048, Hq=32, H=1, D=64, S=64, K=16, dtype="fp32"),
            "random",
            default_on="cpu",
        ),
    ]
)


def _retrieval_row(label: str, thousands: int, score_heads: int, dim: int) -> Row:
    name = f"{label}-{thousands}k"
    shape = Shape(
        name, L=1024 * thousands, Hq=16, H=score_heads, D=64, S=64, K=32, Hr=score_heads, Dr=dim
    )
    return Row(name, shape, "random")


def _cpu_retrieval_row(thousands: int) -> Row:
    name = f"cpu-{thousands}k"
    shape = Shape(name, L=1024 * thousands, Hq=16, H=1, D=64, S=64, K=16, dtype="fp32")
    return Row(name, shape, "random", default_on="cpu")


RETRIEVAL = _table(
    [
        *(
            _retrieval_row(label, thousands, score_heads, dim)
            for label, score_heads, dim in (("hr1", 1, 128), ("hr4", 4, 128), ("dr1024", 1, 1024))
            for thousands in (8, 32, 128)
        ),
        *map(_cpu_retrieval_row, (2, 8, 32)),
        *_small("tiny"),
    ]
)


def _decode_row(name: str, tokens: int, default_on: str = "cuda") -> Row:
    return Row(name, SHAPES["d1m"].resized(name=name, Lkv=tokens), "random", default_on)


MILLION = 1 << 20
DECODE = _table(
    [
        *(Row(name, SHAPES[name], "random") for name in ("d64k", "d1m")),
        _decode_row("d4m", 4 * MILLION),
        Row("d16m", SHAPES["d16m"], "random"),
        _decode_row("d16k", MILLION // 64, "cpu"),
    ]
)


def _crossover_row(selection: str, top_k: int, thousands: int) -> Row:
    name = f"{selection}-k{top_k}-{thousands}k"
    shape = Shape(name, L=1024 * thousands, Hq=16, H=1, D=128, S=64, K=top_k)
    return Row(name, shape, selection)


#: Whole steps from where dense attention is sure to win to where it is sure to lose.
CROSSOVER = _table(
    [
        *(
            _crossover_row(selection, top_k, thousands)
            for selection in ("local", "random")
            for top_k in (16, 32)
            for thousands in (1, 2, 4, 8, 16, 32)
        ),
        *_small("tiny"),
    ]
)

#: Whole steps whose memory must grow with their tokens.
MEMORY = _table(
    [
        *(
            Row(name, Shape(name, L=1024 * thousands, Hq=16, H=1, D=128, S=64, K=32))
            for thousands in (32, 128, 512)
            for name in (f"m{thousands}k",)
        ),
        *_small("tiny", "cpu2k"),
    ]
)


def _train_row(name: str, model: HSAConfig, length: int) -> Row:
    shape = Shape(
        name,
        L=length,
        Hq=model.heads,
        H=model.hsa_kv_heads,
        D=model.head_dim,
        S=model.chunk_size,
        K=model.top_k,
        Hr=model.retrieval_heads,
        Dr=model.retrieval_dim,
        dtype="fp32",
    )
    return Row(name, shape, default_on="cpu", model=model)


#: `tiny` as it is, and with the head ratio, the chunks and the head dim of the larger models.
TRAIN = _table(
    [
        _train_row("tiny-8k", preset("tiny"), 8192),
        _train_row(
            "ratio16-8k",
            replace(
                preset("tiny"),
                width=256,
                ffn=704,
                heads=16,
                head_dim=64,
                window_kv_heads=1,
                hsa_kv_heads=1,
                chunk_size=64,
                window=64,
                top_k=16,
                retrieval_heads=1,
            ),
            8192,
        ),
    ]
)

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("paper", PAPER),
        Suite("ratio", RATIO, parts=("attention", "total")),
        Suite("crossover", CROSSOVER, parts=("attention", "total")),
        Suite("memory", MEMORY, parts=("attention", "total")),
        Suite("retrieval", RETRIEVAL, parts=("retrieval",)),
        Suite(
            "decode",
            DECODE,
            parts=("attention", "retrieval", "decode"),
            backward=False,
        ),
        Suite("cpu", CPU, parts=("attention",)),
        Suite("train", TRAIN, parts=("train",)),
    )
}


def find_suite(name: str) -> Suite:
    """A suite by name. Raises InputError."""
    validate.one_of("--suite", name, tuple(SUITES))
    return SUITES[name]


def parse_rows(suite: Suite, texts: Sequence[str], kind: str) -> list[Row]:
    """The rows to run on a kind of device (``"cpu"`` or ``"cuda"``): those named, or its defaults.

    ``all`` stands for every row of the suite. Names are separated by commas or blanks; a shape
    spelt out is one word. Raises InputError.
    """
    words = [
        word
        for text in texts
        for piece in text.split()
        for word in ([piece] if "=" in piece else piece.split(","))
        if word
    ]
    if not words:
        found = [row.on(kind) for row in suite.rows.values() if row.default_on == kind]
        if not found:
            raise InputError(
                f"suite {suite.name} is not meant for {kind}: name rows with --rows "
                f"({', '.join(suite.rows)}), or give --device cpu"
            )
        return found
    if words == ["all"]:
        return [row.on(kind) for row in suite.rows.values()]
    if "all" in words:
        raise InputError(f"--rows {' '.join(texts)}: all stands alone, it names every row")
    return [_row(suite, word).on(kind) for word in dict.fromkeys(words)]


def _row(suite: Suite, word: str) -> Row:
    if "=" in word and "train" in suite.parts:
        raise InputError(
            f"--rows {word}: rows of suite {suite.name} are models: choose from "
            f"{', '.join(suite.rows)}"
        )
    if "=" in word:
        pieces = word.split(",")
        chosen = [piece.partition("=")[2] for piece in pieces if piece.startswith("selection=")]
        rest = [piece for piece in pieces if not piece.startswith("selection=")]
        shape = parse_shape(",".join(rest))
        if shape.decode and "decode" not in suite.parts:
            raise InputError(
                f"--rows {word}: suite {suite.name} measures hsa_attention: leave decode=1 out, or "
                "give --suite decode"
            )
        shape = shape.resized(decode="decode" in suite.parts)
        return Row(word, shape, chosen[-1] if chosen else "local")
    if word not in suite.rows:
        shown = list(suite.rows)
        if len(shown) > 20:
            shown = [name for name, row in suite.rows.items() if row.default_on] + ["..."]
        spelt = ", or spell a shape out: L=8192,Hq=16,H=1,D=64,S=64,K=16,selection=random"
        raise InputError(
            f"suite {suite.name} has no row {word!r}: choose from {', '.join(shown)}"
            + ("" if "train" in suite.parts else spelt)
        )
    return suite.rows[word]
