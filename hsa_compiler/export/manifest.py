"""The manifest of an export: what its folder holds, and how every kernel is launched, as JSON.

Sizes are text that `loader.evaluate` reads, in B, L, Lkv, R = L, C = Lkv // S and the compiled-in
constants.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hsa_compiler import __version__
from hsa_compiler.configs.device import installed, ptxas_version
from hsa_compiler.export import loader
from hsa_compiler.export.c_text import symbol
from hsa_compiler.export.cuda import cubin_name
from hsa_compiler.export.plan import Part
from hsa_compiler.export.values import arguments, constants
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.kernel_knobs import knob_values
from hsa_compiler.schedules.problem import Target
from hsa_compiler.tile.ir import Kernel
from hsa_compiler.tuner.shapes import Shape


def manifest(
    name: str,
    parts: Sequence[Part],
    shape: Shape,
    passes: str,
    target: Target,
    row: Hardware,
    flags: Sequence[str],
    folder: Path,
) -> dict[str, Any]:
    """The manifest of what stands in `folder`, which holds everything else already.

    `flags` are the vector extensions that the code of a CPU may use.
    """
    cpu = target.backend == "tvm"
    record: dict[str, Any] = {
        "schema": loader.SCHEMA,
        "format": "hsa-compiler export",
        "name": name,
        "target": {
            "kind": "cpu" if cpu else "cuda",
            "backend": target.backend,
            "arch": target.arch,
            "device": row.name,
            **(
                {"machine": platform.machine(), "threads": target.threads, "flags": list(flags)}
                if cpu
                else {}
            ),
        },
        **({"library": f"lib{name}.so"} if cpu else {}),
        "passes": passes,
        "shape": {
            "name": shape.name,
            "dtype": shape.dtype,
            "normalize": shape.normalize,
            "score_scale": shape.retrieve.scale,
            "attention_scale": shape.attention.scale,
            "constants": constants(shape),
            "planned_for": {"B": shape.B, "L": shape.L, "Lkv": shape.Lkv},
        },
        "groups": [_group(name, part, shape, target) for part in parts],
        "files": {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
        "versions": {
            "hsa_compiler": __version__,
            "tvm": installed("apache-tvm"),
            "tvm_ffi": installed("apache-tvm-ffi"),
            "triton": None if cpu else installed("triton"),
            "ptxas": None if cpu else ptxas_version(),
        },
    }
    return {**record, "digest": loader.digest(record)}


def source_name(part: Part) -> str:
    """Where a group's generated source is, relative to the export."""
    return f"sources/{part.name}.py"


def _group(name: str, part: Part, shape: Shape, target: Target) -> dict[str, Any]:
    tile, given = part.tile, arguments(part, shape)
    source = part.generated.source
    cpu = target.backend == "tvm"
    return {
        "name": part.name,
        "pass": part.direction,
        **({"function": f"{name}_{part.name}"} if cpu else {}),
        "program": part.problem.group.program.hash,
        "source": source_name(part),
        "source_sha256": hashlib.sha256(source.encode()).hexdigest(),
        "schedule": knob_values(part.name, target.backend, part.choice.schedule),
        "tier": part.choice.tier,
        "inputs": [argument.record() for argument in given if not argument.output],
        "outputs": [argument.record() for argument in given if argument.output],
        "zeroed": [argument.name for argument in given if argument.zeroed],
        "workspaces": [
            {"name": s.name, "dtype": s.dtype, "count": str(s.size), "zeroed": s.zeroed}
            for s in tile.workspaces
        ],
        "launches": [
            _cpu_launch(name, part, kernel) if cpu else _gpu_launch(part, number, kernel)
            for number, kernel in enumerate(tile.kernels)
        ],
    }


def _cpu_launch(name: str, part: Part, kernel: Kernel) -> dict[str, Any]:
    """A kernel in TVM's calling convention: tensors, then scalars, then the grid."""
    return {
        "kernel": kernel.name,
        "symbol": f"__tvm_ffi_{symbol(name, part, kernel)}",
        "parameters": [
            *(
                {"kind": "pointer", "dtype": p.dtype, **_tensor(part, p.name)}
                for p in kernel.pointers
            ),
            *({"kind": "i32", "name": s.name, "value": str(s.size)} for s in kernel.scalars),
            *({"kind": "i32", "name": "grid", "value": str(size)} for size in kernel.grid),
        ],
        "grid": [str(size) for size in kernel.grid],
    }


def _gpu_launch(part: Part, number: int, kernel: Kernel) -> dict[str, Any]:
    binary = part.generated.binaries[number]
    parameters = [
        {**p, **_tensor(part, str(p["name"]))} if p["kind"] in ("pointer", "tensor_map") else p
        for p in binary.parameters
    ]
    return {
        "kernel": kernel.name,
        "symbol": binary.symbol,
        "file": cubin_name(part, number),
        "parameters": parameters,
        "grid": [str(size) for size in kernel.grid] + ["1"] * (3 - len(kernel.grid)),
        "block": [binary.threads, 1, 1],
        "shared_bytes": binary.shared_bytes,
        "programmatic_stream_serialization": binary.overlapped,
    }


def _tensor(part: Part, pointer: str) -> dict[str, Any]:
    """What a pointer of a kernel stands for: an argument of the group, or one of its workspaces."""
    bound = part.tile.bindings.get(pointer)
    return {"name": pointer if bound is None else bound, "workspace": bound is None}
