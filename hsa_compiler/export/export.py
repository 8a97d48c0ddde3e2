"""The export as a whole: a request in, a folder and a summary out."""

from __future__ import annotations

import functools
import json
import keyword
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsa_compiler.errors import InputError
from hsa_compiler.export import cpu, cuda, folder, loader
from hsa_compiler.export.manifest import manifest, source_name
from hsa_compiler.export.plan import PASSES, generate, plan
from hsa_compiler.export.readme import readme
from hsa_compiler.runtime.validate import is_whole, one_of
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.problem import Target
from hsa_compiler.tuner.shapes import Shape

#: File names that an export has whatever it is called.
_TAKEN = {"manifest", "sources", "cubin", "numpy", "tvm", "tvm_ffi", *sys.stdlib_module_names}
#: More threads than any machine has; a pool of very many never starts.
MAX_THREADS = 4096


@dataclass(frozen=True)
class Request:
    """What to export.

    `target` is ``"cpu"``, ``"cpu:NAME"``, ``"cpu:NAME:THREADS"`` or ``"sm_90"``; `device` the name
    of a hardware row of that architecture, or empty; `name` that of library, functions and files;
    `bundle` adds TVM's runtime libraries.
    """

    target: str
    out: Path
    shape: Shape
    passes: str = "forward"
    device: str = ""
    name: str = "hsa"
    force: bool = False
    bundle: bool = False
    deterministic: bool = False


def export(request: Request) -> dict[str, Any]:
    """Write an export; what was written, with the schedule of every kernel group.

    Raises:
        InputError: a target, shape, device, name or folder that cannot be used.
        BackendError: a compiler is missing or fails.
        WriteError: the folder cannot be written.
    """
    one_of("--passes", request.passes, PASSES)
    if request.shape.decode:
        raise InputError(
            f"--shapes {request.shape.name}: exports hold the kernels of hsa_attention, not those "
            "of decoding: give a shape without decode=1"
        )
    _check_name(request.name)
    folder.check_free(request.out, request.force)
    target, row = resolve(request.target, request.device)
    on_cpu = target.backend == "tvm"
    if request.bundle and not on_cpu:
        raise InputError("--bundle adds TVM's runtime, which kernels for GPUs do not use")
    if on_cpu:
        from hsa_compiler.codegen import tvm_export

        tvm_export.require_c_compiler()
        flags = tvm_export.cpu_flags(target)
        build = functools.partial(generate, target=target)
    else:
        flags = ()
        build = functools.partial(cuda.build, target=target, row=row)
    parts = plan(
        request.shape, request.passes, target, row, build, deterministic=request.deterministic
    )
    with folder.written_whole(request.out, request.force) as place:
        if on_cpu:
            cpu.write_library(place, request.name, parts, request.shape, target)
            if request.bundle:
                cpu.bundle_runtime(place)
        else:
            cuda.write_cubins(place, parts)
        for part in parts:
            path = place / source_name(part)
            path.parent.mkdir(exist_ok=True)
            path.write_text(part.generated.source, encoding="utf-8")
        shutil.copyfile(loader.__file__, place / f"{request.name}.py")
        written = functools.partial(
            manifest,
            *(request.name, parts, request.shape, request.passes, target, row, flags, place),
        )
        (place / "README.md").write_text(readme(written(), request.bundle), encoding="utf-8")
        record = written()
        text = json.dumps(record, indent=1) + "\n"
        (place / folder.MANIFEST).write_text(text, encoding="utf-8")
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {
        "folder": str(request.out),
        "target": str(target),
        "device": row.name,
        "shape": request.shape.name,
        "bytes": size,
        "files": [*record["files"], folder.MANIFEST],
        "kernels": [
            {
                "kernel": part.name,
                "pass": part.direction,
                "launches": len(part.tile.kernels),
                "tier": part.choice.tier,
                "schedule": str(part.choice.schedule),
                "reason": part.choice.reason,
            }
            for part in parts
        ],
    }


def resolve(text: str, device: str) -> tuple[Target, hardware.Hardware]:
    """The target that a name stands for, and the hardware whose schedules it gets.

    For a GPU that is here its own, as in a call; else the row named by `device`, or the one that
    stands for the architecture. Raises `InputError`.
    """
    kind, _, rest = text.partition(":")
    if kind == "cpu":
        if device not in ("", "cpu"):
            raise InputError(f"--device {device}: --target cpu plans for this machine's CPU alone")
        from hsa_compiler.codegen.tvm_export import cpu_target

        cpu_name, _, threads = rest.partition(":")
        if threads and not (is_whole(threads) and 0 < int(threads) <= MAX_THREADS):
            raise InputError(
                f"--target {text}: {threads!r} is not a number of threads from 1 to {MAX_THREADS}"
            )
        return cpu_target(cpu_name, int(threads) if threads else None), hardware.host_cpu()
    if not re.fullmatch(r"sm_\d{2,3}", text):
        raise InputError(
            f"--target {text!r}: give cpu, cpu:NAME, cpu:NAME:THREADS or an architecture such as "
            "sm_90"
        )
    return Target("triton", text), _gpu_row(text, device)


def _gpu_row(arch: str, device: str) -> hardware.Hardware:
    if device:
        try:
            row = hardware.named(device)
        except KeyError as error:
            raise InputError(f"--device: {error.args[0]}") from error
        if row.arch != arch:
            fitting = [slug for slug, known in hardware.ROWS.items() if known.arch == arch]
            raise InputError(
                f"--device {device} is {row.arch}, --target is {arch}; devices of it: "
                f"{', '.join(fitting) or 'none'}"
            )
        return row
    import torch

    if torch.cuda.is_available() and hardware.detect("cuda").arch == arch:
        return hardware.detect("cuda")
    # What fits another architecture's shared memory need not fit this one's: no row is borrowed.
    if arch not in hardware.BY_ARCH:
        raise InputError(
            f"--target {arch}: no such GPU is here, and there is no hardware row for it; rows "
            f"exist for: {', '.join(hardware.BY_ARCH)}"
        )
    return hardware.of_arch(arch)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name) or keyword.iskeyword(name):
        raise InputError(
            f"--name {name!r}: give a name of C and Python, of lower-case letters, digits and _"
        )
    if name in _TAKEN:
        raise InputError(
            f"--name {name} is taken by something an export holds or imports: give another"
        )
