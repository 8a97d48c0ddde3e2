"""Trace files: what is written is read back, and nothing else is believed."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.schedules.locality import measured_union
from hsa_compiler.trace import METADATA, Trace
from tests.traces import K, S, selection, trace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A trace of two layers."""
    trace().save(tmp_path / "a.trace")
    return tmp_path / "a.trace"


def rewritten(path: Path, header: dict[str, Any] | None = None, **tensors: torch.Tensor) -> Path:
    """The file with other fields in its header and other tensors."""
    with safe_open(path, framework="pt") as file:
        data = json.loads(file.metadata()[METADATA])
    found = load(path.read_bytes()) | {n.replace("_", "."): x for n, x in tensors.items()}
    metadata = {METADATA: json.dumps(data | (header or {}))}
    path.write_bytes(save(found, metadata=metadata))
    return path


def test_a_trace_is_read_back(path: Path) -> None:
    found, wanted = Trace.load(path), trace()
    assert (found.model, found.chunk_size, found.top_k) == ("test", S, K)
    assert (found.layers, found.tokens) == ([0, 1], 128)
    assert found.hash == wanted.hash
    for one, other in zip(found.selections, wanted.selections, strict=True):
        assert torch.equal(one.indices, other.indices)
        assert one.weights is not None
        assert other.weights is not None
        assert torch.equal(one.weights, other.weights)
    assert found.union == pytest.approx(
        sum(measured_union(one.indices) for one in wanted.selections) / 2
    )
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing is left beside it"


def test_few_chunks_are_narrow_and_many_are_wide(tmp_path: Path) -> None:
    narrow = selection(rows=8, weight_heads=0)
    far = dataclasses.replace(narrow, chunks=40000, q_offset=40000 * S)
    far.indices[0, 7, 0, 0] = 39999
    for one, dtype in ((selection(), "I16"), (far, "I32")):
        file = tmp_path / dtype
        trace(one).save(file)
        with safe_open(file, framework="pt") as opened:
            assert opened.get_slice("indices.0").get_dtype() == dtype
        assert torch.equal(Trace.load(file).selections[0].indices, one.indices)


def test_the_hash_says_what_was_selected_and_nothing_else() -> None:
    first = trace()
    assert dataclasses.replace(first, model="other", date="then").hash == first.hash
    assert trace(selection(0)).hash != first.hash
    assert trace(selection(0, weight_heads=0)).hash != trace(selection(0)).hash


def test_rows_of_several_tokens_count_neighbouring_tokens() -> None:
    one = selection(rows=32, query_block=8)
    assert one.union == measured_union(one.indices, 2)


def test_a_selection_that_no_model_made_is_refused() -> None:
    one = selection()
    for place, number, says in (
        ((0, 40, 1, 0), 2, "chunk 2 in row 40, which sees chunks below 2 of 8"),
        ((0, 3, 0, 0), 0, "chunk 0 in row 3, which sees chunks below 0 of 8"),
        ((0, 127, 0, 0), 8, "chunk 8 in row 127, which sees chunks below 7 of 8"),
        ((0, 0, 0, 0), -2, "chunk -2 in row 0"),
    ):
        wrong = one.indices.clone()
        wrong[place] = number
        with pytest.raises(InputError, match=says):
            trace(dataclasses.replace(one, indices=wrong))
    assert one.weights is not None
    for weights, says in (
        (one.weights[:, :9], "only the heads may be more"),
        (one.weights[:, :, :1], "only the heads may be more"),
        (-one.weights, "finite numbers of at least 0"),
        (one.weights * float("inf"), "finite numbers of at least 0"),
    ):
        with pytest.raises(InputError, match=says):
            trace(dataclasses.replace(one, weights=weights))
    with pytest.raises(InputError, match="one selection at least"):
        Trace.now("test", S, ())
    with pytest.raises(InputError, match="chunk_size=17"):
        Trace.now("test", 17, (one,))
    with pytest.raises(InputError, match=r"give \[B, R, Hi, 4\]"):
        trace(one, selection(1, top_k=2))


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"format_version": 2}, "format_version: this version reads 1, the file has 2"),
        ({"format_version": None}, "the file has None"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
        ({"top_k": 0}, "top_k: Input should be greater"),
        ({"top_k": 5}, r"indices.0: I16\[1, 128, 2, 4\], where the header says I16 or I32"),
        ({"chunk_size": 7}, "chunk_size=7: give one of 16"),
        ({"chunk_size": 128}, "which sees chunks below 0"),
        ({"selections": []}, r"4 are not known \['indices.0', "),
        ({"hash": "0" * 64}, "hash: its contents are other ones"),
        ({"selections": [{"layer": -1}]}, "selections.0.layer"),
    ],
)
def test_a_header_that_is_not_valid_names_its_field(
    path: Path, header: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Trace.load(rewritten(path, header))
    assert str(path) in str(caught.value)


def test_tensors_that_do_not_belong_are_refused(path: Path) -> None:
    known = Trace.load(path).selections[0]
    before = path.read_bytes()
    for tensors, says in (
        ({"indices_0": known.indices.long()}, r"indices.0: I64"),
        ({"weights_0": known.indices.float()}, r"weights.0: F32"),
        ({"indices_0": known.indices[:, :9].contiguous()}, r"indices.0: I32\[1, 9"),
        ({"other": known.indices}, r"1 are not known \['other'\]"),
        ({"indices_0": known.indices + 1}, "which sees chunks below"),
    ):
        path.write_bytes(before)
        with pytest.raises(ConfigError, match=says):
            Trace.load(rewritten(path, **tensors))


def test_files_that_are_no_trace(path: Path) -> None:
    whole = path.read_bytes()
    foreign = save({"x": torch.zeros(2)})
    bare = save({"x": torch.zeros(2)}, metadata={METADATA: "[1]"})
    for data, says in (
        (b"", "cannot be read as a selection trace"),
        (whole[:-1], "cannot be read as a selection trace"),
        (whole[:100], "cannot be read as a selection trace"),
        (b"\0" * 64, "cannot be read as a selection trace"),
        (b"plain text, and no more than that", "cannot be read as a selection trace"),
        (foreign, "its metadata lacks 'hsa_trace'"),
        (bare, "the file has None"),
        (save({}, metadata={METADATA: "{"}), "not JSON"),
        (save({}, metadata={METADATA: "[" * 100000}), "not JSON"),
    ):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=says):
            Trace.load(path)
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        Trace.load(path)
    with pytest.raises(ConfigError, match="not a file"):
        Trace.load(path.parent)
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="not a file"):
        Trace.load(path)


def test_a_place_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        trace().save(tmp_path / "nowhere" / "a.trace")
