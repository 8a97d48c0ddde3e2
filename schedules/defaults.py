"""`generic`: one literal schedule per kernel and back end, written down before any tuning.

The tuner reports gains over these, so they stay as they are: a better default belongs in the cost
model (`cost_model.planned`) or in a tuned config. They hold a chunk whole; where that does not fit
a device, `space.legal_default` gives the same schedule with smaller tiles.
"""

from __future__ import annotations

from hsa_compiler.schedules.schedule import KERNELS, Schedule

GENERIC: dict[tuple[str, str], Schedule] = {
    ("retrieve", "triton"): Schedule(tokens=32, chunk_block=32, warps=4, stages=1),
    ("select", "triton"): Schedule(tokens=32, chunk_block=32, warps=4, stages=1),
    ("weigh", "triton"): Schedule(warps=4, dim_block=64),
    ("attend", "triton"): Schedule(order="token", warps=4, stages=2),
    ("attend_grad_q", "triton"): Schedule(order="token", warps=4, stages=2),
    ("invert_index", "triton"): Schedule(index_blocks=128, warps=4),
    ("attend_grad_kv", "triton"): Schedule(order="chunk", pairs=4, warps=4, stages=2),
    ("attend_grad", "triton"): Schedule(
        order="chunk", pairs=4, combine="buffer", warps=4, stages=2
    ),
    ("weigh_grad", "triton"): Schedule(warps=4, dim_block=64),
    ("landmark_grad", "triton"): Schedule(order="chunk", pairs=16, dim_block=64, warps=4),
    ("retrieve", "tvm"): Schedule(tokens=16, chunk_block=16, lanes="rows", unroll=4),
    ("select", "tvm"): Schedule(tokens=16, chunk_block=16, lanes="rows", unroll=4),
    ("weigh", "tvm"): Schedule(dim_block=64),
    ("attend", "tvm"): Schedule(order="token", lanes="rows", unroll=4),
    ("attend_grad_q", "tvm"): Schedule(order="token", lanes="rows", unroll=4),
    ("invert_index", "tvm"): Schedule(index_blocks=8),
    ("attend_grad_kv", "tvm"): Schedule(order="chunk", pairs=4, lanes="rows", unroll=4),
    ("attend_grad", "tvm"): Schedule(
        order="chunk", pairs=4, combine="buffer", lanes="rows", unroll=4
    ),
    ("weigh_grad", "tvm"): Schedule(dim_block=64),
    ("landmark_grad", "tvm"): Schedule(order="chunk", pairs=16, dim_block=64),
}


# Both back ends on GPUs start alike.
GENERIC |= {(kind, "cuda"): GENERIC[kind, "triton"] for kind in KERNELS}


def generic(kind: str, backend: str) -> Schedule:
    """The literal default schedule of kernel `kind` on `backend` (``"triton"``, ``"tvm"`` or
    ``"cuda"``).

    Raises:
        KeyError: for a kernel or back end that does not exist.
    """
    if (kind, backend) not in GENERIC:
        raise KeyError(
            f"no generic schedule for kernel {kind!r} on back end {backend!r}; "
            f"kernels: {', '.join(KERNELS)}; back ends: triton, tvm, cuda"
        )
    return GENERIC[kind, backend]
