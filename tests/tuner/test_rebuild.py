"""Entries find back to the task that they were tuned as."""

from __future__ import annotations

from typing import Any

import pytest

from hsa_compiler.configs import ConfigStore, Entry, ShapeClass, packaged_folder
from hsa_compiler.errors import InputError
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.tuner.rebuild import task_of
from hsa_compiler.tuner.shapes import SHAPES, Shape, parse_shape, spelled
from hsa_compiler.tuner.workload import Task
from tests.configs.entries import entry
from tests.tuner.fakes import SHAPE

STEP = SHAPE.resized(L=1, Lkv=640, decode=True)


def packaged() -> list[Entry]:
    folder = packaged_folder()
    assert folder is not None
    return [entry for _, entry in ConfigStore([folder]).entries()]


def of(kernel: str, shape: Shape, **changes: Any) -> Entry:
    """An entry of a kernel at a shape."""
    task = Task(kernel, shape, "cpu")
    made = entry(task.problem, task.sizes, generic(kernel, "tvm"), backend="tvm")
    return made.model_copy(update=changes)


def test_every_packaged_entry_of_a_call_is_rebuilt() -> None:
    for found in packaged():
        if found.shape.kernel == "weigh":
            # Retrieval became one kernel after these were tuned.
            with pytest.raises(InputError, match="no call of the operator gives score"):
                task_of(found, "cpu")
            continue
        task = task_of(found, "cpu")
        shape = ShapeClass.of(task.problem, task.sizes, found.shape.backend)
        assert shape.key() == found.shape.key()
        assert task.sizes == found.sizes
        assert (task.locality, task.seed) == (found.locality.kind, found.seed)


@pytest.mark.parametrize(
    "shape",
    [
        SHAPE,
        SHAPE.resized(B=3, L=48, Lkv=203, dtype="fp16"),
        SHAPE.resized(Hr=1, Hm=1, Hi=1, Dr=32),
        SHAPE.resized(Hr=4, Hm=4, Hi=2, Hw=4),
        SHAPE.resized(normalize="joint"),
        SHAPE.resized(normalize="lse_mix"),
        SHAPE.resized(normalize="stick_breaking"),
        STEP,
        STEP.resized(B=3, L=5, Lkv=203, dtype="bf16"),
        STEP.resized(S=128, Lkv=2048, normalize="lse_mix"),
        STEP.resized(Zk=64),
        STEP.resized(S=32, Zk=96, Lkv=960, Hr=1, Hm=1, Hi=1, Dr=32, normalize="stick_breaking"),
        STEP.resized(Zk=64, Hr=4, Hm=4, Hi=2, Hw=4),
    ],
)
def test_every_kernel_of_a_shape_is_rebuilt_and_its_shape_spelled(shape: Shape) -> None:
    for kernel, group in Task("", shape, "cpu").groups.items():
        task = task_of(of(kernel, shape), "cpu")
        assert task.problem.group.program.text() == group.program.text()
        parsed = parse_shape(spelled(task.shape), "bf16")
        assert parsed == task.shape.resized(name=parsed.name)


def test_a_preset_is_called_by_its_name() -> None:
    for name, shape in SHAPES.items():
        assert spelled(shape) == name
        assert task_of(of("attend", shape), "cpu").shape == shape
    assert spelled(SHAPES["tiny"].resized(L=128)) != "tiny"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sizes": {}}, "no call of the operator"),
        ({"sizes": {"B": 1, "L": 64, "Lkv": 64, "C": 3, "R": 64}}, "no call of the operator"),
        ({"sizes": {"B": 1, "L": 4096, "Lkv": 64, "C": 4, "R": 4096}}, "no call of the operator"),
        ({"sizes": {"B": 1, "L": 2**40, "Lkv": 64, "C": 4, "R": 64}}, "L=1099511627776"),
    ],
)
def test_what_no_task_gives_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        task_of(of("attend", SHAPE, **changes), "cpu")


def test_classes_and_selections_that_cannot_be_drawn_are_refused() -> None:
    made = of("attend", SHAPE)
    trace = made.locality.model_copy(update={"kind": "trace"})
    with pytest.raises(InputError, match="a recorded trace"):
        task_of(made.model_copy(update={"locality": trace}), "cpu")
    for dims in ({}, {**made.shape.dims, "Hq": 3}, {**made.shape.dims, "D": 17}):
        shape = made.shape.model_copy(update={"dims": dims})
        with pytest.raises(InputError):
            task_of(made.model_copy(update={"shape": shape}), "cpu")
