"""Recording what `retrieve` and `hsa_attention` choose.

with record_selections() as recorder:
    model(tokens)
recorder.trace("my model").save(Path("my.trace"))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.runtime import validate
from hsa_compiler.runtime.checks import Packing
from hsa_compiler.runtime.prepare import RetrieveArgs
from hsa_compiler.runtime.selection import Selection
from hsa_compiler.trace import Trace, TracedSelection


class Recorder:
    """The selections of the calls so far, copied to the CPU; see `record_selections`."""

    def __init__(self, calls: Sequence[int] | None) -> None:
        self._calls = None if calls is None else frozenset(calls)
        self._kept: list[tuple[int, TracedSelection]] = []
        #: Calls seen, kept or not.
        self.count = 0

    def add(
        self,
        selection: Selection,
        chunks: int,
        packing: Packing,
        chunk_size: int,
        q_offset: int | Tensor,
        query_block: int,
    ) -> None:
        """Keep what a call chose, if it is one of the calls to keep. Raises InputError."""
        if torch.compiler.is_compiling():
            raise InputError(
                "record_selections cannot see into torch.compile: record the model before it is "
                "compiled, or under torch.compiler.set_stance('force_eager')"
            )
        indices = selection.indices
        if indices.is_cuda and torch.cuda.is_current_stream_capturing():
            raise InputError(
                "record_selections cannot copy while a CUDA graph is captured: record a call "
                "outside of the capture"
            )
        if packing.q is not None:
            raise InputError(
                "record_selections takes no packed sequences (cu_seqlens): their chunks are "
                "numbered through all of them; record one sequence per batch row"
            )
        if torch._C._current_graph_task_id() != -1:
            return  # a backward pass repeats a call whose activations were not kept
        layer, self.count = self.count, self.count + 1
        wanted = self._calls is None or layer in self._calls
        if not wanted or chunks == 0 or indices.numel() == 0:
            return
        weights = selection.weights
        kept = TracedSelection(
            layer,
            indices.detach().to("cpu", torch.int32, copy=True),
            None if weights is None else weights.detach().to("cpu", torch.float16, copy=True),
            chunks,
            int(q_offset),
            query_block,
        )
        self._kept.append((chunk_size, kept))

    def trace(self, model: str = "") -> Trace:
        """Everything that was kept, `model` saying what chose it.

        Raises:
            InputError: nothing was kept, or calls differ in chunk size or top-k.
        """
        if not self._kept:
            raise InputError(
                f"nothing was recorded: {self.count} calls of hsa_attention and retrieve were "
                "seen, none of those asked for had a chunk to choose; give longer sequences, or "
                "other calls"
            )
        sizes = {(size, kept.indices.shape[3]) for size, kept in self._kept}
        if len(sizes) > 1:
            found = "; ".join(f"chunk_size={s} top_k={k}" for s, k in sorted(sizes))
            raise InputError(
                f"the recorded calls have {found}: record those of one kind, by their numbers in "
                "record_selections(calls=...)"
            )
        return Trace.now(model, self._kept[0][0], tuple(kept for _, kept in self._kept))


class _Active:
    """The recorder of this process; a class so that one name stays bound to one object."""

    recorder: Recorder | None = None


@contextmanager
def record_selections(calls: Sequence[int] | None = None) -> Iterator[Recorder]:
    """Record what every call of `hsa_attention` and `retrieve` chooses while the block runs.

    Works with and without gradients, on any device and back end; a call that activation
    checkpointing repeats is recorded once. `hsa_decode` shows no selection, and
    `chunk_attention` takes one that is known already: neither is recorded. A call waits for the
    device, as its selection is copied to the CPU. Outside of the block nothing is done.

    Args:
        calls: the calls to keep, counted from 0 in the block; None: all.

    Raises:
        InputError: a block within a block, or `calls` that are no whole numbers of at least 0;
            and from the calls: packed sequences, a call under torch.compile (with
            ``fullgraph=True`` torch shows it as an error of its own, without it runs the call
            uncompiled and it is recorded) or while a CUDA graph is captured.
    """
    for number in calls or ():
        validate.at_least("calls", number, 0)
    if _Active.recorder is not None:
        raise InputError("record_selections is active already: end that block first")
    _Active.recorder = Recorder(calls)
    try:
        yield _Active.recorder
    finally:
        _Active.recorder = None


def note(
    selection: Selection,
    args: RetrieveArgs,
    packing: Packing,
    chunk_size: int,
    q_offset: int | Tensor,
    query_block: int = 1,
) -> None:
    """Hand what a call chose to the recorder, if there is one."""
    if _Active.recorder is not None:
        chunks = args.landmarks.shape[1]
        _Active.recorder.add(selection, chunks, packing, chunk_size, q_offset, query_block)
