"""An export for CPUs: one shared library with a C function per kernel group, and its header."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hsa_compiler.codegen import tvm_export
from hsa_compiler.export import c_text
from hsa_compiler.export.plan import Part
from hsa_compiler.schedules.problem import Target
from hsa_compiler.tuner.shapes import Shape


def write_library(
    folder: Path, name: str, parts: Sequence[Part], shape: Shape, target: Target
) -> Path:
    """Write ``lib<name>.so`` and ``<name>.h`` into a folder; the library's path.

    Raises:
        BackendError: TVM or the C compiler is missing or fails.
    """
    library = folder / f"lib{name}.so"
    header = c_text.header(name, parts, shape, target)
    (folder / f"{name}.h").write_text(header, encoding="utf-8")
    sources = {f"{name}_{part.name}_": part.generated.source for part in parts}
    with tempfile.TemporaryDirectory() as scratch:
        c_file = Path(scratch, f"{name}.c")
        c_file.write_text(c_text.source(name, parts, shape, target), encoding="utf-8")
        tvm_export.build_library(library, sources, c_file, target)
    os.chmod(library, 0o755)
    return library


def bundle_runtime(folder: Path) -> list[Path]:
    """Copy TVM's runtime libraries into a folder, where an exported library finds them."""
    return [Path(shutil.copy2(path, folder / path.name)) for path in tvm_export.runtime().libraries]
