"""Decoding shapes: what they refuse, what their kernels are tuned on, and that calls find it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import hsa_compiler
from hsa_compiler import hsa_decode
from hsa_compiler.configs import ConfigStore, device_record, merge_entries, set_default_store
from hsa_compiler.errors import InputError
from hsa_compiler.model.config import preset
from hsa_compiler.schedules import space
from hsa_compiler.schedules.hardware import host_cpu
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner import kernel_bench
from hsa_compiler.tuner.correctness import TOLERANCE
from hsa_compiler.tuner.effort import EFFORTS
from hsa_compiler.tuner.kernel_bench import BenchTask, KernelBench
from hsa_compiler.tuner.shapes import DEFAULT_SHAPES, SHAPES, Shape, parse_shape, spelled
from hsa_compiler.tuner.workload import Task, gate_cases, timing_values
from tests.configs.entries import entry

CPU = torch.device("cpu")
#: One token on a contiguous cache, three on pages; both hold many more chunks than are chosen.
STEP = Shape("step", L=1, Lkv=1024, Hq=4, H=2, D=16, S=16, K=4, dtype="fp32", decode=True)
PAGED = STEP.resized(L=3, B=2, Zk=64)
WORD = "L=1,Lkv=1024,Hq=4,H=2,D=16,S=16,K=4"


def test_decoding_is_spelled_out() -> None:
    shape = parse_shape(f"{WORD},decode=1", "fp32")
    assert shape == STEP.resized(name=shape.name)
    assert parse_shape(f"{WORD},decode=0", "fp32").decode is False
    assert parse_shape(spelled(PAGED)) == PAGED.resized(name=spelled(PAGED).replace(",", " "))
    assert PAGED.dims.items() >= {"P": 32, "N": 16, "Zk": 64, "Zc": 4, "C": 64, "R": 3}.items()
    assert {"P", "N", "Zk", "Zc"}.isdisjoint(STEP.dims)


def test_presets_decode_one_token_of_the_targets() -> None:
    for name, tokens in (("d64k", 2**16), ("d1m", 2**20), ("d16m", 2**24), ("m345d", 2**20)):
        shape = SHAPES[name]
        assert (shape.decode, shape.L, shape.Lkv, shape.C) == (True, 1, tokens, tokens // 64)
        assert list(Task("", shape, "cuda").groups) == ["retrieve", "attend"]
    model, shape = preset("345m"), SHAPES["m345d"]
    assert (shape.Hq, shape.H, shape.D) == (model.heads, model.hsa_kv_heads, model.head_dim)
    assert (model.chunk_size, model.top_k) == (shape.S, shape.K)
    assert (shape.Hr, shape.Dr) == (model.retrieval_heads, model.retrieval_dim)
    assert "d1m" in DEFAULT_SHAPES["cuda"]
    assert not any(SHAPES[name].decode for name in DEFAULT_SHAPES["cpu"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{WORD},decode=2", "decode='2': give one of '0', '1'"),
        (f"{WORD},decode=yes", "decode='yes': give one of '0', '1'"),
        (f"{WORD},decode=1,decode=1", "decode is given twice"),
        (f"{WORD},Zk=64", "Zk=64 is for a cache: give decode=1 with it"),
        (f"{WORD},decode=1,Zk=24", "give a multiple of S=16 that divides Lkv=1024"),
        (f"{WORD},decode=1,Zk=48", "give a multiple of S=16 that divides Lkv=1024"),
        (f"{WORD},decode=1,Zk=2048", "give a multiple of S=16 that divides Lkv=1024"),
        (f"{WORD},decode=1,Zk=x", "Zk='x': give a whole number"),
        (f"{WORD},decode=1,normalize=joint", "normalize='joint': give one of 'softmax'"),
        (WORD.replace("L=1,", "L=65,") + ",decode=1", "L=65, the new tokens of a decoding step"),
        ("L=1,Hq=4,H=2,D=16,S=16,K=4,decode=1", "Lkv=1 holds no chunk of S=16"),
        (f"{WORD},decode=1,B=2097152", "B \\* Lkv is 2147483648, past the limit"),
    ],
)
def test_what_hsa_decode_would_not_take_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_shape(text)


def test_a_shape_in_python_is_checked_too() -> None:
    for changes in ({"decode": 1}, {"Zk": -16}, {"Zk": 16.0}):
        with pytest.raises(InputError):
            STEP.resized(**changes)


@pytest.mark.parametrize("shape", [STEP, PAGED, STEP.resized(Zk=1024)], ids=lambda s: f"Zk{s.Zk}")
def test_gate_inputs_are_adversarial(shape: Shape) -> None:
    mixed, few = gate_cases(Task("attend", shape, "cpu"), CPU)
    indices = mixed.values["indices"]
    seen = (indices >= 0).sum(-1)
    assert {0, 1, shape.K} <= set(seen.flatten().tolist())
    # Some sequence begins to see chunks in the middle of its tokens.
    assert bool(((seen[:, 0] == 0) & (seen[:, -1] > 0)).any())
    assert bool(((indices[..., 0] == indices[..., 1]) & (indices[..., 0] >= 0)).any())
    assert int((few.values["indices"] >= 0).sum(-1).max()) < shape.K
    lengths = gate_cases(Task("retrieve", shape, "cpu"), CPU)[0].values["kv_len"]
    assert len(lengths.unique()) == mixed.dims["B"]
    assert {0, mixed.dims["Lkv"]} <= set(lengths.tolist())
    assert bool((lengths % shape.S != 0).any())
    if shape.Zk:
        table = mixed.values["block_table"]
        assert table.shape == (mixed.dims["B"], mixed.dims["N"])
        assert mixed.dims["N"] >= 2
        assert torch.equal(table.flatten().sort().values, torch.arange(mixed.dims["P"]).int())
        assert not torch.equal(table.flatten(), torch.arange(mixed.dims["P"]).int())


class Allocations(TorchDispatchMode):
    """The sizes of what operations give, in elements, without views."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[int, torch.dtype]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [x for x in tree_leaves(found) if isinstance(x, Tensor)]
            self.made += [(x.numel(), x.dtype) for x in tensors]
        return found


@pytest.mark.parametrize("pages", [0, 512])
def test_a_large_cache_is_drawn_once_and_never_copied(pages: int) -> None:
    shape = Shape(
        "long", L=1, Lkv=2**16, Hq=4, H=1, D=32, S=32, K=8, dtype="bf16", decode=True, Zk=pages
    )
    for kernel, large in (("attend", 2), ("retrieve", 0)):
        with Allocations() as allocations:
            values = timing_values(Task(kernel, shape, "cpu"), CPU)
        size = shape.Lkv * shape.H * shape.D
        assert [x for x in allocations.made if x[0] >= size] == [(size, torch.bfloat16)] * large
        assert not any(dtype == torch.float64 for _, dtype in allocations.made)
        if kernel == "retrieve":
            assert values["kv_len"].tolist() == [shape.Lkv]
        else:
            indices, weights = values["indices"], values["weights"]
            assert bool((indices >= 0).all())
            assert int(indices.max()) < shape.C
            torch.testing.assert_close(weights.sum(-1), torch.ones(1, 1, 1))


@pytest.mark.parametrize("shape", [STEP, PAGED], ids=["contiguous", "paged"])
def test_real_kernels_pass_and_calls_find_what_was_tuned(
    shape: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_bench, "_measured_hardware", lambda device: None)
    set_default_store(ConfigStore([tmp_path]))
    hardware = host_cpu()
    chosen: dict[str, Schedule] = {}
    for kernel in Task("", shape, "cpu").groups:
        task = Task(kernel, shape, "cpu")
        bench = KernelBench()
        bench.setup(BenchTask(task, EFFORTS["quick"]))
        chosen[kernel] = space.legal_default(task.problem, "tvm", hardware).replace(unroll=1)
        timing, error = bench.evaluate(chosen[kernel], None, lambda _: None)
        assert timing.median_ms > 0
        assert 0 <= error <= TOLERANCE["fp32"]
        made = entry(task.problem, task.sizes, chosen[kernel], backend="tvm")
        merge_entries(tmp_path, device_record(hardware), [made])
    call(shape)
    rows = {row.kernel: row for row in hsa_compiler.explain()}
    for kernel, schedule in chosen.items():
        assert rows[kernel].tier == "exact"
        assert rows[kernel].schedule == str(schedule)


def call(shape: Shape) -> Tensor:
    """One step of a shape; a pool has more pages than the table names."""
    table, rows, tokens = None, shape.B, shape.Lkv
    if shape.Zk:
        rows, tokens = 40, shape.Zk
        table = torch.randperm(rows, dtype=torch.int32)[: shape.dims["P"]].view(shape.B, -1)
    return hsa_decode(
        torch.randn(shape.B, shape.L, shape.Hq, shape.D),
        torch.randn(rows, tokens, shape.H, shape.D),
        torch.randn(rows, tokens, shape.H, shape.D),
        torch.randn(shape.B, shape.L, shape.Hr, shape.Dr),
        torch.randn(rows, tokens // shape.S, shape.Hm, shape.Dr),
        kv_len=torch.full((shape.B,), shape.Lkv - 7, dtype=torch.int32),
        block_table=table,
        chunk_size=shape.S,
        top_k=shape.K,
    )
