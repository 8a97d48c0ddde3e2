"""From a stored entry back to the task that gives its shape class, so that it can be raced again.

An entry names only the dims that its kernel reads. The others are filled in as `Shape` fills in
what nobody gave, and the result counts only where the kernel's shape class comes out the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from hsa_compiler.configs import Entry, ShapeClass
from hsa_compiler.errors import InputError
from hsa_compiler.runtime.decode import MAX_TOKENS
from hsa_compiler.runtime.validate import CHUNK_SIZES, HEAD_DIMS
from hsa_compiler.schedules.locality import KINDS
from hsa_compiler.tuner.shapes import (
    DTYPES,
    NORMALIZATIONS,
    SHAPES,
    STEP_NORMALIZATIONS,
    Shape,
    spelled,
)
from hsa_compiler.tuner.workload import Task

#: Stands for the chunk size of kernels that see chunks only as landmarks.
ANY_CHUNK = 64


def task_of(entry: Entry, device: str) -> Task:
    """The task whose kernel, sizes and selection are those of an entry, on `device`.

    Raises InputError, with the reason, for a class or selection that the tuner cannot draw.
    """
    if entry.locality.kind not in KINDS:
        raise InputError("its selections come from a recorded trace, which is not stored")
    shape = shape_of(entry)
    return Task(entry.shape.kernel, shape, device, entry.locality.kind, entry.seed)


def shape_of(entry: Entry) -> Shape:
    """The shape of an entry's class and sizes.

    A preset where one has them, else one whose name is its sizes, as `autotune` takes them. Raises
    InputError where no call gives them.
    """
    for shape in itertools.chain(SHAPES.values(), _calls(entry), _steps(entry)):
        if _gives(Task(entry.shape.kernel, shape, ""), entry):
            return shape
    raise InputError(f"no call of the operator gives {entry.shape.variant} at these sizes")


def _gives(task: Task, entry: Entry) -> bool:
    """Whether a task has the entry's class and sizes; a class holds sizes within half an octave."""
    if task.kernel not in task.groups or task.sizes != entry.sizes:
        return False
    found = ShapeClass.of(task.problem, task.sizes, entry.shape.backend)
    return found.key() == entry.shape.key()


def _calls(entry: Entry) -> Iterator[Shape]:
    """Calls of `hsa_attention` that may have an entry's class. Raises InputError for sizes that no
    shape has."""
    if "P" not in entry.sizes:
        chunk_sizes = CHUNK_SIZES if "Lkv" in entry.sizes else (ANY_CHUNK,)
        yield from _shapes(entry, chunk_sizes, NORMALIZATIONS, decode=False)


def _steps(entry: Entry) -> Iterator[Shape]:
    """Decoding steps that may; what is visible of a cache depends on the size of its chunks."""
    if 0 < _tokens(entry) <= MAX_TOKENS:
        yield from _shapes(entry, CHUNK_SIZES, STEP_NORMALIZATIONS, decode=True)


def _tokens(entry: Entry) -> int:
    return entry.sizes.get("L", entry.sizes.get("R", 0))


def _shapes(
    entry: Entry, chunk_sizes: Iterable[int], normalizations: Iterable[str], decode: bool
) -> Iterator[Shape]:
    sizes, dims = entry.sizes, entry.shape.dims
    index_heads = dims.get("Hi", dims.get("Hr", 1))
    score_heads = dims.get("Hr", index_heads)
    weight_heads = dims.get("Hw", score_heads)
    kv_heads = dims.get("H", weight_heads)
    head_dim = dims.get("D", HEAD_DIMS[0])
    given: dict[str, Any] = {
        "B": sizes.get("B", 1),
        "L": _tokens(entry),
        "Hq": dims.get("Hq", kv_heads),
        "H": kv_heads,
        "D": head_dim,
        "K": dims.get("K", 1),
        "Hr": score_heads,
        "Dr": dims.get("Dr", head_dim),
        "Hm": dims.get("Hm", score_heads),
        "Hi": index_heads,
        "Hw": weight_heads,
        "decode": decode,
    }
    dtypes = DTYPES if entry.shape.dtype not in DTYPES else (entry.shape.dtype,)
    for size, dtype, normalize in itertools.product(chunk_sizes, dtypes, normalizations):
        length = sizes.get("Lkv", sizes.get("C", 0) * size)
        block = dims.get("Zk", dims.get("Zc", 0) * size)
        if length // size == sizes.get("C", length // size or 1) and not block % size:
            shape = Shape(
                "", S=size, Lkv=length, Zk=block, dtype=dtype, normalize=normalize, **given
            )
            yield shape.resized(name=spelled(shape).replace(",", " "))
