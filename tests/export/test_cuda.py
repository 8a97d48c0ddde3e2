"""GPU exports, made without a GPU: binaries, and a manifest that says how to launch them."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from hsa_compiler.export import cuda, loader
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from tests import problems
from tests.export.folders import manifest_of, run_export

HOPPER = Target("triton", "sm_90")
#: cuLaunchKernel's limits for these architectures.
MAX_GRID, MAX_SHARED = (2**31 - 1, 65535, 65535), 227 * 1024


def test_every_launch_has_a_binary_with_its_symbol(gpu_folder: Path) -> None:
    kernels = loader.load(gpu_folder)
    assert not isinstance(kernels, loader.CpuKernels)
    manifest = kernels.manifest
    assert manifest["target"]["arch"] == "sm_90"
    assert manifest["versions"]["triton"] and manifest["versions"]["ptxas"]
    assert {"retrieve", "invert_index", "attend", "attend_grad_q", "attend_grad_kv"} <= set(
        kernels.groups
    )
    for group in kernels.groups.values():
        assert group["tier"] == "planned" and group["launches"]
        for launch in group["launches"]:
            binary = (gpu_folder / launch["file"]).read_bytes()
            assert binary.startswith(b"\x7fELF")
            # The symbol table names the entry, and its section.
            assert f"\0{launch['symbol']}\0".encode() in binary
            assert f".text.{launch['symbol']}\0".encode() in binary


def test_parameters_are_those_of_the_binaries(gpu_folder: Path) -> None:
    """Sizes as the assembler counts them: `cuobjdump` comes with Triton."""
    files = metadata.files("triton") or []
    tool = next((file.locate() for file in files if file.name == "cuobjdump"), None)
    if tool is None:
        pytest.skip("Triton has no cuobjdump here")
    width = {"pointer": 8, "scratch": 8, "i64": 8, "i32": 4, "tensor_map": 128}
    for group in manifest_of(gpu_folder)["groups"]:
        for launch in group["launches"]:
            done = subprocess.run(
                [str(tool), "-elf", str(gpu_folder / launch["file"])],
                capture_output=True,
                text=True,
                check=True,
            )
            sizes = re.findall(
                r"Ordinal\s*: 0x(\w+)\s+Offset\s*: 0x\w+\s+Size\s*: 0x(\w+)", done.stdout
            )
            found = {int(a, 16): int(b, 16) for a, b in sizes}
            wanted = dict(enumerate(width[p["kind"]] for p in launch["parameters"]))
            assert found == wanted, launch["file"]


def test_launches_are_numbers_for_any_size(gpu_folder: Path) -> None:
    kernels = loader.load(gpu_folder)
    for sizes in ((1, 8192, 8192), (3, 1000, 5000)):
        for group in kernels.groups:
            record = kernels.groups[group]
            tensors = {entry["name"] for entry in record["inputs"] + record["outputs"]}
            spaces = kernels.workspaces(group, *sizes)
            assert all(count >= 0 for count in spaces.values())
            for launch in kernels.launches(group, *sizes):
                assert len(launch["grid"]) == 3
                for size, limit in zip(launch["grid"], MAX_GRID, strict=True):
                    assert 0 <= size <= limit
                assert launch["block"][0] in (32, 64, 128, 256, 512)
                assert 0 <= launch["shared_bytes"] <= MAX_SHARED
                for parameter in launch["parameters"]:
                    if parameter["kind"] in ("pointer", "tensor_map"):
                        home = spaces if parameter["workspace"] else tensors
                        assert parameter["name"] in home
                    elif parameter["kind"] != "scratch":
                        assert isinstance(parameter["value"], int)


def test_descriptors_are_described() -> None:
    problem, sizes = problems.make("attend")
    schedule = Schedule(order="union", tokens=4, stages=3, descriptors="keys")
    *_, attend = cuda.build(problem, schedule, HOPPER, hardware.of_arch("sm_90")).binaries
    (keys,) = [p for p in attend.parameters if p["kind"] == "tensor_map" and p["name"] == "k"]
    assert [loader.evaluate(n, sizes) for n in keys["shape"]] == [8192, 128]
    assert [loader.evaluate(n, sizes) for n in keys["strides"]] == [128, 1]
    assert keys["element_bytes"] == 2 and len(keys["box"]) == 2 and keys["swizzle"] in range(4)
    # Its sizes and strides follow it, once more.
    after = attend.parameters[attend.parameters.index(keys) + 1 :][:4]
    assert [p["kind"] for p in after] == ["i32", "i32", "i64", "i64"]
    assert [p["value"] for p in after] == [*keys["shape"], *keys["strides"]]


def test_half_precision_sums_are_converted_by_launches_of_their_own() -> None:
    problem, _ = problems.make("landmark_grad", head_dim=64, top_k=16)
    schedule = generic("landmark_grad", "triton").replace(window=1024, combine="atomic")
    built = cuda.build(problem, schedule, HOPPER, hardware.of_arch("sm_90"))
    assert [binary.symbol for binary in built.binaries][-1] == "store_d_landmarks"
    assert not built.tile.accumulators


def test_more_shared_memory_than_a_block_can_have_is_refused() -> None:
    problem, _ = problems.make("attend")
    schedule = Schedule(order="union", tokens=4, stages=3, descriptors="keys")
    small = dataclasses.replace(hardware.of_arch("sm_90"), shared_per_block=1024)
    with pytest.raises(IllegalSchedule, match="a block can have 1024"):
        cuda.build(problem, schedule, HOPPER, small)


def test_an_older_architecture_and_a_named_device(tmp_path: Path) -> None:
    shape = "L=8192,Hq=16,H=1,D=128,S=64,K=32"
    old = run_export(tmp_path / "old", "--target", "sm_80", shape=shape)
    assert manifest_of(old)["target"]["device"] == "NVIDIA A100-SXM4-80GB"
    kinds = [
        p["kind"]
        for g in manifest_of(old)["groups"]
        for x in g["launches"]
        for p in x["parameters"]
    ]
    assert "tensor_map" not in kinds
    named = run_export(
        tmp_path / "named", "--target", "sm_90", "--device", "nvidia_h200", shape=shape
    )
    assert manifest_of(named)["target"]["device"] == "NVIDIA H200"
