"""What this project brings to a row: its public calls, and each of its kernels by itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hsa_compiler import Selection, chunk_attention, hsa_attention, hsa_decode, retrieve
from hsa_compiler.benchmarks import work
from hsa_compiler.benchmarks.case import Case, weight_heads
from hsa_compiler.benchmarks.contest import (
    OURS,
    Built,
    Contestant,
    gradients,
    parts_of,
    relative_error,
    without_gradients,
)
from hsa_compiler.runtime import calls
from hsa_compiler.runtime.api import Backend
from hsa_compiler.runtime.dispatch import Dispatched
from hsa_compiler.schedules.cost_model import roofline
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import DYNAMIC_DIMS, Problem
from hsa_compiler.tuner.measure import Run
from hsa_compiler.tuner.workload import executables

#: Tokens of the slice on which the outputs are compared with the interpreter in fp32.
SLICE = 64
#: Largest normwise error there, by the dtype of the tensors.
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2, "fp16": 1e-2}


@dataclass(frozen=True)
class How:
    """The options of a call that change how it is computed, and not what."""

    backend: Backend = "auto"
    deterministic: bool = False


AUTO = How()


def contestants(case: Case, who: str = OURS, how: How = AUTO) -> list[Contestant]:
    """The public calls, for the parts that the row's suite measures."""
    makers: dict[str, tuple[Callable[[Case, How], Built], Callable[[], work.Work]]] = {
        "forward": (_forward, lambda: work.attention(case, work.FORWARD_PRODUCTS)),
        "backward": (_backward, lambda: work.attention(case, work.BACKWARD_PRODUCTS)),
        "retrieve": (_retrieve, lambda: work.retrieval(case)),
        "retrieve_backward": (_retrieve_backward, lambda: work.retrieval(case, backward=True)),
        "total": (_total, lambda: work.total(case)),
        "decode": (_decode, lambda: work.total(case)),
    }
    return [
        Contestant(who, part, functools.partial(makers[part][0], case, how), makers[part][1]())
        for part in parts_of(case)
    ]


def attend(case: Case, how: How = AUTO) -> Tensor:
    """Attention to the row's selection, [B,L,Hq,D]."""
    return chunk_attention(
        case["q"],
        case["k"],
        case["v"],
        Selection(case["indices"], case["weights"]),
        chunk_size=case.shape.S,
        deterministic=how.deterministic,
        backend=how.backend,
    )


def attention_inputs(case: Case) -> tuple[Tensor, ...]:
    """What attention has gradients for: q, k, v, weights."""
    return case["q"], case["k"], case["v"], case["weights"]


def choose(case: Case, how: How = AUTO) -> Selection:
    """Retrieval for every token of the row."""
    shape = case.shape
    return retrieve(
        case["q_slc"],
        case["landmarks"],
        chunk_size=shape.S,
        top_k=shape.K,
        kv_heads=shape.H,
        weight_heads=weight_heads(shape),
        q_offset=case.q_offset,
        deterministic=how.deterministic,
        backend=how.backend,
    )


def _forward(case: Case, how: How) -> Built:
    return Built(without_gradients(lambda: attend(case, how)))


def _backward(case: Case, how: How) -> Built:
    return Built(gradients(attend(case, how), attention_inputs(case), case["d_out"]))


def _retrieve(case: Case, how: How) -> Built:
    return Built(without_gradients(lambda: choose(case, how)))


def _retrieve_backward(case: Case, how: How) -> Built:
    weights = choose(case, how).weights
    assert weights is not None
    return Built(gradients(weights, (case["q_slc"], case["landmarks"]), case["d_weights"]))


def _total(case: Case, how: How) -> Built:
    shape = case.shape
    inputs = tuple(case[name] for name in ("q", "k", "v", "q_slc", "landmarks"))

    def forward() -> Tensor:
        out = hsa_attention(
            *inputs,
            chunk_size=shape.S,
            top_k=shape.K,
            weight_heads=weight_heads(shape),
            q_offset=case.q_offset,
            deterministic=how.deterministic,
            backend=how.backend,
        )
        assert isinstance(out, Tensor)
        return out

    def both() -> None:
        torch.autograd.grad(forward(), inputs, case["d_out"])

    return Built(both if case.backward else without_gradients(forward))


def decode(case: Case, backend: Backend = "auto") -> Tensor:
    """The row's last tokens on a full cache, [B,L,Hq,D]."""
    shape = case.shape
    return hsa_decode(
        *(case[name] for name in ("q", "k", "v", "q_slc", "landmarks")),
        kv_len=case["kv_len"],
        chunk_size=shape.S,
        top_k=shape.K,
        weight_heads=weight_heads(shape),
        backend=backend,
    )


def _decode(case: Case, how: How) -> Built:
    return Built(without_gradients(lambda: decode(case, how.backend)))


@dataclass(frozen=True)
class KernelRun:
    """One kernel launched by itself; its schedule may still give way at the first launch."""

    kernel: str
    run: Run
    dispatched: Dispatched
    floor_seconds: float


def kernel_runs(case: Case, hardware: Hardware) -> list[KernelRun]:
    """The kernels of a forward and, where measured, a backward call, in launch order; of a row that
    decodes those of `hsa_decode`.

    Each has been launched once: later kernels read what earlier ones gave, but the selection that
    attention reads is the row's own.
    """
    dims, values = case.shape.dims, {name: x.detach() for name, x in case.tensors.items()}
    found: dict[str, KernelRun] = {}
    pending = executables(case.shape, case.backward)
    while pending:
        executable = pending.pop(0)
        needs = {
            name
            for name in executable.inputs
            if executable.needs(name, dims, case.device, "auto", deterministic=False)
        }
        if "order" in needs - set(values) and "indices" in values:
            pending = [calls.invert(), executable, *pending]
            continue
        if not needs <= set(values):
            continue
        for step in executable.plan(dims, case.device, "auto", deterministic=False).steps:
            outputs = {
                output.name: torch.empty(output.shape, dtype=output.dtype, device=case.device)
                for output in step.outputs
            }
            run = functools.partial(step.kernel.launch, {**values, **outputs}, dims)
            run()
            values = {**outputs, **values}
            problem = step.kernel.kernel.problem
            floor = _floor_seconds(case, problem, hardware)
            found.setdefault(problem.kind, KernelRun(problem.kind, run, step.kernel, floor))
    return list(found.values())


def _floor_seconds(case: Case, problem: Problem, hardware: Hardware) -> float:
    """The roofline of one kernel, which reads only the chunks that were chosen."""
    names = problem.group.program.dim_names()
    sizes = {name: case.shape.dims[name] for name in DYNAMIC_DIMS if name in names}
    return roofline(problem, sizes, hardware).seconds


def errors(case: Case) -> dict[str, float]:
    """Normwise errors against the interpreter in fp32, on a slice of tokens.

    It guards a benchmark against timing garbage: the output, and the gradients that belong to the
    tokens of the slice (of q and of the weights). Retrieval is compared by its weights.
    """
    found: dict[str, float] = {}
    if "attention" in case.parts:
        found |= _attention_errors(case)
    if "retrieval" in case.parts:
        found["weights"] = _weights_error(case)
    if "decode" in case.parts:
        found["decode"] = _decode_error(case)
    return found


def _attention_errors(case: Case) -> dict[str, float]:
    at = torch.linspace(0, case.shape.L - 1, min(SLICE, case.shape.L)).long().to(case.device)
    with torch.set_grad_enabled(case.backward):
        ours = attend(case)
        small = _sliced(case, at)
        expected = chunk_attention(
            small["q"],
            small["k"],
            small["v"],
            Selection(small["indices"], small["weights"]),
            chunk_size=case.shape.S,
            backend="reference",
        )
    found = {"out": relative_error(ours[:, at], expected)}
    if case.backward:
        d_q, d_weights = torch.autograd.grad(ours, (case["q"], case["weights"]), case["d_out"])
        reference = torch.autograd.grad(
            expected, (small["q"], small["weights"]), case["d_out"][:, at].float()
        )
        found["d_q"] = relative_error(d_q[:, at], reference[0])
        found["d_weights"] = relative_error(d_weights[:, at], reference[1])
    return found


def _sliced(case: Case, at: Tensor) -> dict[str, Tensor]:
    """The tensors of some tokens in fp32, with the chunks that they chose and no others."""
    shape = case.shape
    indices = case["indices"][:, at]
    chunks = torch.unique(indices[indices >= 0])
    if chunks.numel() == 0:
        chunks = chunks.new_zeros(1)
    place = torch.searchsorted(chunks, indices.clamp(min=0).contiguous()).to(torch.int32)
    tensors = {"indices": torch.where(indices >= 0, place, -1)}
    whole = shape.C * shape.S
    for name in ("k", "v"):
        by_chunk = case[name].detach()[:, :whole].view(shape.B, shape.C, shape.S, shape.H, shape.D)
        tensors[name] = by_chunk[:, chunks.long()].flatten(1, 2).float()
    for name in ("q", "weights"):
        tensors[name] = case[name].detach()[:, at].float().requires_grad_(case.backward)
    return tensors


def _decode_error(case: Case) -> float:
    shape = case.shape
    with torch.no_grad():
        chosen = _chosen_in_fp32(case, shape.L)
        assert chosen.weights is not None
        tensors = {"indices": chosen.indices, "weights": chosen.weights}
        tokens = torch.arange(shape.L, device=case.device)
        small = _sliced(replace(case, tensors={**case.tensors, **tensors}), tokens)
        expected = chunk_attention(
            small["q"],
            small["k"],
            small["v"],
            Selection(small["indices"], small["weights"]),
            chunk_size=shape.S,
            backend="reference",
        )
        return relative_error(decode(case), expected)


def _chosen_in_fp32(case: Case, tokens: int) -> Selection:
    """What the interpreter retrieves for the row's last tokens."""
    shape = case.shape
    return retrieve(
        case["q_slc"][:, -tokens:].float(),
        case["landmarks"].float(),
        chunk_size=shape.S,
        top_k=shape.K,
        kv_heads=shape.H,
        weight_heads=weight_heads(shape),
        q_offset=shape.Lkv - tokens,
        backend="reference",
    )


def _weights_error(case: Case) -> float:
    tokens = min(SLICE, case.shape.L)
    with torch.no_grad():
        ours = choose(case).weights
        expected = _chosen_in_fp32(case, tokens).weights
    assert ours is not None
    assert expected is not None
    # Chunks of equal score, to rounding, may stand for each other: their weights are equal then.
    return relative_error(ours[:, -tokens:].sort(dim=-1).values, expected.sort(dim=-1).values)
