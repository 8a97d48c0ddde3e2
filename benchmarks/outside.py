"""Kernels from elsewhere as peers: ``--peer FILE:FUNCTION``. None is shipped.

The function is an adapter. It is called once a row and returns its calls, or None where it has no
kernel for the row:

    def published(row, tensors):
        q, k, v = tensors["q"], tensors["k"], tensors["v"]
        if row["D"] != 128:
            return None
        return {
            "forward": lambda: attention(q, k, v, tensors["indices"], tensors["weights"]),
            "backward": lambda: gradients(...),
        }

`row` has the row's name, selection, dtype and sizes: B, L, Lkv, Hq, H, D, S, K, C, Hr, Hm, Dr, Hi,
Hw. `tensors` are the row's own, detached, and not to be written to:

    q, d_out [B,L,Hq,D]   k, v [B,Lkv,H,D]   (absent in the retrieval suite)
    indices i32[B,L,Hi,K], newest chunk first, -1 in empty slots   weights fp32[B,L,Hw,K]
    q_slc [B,L,Hr,Dr]   landmarks [B,C,Hm,Dr]   d_weights fp32[B,L,Hw,K]

Each call takes nothing and returns what it computed, in the layout of `tensors`:

    forward    out [B,L,Hq,D]
    backward   (dq, dk, dv) or (dq, dk, dv, d_weights), for the upstream gradient d_out; what it
               needs of the forward pass is computed before, in the adapter
    retrieve   (indices, weights) of the K best visible chunks, in any order

Results are compared with ours, normwise, before anything is timed; the error is recorded, and a
peer that differs by more than the tolerance is not timed. On a GPU the first calls run in a process
of their own: a kernel that crashes must not take the benchmark with it.
"""

from __future__ import annotations

import functools
import importlib.util
import multiprocessing
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hsa_compiler.benchmarks import ours, work
from hsa_compiler.benchmarks.case import Case, make_case
from hsa_compiler.benchmarks.contest import (
    Built,
    CannotRun,
    Contestant,
    NotOffered,
    parts_of,
    relative_error,
)
from hsa_compiler.benchmarks.rows import Row
from hsa_compiler.errors import InputError

Call = Callable[[], Any]
Adapter = Callable[[dict[str, Any], dict[str, Tensor]], Mapping[str, Call] | None]

#: Largest normwise difference from ours, by dtype: both have rounding of their own.
TOLERANCE = {"fp32": 1e-3, "bf16": 2e-2, "fp16": 2e-2}
#: Seconds for the first calls of a row in a process of their own, compilation included.
TRIAL_SECONDS = 240.0
RESULTS = {
    "forward": ("out",),
    "backward": ("d_q", "d_k", "d_v", "d_weights"),
    "retrieve": ("indices", "weights"),
}


class WrongPeer(CannotRun):
    """A peer's result is not ours."""


@dataclass(frozen=True)
class Outside:
    """Where an adapter lives: it is loaded by path, in every process that needs it."""

    file: str
    function: str

    @classmethod
    def parse(cls, text: str) -> Outside:
        """``FILE:FUNCTION``. Raises InputError where there is no such file or function."""
        file, colon, function = text.rpartition(":")
        if not colon or not file or not function.isidentifier():
            raise InputError(f"--peer {text!r}: give FILE:FUNCTION, such as peers.py:published")
        if not Path(file).is_file():
            raise InputError(f"--peer {text!r}: there is no file {file}")
        found = cls(str(Path(file).resolve()), function)
        found.load()
        return found

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.function

    def load(self) -> Adapter:
        """The function. Raises InputError."""
        spec = importlib.util.spec_from_file_location(Path(self.file).stem, self.file)
        if spec is None or spec.loader is None:
            raise InputError(f"--peer {self.file}: not a Python file")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a stranger's module does on import
            raise InputError(
                f"--peer {self.file}: importing it failed: {type(error).__name__}: {error}"
            ) from error
        adapter = getattr(module, self.function, None)
        if not callable(adapter):
            raise InputError(f"--peer {self.file}: it has no function {self.function!r}")
        return adapter  # type: ignore[no-any-return]


def describe(row: Row) -> dict[str, Any]:
    """What an adapter is told of a row."""
    shape = row.shape
    sizes = {name: size for name, size in asdict(shape).items() if isinstance(size, int)}
    return {
        "name": row.name,
        "selection": row.selection,
        "dtype": shape.dtype,
        "C": shape.C,
        **sizes,
    }


def contestants(peer: Outside, case: Case) -> list[Contestant]:
    """The calls of one adapter, each checked against ours when it is built."""
    calls: dict[str, Call] = {}
    failed: list[Exception] = []

    def build(part: str) -> Built:
        if not calls and not failed:
            try:
                calls.update(_adapted(peer, case))
            except Exception as error:
                failed.append(error)
        if failed:
            raise failed[0]
        if part not in calls:
            raise NotOffered(f"the adapter has no {part}")
        worst = check(part, calls[part], case)
        return Built(functools.partial(_run, calls[part]), f"differs from ours by {worst:.1e}")

    sizes: dict[str, Callable[[], work.Work]] = {
        "forward": lambda: work.attention(case, work.FORWARD_PRODUCTS),
        "backward": lambda: work.attention(case, work.BACKWARD_PRODUCTS),
        "retrieve": lambda: work.retrieval(case),
    }
    return [
        Contestant(peer.name, part, functools.partial(build, part), sizes[part]())
        for part in parts_of(case)
        if part in sizes
    ]


def _run(call: Call) -> None:
    call()


def _adapted(peer: Outside, case: Case) -> Mapping[str, Call]:
    """The adapter's calls for a row. Raises CannotRun where it has none."""
    if case.device.type == "cuda":
        trial(peer, case)
    found = _calls(peer, case)
    if found is None:
        raise CannotRun("the adapter cannot run this row")
    unknown = sorted(set(found) - set(RESULTS))
    if unknown:
        raise CannotRun(
            f"the adapter returned {', '.join(unknown)}: known calls are {', '.join(RESULTS)}"
        )
    return found


def check(part: str, call: Call, case: Case) -> float:
    """The largest normwise difference between a call's results and ours. Raises WrongPeer."""
    given = call()
    values = given if isinstance(given, tuple | list) else (given,)
    found = dict(zip(RESULTS[part], values, strict=False))
    needed = RESULTS[part][:3]
    if not all(isinstance(found.get(name), Tensor) for name in needed):
        raise WrongPeer(f"{part} must return tensors: {', '.join(needed)}")
    expected = _expected(part, case)
    if part == "retrieve":
        # Slots come in any order, and chunks of equal score may stand for each other.
        found["weights"] = found["weights"].sort(dim=-1).values
    wrong = {
        name: relative_error(found[name], expected[name]) for name in expected if name in found
    }
    worst = max(wrong.values())
    limit = TOLERANCE[case.shape.dtype]
    if not worst <= limit:
        each = ", ".join(f"{name} {error:.2g}" for name, error in wrong.items())
        raise WrongPeer(f"differs from ours by more than {limit:g}: {each}")
    return worst


def _expected(part: str, case: Case) -> dict[str, Tensor]:
    if part == "forward":
        with torch.no_grad():
            return {"out": ours.attend(case)}
    if part == "backward":
        grads = torch.autograd.grad(ours.attend(case), ours.attention_inputs(case), case["d_out"])
        return dict(zip(RESULTS["backward"], grads, strict=True))
    with torch.no_grad():
        weights = ours.choose(case).weights
    assert weights is not None
    return {"weights": weights.sort(dim=-1).values}


def trial(peer: Outside, case: Case) -> None:
    """Run every call of an adapter once in a process of its own, on the row's own tensors.

    Raises CannotRun where the process dies, does not answer, or a call fails there.
    """
    spawn = multiprocessing.get_context("spawn")
    answer, theirs = spawn.Pipe(duplex=False)
    given = (theirs, peer, case.row, str(case.device), case.parts, case.backward)
    process = spawn.Process(target=_try, args=given, daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    try:
        if answer.poll(TRIAL_SECONDS):
            reason = str(answer.recv())
        else:
            reason = f"no answer within {TRIAL_SECONDS:.0f} s"
            process.kill()
    except EOFError:
        reason = "it crashed the process"
    process.join()
    if reason:
        raise CannotRun(f"tried in a process of its own: {reason}")


def _try(
    answer: Connection, peer: Outside, row: Row, device: str, parts: tuple[str, ...], backward: bool
) -> None:
    """Send why an adapter's calls cannot run here; an empty text where they can."""
    try:
        case = make_case(row, torch.device(device), parts, backward)
        for call in (_calls(peer, case) or {}).values():
            call()
            if case.device.type == "cuda":
                torch.cuda.synchronize(case.device)
    except Exception as error:
        answer.send(f"{type(error).__name__}: {error}")
    else:
        answer.send("")


def _calls(peer: Outside, case: Case) -> Mapping[str, Call] | None:
    tensors = {name: x.detach() for name, x in case.tensors.items() if name not in ("lo", "hi")}
    return peer.load()(describe(case.row), tensors)
