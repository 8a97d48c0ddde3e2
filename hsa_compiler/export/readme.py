"""The README of an exported folder: how its kernels are called, from C and from Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CPU = """\
# {name}: hierarchical sparse attention for {arch}

Compiled by hsa-compiler {version} for {words}. `manifest.json` says what is
in here, with a hash of every file; `sources/` holds the kernels as TVMScript.

## From Python

Needs NumPy and TVM's runtime: `pip install {needs} numpy`. Neither torch nor the compiler.

```python
import {name}  # {name}.py in this folder

kernels = {name}.load()  # checks every file first
found = kernels.forward(q=q, k=k, v=v, q_slc=q_slc, landmarks=landmarks)
out = found["out"]
```

`kernels.call(group, inputs)` runs one kernel group; `kernels.groups` lists them.

## From C

`{name}.h` documents every function. The library needs `libtvm_runtime.so` and `libtvm_ffi.so`,
which {runtime}:

```sh
cc program.c -I. -L. -l{name} -Wl,-rpath,'$ORIGIN' -Wl,--allow-shlib-undefined -o program
{run}
```

TVM's own convention works too: the kernels are `__tvm_ffi_*` symbols that take arrays of
`TVMFFIAny` (`tvm/ffi/c_api.h`, in the folder that `tvm_ffi.libinfo.find_include_path()` names);
`launches` in the manifest gives their parameters.
"""
_RUN_INSTALLED = """\
LD_LIBRARY_PATH=$(python -c "import tvm.libinfo as t, tvm_ffi.libinfo as f, os.path as p
print(p.dirname(t.find_libtvm_runtime()) + ':' + p.dirname(f.find_libtvm_ffi()))") ./program"""
_CUDA = """\
# {name}: hierarchical sparse attention for {arch}

Compiled by hsa-compiler {version} for {words}, planned for {device}.
`cubin/` holds one binary per launch, `sources/` the kernels as Triton, and `manifest.json` all that
a launch needs, with a hash of every file.

`{name}.py` reads the manifest without Triton, torch or the compiler:

```python
import {name}  # {name}.py in this folder

kernels = {name}.load()  # checks every file first
for launch in kernels.launches("{group}", B={B}, L={L}, Lkv={Lkv}):
    print(launch["file"], launch["symbol"], launch["grid"], launch["block"])
```

## Launching with the CUDA driver

For every group in the order of the manifest, on one stream:

1. Allocate its outputs, and its `workspaces` (`count` elements each, reusable afterwards). Fill
   with zeros the outputs in `zeroed` and the workspaces that are `zeroed`.
2. For every launch in order, skipping those with a 0 in `grid`: `cuModuleLoadData` of `file`,
   `cuModuleGetFunction` of `symbol`; where `shared_bytes` is above 48 KiB, `cuFuncSetAttribute`
   with `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`; then `cuLaunchKernel` with `grid`,
   `block`, `shared_bytes` of dynamic shared memory and these `parameters`, in order:
   * `pointer`: the device address of tensor or workspace `name`, a multiple of `alignment` bytes,
     which the binary relies on;
   * `i32`, `i64`: the number `value`;
   * `tensor_map`: a `CUtensorMap` by value, from `cuTensorMapEncodeTiled` over the tensor `name`
     (at a multiple of `alignment` bytes): elements of `dtype`; rank `len(shape)`; `shape` and `box`
     reversed (CUDA's innermost axis is first); the strides of all but the innermost axis, reversed
     and in bytes (times `element_bytes`); element strides 1, interleave none, swizzle mode
     `swizzle`, L2 promotion 128 bytes, no out-of-bounds fill;
   * `scratch`: NULL.
3. `programmatic_stream_serialization`: the kernel waits for the one before it by itself, so
   `cuLaunchKernelEx` may set `CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION`; a plain
   launch is right too.

The binaries run on devices of {arch} alone. The loader launches nothing: it reads and checks.

Tensors are contiguous in the order of their axes. Sizes are expressions in B, L, Lkv, R = L,
C = Lkv // S and the constants of `shape`; + - *, cdiv (a quotient rounded up), max, min and bits
(the bit length) are all there is. B * L * heads * K and B * Lkv must stay below 2^31.
"""


def readme(manifest: Mapping[str, Any], bundled: bool) -> str:
    """The text for a folder with this manifest (file hashes need not be known yet)."""
    target, shape = manifest["target"], manifest["shape"]
    constants = ", ".join(f"{name}={value}" for name, value in shape["constants"].items())
    facts = {
        "name": manifest["name"],
        "arch": target["arch"],
        "device": target["device"],
        "version": manifest["versions"]["hsa_compiler"],
        "words": f"{shape['dtype']}, {shape['normalize']}, {constants}",
        "group": manifest["groups"][0]["name"],
        **shape["planned_for"],
    }
    if target["kind"] == "cuda":
        return _CUDA.format(**facts)
    return _CPU.format(
        **facts,
        needs="apache-tvm-ffi" if bundled else "apache-tvm",
        runtime="stand beside it" if bundled else "come with `pip install apache-tvm`",
        run="./program" if bundled else _RUN_INSTALLED,
    )
