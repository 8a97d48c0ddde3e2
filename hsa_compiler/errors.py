"""Every error a user can meet: one class, one message that says what was given, what is allowed
and what to do."""

from __future__ import annotations


class HSAError(Exception):
    """Base of all errors this package raises on purpose."""


class InputError(HSAError, ValueError):
    """A call was given tensors or options that it cannot take; raised before any launch."""


class MemoryEstimateError(HSAError, MemoryError):
    """The estimated memory of a call does not fit the device; raised before any allocation."""


class TileError(HSAError):
    """A tile program breaks a rule of the tile IR: a bug in lowering, not in user input."""


class LoweringError(HSAError):
    """A kernel group has no lowering for this combination of attributes."""


class BackendError(HSAError):
    """A back end is missing, or could not build or run a kernel."""


class ConfigError(HSAError):
    """A file that was read back (tuned config, checkpoint) is not valid; names file and field."""


class NoPlot(HSAError):
    """A plot cannot be drawn; the message says what to do."""

    WITHOUT_MATPLOTLIB = "matplotlib is not installed; run `pip install 'hsa-compiler[bench]'`"


class WriteError(HSAError, OSError):
    """A run could not be written (no room, no permission); what was saved before is whole."""
