"""How the thread pools of one process share the cores of a CPU.

Torch's products run on OpenMP threads, kernels on TVM's. After its work a thread of either waits
busily for more: for milliseconds, in which it takes a core from the other library's next call. A
call of 1 ms right after a product of torch took 8, and the products of a training step 850 ms for
750. Both pools read their settings from the environment when they are first used; what the user
has set stands.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

#: Turns of the busy loop before a thread sleeps: some tens of microseconds, more than there is
#: between two launches. By default both have 300,000.
TVM_TURNS, OPENMP_TURNS = 3000, 1000
OPENMP_SETTING = "GOMP_SPINCOUNT"


def usable_cpus() -> int:
    """CPUs this process may run on, its affinity mask respected."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def tvm_threads() -> int:
    """The threads of TVM's kernels: TVM_NUM_THREADS where it is a number above 0, else all CPUs."""
    told = os.environ.get("TVM_NUM_THREADS", "")
    is_number = told.isascii() and told.isdigit() and int(told) > 0
    return int(told) if is_number else usable_cpus()


def settle_tvm() -> None:
    """Call before TVM is imported. It would take half of the cores where it suspects hyper-threads,
    and bind its threads to cores, where they wait behind other processes."""
    os.environ.setdefault("TVM_NUM_THREADS", str(usable_cpus()))
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", str(TVM_TURNS))


def settle_openmp() -> None:
    """Call before torch is imported, so only where the process is ours: in a command.

    Waiting without any turns (OMP_WAIT_POLICY=PASSIVE) would make torch's own products slow.
    """
    os.environ.update(settled_openmp(os.environ))


def settled_openmp(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that is about to start, with what `settle_openmp` sets."""
    wanted = {} if "OMP_WAIT_POLICY" in environment else {OPENMP_SETTING: str(OPENMP_TURNS)}
    return wanted | dict(environment)
