"""Shapes to tune for: presets as data, and a free form such as ``L=8192,Hq=16,H=1,D=64``.

The letters are those of the whole project: B batch, L query tokens, Lkv key tokens, Hq and H
query and KV heads, D head dim, S chunk size, K top-k, Hr, Hm, Hi, Hw score, landmark, index and
weight heads, Dr retrieval dim. With ``decode=1`` a shape is a call of `hsa_decode`: L new tokens on
a cache that can hold Lkv, in blocks of Zk tokens where it is paged.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hsa_compiler.errors import InputError
from hsa_compiler.ir.programs import (
    AttentionOptions,
    CacheOptions,
    RetrieveOptions,
    default_scale,
)
from hsa_compiler.runtime import validate
from hsa_compiler.runtime.decode import MAX_TOKENS

#: Decoding weighs its chunks.
STEP_NORMALIZATIONS = validate.NORMALIZATIONS
NORMALIZATIONS = (*STEP_NORMALIZATIONS, "joint")
DTYPES = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Shape:
    """One call of the operator to tune its kernels for.

    Zeros stand for the usual: Lkv = L, Hr = H, Dr = D, Hm = Hr, Hi = min(Hr, H), Hw = H (Hq where
    there are more score heads than KV heads), no blocks. Raises InputError for sizes that do not
    fit.
    """

    name: str
    L: int
    Hq: int
    H: int
    D: int
    S: int
    K: int
    B: int = 1
    Lkv: int = 0
    Hr: int = 0
    Dr: int = 0
    Hm: int = 0
    Hi: int = 0
    Hw: int = 0
    dtype: str = "bf16"
    normalize: str = "softmax"
    decode: bool = False
    Zk: int = 0

    def __post_init__(self) -> None:
        for name in ("L", "Hq", "H", "D", "S", "K", "B"):
            validate.at_least(f"shape {self.name}: {name}", getattr(self, name), 1)
        validate.one_of("dtype", self.dtype, DTYPES)
        validate.one_of("normalize", self.normalize, NORMALIZATIONS)
        validate.chunk_size(self.S, "S")
        validate.head_dim(self.D)
        validate.query_heads(self.Hq, self.H)
        self._default("Lkv", self.L)
        self._default("Hr", self.H)
        self._default("Dr", self.D)
        self._default("Hm", self.Hr)
        validate.retrieval_dim(self.Dr)
        style = "query" if self.Hr > self.H else "kv"
        index_heads, weight_heads = validate.selection_heads(self.Hr, self.H, self.Hq, None, style)
        self._default("Hi", index_heads)
        self._default("Hw", weight_heads)
        for few, many in (("Hm", "Hr"), ("Hi", "Hr"), ("Hr", "Hw"), ("Hw", "Hq")):
            if getattr(self, many) % getattr(self, few):
                raise InputError(
                    f"shape {self.name}: {few}={getattr(self, few)} must divide "
                    f"{many}={getattr(self, many)}"
                )
        slots = self.B * self.L * max(self.Hi, self.Hw) * self.K
        validate.countable(f"shape {self.name}: B * L * heads * K", slots)
        validate.countable(f"shape {self.name}: B * Lkv", self.B * self.Lkv)
        if self.C < 1:
            raise InputError(f"shape {self.name}: Lkv={self.Lkv} holds no chunk of S={self.S}")
        self._check_cache()

    def _check_cache(self) -> None:
        """What `hsa_decode` asks of its tokens and its cache."""
        where = f"shape {self.name}"
        validate.flag(f"{where}: decode", self.decode)
        validate.at_least(f"{where}: Zk", self.Zk, 0)
        if not self.decode:
            if self.Zk:
                raise InputError(f"{where}: Zk={self.Zk} is for a cache: give decode=1 with it")
            return
        if self.L > MAX_TOKENS:
            raise InputError(
                f"{where}: L={self.L}, the new tokens of a decoding step, must be 1 to "
                f"{MAX_TOKENS}; Lkv is what the cache can hold"
            )
        validate.one_of(f"{where}: decode=1 with normalize", self.normalize, STEP_NORMALIZATIONS)
        if self.Zk and (self.Zk % self.S or self.Lkv % self.Zk):
            raise InputError(
                f"{where}: Zk={self.Zk}: give a multiple of S={self.S} that divides Lkv={self.Lkv}"
            )
        scores = self.B * self.L * self.Hi * self.C
        validate.countable(f"{where}: B * L * Hi * Lkv / S", scores)

    def _default(self, name: str, value: int) -> None:
        if getattr(self, name) == 0:
            object.__setattr__(self, name, value)

    @property
    def C(self) -> int:
        """Complete chunks of the keys."""
        return self.Lkv // self.S

    @property
    def dims(self) -> dict[str, int]:
        """A number for every dim of the operator's programs."""
        names = ("B", "L", "Lkv", "Hq", "H", "D", "K", "Hr", "Dr", "Hm", "Hi", "Hw")
        dims = {"R": self.L, "C": self.C, **{name: getattr(self, name) for name in names}}
        if self.Zk:
            blocks = self.Lkv // self.Zk
            dims |= {"N": blocks, "P": self.B * blocks, "Zk": self.Zk, "Zc": self.Zk // self.S}
        return dims

    @cached_property
    def retrieve(self) -> RetrieveOptions:
        """The first half's options, as `hsa_attention` or `hsa_decode` would set them."""
        kind = None if self.normalize == "joint" else self.normalize
        return RetrieveOptions(
            top_k=self.K,
            scale=default_scale(self.Dr),
            normalize=kind,
            inverse=not self.decode,
            own_indices=self.Hi == self.Hr,
            dtype=self.dtype,
        )

    @cached_property
    def attention(self) -> AttentionOptions:
        """The second half's options."""
        return AttentionOptions(
            chunk=self.S,
            scale=default_scale(self.D),
            joint=self.normalize == "joint",
            local=self.normalize == "lse_mix",
            inverse=not self.decode,
            dtype=self.dtype,
        )

    @property
    def cache(self) -> CacheOptions:
        """How a decoding step sees its cache."""
        return CacheOptions(paged=self.Zk > 0)

    def resized(self, **sizes: Any) -> Shape:
        """The same kernels at other sizes."""
        return dataclasses.replace(self, **sizes)


def _shape(name: str, L: int, heads: tuple[int, int], D: int, K: int, **more: Any) -> Shape:
    return Shape(name, L=L, Hq=heads[0], H=heads[1], D=D, S=64, K=K, **more)


def _step(name: str, tokens: int, D: int = 128, K: int = 64, **more: Any) -> Shape:
    """One token on a full cache."""
    return _shape(name, 1, (16, 1), D, K, Lkv=tokens, decode=True, **more)


#: `tiny` is what training the tiny model calls, 16 sequences of 256 bytes; `cpu2k` one long
#: sequence at a size that a CPU finishes in milliseconds. The others are the project's targets,
#: in bf16; `m345` is the published 345M model in training, `m345d` the same as it decodes.
SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("tiny", B=16, L=256, Hq=6, H=2, D=32, S=32, K=8, Hr=2, Dr=64, dtype="fp32"),
        Shape("cpu2k", L=2048, Hq=16, H=1, D=64, S=64, K=16, Hr=1, Dr=64, dtype="fp32"),
        _shape("a8", 8192, (16, 1), 128, 32),
        _shape("a32", 32768, (16, 1), 128, 32),
        _shape("a128", 131072, (16, 1), 128, 32),
        _shape("g4", 32768, (16, 4), 128, 16),
        _shape("g1", 32768, (16, 16), 64, 16),
        _shape("m345", 32768, (16, 1), 64, 32, Dr=1024),
        _step("d64k", 1 << 16),
        _step("d1m", 1 << 20),
        _step("d16m", 1 << 24),
        _step("m345d", 1 << 20, D=64, K=32, Dr=1024),
    )
}

#: What `autotune` tunes where no shape is named: the first few, as many as the effort says.
DEFAULT_SHAPES = {"cpu": ("tiny", "cpu2k"), "cuda": ("a8", "g4", "m345", "d1m")}


def parse_shape(text: str, dtype: str = "bf16") -> Shape:
    """A preset's name, or ``L=8192,Hq=16,H=1,D=64,S=64,K=16[,Hr=1,Dr=64,dtype=bf16,...]``; of a
    decoding step ``L=1,Lkv=65536,Hq=16,H=1,D=64,S=64,K=16,decode=1[,Zk=1024,...]``.

    `dtype` is used where the free form names none. Raises InputError.
    """
    text = text.strip()
    if "=" not in text:
        if text not in SHAPES:
            raise InputError(
                f"unknown shape {text!r}: choose from {', '.join(SHAPES)}, or spell one out: "
                "L=8192,Hq=16,H=1,D=64,S=64,K=16"
            )
        return SHAPES[text]
    fields = {field.name for field in dataclasses.fields(Shape)} - {"name"}
    given: dict[str, Any] = {"dtype": dtype}
    named: set[str] = set()
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in fields:
            raise InputError(
                f"shape {text!r}: {name!r} is no size; known: {', '.join(sorted(fields))}"
            )
        if name in named:
            raise InputError(f"shape {text!r}: {name} is given twice")
        named.add(name)
        if name in ("dtype", "normalize"):
            given[name] = value
            continue
        if name == "decode":
            validate.one_of(f"shape {text!r}: decode", value, ("0", "1"))
            given[name] = value == "1"
            continue
        if not validate.is_whole(value):
            raise InputError(f"shape {text!r}: {name}={value!r}: give a whole number")
        given[name] = int(value)
    missing = [name for name in ("L", "Hq", "H", "D", "S", "K") if name not in given]
    if missing:
        raise InputError(f"shape {text!r}: {', '.join(missing)} must be given too")
    return Shape(text.replace(",", " "), **given)


def spelled(shape: Shape) -> str:
    """A shape as `parse_shape` takes it: a preset's name, or its sizes."""
    if SHAPES.get(shape.name) == shape:
        return shape.name
    sizes = {name: value for name, value in dataclasses.asdict(shape).items() if name != "name"}
    sizes["decode"] = int(shape.decode)
    left_out = {"B": 1, "Lkv": shape.L, "normalize": "softmax", "decode": 0, "Zk": 0}
    return ",".join(
        f"{name}={value}" for name, value in sizes.items() if left_out.get(name) != value
    )


def parse_shapes(texts: list[str], device_kind: str, default_count: int = 1) -> list[Shape]:
    """The shapes of a run: those named, or the first default ones of ``"cpu"`` or ``"cuda"``.

    Presets are separated by commas or blanks; a free form is one word. Raises InputError.
    """
    dtype = "fp32" if device_kind == "cpu" else "bf16"
    words = [
        word
        for text in texts
        for piece in text.split()
        for word in ([piece] if "=" in piece else piece.split(","))
        if word
    ]
    if texts and not words:
        raise InputError(
            f"shapes {', '.join(map(repr, texts))}: none is named; leave them out to tune "
            f"{', '.join(DEFAULT_SHAPES[device_kind][:default_count])}"
        )
    words = words or list(DEFAULT_SHAPES[device_kind][:default_count])
    return [parse_shape(word, dtype) for word in dict.fromkeys(words)]


def parse_kernels(text: str) -> tuple[str, ...] | None:
    """Kernels separated by commas; None, for all of them, where `text` is empty.

    Raises InputError where none is named, or one that does not exist.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if text and not names:
        raise InputError(f"--kernels {text!r} names none: leave it out to take them all")
    validate.kernels(names)
    return names or None
