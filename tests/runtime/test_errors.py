"""Wrong calls raise one clear error before anything is launched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hsa_compiler import Selection, chunk_attention, hsa_attention, retrieve
from hsa_compiler.errors import BackendError, InputError, MemoryEstimateError
from hsa_compiler.runtime import attention_op, dispatch, memory, retrieve_op, visibility

S = 16
CU = torch.tensor([0, 40])


@pytest.fixture(autouse=True)
def nothing_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every error here comes before the ops are called."""

    def launched(*args: Any) -> None:
        raise AssertionError("an op was called")

    monkeypatch.setattr(retrieve_op, "retrieve", launched)
    monkeypatch.setattr(attention_op, "chunk_attention", launched)


def call(change: dict[str, Any] | None = None, **shapes: tuple[int, ...]) -> None:
    """`hsa_attention` with some tensors of other shapes and some arguments replaced."""
    sizes = {
        "q": (1, 40, 4, 16),
        "k": (1, 40, 2, 16),
        "v": (1, 40, 2, 16),
        "q_slc": (1, 40, 2, 16),
        "landmarks": (1, 2, 2, 16),
    }
    tensors: dict[str, Any] = {n: torch.zeros(s) for n, s in {**sizes, **shapes}.items()}
    options: dict[str, Any] = {"chunk_size": S, "top_k": 2, "backend": "reference"}
    hsa_attention(**{**tensors, **options, **(change or {})})


SHAPES: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "rank": ({"q": (40, 4, 16)}, r"q has shape \[40, 4, 16\], 3 axes: give 4, \[B, L, Hq, D\]"),
    "batch": ({"k": (2, 40, 2, 16)}, r"k has shape .* axis B is 2, not 1"),
    "value length": ({"v": (1, 39, 2, 16)}, r"v has shape .*Lkv=40.* axis Lkv is 39, not 40"),
    "head dim": ({"k": (1, 40, 2, 32)}, "axis D is 32, not 16"),
    "odd head dim": (
        {"q": (1, 40, 4, 48), "k": (1, 40, 2, 48), "v": (1, 40, 2, 48)},
        "head dim D of q, k and v is 48: give one of 16, 32, 64, 128, 256",
    ),
    "head ratio": (
        {"k": (1, 40, 3, 16), "v": (1, 40, 3, 16)},
        "q has 4 heads and k, v have 3: .* multiple",
    ),
    "query rows": ({"q_slc": (1, 39, 2, 16)}, "q_slc has shape .* axis R is 39, not 40"),
    "chunk count": ({"landmarks": (1, 3, 2, 16)}, "landmarks has shape .* axis C is 3, not 2"),
    "retrieval dim": ({"landmarks": (1, 2, 2, 32)}, "axis Dr is 32, not 16"),
    "odd retrieval dim": (
        {"q_slc": (1, 40, 2, 24), "landmarks": (1, 2, 2, 24)},
        "retrieval dim Dr .* is 24: give a multiple of 16 from 16 to 2048",
    ),
    "score heads": (
        {"q_slc": (1, 40, 3, 16), "landmarks": (1, 2, 3, 16)},
        r"q_slc has Hr=3 heads: give 1 .*, H=2 .* or Hq=4",
    ),
    "landmark heads": ({"landmarks": (1, 2, 4, 16)}, "landmarks has 4 heads and q_slc has 2"),
    "weights per KV head": (
        {"q_slc": (1, 40, 4, 16), "landmarks": (1, 2, 4, 16)},
        "weight_heads='kv' asks for 2 weights a token: pass weight_heads='query'",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    shapes, message = SHAPES[name]
    with pytest.raises(InputError, match=message):
        call(**shapes)


def zeros(*shape: int, **options: Any) -> Tensor:
    return torch.zeros(shape, **options)


LOCAL = {"normalize": "lse_mix", "local_out": zeros(1, 40, 4, 16)}
OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "not a tensor": ({"v": [1.0]}, "v is a list: give a torch.Tensor"),
    "sparse": (
        {"k": zeros(1, 40, 2, 16).to_sparse()},
        "k is a torch.sparse_coo tensor: give a dense, strided one",
    ),
    "nested": (
        {"q": torch.nested.as_nested_tensor([zeros(3, 4), zeros(2, 4)], layout=torch.jagged)},
        "q is a nested tensor: .* cu_seqlens_q",
    ),
    "dtypes": (
        {"v": zeros(1, 40, 2, 16, dtype=torch.bfloat16)},
        r"q, k, v have different dtypes \(q: float32, k: float32, v: bfloat16\)",
    ),
    "retrieval dtypes": (
        {"landmarks": zeros(1, 2, 2, 16, dtype=torch.float16)},
        "q_slc, landmarks have different dtypes",
    ),
    "integers": (
        {n: zeros(1, 40, h, 16, dtype=torch.int32) for n, h in (("q", 4), ("k", 2), ("v", 2))},
        "q, k, v are int32: give float32, bfloat16, float16",
    ),
    "float64 without the reference": (
        {
            "backend": "tvm",
            **{n: zeros(1, 40, h, 16).double() for n, h in (("q", 4), ("k", 2), ("v", 2))},
        },
        'are float64: give .*fp64 needs backend="reference"',
    ),
    "devices": (
        {"k": zeros(1, 40, 2, 16, device="meta")},
        "k is on meta, but q is on cpu: move all tensors to one device",
    ),
    "half of the devices": (
        {n: zeros(1, 40, h, 16, device="meta") for n, h in (("q", 4), ("k", 2), ("v", 2))},
        "q is on meta: move the tensors to a CPU or CUDA device",
    ),
    "chunk size": ({"chunk_size": 48}, "chunk_size=48: give one of 16, 32, 64, 128"),
    "fractional chunk size": ({"chunk_size": 16.0}, "chunk_size=16.0 is a float: give a whole"),
    "chunk sizes": (
        {"chunk_size": torch.tensor([16, 32])},
        r"chunk_size=tensor\(\[16, 32\]\) is a Tensor: give a whole number, a Python int",
    ),
    "top k": ({"top_k": 0}, "top_k=0: give 1 or more"),
    "huge top k": ({"top_k": 2**40}, "top_k=1099511627776: give less than 2147483648"),
    "fractional top k": ({"top_k": 2.0}, "top_k=2.0 is a float: give a whole number"),
    "normalize": ({"normalize": "sigmoid"}, "normalize='sigmoid': give one of 'softmax', "),
    "weight heads": ({"weight_heads": "all"}, "weight_heads='all': give one of 'kv', 'query'"),
    "backend": ({"backend": "cuda"}, "backend='cuda': give one of 'auto', 'triton', 'tvm'"),
    "window": ({"window": 0}, "window=0: give 1 or more"),
    "huge window": ({"window": 2**64}, "window=18446744073709551616: give less than 46116860"),
    "huge offset": ({"q_offset": 2**63 - 1}, "q_offset=9223372036854775807: give less than 461"),
    "huge offsets": (
        {"q_offset": torch.tensor(2**63 - 1)},
        "q_offset=9223372036854775807: give 0 or more, less than 4611686018427387904",
    ),
    "offset": ({"q_offset": -1}, "q_offset=-1: give 0 or more"),
    "offsets": ({"q_offset": torch.tensor([1, 2])}, "q_offset has 2 elements: give 1"),
    "float offset": ({"q_offset": torch.tensor(1.0)}, "q_offset is float32: give an int32 or"),
    "scale": ({"scale": "big"}, "scale='big' is a str: give a number or None"),
    "infinite scale": ({"scale": float("inf")}, "scale=inf: give a finite number or None"),
    "scale that is no number": ({"scale": float("nan")}, "scale=nan: give a finite number"),
    "scale beyond fp32": ({"scale": 1e39}, "scale=1e\\+39: give a finite number or None"),
    "scale beyond fp64": ({"scale": 10**400}, "scale=1000.*: give a finite number or None"),
    "deterministic": ({"deterministic": "no"}, "deterministic='no' is a str: give True or False"),
    "return selection": ({"return_selection": 1}, "return_selection=1 is a int: give True or"),
    "no normalisation": ({"normalize": None}, "normalize=None: give one of 'softmax', "),
    "negative offsets": ({"q_offset": torch.tensor([-1])}, r"q_offset=\[-1\]: give 0 or more"),
    "seed": ({"noise_seed": 0.5}, "noise_seed=0.5 is a float: give a whole number"),
    "seeds": ({"noise_seed": torch.tensor([1, 2])}, "noise_seed has 2 elements"),
    "bias": ({"chunk_bias": zeros(1, 2, 1)}, "chunk_bias has shape .* axis Hm is 1, not 2"),
    "integer bias": (
        {"chunk_bias": zeros(1, 2, 2, dtype=torch.int64)},
        "chunk_bias is int64: give a floating-point tensor",
    ),
    "rank scale with stick breaking": (
        {"rank_scale": torch.tensor(1.0), "normalize": "stick_breaking"},
        "rank_scale was given with normalize='stick_breaking'",
    ),
    "rank scales": ({"rank_scale": zeros(2)}, "rank_scale: give a tensor with one element"),
    "mix without output": ({"normalize": "lse_mix"}, "'lse_mix' with local_out absent"),
    "mix without lse": (LOCAL, "normalize='lse_mix' with local_lse absent"),
    "local output without mix": (
        {"local_out": zeros(1, 40, 4, 16)},
        "normalize='softmax' with local_out given",
    ),
    "lse without mix": (
        {"local_lse": zeros(1, 40, 4)},
        "normalize='softmax' with local_lse given",
    ),
    "lse heads": ({**LOCAL, "local_lse": zeros(1, 40, 3)}, "local_lse has 3 heads"),
    "starts of a batch": (
        {"cu_seqlens_q": torch.tensor([0, 30])},
        r"cu_seqlens_q=\[0, 30\]: give 0 first, 40 \(the number of tokens\) last",
    ),
    "falling starts": (
        {"cu_seqlens_q": torch.tensor([0, 30, 20, 40])},
        "give 0 first, 40 .* and never fall",
    ),
    "scalar starts": ({"cu_seqlens_q": torch.tensor(40)}, r"cu_seqlens_q has shape \[\]"),
    "listed starts": ({"cu_seqlens_q": [0, 40]}, "cu_seqlens_q is a list: give a torch.Tensor"),
    "starts elsewhere": (
        {"cu_seqlens_q": torch.empty(2, dtype=torch.int32, device="meta")},
        "cu_seqlens_q is on meta, but q_slc is on cpu: move all tensors to one device",
    ),
    "offset elsewhere": (
        {"q_offset": torch.empty((), dtype=torch.int32, device="meta")},
        "q_offset is on meta, but q_slc is on cpu",
    ),
    "seed elsewhere": (
        {"noise_seed": torch.empty((), dtype=torch.int32, device="meta")},
        "noise_seed is on meta: move the tensors to a CPU or CUDA device",
    ),
    "float starts": ({"cu_seqlens_q": CU.float()}, "cu_seqlens_q is float32"),
    "unequal starts": (
        {"cu_seqlens_q": CU, "cu_seqlens_kv": torch.tensor([0, 20, 40])},
        "cu_seqlens_q has 2 entries and cu_seqlens_kv has 3",
    ),
    "packed chunks": (
        {"cu_seqlens_q": torch.tensor([0, 20, 30, 40])},
        "landmarks has C=2 chunks, but the sequences of cu_seqlens_kv have 1 complete chunks",
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name: str) -> None:
    change, message = OPTIONS[name]
    with pytest.raises(InputError, match=message):
        call(change)


def test_packed_sequences_need_a_batch_of_one() -> None:
    shapes = {n: (2, 40, h, 16) for n, h in (("q", 4), ("k", 2), ("v", 2), ("q_slc", 2))}
    with pytest.raises(InputError, match="cu_seqlens_q was given with a batch of 2: pack all"):
        call({"cu_seqlens_q": CU}, **shapes, landmarks=(2, 2, 2, 16))


def test_blocks_of_queries_do_not_straddle_packed_sequences() -> None:
    with pytest.raises(InputError, match="query_block=4 with cu_seqlens"):
        retrieve(
            zeros(1, 10, 2, 16),
            zeros(1, 2, 2, 16),
            chunk_size=S,
            top_k=2,
            query_block=4,
            cu_seqlens_q=torch.tensor([0, 10]),
        )


def test_more_forced_chunks_than_slots() -> None:
    with pytest.raises(InputError, match="force_first=2 and force_last=1 fill more slots than"):
        retrieve(
            zeros(1, 10, 2, 16),
            zeros(1, 2, 2, 16),
            chunk_size=S,
            top_k=2,
            force_first=2,
            force_last=1,
        )


INDICES = torch.zeros(1, 40, 2, 2, dtype=torch.int32)
WEIGHTS = zeros(1, 40, 2, 2)
SELECTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "index rows": (
        {"selection": INDICES[:, :39]},
        "selection.indices has shape .* axis R is 39, not 40",
    ),
    "index dtype": ({"selection": INDICES.float()}, "selection.indices is float32"),
    "index heads": (
        {"selection": INDICES[:, :, :1].expand(1, 40, 3, 2)},
        "selection.indices has 3 heads and q has 4",
    ),
    "weight slots": (
        {"selection": Selection(INDICES, WEIGHTS[..., :1])},
        "selection.weights has shape .* axis K is 1, not 2",
    ),
    "weight heads": (
        {"selection": Selection(INDICES, WEIGHTS[:, :, :1])},
        "selection.indices has 2 heads and selection.weights has 1",
    ),
    "weight dtype": (
        {"selection": Selection(INDICES, WEIGHTS.int())},
        "selection.weights is int32: give a floating-point tensor",
    ),
    "lse with weights": (
        {"selection": Selection(INDICES, WEIGHTS), "local_lse": zeros(1, 40, 4)},
        "local_lse was given with a selection that has weights",
    ),
    "local weight without output": (
        {"selection": Selection(INDICES, WEIGHTS, None, zeros(1, 40, 2))},
        "local_out is absent and selection.local_weight is given",
    ),
    "local weight without weights": (
        {"selection": Selection(INDICES, None, None, zeros(1, 40, 2))},
        "selection.local_weight was given without weights",
    ),
    "half a local branch": (
        {"selection": INDICES, "local_lse": zeros(1, 40, 4)},
        "local_out is absent and local_lse is given: the joint softmax takes both",
    ),
    "joint lse": (
        {"selection": INDICES, "local_out": zeros(1, 40, 4, 16), "local_lse": zeros(1, 40, 2)},
        "local_lse has shape .* axis Hq is 2, not 4",
    ),
    "plus one": ({"selection": INDICES, "plus_one": 2}, "plus_one=2 is a int: give True or False"),
    "hide last": ({"selection": INDICES, "hide_last": None}, "hide_last=None is a NoneType"),
    "listed starts": ({"cu_seqlens_kv": [0, 40]}, "cu_seqlens_kv is a list: give a torch.Tensor"),
    "starts elsewhere": (
        {"cu_seqlens_kv": torch.empty(2, dtype=torch.int32, device="meta")},
        "cu_seqlens_kv is on meta, but q is on cpu",
    ),
    "no slots": ({"selection": INDICES[..., :0]}, "number of slots K .*=0: give 1 or more"),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_selections(name: str) -> None:
    change, message = SELECTIONS[name]
    tensors = {"q": zeros(1, 40, 4, 16), "k": zeros(1, 40, 2, 16), "v": zeros(1, 40, 2, 16)}
    with pytest.raises(InputError, match=message):
        chunk_attention(**tensors, **{"selection": INDICES, **change}, chunk_size=S)


def test_head_counts_that_do_not_nest() -> None:
    tensors = {"q": zeros(1, 40, 12, 16), "k": zeros(1, 40, 2, 16), "v": zeros(1, 40, 2, 16)}
    indices = torch.zeros(1, 40, 3, 2, dtype=torch.int32)
    with pytest.raises(InputError, match="has 3 heads and k, v have 2: give 1, H=2 or Hq=12"):
        chunk_attention(**tensors, selection=indices, chunk_size=S)


def test_too_many_slots_to_count() -> None:
    wide = zeros(1, 1, 1, 1).expand(1, 2**20, 2, 16)
    with pytest.raises(InputError, match=r"selected slots.* is 4294967296, past the limit"):
        call(
            {
                "q": zeros(1, 1, 1, 1).expand(1, 2**20, 4, 16),
                "k": wide,
                "v": wide,
                "q_slc": wide,
                "landmarks": zeros(1, 1, 1, 1).expand(1, 2**16, 2, 16),
                "top_k": 2048,
            }
        )


def test_calls_that_cannot_fit_say_how_much_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 3 * 2**30)
    monkeypatch.setattr(memory, "total_bytes", lambda kind, index: 8 * 2**30)
    one = zeros(1, 1, 1, 1)
    long = one.expand(1, 2**22, 2, 16)
    tensors = {
        "q": one.expand(1, 2**22, 4, 16),
        "k": long,
        "v": long,
        "q_slc": long,
        "landmarks": one.expand(1, 2**18, 2, 16),
        "backend": "auto",
    }
    with pytest.raises(MemoryEstimateError, match=r"needs about 6\.5 GiB .* has 3\.0 GiB free"):
        call({**tensors, "top_k": 64})
    # A small top_k leaves retrieval small, but the keys must still be copied and attended to.
    monkeypatch.setattr(visibility, "intervals", None)  # refused before anything is made
    with pytest.raises(MemoryEstimateError, match="chunk_attention needs about"):
        call({**tensors, "top_k": 1, "q": one.expand(1, 2**22, 32, 16)})


def test_the_interpreter_scores_every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 3 * 2**30)
    monkeypatch.setattr(memory, "total_bytes", lambda kind, index: 8 * 2**30)
    rows = zeros(1, 20000, 1, 16)
    with pytest.raises(MemoryEstimateError, match=r"retrieve needs about 14\.2 GiB"):
        retrieve(rows, rows, chunk_size=S, top_k=1, backend="reference")
    q, kv = zeros(1, 1, 1, 1).expand(1, 2**16, 4, 64), zeros(1, S, 1, 64)
    with pytest.raises(MemoryEstimateError, match="chunk_attention needs about"):
        chunk_attention(
            *(q, kv, kv, torch.zeros(1, 2**16, 1, 64, dtype=torch.int32)),
            chunk_size=S,
            backend="reference",
        )


def test_free_memory_is_not_asked_for_small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(device: torch.device) -> int:
        raise AssertionError("free memory was asked for")

    monkeypatch.setattr(memory, "free_bytes", asked)
    memory.require("a call", 1000, torch.device("cpu"))
    assert memory.total_bytes("cpu", None) > 2**28


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (3 * 2**30, "3.0 GiB"), (2**60, "1024.0 PiB")]
)
def test_sizes_are_readable(count: int, text: str) -> None:
    assert memory.readable(count) == text


def test_back_ends_say_where_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_interpreting", lambda: False)
    with pytest.raises(InputError, match="backend='triton' needs CUDA tensors"):
        dispatch.resolve_backend("triton", torch.device("cpu"))
    assert dispatch.resolve_backend("tvm", torch.device("cpu")) == "tvm"
    assert dispatch.resolve_backend("tvm", torch.device("cuda")) == "cuda"


def test_missing_back_ends_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_installed", lambda backend: False)
    with pytest.raises(BackendError, match=r"needs the package apache-tvm.*pip install apache-tvm"):
        dispatch.resolve_backend("auto", torch.device("cpu"))
    assert dispatch.resolve_backend("reference", torch.device("cpu")) == "reference"
