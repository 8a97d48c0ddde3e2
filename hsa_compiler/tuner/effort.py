"""Search budgets: every number that decides how long tuning takes stands in this one table."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hsa_compiler.errors import InputError


@dataclass(frozen=True)
class Effort:
    """How much one `autotune` run may spend. All durations are wall-clock seconds."""

    seconds: float  # the whole run: every kernel and shape, compiling included
    trials: int  # candidates per kernel and shape
    enumerate_below: int  # spaces with fewer legal points are tried whole, where the trials do
    search_share: float  # part of a kernel's time for the search; the rest races the finalists
    compile_timeout: float  # building one candidate
    run_timeout: float  # checking and timing one candidate
    setup_timeout: float  # starting a worker, or making one kernel's inputs and references
    samples: int  # timings of a candidate that is not aborted
    sample_seconds: float  # stop sampling a candidate after this long (never below 5 samples)
    finalists: int  # candidates that race the defaults
    default_shapes: int  # how many of the device's default shapes are tuned
    race_rounds: int  # ABBA rounds in each of the two parts of the race; short kernels take more
    enough: float  # share of the roofline at which a search has nothing left to find


EFFORTS: dict[str, Effort] = {
    "quick": Effort(
        seconds=240,
        trials=60,
        enumerate_below=500,
        search_share=0.7,
        compile_timeout=20,
        run_timeout=15,
        setup_timeout=60,
        samples=20,
        sample_seconds=0.4,
        finalists=4,
        default_shapes=1,
        race_rounds=30,
        enough=0.9,
    ),
    "standard": Effort(
        seconds=1800,
        trials=200,
        enumerate_below=500,
        search_share=0.8,
        compile_timeout=60,
        run_timeout=30,
        setup_timeout=180,
        samples=20,
        sample_seconds=1.0,
        finalists=8,
        default_shapes=2,
        race_rounds=60,
        enough=0.95,
    ),
    "max": Effort(
        seconds=4 * 3600,
        trials=1000,
        enumerate_below=1000,
        search_share=0.85,
        compile_timeout=180,
        run_timeout=60,
        setup_timeout=600,
        samples=30,
        sample_seconds=3.0,
        finalists=8,
        default_shapes=4,
        race_rounds=100,
        enough=0.97,
    ),
    # Every legal schedule, for recorded spaces (`replay`): hours for a kernel.
    "exhaustive": Effort(
        seconds=7 * 24 * 3600,
        trials=1_000_000,
        enumerate_below=1_000_000,
        search_share=0.95,
        compile_timeout=60,
        run_timeout=30,
        setup_timeout=600,
        samples=20,
        sample_seconds=1.0,
        finalists=8,
        default_shapes=1,
        race_rounds=60,
        enough=math.inf,
    ),
}


def effort(name: str) -> Effort:
    """The budget called `name`. Raises InputError for an unknown one."""
    if name not in EFFORTS:
        raise InputError(f"unknown effort {name!r}: choose from {', '.join(EFFORTS)}")
    return EFFORTS[name]


#: A candidate is dropped after this many timings when it is this much slower than the best.
ABORT_AFTER = 5
ABORT_RATIO = 1.5
