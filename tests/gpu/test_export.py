"""Exported cubins launched with the CUDA driver alone, as the README of an export says."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hsa_compiler import hsa_attention
from hsa_compiler.cli.main import main
from hsa_compiler.export import loader
from hsa_compiler.runtime import visibility

CHUNK, TOP_K, LIMIT = 64, 8, 48 * 1024
DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "i32": torch.int32,
    "i64": torch.int64,
}
#: CUtensorMapDataType.
MAP_TYPES = {"fp16": 6, "fp32": 7, "bf16": 9}
MAX_DYNAMIC_SHARED_SIZE_BYTES = 8
L2_PROMOTION_128B = 2


class Driver:
    """The few calls of the CUDA driver that a launch takes, in torch's context."""

    def __init__(self) -> None:
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.modules: dict[Path, Any] = {}
        torch.zeros(1, device="cuda")  # makes the context current

    def check(self, code: int) -> None:
        assert code == 0, f"CUDA error {code}"

    def function(self, path: Path, symbol: str) -> ctypes.c_void_p:
        if path not in self.modules:
            module = ctypes.c_void_p()
            self.check(self.cuda.cuModuleLoadData(ctypes.byref(module), path.read_bytes()))
            self.modules[path] = module
        found = ctypes.c_void_p()
        name = symbol.encode()
        self.check(self.cuda.cuModuleGetFunction(ctypes.byref(found), self.modules[path], name))
        return found

    def tensor_map(self, parameter: dict[str, Any], address: int) -> Any:
        """A CUtensorMap, 128 bytes at a multiple of 64."""
        room = (ctypes.c_byte * 192)()
        start = -ctypes.addressof(room) % 64
        found = (ctypes.c_byte * 128).from_buffer(room, start)
        rank = len(parameter["shape"])
        outer = parameter["strides"][:-1]
        strides = [stride * parameter["element_bytes"] for stride in reversed(outer)]
        self.check(
            self.cuda.cuTensorMapEncodeTiled(
                ctypes.byref(found),
                ctypes.c_int(MAP_TYPES[parameter["dtype"]]),
                ctypes.c_uint32(rank),
                ctypes.c_void_p(address),
                (ctypes.c_uint64 * rank)(*reversed(parameter["shape"])),
                (ctypes.c_uint64 * (rank - 1))(*strides),
                (ctypes.c_uint32 * rank)(*reversed(parameter["box"])),
                (ctypes.c_uint32 * rank)(*[1] * rank),
                ctypes.c_int(0),
                ctypes.c_int(parameter["swizzle"]),
                ctypes.c_int(L2_PROMOTION_128B),
                ctypes.c_int(0),
            )
        )
        return found

    def launch(self, folder: Path, launch: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        if not all(launch["grid"]):
            return
        function = self.function(folder / launch["file"], launch["symbol"])
        shared = launch["shared_bytes"]
        if shared > LIMIT:
            attribute = ctypes.c_int(MAX_DYNAMIC_SHARED_SIZE_BYTES)
            self.check(self.cuda.cuFuncSetAttribute(function, attribute, ctypes.c_int(shared)))
        values: list[Any] = []
        for parameter in launch["parameters"]:
            kind = parameter["kind"]
            if kind == "pointer":
                address = tensors[parameter["name"]].data_ptr()
                assert address % parameter["alignment"] == 0
                values.append(ctypes.c_uint64(address))
            elif kind == "tensor_map":
                values.append(self.tensor_map(parameter, tensors[parameter["name"]].data_ptr()))
            elif kind == "scratch":
                values.append(ctypes.c_uint64(0))
            else:
                number = ctypes.c_int32 if kind == "i32" else ctypes.c_int64
                values.append(number(parameter["value"]))
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        sizes = map(ctypes.c_uint, (*launch["grid"], *launch["block"], shared))
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self.check(self.cuda.cuLaunchKernel(function, *sizes, stream, pointers, None))


def run(folder: Path, values: dict[str, Tensor], tokens: int) -> None:
    """Run every group of an export, adding its outputs to `values`."""
    kernels, driver = loader.load(folder), Driver()
    sizes = (values["q"].shape[0], tokens, tokens)
    names = kernels.sizes(*sizes)
    for group, record in kernels.groups.items():
        for entry in record["outputs"]:
            shape = [loader.evaluate(axis, names) for axis in entry["shape"]]
            fill = torch.zeros if entry["name"] in record["zeroed"] else torch.empty
            values[entry["name"]] = fill(shape, dtype=DTYPES[entry["dtype"]], device="cuda")
        counts = kernels.workspaces(group, *sizes)
        spaces = {}
        for space in record["workspaces"]:
            fill = torch.zeros if space["zeroed"] else torch.empty
            dtype = DTYPES[space["dtype"]]
            spaces[space["name"]] = fill(counts[space["name"]], dtype=dtype, device="cuda")
        for launch in kernels.launches(group, *sizes):
            used = {p["name"]: p["workspace"] for p in launch["parameters"] if "workspace" in p}
            tensors = {name: (spaces if own else values)[name] for name, own in used.items()}
            driver.launch(folder, launch, tensors)
    torch.cuda.synchronize()


@pytest.mark.parametrize("kv_heads", [1, 4])
@pytest.mark.parametrize("tokens", [1024, 1000])
def test_exported_kernels_compute_what_a_call_does(
    tmp_path: Path, kv_heads: int, tokens: int
) -> None:
    major, minor = torch.cuda.get_device_capability()
    shape = f"L=8192,Hq=16,H={kv_heads},D=128,S={CHUNK},K={TOP_K},dtype=bf16"
    out = tmp_path / "out"
    target = ["--target", f"sm_{major}{minor}", "--passes", "both"]
    assert main(["export", *target, "--shapes", shape, "--out", str(out)]) == 0
    generator = torch.Generator(device="cuda").manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, device="cuda").bfloat16()

    given = {
        "q": normal(1, tokens, 16, 128),
        "k": normal(1, tokens, kv_heads, 128),
        "v": normal(1, tokens, kv_heads, 128),
        "q_slc": normal(1, tokens, kv_heads, 128),
        "landmarks": normal(1, tokens // CHUNK, kv_heads, 128),
    }
    d_out = normal(1, tokens, 16, 128)
    leaves = {name: x.clone().requires_grad_() for name, x in given.items()}
    wanted = hsa_attention(**leaves, chunk_size=CHUNK, top_k=TOP_K)
    assert isinstance(wanted, Tensor)
    grads = torch.autograd.grad(wanted, list(leaves.values()), d_out)
    lo, hi = visibility.intervals(
        batch=1,
        rows=tokens,
        chunks=tokens // CHUNK,
        chunk_size=CHUNK,
        device=torch.device("cuda"),
    )
    found = {**given, "d_out": d_out, "lo": lo, "hi": hi}
    run(out, found, tokens)
    expected = {"out": wanted.detach()}
    expected |= {f"d_{name}": grad for name, grad in zip(leaves, grads, strict=True)}
    for name, want in expected.items():
        error = (found[name].double() - want.double()).norm() / want.double().norm()
        assert error < 1e-2, f"{name}: {error:.3g}"
