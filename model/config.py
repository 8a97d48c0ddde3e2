"""What a model is: one frozen dataclass, checked when it is made, and the presets as data.

config = preset("tiny")
config = dataclasses.replace(config, top_k=16)
config.save(path); HSAConfig.load(path)
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hsa_compiler.errors import ConfigError, InputError

T = TypeVar("T")

#: Version of the JSON form; a file with another one is refused, never guessed at.
SCHEMA_VERSION = 1

Normalize = Literal["softmax", "stick_breaking", "softmax_off_by_one"]
WeightHeads = Literal["kv", "query"]
Backend = Literal["auto", "triton", "tvm", "reference"]


@dataclass(frozen=True)
class HSAConfig:
    """Shape and options of one HSA-UltraLong model (arXiv 2511.23319, section 3).

    `lower_layers` window blocks, a chunk encoder, then `groups` times [retrieval query, HSA layer,
    `group_layers` window blocks], RMSNorm and a tied head.
    Raises InputError for a value that is out of range or does not fit another one.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    vocab_size: int  # tokens
    width: int  # residual stream
    lower_layers: int  # window blocks below the chunk encoder
    groups: int  # HSA layers, each with its own retrieval query
    group_layers: int  # window blocks after each HSA layer
    heads: int  # query heads of every attention
    head_dim: int
    window_kv_heads: int  # KV heads of the window blocks
    hsa_kv_heads: int  # KV heads of the chunk memory that all HSA layers share
    ffn: int  # hidden width of every SwiGLU
    window: int  # W: a token sees keys t-W+1 .. t
    chunk_size: int  # S
    top_k: int  # chunks a token retrieves
    retrieval_heads: int  # Hr: 1, hsa_kv_heads or heads
    retrieval_dim: int  # Dr
    encoder_layers: int = 1
    encoder_ffn: int = 0  # 0: as `ffn`
    normalize: Normalize = "softmax"  # retrieval scores -> weights
    weight_heads: WeightHeads = "kv"  # one weight per KV head, or per "query" head
    rank_scale: bool = False  # softmax only: a learned scalar x rank, newest chunk = rank 0
    window_aware: bool = False  # retrieve no chunk that lies wholly inside the window
    hsa_window_sublayer: bool = False  # window attention first in each HSA layer
    bypass_residual: bool = True  # x + MLP(x + o) instead of (x + o) + MLP(x + o)
    rope_theta: float = 1e4
    norm_eps: float = 1e-6
    init_std: float = 0.02
    checkpoint_activations: bool = False  # recompute blocks in the backward pass
    deterministic: bool = False  # refuse kernels that add atomically
    attention_backend: Backend = "auto"  # which kernels run the HSA layers

    def __post_init__(self) -> None:
        may_be_zero = {"encoder_ffn", "group_layers"}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            low = 0 if field.name in may_be_zero else 1
            if field.type == "int" and value < low:
                raise InputError(f"{field.name} = {value}: give a whole number of at least {low}")
            if field.type == "float" and not value > 0:
                raise InputError(f"{field.name} = {value}: give a number above 0")
        _one_of("normalize", self.normalize, get_args(Normalize))
        _one_of("weight_heads", self.weight_heads, get_args(WeightHeads))
        _one_of("attention_backend", self.attention_backend, get_args(Backend))
        _one_of("chunk_size", self.chunk_size, (16, 32, 64, 128))
        _one_of("head_dim", self.head_dim, (16, 32, 64, 128, 256))
        for name in ("window_kv_heads", "hsa_kv_heads"):
            if self.heads % getattr(self, name):
                raise InputError(
                    f"{name} = {getattr(self, name)} does not divide heads = {self.heads}"
                )
        _one_of("retrieval_heads", self.retrieval_heads, (1, self.hsa_kv_heads, self.heads))
        if self.retrieval_heads > self.hsa_kv_heads and self.weight_heads == "kv":
            raise InputError(
                f"retrieval_heads = {self.retrieval_heads} above hsa_kv_heads = "
                f"{self.hsa_kv_heads} needs weight_heads = 'query'"
            )
        if self.retrieval_dim % 16 or self.retrieval_dim > 2048:
            raise InputError(
                f"retrieval_dim = {self.retrieval_dim}: give a multiple of 16 up to 2048"
            )
        if self.rank_scale and self.normalize != "softmax":
            raise InputError(f"rank_scale needs normalize = 'softmax', not {self.normalize!r}")

    @property
    def reach(self) -> int:
        """Tokens that the stacked windows can look back together: the sum over layers of W - 1.

        What lies further back can reach a token only through an HSA layer.
        """
        layers = self.lower_layers + self.groups * (self.group_layers + self.hsa_window_sublayer)
        return layers * (self.window - 1)

    def to_json(self) -> str:
        """The configuration as indented JSON, with its schema version."""
        body = {"schema_version": SCHEMA_VERSION, "model": dataclasses.asdict(self)}
        return json.dumps(body, indent=2) + "\n"

    def save(self, path: Path) -> None:
        """Write `to_json()` to a file."""
        path.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> HSAConfig:
        """Read a file that `save` wrote. Raises ConfigError naming the file and the field."""
        return cls.from_dict(read_json(path), str(path))

    @classmethod
    def from_dict(cls, body: Any, source: str) -> HSAConfig:
        """Build from decoded JSON; `source` names it in errors."""
        check_schema(body, source, SCHEMA_VERSION)
        return validate(cls, body.get("model"), source, "model")


def read_json(path: Path) -> Any:
    """Decode a JSON file. Raises ConfigError if it is missing, unreadable or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    # ValueError: not UTF-8, not JSON, or a number of thousands of digits; RecursionError: lists
    # nested as deep.
    except (OSError, ValueError, RecursionError) as err:
        raise ConfigError(f"{path}: cannot be read as JSON: {err}") from err


def check_schema(body: Any, source: str, version: int) -> None:
    """Refuse anything but an object of exactly this schema version."""
    if not isinstance(body, dict):
        raise ConfigError(f"{source}: expected a JSON object, found {type(body).__name__}")
    if body.get("schema_version") != version:
        raise ConfigError(
            f"{source}: schema_version is {body.get('schema_version')!r}; this version of "
            f"hsa-compiler reads {version}"
        )


def validate(cls: type[T], value: Any, source: str, field: str) -> T:
    """Make a dataclass from decoded JSON. Raises ConfigError naming file and field."""
    try:
        # By way of JSON text: only there does strict mode take lists for tuples.
        return TypeAdapter(cls).validate_json(json.dumps(value), strict=True)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join([field, *map(str, first["loc"])])
        raise ConfigError(f"{source}: {where}: {first['msg']}") from err


def check_seed(seed: int) -> None:
    """Refuse a seed that one of the random generators of torch and numpy does not take."""
    if not 0 <= seed < 1 << 63:
        raise InputError(f"seed = {seed}: give a whole number from 0 to 2**63 - 1")


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} = {value!r}: allowed are {', '.join(map(repr, allowed))}")


#: `tiny`: bytes and a few specials, small enough to train on two CPU cores.
#: `345m`: the published HSA-UltraLong 345M configuration; its code gives the encoder an FFN of
#: 8/3 x width rounded down to 64.
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 264,
        "width": 192,
        "lower_layers": 2,
        "groups": 1,
        "group_layers": 2,
        "heads": 6,
        "head_dim": 32,
        "window_kv_heads": 2,
        "hsa_kv_heads": 2,
        "ffn": 512,
        "window": 32,
        "chunk_size": 32,
        "top_k": 8,
        "retrieval_heads": 2,
        "retrieval_dim": 64,
        "init_std": 0.05,
    },
    "345m": {
        "vocab_size": 100278,
        "width": 1024,
        "lower_layers": 8,
        "groups": 2,
        "group_layers": 4,
        "heads": 16,
        "head_dim": 64,
        "window_kv_heads": 2,
        "hsa_kv_heads": 1,
        "ffn": 4096,
        "window": 512,
        "chunk_size": 64,
        "top_k": 32,
        "retrieval_heads": 1,
        "retrieval_dim": 1024,
        "encoder_ffn": 2688,
    },
}


def preset(name: str) -> HSAConfig:
    """The configuration of a preset. Raises InputError for an unknown name."""
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}: choose from {', '.join(PRESETS)}")
    return HSAConfig(**PRESETS[name])
