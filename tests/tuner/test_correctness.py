"""The gate: honest kernels pass at every normalisation, planted faults do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.ir import interpret
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner import kernel_bench
from hsa_compiler.tuner.correctness import WrongResult, check_selection, checksums, compare
from hsa_compiler.tuner.effort import EFFORTS
from hsa_compiler.tuner.kernel_bench import BenchTask, KernelBench
from hsa_compiler.tuner.shapes import NORMALIZATIONS, SHAPES, Shape, parse_shape, parse_shapes
from hsa_compiler.tuner.workload import Task, adversarial_bounds, gate_cases, kernel_groups

CPU = torch.device("cpu")
SHAPE = Shape("probe", L=96, Hq=4, H=2, D=16, S=16, K=4, Hr=2, Dr=16, dtype="fp32")
#: Two score heads share their indices: selection and weights are two kernels.
SHARED = SHAPE.resized(Hr=4, Hw=4)
STEP = SHAPE.resized(L=2, Lkv=512, decode=True)
PAGED = STEP.resized(Zk=32)
KERNELS = tuple(kernel_groups(SHAPE))
Fault = Callable[[dict[str, Tensor]], None]


class InterpretedKernel:
    """A "compiled" kernel that the interpreter runs, with a fault planted into its outputs."""

    def __init__(self, problem: Problem, fault: Fault) -> None:
        self.problem = problem
        self.fault = fault

    def launch(self, values: Mapping[str, Tensor], dims: Mapping[str, int]) -> None:
        found = interpret(self.problem.group.program, values, dims)
        self.fault(found)
        for name, tensor in found.items():
            values[name].copy_(tensor)


def evaluate(task: Task, fault: Fault = lambda _: None) -> float:
    """The gate's error of the interpreter in the task's own precision."""

    def compile(problem: Problem, schedule: Schedule, target: Target) -> InterpretedKernel:
        return InterpretedKernel(problem, fault)

    bench = KernelBench(compile)  # type: ignore[arg-type]
    bench.setup(BenchTask(task, EFFORTS["quick"]))
    stages: list[str] = []
    timing, error = bench.evaluate(Schedule(), None, stages.append)
    assert timing.median_ms > 0
    assert stages == ["run"]
    return error


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """The interpreter's tiny operations lose more to waking threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_back_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_bench, "_measured_hardware", lambda device: None)
    monkeypatch.setattr(kernel_bench, "target_of", lambda backend, device: Target(backend, "x"))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("kernel", "shape"),
    [
        *((kernel, SHAPE) for kernel in KERNELS),
        *((kernel, SHARED) for kernel in ("select", "weigh")),
        *((kernel, shape) for kernel in ("retrieve", "attend") for shape in (STEP, PAGED)),
        *((kernel, PAGED.resized(Hr=4, Hw=4)) for kernel in ("select", "weigh")),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_honest_kernels_pass(kernel: str, shape: Shape, dtype: str) -> None:
    error = evaluate(Task(kernel, shape.resized(dtype=dtype), "cpu"))
    assert 0 <= error <= (1e-5 if dtype == "fp32" else 1e-2)


@pytest.mark.parametrize("normalize", [kind for kind in NORMALIZATIONS if kind != "softmax"])
def test_every_normalisation_has_inputs_that_pass(normalize: str) -> None:
    shape = SHAPE.resized(normalize=normalize)
    for kernel in kernel_groups(shape):
        if kernel in ("retrieve", "attend", "attend_grad_q", "weigh_grad"):
            evaluate(Task(kernel, shape, "cpu"))
    if normalize != "joint":
        for kernel in kernel_groups(STEP):
            evaluate(Task(kernel, STEP.resized(normalize=normalize), "cpu"))


def scaled(name: str, factor: float) -> Fault:
    return lambda found: found.update({name: found[name] * factor})


def skip_last_row(found: dict[str, Tensor]) -> None:
    for tensor in found.values():
        tensor[:, -1] = float("nan")


def leak(found: dict[str, Tensor]) -> None:
    found["out"][:, 0] += 1e-9  # the first token sees no chunk


def leak_in_a_short_sequence(found: dict[str, Tensor]) -> None:
    found["out"][1] += 1e-9  # the second sequence is empty


def newest_unseen(found: dict[str, Tensor]) -> None:
    """Rows see the chunk of their own token, whose last tokens are still to come."""
    newest = found["indices"][..., 0]
    newest[newest >= 0] += 1


def older_chunks(found: dict[str, Tensor]) -> None:
    found["indices"] = (found["indices"] - 1).clamp(min=-1)


def repeated(found: dict[str, Tensor]) -> None:
    full = found["indices"][..., 1] >= 0
    found["indices"][..., 1][full] = found["indices"][..., 0][full]


def dropped(found: dict[str, Tensor]) -> None:
    found["indices"][..., -1] = -1


def unwritten(found: dict[str, Tensor]) -> None:
    found["indices"][..., -1] = torch.iinfo(torch.int32).min


def swapped(found: dict[str, Tensor]) -> None:
    found["order"][..., :2] = found["order"][..., :2].flip(-1)


def short_offsets(found: dict[str, Tensor]) -> None:
    found["offsets"][..., -1] -= 1


@pytest.mark.parametrize(
    ("kernel", "fault", "message"),
    [
        ("attend", scaled("out", 1.0001), "out: normwise error"),
        ("attend", skip_last_row, "NaN or unwritten"),
        ("attend", leak, "must be exactly zero"),
        ("attend_grad_kv", scaled("d_v", 0.99), "d_v: normwise error"),
        ("retrieve", scaled("slots", -1.0), "infinities stand in other places"),
        ("retrieve", scaled("weights", 1.01), "weights: normwise error"),
        ("retrieve", older_chunks, "indices: "),
        ("retrieve", repeated, "indices: not newest first, or repeated"),
        ("retrieve", dropped, "more or fewer chunks"),
        ("retrieve", unwritten, "unwritten slots"),
        ("invert_index", swapped, "order differs"),
        ("invert_index", short_offsets, "offsets differ"),
    ],
)
def test_planted_faults_are_caught(kernel: str, fault: Fault, message: str) -> None:
    with pytest.raises(WrongResult, match=message):
        evaluate(Task(kernel, SHAPE, "cpu"), fault)


@pytest.mark.parametrize("shape", [STEP, PAGED], ids=["contiguous", "paged"])
@pytest.mark.parametrize(
    ("kernel", "fault", "message"),
    [
        ("attend", leak_in_a_short_sequence, "must be exactly zero"),
        ("attend", skip_last_row, "NaN or unwritten"),
        ("retrieve", older_chunks, "indices: "),
        ("retrieve", dropped, "more or fewer chunks"),
        ("retrieve", newest_unseen, "cannot see|do not exist"),
    ],
)
def test_planted_faults_of_decoding_are_caught(
    kernel: str, fault: Fault, message: str, shape: Shape
) -> None:
    with pytest.raises(WrongResult, match=message):
        evaluate(Task(kernel, shape, "cpu"), fault)


def test_a_fault_at_full_size_only_is_caught() -> None:
    task = Task("attend", SHAPE, "cpu")
    faults: list[Fault] = [lambda _: None]

    def compile(problem: Problem, schedule: Schedule, target: Target) -> InterpretedKernel:
        return InterpretedKernel(problem, lambda found: faults[-1](found))

    bench = KernelBench(compile)  # type: ignore[arg-type]
    bench.setup(BenchTask(task, EFFORTS["quick"]))
    bench.evaluate(Schedule(), None, lambda _: None)

    def overflow(found: dict[str, Tensor]) -> None:
        if found["out"].shape[1] == task.shape.L:
            found["out"][:, 64:] = 0

    faults.append(overflow)
    with pytest.raises(WrongResult, match="out at full size"):
        bench.evaluate(Schedule(warps=8), None, lambda _: None)


def test_ties_may_fall_either_way() -> None:
    scores = torch.tensor([[[[1.0, 1.0, 2.0, -torch.inf]]]], dtype=torch.float64)
    expected = torch.tensor([[[[2, 1]]]], dtype=torch.int32)
    check_selection(torch.tensor([[[[2, 0]]]], dtype=torch.int32), expected, scores, 1e-5)
    with pytest.raises(WrongResult, match="with other scores"):
        check_selection(torch.tensor([[[[1, 0]]]], dtype=torch.int32), expected, scores, 1e-5)
    with pytest.raises(WrongResult, match="cannot see"):
        check_selection(torch.tensor([[[[3, 2]]]], dtype=torch.int32), expected, scores, 1e-5)


def test_a_reference_of_zeros_asks_for_zeros() -> None:
    zero = torch.zeros(3, dtype=torch.float64)
    assert compare("x", torch.zeros(3), zero, 1e-5) == 0
    with pytest.raises(WrongResult, match="normwise error inf"):
        compare("x", torch.full((3,), 1e-20), zero, 1e-5)
    with pytest.raises(WrongResult, match="has shape"):
        compare("x", torch.zeros(4), zero, 1e-5)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.float8_e4m3fn, torch.bfloat16, torch.float32, torch.int64]
)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (5, 13)])
def test_a_checksum_tells_any_change_of_an_element(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    whole = torch.zeros(3, *shape).to(dtype)
    (before,) = checksums([whole[1]])  # whose storage does not begin where words of 8 bytes do
    assert checksums([whole[1].mT if whole[1].dim() > 1 else whole[1]]) == (before,)
    octets = whole.view(-1).view(torch.uint8)
    size = whole[1].nbytes
    for at in range(size, 2 * size):
        octets[at] += 1
        assert checksums([whole[1]]) != (before,)
        octets[at] -= 1
    assert checksums([whole[1]]) == (before,)


def test_gate_inputs_are_adversarial() -> None:
    mixed, few = gate_cases(Task("attend", SHAPE, "cpu"), CPU)
    indices = mixed.values["indices"]
    seen = (indices >= 0).sum(-1)
    assert {0, 1, SHAPE.K} <= set(seen.flatten().tolist())
    assert bool(((indices[..., 0] == indices[..., 1]) & (indices[..., 0] >= 0)).any())
    assert mixed.dims["Lkv"] % SHAPE.S != 0
    q = mixed.values["q"]
    assert float(q[:, ::8].std()) > 5 * float(q[:, 1::8].std())
    assert few.dims["C"] < SHAPE.K
    lo, hi = adversarial_bounds(SHAPE)
    assert bool((lo <= hi).all())
    assert bool((hi <= SHAPE.C).all())
    assert bool((lo > 0).any())


def test_shapes_by_name_and_spelled_out() -> None:
    assert parse_shape("a8") is SHAPES["a8"]
    shape = parse_shape("L=4096,Hq=16,H=2,D=64,S=64,K=16", "fp32")
    assert (shape.Lkv, shape.C, shape.Hr, shape.Dr, shape.Hi, shape.Hw) == (4096, 64, 2, 64, 2, 2)
    assert shape.dtype == "fp32"
    assert [s.name for s in parse_shapes([], "cpu")] == ["tiny"]
    assert [s.name for s in parse_shapes([], "cpu", 3)] == ["tiny", "cpu2k"]
    assert [s.name for s in parse_shapes(["a8,g4", "a8"], "cuda")] == ["a8", "g4"]
    with pytest.raises(InputError, match="none is named"):
        parse_shapes([","], "cpu")
    per_query = parse_shape("L=64,Hq=8,H=2,D=32,S=16,K=4,Hr=8")
    assert (per_query.Hi, per_query.Hw) == (2, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a9", "unknown shape 'a9': choose from tiny"),
        ("L=64,Hq=4", "H, D, S, K must be given too"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=x", "K='x': give a whole number"),
        ("L=²,Hq=4,H=2,D=16,S=16,K=4", "L='²': give a whole number"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=4,L=128", "L is given twice"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=4,Z=1", "'Z' is no size"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=4,Hr=1,Hi=7", "Hi=7 must divide Hr=1"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=4,Hm=4", "Hm=4 must divide Hr=2"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=4,Hw=1", "Hr=2 must divide Hw=1"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=4,Hw=8", "Hw=8 must divide Hq=4"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=1000000000", r"B \* L \* heads \* K is 128000000000"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=4,Lkv=4294967296", r"B \* Lkv is 4294967296"),
        ("L=64,Hq=4,H=3,D=16,S=16,K=4", "multiple of the number of KV heads"),
        ("L=8,Hq=4,H=2,D=16,S=16,K=4", "holds no chunk"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=4,normalize=max", "normalize='max'"),
    ],
)
def test_bad_shapes(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_shape(text)


def test_a_kernel_that_the_shape_lacks() -> None:
    with pytest.raises(InputError, match="has no kernel 'weigh'"):
        _ = Task("weigh", SHAPE.resized(normalize="joint"), "cpu").problem
