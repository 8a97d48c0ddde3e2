"""Selection traces: which chunks the calls of a running model chose, in a safetensors file.

    indices.N   i16 or i32[B,R,Hi,K]   chunk numbers of selection N, -1 in empty slots
    weights.N   fp16[B,R,Hw,K]         its weights, where the call had any
    metadata    "hsa_trace": a `Header` as JSON

A selection is what one call chose; `layer` is the number of the call, which is that of the HSA
layer where a model calls each of its layers once. `autotune --trace` tunes on them.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hsa_compiler.configs.store import fields_of
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.folders import write_whole
from hsa_compiler.runtime import validate
from hsa_compiler.schedules.locality import GROUP, causal_bounds, measured_union

FORMAT_VERSION = 1
METADATA = "hsa_trace"
#: How safetensors names the dtypes that a trace may hold.
INDEX_DTYPES = ("I16", "I32")
WEIGHT_DTYPES = ("F16",)

Count = Annotated[int, Field(ge=1, lt=validate.INDEX_LIMIT)]
Number = Annotated[int, Field(ge=0, lt=validate.INDEX_LIMIT)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SelectionHeader(_Record):
    """What the file says of one selection; `weight_heads` is 0 where it has no weights."""

    layer: Number
    batch: Count
    rows: Count
    heads: Count
    weight_heads: Number
    chunks: Count
    q_offset: int = Field(ge=0, lt=validate.POSITION_LIMIT)
    query_block: Count


class Header(_Record):
    """What the file says of itself; `date` is ISO 8601, `hash` that of the contents."""

    format_version: int
    model: str
    date: str
    chunk_size: int
    top_k: Count
    selections: tuple[SelectionHeader, ...]
    hash: str


@dataclass(frozen=True, eq=False)
class TracedSelection:
    """What one call chose, on the CPU.

    Attributes:
        layer: the number of the call.
        indices: i32[B,R,Hi,K], -1 in empty slots.
        weights: fp16[B,R,Hw,K], or None.
        chunks: C, the chunks there were to choose from.
        q_offset: position of the first row's first token.
        query_block: tokens per row.
    """

    layer: int
    indices: Tensor
    weights: Tensor | None
    chunks: int
    q_offset: int = 0
    query_block: int = 1

    @property
    def union(self) -> float:
        """Distinct chunks of 16 neighbouring tokens, over K."""
        return measured_union(self.indices, max(1, GROUP // self.query_block))

    def header(self) -> SelectionHeader:
        """Its sizes. Raises pydantic.ValidationError where one is out of range."""
        batch, rows, heads, _ = self.indices.shape
        return SelectionHeader(
            layer=self.layer,
            batch=batch,
            rows=rows,
            heads=heads,
            weight_heads=0 if self.weights is None else self.weights.shape[2],
            chunks=self.chunks,
            q_offset=self.q_offset,
            query_block=self.query_block,
        )

    def check(self, chunk_size: int, top_k: int) -> None:
        """Raise InputError unless shapes agree, every index is that of a chunk which its row may
        see, and weights are numbers of at least 0."""
        name = f"selection of layer {self.layer}"
        if self.indices.ndim != 4 or self.indices.numel() == 0 or self.indices.shape[3] != top_k:
            raise InputError(
                f"{name}: indices of shape {list(self.indices.shape)}: give [B, R, Hi, {top_k}]"
            )
        _, hi = causal_bounds(
            1,
            self.indices.shape[1],
            self.chunks,
            chunk_size,
            q_offset=self.q_offset,
            query_block=self.query_block,
        )
        seen = hi.reshape(1, -1, 1, 1)
        wrong = (self.indices < -1) | (self.indices >= seen)
        if bool(wrong.any()):
            batch, row, head, slot = (int(at) for at in wrong.nonzero()[0])
            raise InputError(
                f"{name}: chunk {int(self.indices[batch, row, head, slot])} in row {row}, which "
                f"sees chunks below {int(seen[0, row])} of {self.chunks}: give chunks that are "
                "complete before the row's first token, or -1"
            )
        if self.weights is None:
            return
        heads = self.indices.shape[2]
        fits = self.weights.ndim == 4 and self.weights.shape[2] % heads == 0
        if not fits or self.weights[:, :, :1].shape != self.indices[:, :, :1].shape:
            raise InputError(
                f"{name}: weights of shape {list(self.weights.shape)} beside indices of shape "
                f"{list(self.indices.shape)}: only the heads may be more, a multiple"
            )
        if not bool((self.weights >= 0).all() & self.weights.isfinite().all()):
            raise InputError(f"{name}: weights must be finite numbers of at least 0")


@dataclass(frozen=True, eq=False)
class Trace:
    """Selections of one model, all with the same chunk size and top-k; checked when it is made.

    Raises InputError for selections that no model can have made.
    """

    model: str
    date: str
    chunk_size: int
    top_k: int
    selections: tuple[TracedSelection, ...]

    def __post_init__(self) -> None:
        validate.chunk_size(self.chunk_size)
        if not self.selections:
            raise InputError("a trace needs one selection at least")
        for selection in self.selections:
            selection.check(self.chunk_size, self.top_k)

    @classmethod
    def now(cls, model: str, chunk_size: int, selections: tuple[TracedSelection, ...]) -> Trace:
        """A trace of the present time; top-k is that of the first selection."""
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        top_k = selections[0].indices.shape[-1] if selections else 0
        return cls(model, date, chunk_size, top_k, selections)

    @property
    def layers(self) -> list[int]:
        """The calls that were recorded, each once."""
        return sorted({selection.layer for selection in self.selections})

    @property
    def tokens(self) -> int:
        """Tokens of the longest selection."""
        return max(s.indices.shape[1] * s.query_block for s in self.selections)

    @cached_property
    def union(self) -> float:
        """Distinct chunks of 16 neighbouring tokens, over K: the mean of all selections."""
        return sum(s.union for s in self.selections) / len(self.selections)

    @cached_property
    def hash(self) -> str:
        """64 hex digits that say what was selected; the same for equal selections, whatever the
        model's name, the date and the width of the stored numbers."""
        digest = hashlib.sha256(f"{self.chunk_size} {self.top_k}".encode())
        for selection in self.selections:
            digest.update(selection.header().model_dump_json().encode())
            digest.update(selection.indices.numpy().astype("<i4").tobytes())
            if selection.weights is not None:
                digest.update(selection.weights.numpy().astype("<f2").tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the file in one step; a file that stands there is replaced.

        Raises:
            ConfigError: it cannot be written.
        """
        narrow = max(s.chunks for s in self.selections) <= torch.iinfo(torch.int16).max
        tensors: dict[str, Tensor] = {}
        for number, selection in enumerate(self.selections):
            wide = selection.indices
            tensors[f"indices.{number}"] = wide.to(torch.int16) if narrow else wide
            if selection.weights is not None:
                tensors[f"weights.{number}"] = selection.weights
        header = Header(
            format_version=FORMAT_VERSION,
            model=self.model,
            date=self.date,
            chunk_size=self.chunk_size,
            top_k=self.top_k,
            selections=tuple(selection.header() for selection in self.selections),
            hash=self.hash,
        )
        data = save(tensors, metadata={METADATA: header.model_dump_json()})
        try:
            write_whole(path, data)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> Trace:
        """Read and check a file.

        Raises:
            ConfigError: naming the file and what is wrong, for anything but a whole trace of this
                format version.
        """
        if path.exists() and not path.is_file():
            # Reading a pipe or a device would wait for ever.
            raise ConfigError(f"{path}: cannot be read: not a file")
        try:
            with safe_open(path, framework="pt") as file:
                header = _header(path, file.metadata() or {})
                _check_tensors(path, header, file)
                selections = tuple(_selection(file, *item) for item in enumerate(header.selections))
            trace = cls(header.model, header.date, header.chunk_size, header.top_k, selections)
        except (OSError, SafetensorError) as error:
            raise ConfigError(
                f"{path}: cannot be read as a selection trace: {error}; record it again with "
                "`hsa-compiler trace`"
            ) from error
        except InputError as error:
            raise ConfigError(f"{path}: {error}") from error
        if trace.hash != header.hash:
            raise ConfigError(f"{path}: hash: its contents are other ones: record the trace again")
        return trace


def _header(path: Path, metadata: dict[str, str]) -> Header:
    if METADATA not in metadata:
        raise ConfigError(
            f"{path}: no selection trace: its metadata lacks {METADATA!r}; `hsa-compiler trace` "
            "writes one"
        )
    try:
        data = json.loads(metadata[METADATA])
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {METADATA}: not JSON: {error}") from error
    version = data.get("format_version") if isinstance(data, dict) else None
    if version != FORMAT_VERSION:
        raise ConfigError(
            f"{path}: format_version: this version reads {FORMAT_VERSION}, the file has "
            f"{version!r}; record it again, or use the release that wrote it"
        )
    try:
        return Header.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {fields_of(error)}") from error


def _check_tensors(path: Path, header: Header, file: Any) -> None:
    """Names, shapes and dtypes, before anything is read."""
    expected: dict[str, tuple[list[int], tuple[str, ...]]] = {}
    for number, one in enumerate(header.selections):
        shape = [one.batch, one.rows, one.heads, header.top_k]
        expected[f"indices.{number}"] = (shape, INDEX_DTYPES)
        if one.weight_heads:
            shape = [one.batch, one.rows, one.weight_heads, header.top_k]
            expected[f"weights.{number}"] = (shape, WEIGHT_DTYPES)
    names = set(file.keys())
    if names != expected.keys():
        lacking, more = sorted(expected.keys() - names), sorted(names - expected.keys())
        raise ConfigError(
            f"{path}: of its tensors {len(lacking)} are missing {lacking[:3]} and {len(more)} are "
            f"not known {more[:3]}: record the trace again"
        )
    for name, (shape, dtypes) in expected.items():
        found = file.get_slice(name)
        if found.get_shape() != shape or found.get_dtype() not in dtypes:
            raise ConfigError(
                f"{path}: {name}: {found.get_dtype()}{found.get_shape()}, where the header says "
                f"{' or '.join(dtypes)}{shape}"
            )


def _selection(file: Any, number: int, one: SelectionHeader) -> TracedSelection:
    return TracedSelection(
        layer=one.layer,
        indices=file.get_tensor(f"indices.{number}").to(torch.int32),
        weights=file.get_tensor(f"weights.{number}") if one.weight_heads else None,
        chunks=one.chunks,
        q_offset=one.q_offset,
        query_block=one.query_block,
    )
