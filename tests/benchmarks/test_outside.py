"""Adapters of outside kernels: loaded, checked against ours, tried in a process of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsa_compiler.benchmarks import outside
from hsa_compiler.benchmarks.contest import CannotRun, Contestant, NotOffered
from hsa_compiler.errors import InputError
from tests.benchmarks.cases import tiny_case

ADAPTERS = """
import os
import torch
from hsa_compiler import Selection, chunk_attention, retrieve

def same(row, tensors):
    leaves = [tensors[name].clone().requires_grad_() for name in ("q", "k", "v", "weights")]
    q, k, v, weights = leaves
    out = chunk_attention(q, k, v, Selection(tensors["indices"], weights), chunk_size=row["S"])
    chosen = retrieve(
        tensors["q_slc"], tensors["landmarks"], chunk_size=row["S"], top_k=row["K"],
        kv_heads=row["H"],
    )
    return {
        "forward": lambda: out.detach(),
        "backward": lambda: torch.autograd.grad(out, leaves, tensors["d_out"], retain_graph=True),
        "retrieve": lambda: (chosen.indices.flip(-1), chosen.weights.flip(-1)),
    }

def wrong(row, tensors):
    return {
        "forward": lambda: 1.1 * tensors["q"],
        "backward": lambda: tensors["q"],
        "retrieve": lambda: (tensors["indices"], float("nan") * tensors["weights"]),
    }

def none(row, tensors):
    return None if row["D"] == 16 and row["C"] == 4 and row["selection"] == "local" else {}

def other(row, tensors):
    return {"forwards": lambda: None}

def broken(row, tensors):
    raise RuntimeError("no such kernel")

def crash(row, tensors):
    return {"forward": lambda: os.abort()}
"""


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    path = tmp_path / "adapters.py"
    path.write_text(ADAPTERS)
    return path


def found(adapters: Path, name: str) -> dict[str, Contestant]:
    peer = outside.Outside.parse(f"{adapters}:{name}")
    return {c.part: c for c in outside.contestants(peer, tiny_case())}


def test_an_adapter_with_our_results_is_timed(adapters: Path) -> None:
    calls = found(adapters, "same")
    assert list(calls) == ["forward", "backward", "retrieve"]
    for call in calls.values():
        built = call.build()
        built.run()
        assert built.note.startswith("differs from ours by ")


def test_wrong_results_are_not_timed(adapters: Path) -> None:
    calls = found(adapters, "wrong")
    with pytest.raises(outside.WrongPeer, match=r"by more than 0\.001: out"):
        calls["forward"].build()
    with pytest.raises(outside.WrongPeer, match="must return tensors: d_q, d_k, d_v"):
        calls["backward"].build()
    with pytest.raises(outside.WrongPeer, match="weights inf"):
        calls["retrieve"].build()


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("none", CannotRun, "cannot run this row"),
        ("other", CannotRun, "returned forwards: known calls are forward, backward, retrieve"),
        ("broken", RuntimeError, "no such kernel"),
    ],
)
def test_adapters_that_cannot(
    adapters: Path, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        found(adapters, name)["forward"].build()


def test_what_an_adapter_leaves_out_is_no_failure(adapters: Path) -> None:
    with pytest.raises(NotOffered):
        found(adapters, "crash")["backward"].build()


def test_a_crash_ends_only_the_process_that_tries(adapters: Path) -> None:
    peer = outside.Outside.parse(f"{adapters}:crash")
    with pytest.raises(CannotRun, match="it crashed the process"):
        outside.trial(peer, tiny_case())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adapters.py", "give FILE:FUNCTION"),
        ("nowhere.py:same", "there is no file nowhere.py"),
        ("{}:missing", "it has no function 'missing'"),
        ("{}:not a name", "give FILE:FUNCTION"),
    ],
)
def test_bad_peers_are_refused(adapters: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        outside.Outside.parse(text.format(adapters))


def test_a_module_that_fails_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("import nothing_of_this_name")
    with pytest.raises(InputError, match="importing it failed: ModuleNotFoundError"):
        outside.Outside.parse(f"{path}:f")
