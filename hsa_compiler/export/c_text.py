"""The C side of an export for CPUs: its header, and the source of its functions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from importlib import resources

from hsa_compiler import __version__
from hsa_compiler.codegen.tvm_text import STORAGE
from hsa_compiler.export.plan import Part
from hsa_compiler.export.values import C_TYPES, Argument, arguments, constants
from hsa_compiler.schedules.problem import Target
from hsa_compiler.tile.ir import Kernel
from hsa_compiler.tuner.shapes import Shape

#: What a function returns, in the order of the codes; `launch.c` has the same.
CODES = (
    ("OK", "done"),
    ("NULL_POINTER", "a tensor is NULL"),
    ("BAD_SIZE", "B, L or Lkv is too small or too large"),
    ("MISALIGNED", "a tensor does not start at a multiple of its element's size"),
    ("NO_MEMORY", "a workspace could not be allocated"),
    ("KERNEL_FAILED", "a kernel refused its arguments or could not run"),
)
_SIZES = "int64_t B, int64_t L, int64_t Lkv"


def symbol(name: str, part: Part, kernel: Kernel) -> str:
    """The name under which a kernel is compiled into the library `name`."""
    return f"{name}_{part.name}_{kernel.name}"


def header(name: str, parts: Sequence[Part], shape: Shape, target: Target) -> str:
    """The C header of a library."""
    upper = name.upper()
    lines = [
        "/*",
        f" * Hierarchical sparse attention for {target.arch}, compiled by hsa-compiler "
        f"{__version__}.",
        " *",
        *_comment(
            "Every function runs one kernel group: it takes sizes and tensors, allocates and frees "
            "its workspaces, and returns 0 or one of the codes below after "
            f"{name}_last_error() was set. In the order of this file they compute "
            "the operator. B, L and Lkv are free at every call, all other sizes are compiled in."
        ),
        " *",
        *_comment(
            "B sequences, L query tokens, Lkv key tokens; C = Lkv / CHUNK chunks (the tail is "
            "ignored). Retrieval row t of a batch sees the chunks lo[b][t] <= c < hi[b][t]; "
            "causal: lo = 0, hi = min(C, position / CHUNK). Chunk c holds keys c * CHUNK .. "
            "+ CHUNK - 1; an index of -1 is an empty slot."
        ),
        " *",
        *_comment(
            "Tensors are contiguous in the order of their axes, start at a multiple of their "
            "element's size, and outputs overlap nothing. bf16 and fp16 are passed as their 16 "
            "bits. Indices are trusted: they must be -1 or name a chunk."
        ),
        " *",
        *_comment(
            "Functions may be called from several threads; each calling thread has a pool of its "
            f"own. The pool has {target.threads} threads unless TVM_NUM_THREADS says otherwise "
            "when the library is loaded. libtvm_runtime.so and libtvm_ffi.so must be found then."
        ),
        " */",
        f"#ifndef {upper}_H_",
        f"#define {upper}_H_",
        "",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        *(f"#define {upper}_{code} {i} /* {text} */" for i, (code, text) in enumerate(CODES)),
        "",
        "/* Compiled in: CHUNK tokens of a chunk, heads, dims and top-k. */",
        f"#define {upper}_CHUNK {shape.S}",
        *(f"#define {upper}_{k.upper()} {v}" for k, v in constants(shape).items() if k != "S"),
        "",
        "/* Why the last call of this thread that failed did so. */",
        f"const char *{name}_last_error(void);",
    ]
    for part in parts:
        lines += ["", _prototype(name, part, shape, commented=True) + ";"]
    lines += ["", "#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {upper}_H_ */", ""]
    return "\n".join(lines)


def _comment(text: str) -> list[str]:
    return [f" * {line}" for line in textwrap.wrap(text, 96)]


def _prototype(name: str, part: Part, shape: Shape, commented: bool = False) -> str:
    params = [_SIZES]
    for argument in arguments(part, shape):
        const = "" if argument.output else "const "
        note = f" /* {'out ' * argument.output}{argument.text} */" if commented else ""
        params.append(f"{const}{C_TYPES[argument.dtype]} *{argument.name}{note}")
    if not commented:
        return f"int32_t {name}_{part.name}({', '.join(params)})"
    # A comma stands before the comment of the parameter it follows.
    lines = [p.replace(" /*", ", /*", 1) if " /*" in p else f"{p}," for p in params]
    lines[-1] = params[-1]
    return f"int32_t {name}_{part.name}(\n    " + "\n    ".join(lines) + ")"


def source(name: str, parts: Sequence[Part], shape: Shape, target: Target) -> str:
    """The C file that is compiled into a library, beside its kernels."""
    dims = constants(shape)
    slots = max(dims["Hi"], dims["Hw"]) * dims["K"]
    head = [
        f'#define THREADS "{target.threads}"',
        resources.files("hsa_compiler.export").joinpath("launch.c").read_text(encoding="utf-8"),
        f'#include "{name}.h"',
        "",
        f"const char *{name}_last_error(void) {{ return last_error; }}",
        "",
        f"enum {{ {', '.join(f'{k} = {v}' for k, v in dims.items())}, SLOTS = {slots} }};",
    ]
    return "\n".join([*head, *(_function(name, part, shape) for part in parts), ""])


def _function(name: str, part: Part, shape: Shape) -> str:
    given, tile = arguments(part, shape), part.tile
    function = f"{name}_{part.name}"
    rows = [_row(argument) for argument in given]
    rows += [
        f'{{"{space.name}", NULL, {space.size}, {STORAGE[space.dtype]}, {int(space.zeroed)}}}'
        for space in tile.workspaces
    ]
    # Workspaces stand behind the arguments.
    place = {argument.name: i for i, argument in enumerate(given)}
    spaces = {space.name: len(given) + i for i, space in enumerate(tile.workspaces)}
    count, free = len(rows), len(given)
    lines = ["", *(_declaration(name, part, kernel) for kernel in tile.kernels), ""]
    lines += [
        f"{_prototype(name, part, shape)} {{",
        f'  static const char function[] = "{function}";',
        "  const int64_t R = L, C = Lkv / S;",
        "  (void)R, (void)C;",
        "  int32_t code = check_sizes(function, B, L, Lkv, S, SLOTS);",
        "  if (code) return code;",
        "  array_t a[] = {",
        *(f"      {row}," for row in rows),
        "  };",
        f"  if ((code = check_arrays(function, a, {free}))) return code;",
        f"  if ((code = allocate(function, a, {count}))) goto done;",
    ]
    for kernel in tile.kernels:
        at = [
            spaces[p.name] if p.name in spaces else place[tile.bindings[p.name]]
            for p in kernel.pointers
        ]
        numbers = [*(s.size for s in kernel.scalars), *kernel.grid]
        lines += [
            "  {",
            f"    array_t *const arrays[] = {{{', '.join(f'a + {i}' for i in at)}}};",
            f"    const int64_t numbers[] = {{{', '.join(map(str, numbers))}}};",
            f"    code = launch(function, __tvm_ffi_{symbol(name, part, kernel)},",
            f"                  arrays, {len(at)}, numbers, {len(numbers)}, {len(kernel.grid)});",
            "    if (code) goto done;",
            "  }",
        ]
    lines += ["done:", f"  release(a + {free}, {count - free});", "  return code;", "}"]
    return "\n".join(lines)


def _row(argument: Argument) -> str:
    dtype = STORAGE[argument.dtype]
    return (
        f'{{"{argument.name}", (void *){argument.name}, {argument.count}, {dtype}, '
        f"{int(argument.zeroed)}}}"
    )


def _declaration(name: str, part: Part, kernel: Kernel) -> str:
    return (
        f"extern int __tvm_ffi_{symbol(name, part, kernel)}"
        "(void *, const TVMFFIAny *, int32_t, TVMFFIAny *);"
    )
