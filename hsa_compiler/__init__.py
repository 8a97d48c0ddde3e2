"""A compiler, autotuner and runtime for Hierarchical Sparse Attention.

The public names load on first use, so that importing the package needs neither Triton nor TVM.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ROOT = Path(__file__).resolve().parent.parent
if (_ROOT / "pyproject.toml").is_file() and (_ROOT / "ir" / "__init__.py").is_file():
    # A checkout: ir/, schedules/, model/ ... stand beside this folder and import as hsa_compiler.*.
    __path__.append(str(_ROOT))

_PUBLIC = {
    "hsa_attention": "hsa_compiler.runtime.api",
    "retrieve": "hsa_compiler.runtime.api",
    "chunk_attention": "hsa_compiler.runtime.api",
    "Selection": "hsa_compiler.runtime.selection",
    "hsa_decode": "hsa_compiler.runtime.decode",
    "explain": "hsa_compiler.runtime.explain",
    "record_selections": "hsa_compiler.runtime.recording",
    "selection_feedback": "hsa_compiler.runtime.feedback",
    "Trace": "hsa_compiler.trace",
    "HSAError": "hsa_compiler.errors",
}
__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from hsa_compiler.errors import HSAError as HSAError
    from hsa_compiler.runtime.api import chunk_attention as chunk_attention
    from hsa_compiler.runtime.api import hsa_attention as hsa_attention
    from hsa_compiler.runtime.api import retrieve as retrieve
    from hsa_compiler.runtime.decode import hsa_decode as hsa_decode
    from hsa_compiler.runtime.explain import explain as explain
    from hsa_compiler.runtime.feedback import selection_feedback as selection_feedback
    from hsa_compiler.runtime.recording import record_selections as record_selections
    from hsa_compiler.runtime.selection import Selection as Selection
    from hsa_compiler.trace import Trace as Trace


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value
