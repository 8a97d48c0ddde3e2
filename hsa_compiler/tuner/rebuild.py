"""From a stored entry back to the task that gives its shape class, so that it can be raced again.

An entry names only the dims that its kernel reads. The others are filled in as `Shape` fills in
what nobody gave, and the result counts only where the kernel's shape class comes out the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hsa_compiler.configs import Entry, ShapeClass
from hsa_compiler.errors import InputError
from hsa_compiler.runtime.validate import CHUNK_SIZES, HEAD_DIMS
from hsa_compiler.schedules.locality import KINDS
from hsa_compiler.tuner.shapes import DTYPES, NORMALIZATIONS, SHAPES, Shape, spelled
from hsa_compiler.tuner.workload import Task

#: Stands for the chunk size of kernels that see chunks only as landmarks.
ANY_CHUNK = 64


def task_of(entry: Entry, device: str) -> Task:
    """The task whose kernel, sizes and selection are those of an entry, on `device`.

    A preset's shape where one has this class, else one whose name is its sizes, as `autotune`
    takes them. Raises InputError, with the reason, for a class that the tuner cannot draw.
    """
    if entry.locality.kind not in KINDS:
        raise InputError("its selections come from a recorded trace, which is not stored")
    for shape in itertools.chain(SHAPES.values(), _shapes(entry)):
        task = Task(entry.shape.kernel, shape, device, entry.locality.kind, entry.seed)
        if _gives(task, entry):
            return task
    raise InputError(f"no call of the operator gives {entry.shape.variant} at these sizes")


def _gives(task: Task, entry: Entry) -> bool:
    """Whether a task has the entry's class and sizes; a class holds sizes within half an octave."""
    if task.kernel not in task.groups or task.sizes != entry.sizes:
        return False
    found = ShapeClass.of(task.problem, task.sizes, entry.shape.backend)
    return found.key() == entry.shape.key()


def _shapes(entry: Entry) -> Iterator[Shape]:
    """Shapes that may have an entry's class. Raises InputError for sizes that no shape has."""
    sizes, dims = entry.sizes, entry.shape.dims
    tokens, chunks = sizes.get("L", sizes.get("R", 0)), sizes.get("C", 0)
    index_heads = dims.get("Hi", dims.get("Hr", 1))
    score_heads = dims.get("Hr", index_heads)
    weight_heads = dims.get("Hw", score_heads)
    kv_heads = dims.get("H", weight_heads)
    head_dim = dims.get("D", HEAD_DIMS[0])
    given = {
        "B": sizes.get("B", 1),
        "L": tokens,
        "Hq": dims.get("Hq", kv_heads),
        "H": kv_heads,
        "D": head_dim,
        "K": dims.get("K", 1),
        "Hr": score_heads,
        "Dr": dims.get("Dr", head_dim),
        "Hm": dims.get("Hm", score_heads),
        "Hi": index_heads,
        "Hw": weight_heads,
    }
    chunk_sizes = CHUNK_SIZES if "Lkv" in sizes else (ANY_CHUNK,)
    dtypes = DTYPES if entry.shape.dtype not in DTYPES else (entry.shape.dtype,)
    for size, dtype, normalize in itertools.product(chunk_sizes, dtypes, NORMALIZATIONS):
        length = sizes.get("Lkv", chunks * size)
        if length // size == chunks:
            shape = Shape("", S=size, Lkv=length, dtype=dtype, normalize=normalize, **given)
            yield shape.resized(name=spelled(shape).replace(",", " "))
