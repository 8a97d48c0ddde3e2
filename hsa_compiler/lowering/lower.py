"""The table of lowerings, one per kernel group kind (and order, where they share little)."""

from __future__ import annotations

from collections.abc import Callable

from hsa_compiler.errors import LoweringError
from hsa_compiler.lowering.attend import lower_attend
from hsa_compiler.lowering.attend_grad_kv import lower_attend_grad, lower_attend_grad_kv
from hsa_compiler.lowering.attend_grad_q import lower_attend_grad_q
from hsa_compiler.lowering.attend_split import lower_attend_split
from hsa_compiler.lowering.chunk_attend import lower_chunk_attend, lower_chunk_grad_q
from hsa_compiler.lowering.common import Capabilities, LoweredGroup, Lowering
from hsa_compiler.lowering.invert_index import lower_invert_index
from hsa_compiler.lowering.landmark_grad import lower_landmark_grad
from hsa_compiler.lowering.retrieve import lower_retrieve
from hsa_compiler.lowering.select import lower_select
from hsa_compiler.lowering.select_split import lower_select_split
from hsa_compiler.lowering.weigh import lower_weigh, lower_weigh_grad
from hsa_compiler.schedules.legality import check_together
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.ir import TileProgram

LOWERINGS: dict[str, Callable[[Lowering], LoweredGroup]] = {
    "retrieve": lower_retrieve,
    "select": lower_select,
    "weigh": lower_weigh,
    "attend": lower_attend,
    "attend_grad_q": lower_attend_grad_q,
    "invert_index": lower_invert_index,
    "attend_grad_kv": lower_attend_grad_kv,
    "attend_grad": lower_attend_grad,
    "weigh_grad": lower_weigh_grad,
    "landmark_grad": lower_landmark_grad,
}
#: Of kernels that have other orders too.
IN_CHUNK_ORDER: dict[str, Callable[[Lowering], LoweredGroup]] = {
    "attend": lower_chunk_attend,
    "attend_grad_q": lower_chunk_grad_q,
}

#: Kernels of schedules in which several programs share the work of a row (`parts`).
SPLIT: dict[str, Callable[[Lowering], LoweredGroup]] = {
    "retrieve": lower_select_split,
    "select": lower_select_split,
    "attend": lower_attend_split,
}


def lower(problem: Problem, schedule: Schedule, target: Target) -> TileProgram:
    """The tile program of a kernel group under a schedule.

    Raises `IllegalSchedule` where the schedule cannot express this group on this target, and
    `LoweringError` where no schedule could.
    """
    if problem.kind not in LOWERINGS:
        raise LoweringError(
            f"no lowering for kernel {problem.kind!r}; known: {', '.join(LOWERINGS)}"
        )
    check_together(problem.kind, schedule)
    low = Lowering(problem, schedule, Capabilities.of(target))
    if schedule.parts:
        table = SPLIT
    else:
        table = LOWERINGS | (IN_CHUNK_ORDER if schedule.order == "chunk" else {})
    group = table[problem.kind](low)
    return TileProgram(
        kernels=group.kernels,
        bindings=dict(low.bindings),
        workspaces=tuple(low.workspaces.values()),
        zeroed=group.zeroed,
        accumulators=dict(group.accumulators),
        overlapped=group.overlapped,
    )
