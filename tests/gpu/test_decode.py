"""Decoding on a GPU: every option, and one captured CUDA graph that serves a growing cache."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from hsa_compiler import hsa_decode
from tests.decode_cases import STEPS, Step, check_decode, compare, expected, in_pages, inputs
from tests.gpu_backends import backends


@backends
@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"step{step.seed}")
def test_a_step_equals_the_naive_operator(step: Step, backend: str) -> None:
    check_decode(step, backend, "cuda")


@backends
@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("pages", [0, 4])
def test_one_graph_serves_a_growing_cache(tokens: int, pages: int, backend: str) -> None:
    full = Step(lengths=(640, 640), tokens=tokens, pages=pages, dtype=torch.bfloat16)
    tensors, _ = inputs(full, "cuda")
    given = in_pages(full, tensors) if pages else tensors
    kv_len = torch.tensor([40, 40], dtype=torch.int32, device="cuda")

    def call() -> torch.Tensor:
        return hsa_decode(**given, kv_len=kv_len, **full.options, backend=backend)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call()
    for lengths in ((0, 3), (16, 17), (40, 100), (333, 640), (640, 5)):
        kv_len.copy_(torch.tensor(lengths))
        graph.replay()
        step = dataclasses.replace(full, lengths=lengths)
        compare(step, out, expected(step, tensors, {}), {})
