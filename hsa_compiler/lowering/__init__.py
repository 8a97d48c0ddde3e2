"""Lowering: a kernel group and a schedule become tile programs."""

from hsa_compiler.lowering.lower import lower

__all__ = ["lower"]
