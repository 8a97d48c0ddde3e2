"""The program IR: what to compute, before anyone decides how. `core.py` opens with its grammar."""

from typing import TYPE_CHECKING, Any

if __name__ == "ir":
    raise ImportError("import hsa_compiler.ir, not ir")

from .autodiff import differentiate, saved_for_backward
from .builder import Builder
from .core import KernelGroup, Op, Program, TensorType, Value
from .errors import IRError
from .fusion import fuse_groups, group_forms
from .parser import parse
from .verifier import verify

if TYPE_CHECKING:
    from .interpreter import interpret as interpret

__all__ = [
    "Builder",
    "IRError",
    "KernelGroup",
    "Op",
    "Program",
    "TensorType",
    "Value",
    "differentiate",
    "fuse_groups",
    "group_forms",
    "interpret",
    "parse",
    "saved_for_backward",
    "verify",
]


def __getattr__(name: str) -> Any:
    # The interpreter alone needs torch: everything else here imports in milliseconds.
    if name == "interpret":
        from .interpreter import interpret

        return interpret
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
