"""Programs that commands can name, with the dims to look at: ``hsa``, ``decode``, ``moba`` ..."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from hsa_compiler.errors import InputError
from hsa_compiler.ir import Program, methods
from hsa_compiler.ir.programs import (
    AttentionOptions,
    CacheOptions,
    RetrieveOptions,
    chunk_attention_program,
    decode_program,
    default_scale,
    hsa_program,
    retrieve_program,
)
from hsa_compiler.ir.spec import NORMALIZATIONS
from hsa_compiler.runtime import validate
from hsa_compiler.runtime.decode import MAX_TOKENS

DTYPES = ("bf16", "fp16", "fp32")

#: Tokens of a sequence where none are given, and those that a decoding step's cache can hold.
TOKENS = 8192
CACHED_TOKENS = 65_536


@dataclass(frozen=True)
class Shape:
    """What ``--shape`` sets, e.g. ``L=8192,Hq=16,H=1,D=128,S=64,K=32,dtype=bf16``.

    A dim left at 0 follows from the others: Lkv from L, Dr from D, Hr, Hm, Hi and Hw from the
    method. L is 8192; of a decoding step, where it counts the new tokens, 1, and Lkv, what the
    cache can hold, 65,536.
    """

    B: int = 1
    L: int = 0
    Lkv: int = 0
    Hq: int = 16
    H: int = 1
    D: int = 128
    S: int = 64
    K: int = 32
    Hr: int = 0
    Hm: int = 0
    Dr: int = 0
    Hi: int = 0
    Hw: int = 0
    dtype: str = "bf16"
    normalize: str = "softmax"

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read ``NAME=VALUE`` pairs separated by commas or spaces.

        Raises:
            InputError: naming the pair that cannot be read, and what is allowed.
        """
        known = {field.name: field.type for field in fields(cls)}
        values: dict[str, int | str] = {}
        for pair in re.split(r"[,\s]+", text.strip()):
            if not pair:
                continue
            name, equals, value = pair.partition("=")
            if not equals or name not in known:
                raise InputError(f"--shape {pair!r}: give NAME=VALUE with {', '.join(known)}")
            if name in values:
                raise InputError(f"--shape {text!r}: {name} is given twice")
            if known[name] == "str":
                values[name] = value
            elif validate.is_whole(value) and int(value) > 0:
                values[name] = int(value)
            else:
                raise InputError(f"--shape {pair!r}: {name} must be a positive whole number")
        return cls(**values).checked()  # type: ignore[arg-type]

    def checked(self) -> Shape:
        """Itself. Raises InputError for a dtype or normalisation that does not exist."""
        if self.dtype not in DTYPES:
            raise InputError(f"--shape dtype={self.dtype}: one of {', '.join(DTYPES)}")
        if self.normalize not in (*NORMALIZATIONS, "joint"):
            allowed = ", ".join((*NORMALIZATIONS, "joint"))
            raise InputError(f"--shape normalize={self.normalize}: one of {allowed}")
        return self

    def with_heads(self, score: int, landmark: int, index: int, weight: int) -> Shape:
        """The shape with a method's own heads where none were given."""
        return replace(
            self,
            L=self.L or TOKENS,
            Lkv=self.Lkv or self.L or TOKENS,
            Dr=self.Dr or self.D,
            Hr=self.Hr or score,
            Hm=self.Hm or landmark,
            Hi=self.Hi or index,
            Hw=self.Hw or weight,
        )


@dataclass(frozen=True)
class Example:
    """A program, with every dim bound; `inference` programs have no backward."""

    program: Program
    dims: dict[str, int]
    inference: bool = False


def _hsa(s: Shape) -> tuple[Program, Shape, int]:
    retrieve, attention = _options(s)
    return hsa_program(retrieve, attention), _per_kv_head(s), 1


def _decode(s: Shape) -> tuple[Program, Shape, int]:
    """No gradients, so no inverse index; an external weight for every chunk."""
    if s.L > MAX_TOKENS:
        raise InputError(
            f"--shape: L={s.L}, the new tokens of a decoding step, must be 1 to {MAX_TOKENS}; "
            "Lkv is what the cache can hold"
        )
    retrieve, attention = _options(s)
    program = decode_program(
        replace(retrieve, inverse=False), replace(attention, inverse=False), CacheOptions()
    )
    return program, _per_kv_head(replace(s, L=s.L or 1, Lkv=s.Lkv or CACHED_TOKENS)), 1


def _retrieve(s: Shape) -> tuple[Program, Shape, int]:
    return retrieve_program(_options(s)[0]), _per_kv_head(s), 1


def _chunk_attention(s: Shape) -> tuple[Program, Shape, int]:
    return chunk_attention_program(_options(s)[1]), _per_kv_head(s), 1


def _per_kv_head(s: Shape) -> Shape:
    """Scores, indices and weights per KV head; fewer index heads where fewer scores are given."""
    score = s.Hr or s.H
    return s.with_heads(score, score, min(score, s.H), max(score, s.H))


def _options(s: Shape) -> tuple[RetrieveOptions, AttentionOptions]:
    joint, local = s.normalize == "joint", s.normalize == "lse_mix"
    normalize = None if joint else s.normalize
    score_scale = default_scale(s.Dr or s.D)
    return (
        RetrieveOptions(s.K, score_scale, normalize=normalize, inverse=True, dtype=s.dtype),
        AttentionOptions(
            s.S, default_scale(s.D), joint=joint, local=local, inverse=True, dtype=s.dtype
        ),
    )


def _gca(s: Shape) -> tuple[Program, Shape, int]:
    program = methods.gca(s.K, s.S, default_scale(s.Dr or s.D), default_scale(s.D), s.dtype)
    return program, s.with_heads(1, 1, 1, 1), s.S


def _hils(s: Shape) -> tuple[Program, Shape, int]:
    program = methods.hils(s.K, s.S, default_scale(s.Dr or s.D), default_scale(s.D), s.dtype)
    return program, s.with_heads(s.Hq, s.Hq, s.H, s.Hq), 1


def _moba(s: Shape) -> tuple[Program, Shape, int]:
    program = methods.moba(s.K, s.S, default_scale(s.D), s.dtype)
    return program, s.with_heads(s.Hq, s.H, s.Hq, s.Hq), 1


def _nsa_selected(s: Shape) -> tuple[Program, Shape, int]:
    program = methods.nsa_selected(s.K, s.S, default_scale(s.D), dtype=s.dtype)
    return program, s.with_heads(s.Hq, s.H, s.H, s.Hq), 1


def _infllm_v2(s: Shape) -> tuple[Program, Shape, int]:
    program = methods.infllm_v2(s.K, s.S, default_scale(s.D), dtype=s.dtype)
    return program, s.with_heads(s.Hq, s.H, s.H, s.Hq), 1


#: Each gives the program, the shape with its heads, and the tokens of a retrieval row.
PROGRAMS: dict[str, Callable[[Shape], tuple[Program, Shape, int]]] = {
    "hsa": _hsa,
    "decode": _decode,
    "retrieve": _retrieve,
    "chunk_attention": _chunk_attention,
    "gca": _gca,
    "hils": _hils,
    "moba": _moba,
    "nsa_selected": _nsa_selected,
    "infllm_v2": _infllm_v2,
}

#: Programs of inference, which nothing differentiates.
INFERENCE = frozenset({"decode"})


def example(name: str, shape: Shape) -> Example:
    """A named program with its dims.

    Raises:
        InputError: for a name that does not exist, sizes that no kernel takes, and heads that do
            not divide each other.
    """
    if name not in PROGRAMS:
        raise InputError(f"no program {name!r}; there are: {', '.join(PROGRAMS)}")
    program, full, block = PROGRAMS[name](shape)
    validate.chunk_size(full.S, "--shape: S")
    validate.head_dim(full.D)
    validate.retrieval_dim(full.Dr)
    dims = {field.name: getattr(full, field.name) for field in fields(full)}
    numbers = {key: value for key, value in dims.items() if isinstance(value, int)}
    numbers["C"] = full.Lkv // full.S
    numbers["R"] = math.ceil(full.L / block)
    for op in program.ops:
        for few, many in op.spec.divides:
            if few in numbers and many in numbers and numbers[many] % numbers[few]:
                raise InputError(
                    f"--shape: {few}={numbers[few]} must divide {many}={numbers[many]} in {name}"
                )
    return Example(program, numbers, inference=name in INFERENCE)
