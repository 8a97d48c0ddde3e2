"""The one exception of the program IR."""

from __future__ import annotations


class IRError(ValueError):
    """A program that is not well formed; the message names op, operand, expected and given."""
