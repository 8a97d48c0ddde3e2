"""The executor and dispatch: groups in order, memory let go, schedules looked up and recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from hsa_compiler import compiler
from hsa_compiler.configs import Choice
from hsa_compiler.errors import BackendError, InputError, MemoryEstimateError
from hsa_compiler.ir import differentiate, fuse_groups, interpret
from hsa_compiler.ir.programs import AttentionOptions, RetrieveOptions, hsa_program
from hsa_compiler.runtime import dispatch, explain, memory, record
from hsa_compiler.runtime.executor import Executable
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule

CPU = torch.device("cpu")
S, L = 16, 40
DIMS = {
    "B": 1,
    "L": L,
    "R": L,
    "Lkv": L,
    "C": 2,
    "Hq": 4,
    "H": 2,
    "D": 16,
    "Hr": 2,
    "Hm": 2,
    "Dr": 16,
    "Hi": 2,
    "Hw": 2,
    "K": 2,
}


@dataclass(frozen=True)
class InterpretedKernel:
    """Stands in for a compiled kernel: runs its group in the interpreter."""

    problem: Problem
    schedule: Schedule
    target: Target

    def reads(self, name: str) -> bool:
        """Whether the group has such an input."""
        return name in {value.name for value in self.problem.group.program.inputs}

    def launch(self, values: Mapping[str, Tensor], dims: Mapping[str, int]) -> None:
        """Write the group's outputs into the tensors given for them."""
        program = self.problem.group.program
        found = interpret(program, values, dims)
        for value in program.outputs:
            out = values[value.name]
            assert out.is_contiguous()
            assert out.dtype == found[value.name].dtype
            out.copy_(found[value.name])

    def workspace_bytes(self, dims: Mapping[str, int]) -> int:
        """No temporary buffers."""
        return 1000


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[InterpretedKernel]]:
    """Kernels that are interpreted, in the order in which they are compiled."""
    made: list[InterpretedKernel] = []

    def compile_kernel(problem: Problem, schedule: Schedule, target: Target) -> Any:
        made.append(InterpretedKernel(problem, schedule, target))
        return made[-1]

    monkeypatch.setattr(compiler, "compile_kernel", compile_kernel)
    monkeypatch.setattr(dispatch, "target_of", lambda *_: Target("tvm", "generic", 1))
    monkeypatch.setattr(dispatch, "_installed", lambda backend: True)
    record.forget()
    yield made
    record.forget()


def values() -> dict[str, Tensor]:
    """Inputs of the whole operator and its backward pass."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "q": (1, L, 4, 16),
        "k": (1, L, 2, 16),
        "v": (1, L, 2, 16),
        "q_slc": (1, L, 2, 16),
        "landmarks": (1, 2, 2, 16),
        "d_out": (1, L, 4, 16),
    }
    made = {n: torch.randn(shape, generator=generator) for n, shape in shapes.items()}
    made["hi"] = (torch.arange(L, dtype=torch.int32) // S).view(1, L)
    made["lo"] = torch.zeros_like(made["hi"])
    return made


def programs() -> tuple[Executable, Executable]:
    """The whole operator, forward and backward."""
    forward = hsa_program(
        RetrieveOptions(2, 0.25, dtype="fp32"), AttentionOptions(S, 0.25, dtype="fp32")
    )
    backward = differentiate(forward, ["q", "k", "v", "q_slc", "landmarks"], ["out"])
    return Executable(forward), Executable(backward)


def test_groups_run_in_order_and_give_what_the_whole_program_gives(
    kernels: list[InterpretedKernel],
) -> None:
    forward, backward = programs()
    given = values()
    for executable in (forward, backward):
        expected = interpret(executable.program, given, DIMS)
        found = executable.run(given, DIMS, CPU, "tvm")
        assert list(found) == list(executable.outputs)
        for name, x in found.items():
            torch.testing.assert_close(x, expected[name], msg=name)
        given.update(found)
    assert [kernel.problem.kind for kernel in kernels] == [
        group.kind for e in (forward, backward) for group in fuse_groups(e.program)
    ]
    # One inverse index serves both kernels of the backward pass that walk chunks.
    assert [k.problem.kind for k in kernels].count("invert_index") == 1


def test_a_repeated_call_compiles_nothing(kernels: list[InterpretedKernel]) -> None:
    forward, _ = programs()
    forward.run(values(), DIMS, CPU, "tvm")
    count = len(kernels)
    forward.run(values(), DIMS, CPU, "tvm")
    assert len(kernels) == count


def test_strided_inputs_are_made_contiguous(kernels: list[InterpretedKernel]) -> None:
    forward, _ = programs()
    given = values()
    expected = forward.run(given, DIMS, CPU, "tvm")["out"]
    given["q"] = given["q"].transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(forward.run(given, DIMS, CPU, "tvm")["out"], expected)


def test_a_missing_value_is_named(kernels: list[InterpretedKernel]) -> None:
    forward, _ = programs()
    given = values()
    del given["lo"]
    with pytest.raises(KeyError, match="program hsa needs a value for lo"):
        forward.run(given, DIMS, CPU, "tvm")


def test_memory_is_estimated_with_workspaces(
    kernels: list[InterpretedKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, _ = programs()
    plan = forward.plan(DIMS, CPU, "tvm", False)
    slots = L * DIMS["K"] * 4
    # indices, slots and weights of two heads each, the output, and the largest workspace
    assert plan.bytes == 3 * 2 * slots + L * 4 * 16 * 4 + 1000
    monkeypatch.setattr(memory, "total_bytes", lambda kind, index: 10_000)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 20)
    with pytest.raises(MemoryEstimateError, match=r"hsa needs about .* but cpu has 20 B free"):
        forward.run(values(), DIMS, CPU, "tvm")


def choose_atomic(*_: object, **__: object) -> Choice:
    """A tuned schedule that adds atomically."""
    return Choice(Schedule(order="chunk", split=64, combine="atomic"), "exact", None, 0.0, "test")


def test_deterministic_calls_use_no_atomics(
    kernels: list[InterpretedKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "choose", choose_atomic)
    _, backward = programs()
    backward.plan(DIMS, CPU, "tvm", deterministic=False)
    assert all(kernel.schedule.combine == "atomic" for kernel in kernels)
    count = len(kernels)
    backward.plan(DIMS, CPU, "tvm", deterministic=True)
    again = kernels[count:]
    assert {k.schedule.combine for k in again} == {"none", "buffer"}
    assert all(k.schedule.split == 0 for k in again if k.schedule.combine == "none")
    assert "without atomic adds" in record.used()[-1].reason


def test_torch_can_ask_for_determinism(
    kernels: list[InterpretedKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "choose", choose_atomic)
    forward, _ = programs()
    torch.use_deterministic_algorithms(True)
    forward.run(values(), DIMS, CPU, "tvm")
    assert all(kernel.schedule.combine != "atomic" for kernel in kernels)


def test_a_schedule_that_cannot_be_compiled_gives_way_to_a_smaller_one(
    kernels: list[InterpretedKernel],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    compile_kernel = compiler.compile_kernel

    def refuse(problem: Problem, schedule: Schedule, target: Target) -> Any:
        if schedule.split:
            raise IllegalSchedule("registers", "too many")
        return compile_kernel(problem, schedule, target)

    monkeypatch.setattr(dispatch, "choose", choose_atomic)
    monkeypatch.setattr(compiler, "compile_kernel", refuse)
    forward, _ = programs()
    with caplog.at_level("WARNING", "hsa_compiler.runtime"):
        forward.run(values(), DIMS, CPU, "tvm")
    assert "attend: registers: too many; using the schedule" in caplog.text
    assert all(row.tier == "generic" and "too many" in row.reason for row in record.used())


def test_a_schedule_that_proves_too_large_at_its_first_launch_gives_way_too(
    kernels: list[InterpretedKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = InterpretedKernel.launch

    def refuse(
        self: InterpretedKernel, values: Mapping[str, Tensor], dims: Mapping[str, int]
    ) -> None:
        if self.schedule.split:
            raise IllegalSchedule("shared_memory", "too much")
        launch(self, values, dims)

    monkeypatch.setattr(dispatch, "choose", choose_atomic)
    monkeypatch.setattr(InterpretedKernel, "launch", refuse)
    forward, _ = programs()
    given = values()
    expected = interpret(forward.program, given, DIMS)["out"]
    torch.testing.assert_close(forward.run(given, DIMS, CPU, "tvm")["out"], expected)
    count = len(kernels)
    forward.run(given, DIMS, CPU, "tvm")
    assert len(kernels) == count  # the replacement stays


def test_a_kernel_without_any_schedule_says_so(
    kernels: list[InterpretedKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(problem: Problem, schedule: Schedule, target: Target) -> Any:
        raise IllegalSchedule("shared_memory", "too much")

    monkeypatch.setattr(compiler, "compile_kernel", refuse)
    forward, _ = programs()
    with pytest.raises(BackendError, match=r"no schedule of select fits tvm:generic .* too much"):
        forward.plan(DIMS, CPU, "tvm", False)


def test_explain_tells_what_has_run(kernels: list[InterpretedKernel]) -> None:
    assert explain.explain() == []
    forward, _ = programs()
    forward.run(values(), DIMS, CPU, "tvm")
    rows = explain.explain()
    assert [row.kernel for row in rows] == ["select", "weigh", "attend"]
    row = rows[-1]
    assert row.dtype == "fp32"
    assert dict(row.dims)["D"] == 16
    assert row.target == "tvm:generic"
    assert row.tier in ("planned", "generic")
    assert row.to_json()["distance"] is None
    assert "attend fp32 on tvm:generic" in str(row)


def test_explain_foretells_a_call(kernels: list[InterpretedKernel]) -> None:
    given = values()
    tensors = [given[name].to("meta") for name in ("q", "k", "v", "q_slc", "landmarks")]
    rows = explain.explain(*tensors, chunk_size=S, top_k=2, device="cpu")
    assert [row.kernel for row in rows] == [
        *("retrieve", "invert_index", "attend"),
        *("attend_grad_q", "attend_grad_kv", "weigh_grad", "landmark_grad"),
    ]
    assert kernels == []  # nothing was compiled
    assert explain.explain() == []
    forward = explain.explain(*tensors, chunk_size=S, top_k=2, device="cpu", backward=False)
    assert forward == [row for row in rows[:3] if row.kernel != "invert_index"]
    by_shape = explain.explain_shape(
        {"L": L, "Hq": 4, "H": 2, "D": 16, "S": S, "K": 2}, dtype="fp32"
    )
    assert by_shape == rows


def test_explain_of_the_reference_has_no_kernels() -> None:
    dims = {"L": L, "Hq": 4, "H": 2, "D": 16, "S": S, "K": 2}
    assert explain.explain_shape(dims, backend="reference") == []


def test_explain_asks_for_what_it_needs(kernels: list[InterpretedKernel]) -> None:
    with pytest.raises(ValueError, match="explain needs k, v, q_slc, landmarks too"):
        explain.explain(values()["q"])
    with pytest.raises(ValueError, match="unknown X; missing D, K; give L, Hq, H, D, S, K"):
        explain.explain_shape({"L": L, "Hq": 4, "H": 2, "S": S, "X": 1})


EXPLAINED: dict[str, tuple[dict[str, Any], str]] = {
    "chunk size": ({"chunk_size": 48}, "chunk_size=48: give one of 16, 32, 64, 128"),
    "top k": ({"top_k": 0}, "top_k=0: give 1 or more"),
    "normalize": ({"normalize": "sigmoid"}, "normalize='sigmoid': give one of 'softmax'"),
    "weight heads": ({"weight_heads": "all"}, "weight_heads='all': give one of 'kv', 'query'"),
    "back end": ({"backend": "cuda"}, "backend='cuda': give one of 'auto'"),
    "no device": ({"device": None}, "device='meta': give 'cpu', or 'cuda'"),
    "device": ({"device": "gpu"}, "device='gpu': give 'cpu', or 'cuda'"),
    "chunks": ({"landmarks": torch.empty(1, 9, 2, 16)}, "axis C is 9, not"),
    "head dim": ({n: torch.empty(1, L, 2, 48) for n in "qkv"}, "head dim D of q, k and v is 48"),
    "dtype": ({"k": torch.empty(1, L, 2, 16).int()}, "q, k, v have different dtypes"),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_explain_refuses_what_a_call_would(name: str) -> None:
    change, message = EXPLAINED[name]
    tensors = {n: values()[n].to("meta") for n in ("q", "k", "v", "q_slc", "landmarks")}
    options: dict[str, Any] = {"chunk_size": S, "top_k": 2, "device": "cpu"}
    with pytest.raises(InputError, match=message):
        explain.explain(**{**tensors, **options, **change})


def test_explain_by_sizes_refuses_what_a_call_would() -> None:
    dims = {"L": L, "Hq": 4, "H": 2, "D": 16, "S": S, "K": 2}
    for change, message in (
        ({"S": 0}, "S=0: give 1 or more"),
        ({"L": -5}, "L=-5: give 0 or more"),
        ({"L": 8.5}, "L=8.5 is a float: give a whole number"),
        ({"Hq": 3}, "q has 3 heads and k, v have 2"),
        ({"Hw": 5}, "Hr has 2 heads and Hw has 5: the first must divide the second"),
    ):
        with pytest.raises(InputError, match=message):
            explain.explain_shape({**dims, **change})
    with pytest.raises(InputError, match="dtype='float32': give one of 'fp32', 'bf16', 'fp16'"):
        explain.explain_shape(dims, dtype="float32")


def test_explain_has_no_kernels_where_none_is_launched() -> None:
    dims = {"L": L, "Hq": 4, "H": 2, "D": 16, "S": S, "K": 2}
    assert explain.explain_shape({**dims, "L": 0}) == []
    assert explain.explain_shape({**dims, "L": S - 1}) == []


@pytest.mark.parametrize(("warn_only", "expected"), [(True, False), (False, True)])
def test_explain_heeds_torchs_deterministic_mode(
    monkeypatch: pytest.MonkeyPatch, warn_only: bool, expected: bool
) -> None:
    asked: list[bool] = []
    select = explain.select_schedule

    def noted(*args: Any) -> Any:
        asked.append(args[4])
        return select(*args)

    monkeypatch.setattr(explain, "select_schedule", noted)
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    explain.explain_shape({"L": L, "Hq": 4, "H": 2, "D": 16, "S": S, "K": 2})
    assert set(asked) == {expected}
