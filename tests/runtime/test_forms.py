"""Which form of a program runs, and that it says why."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from hsa_compiler.configs import (
    Choice,
    ConfigStore,
    FormTimes,
    device_record,
    merge_entries,
    set_default_store,
)
from hsa_compiler.configs.forms import faster_form
from hsa_compiler.ir import group_forms
from hsa_compiler.runtime import dispatch, explain
from hsa_compiler.runtime.executor import Executable
from hsa_compiler.runtime.forms import Form, choose_form
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.legality import adds_atomically
from hsa_compiler.schedules.problem import DYNAMIC_DIMS, Problem, Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.shapes import SHAPES, Shape
from hsa_compiler.tuner.workload import executables
from tests.configs.entries import entry

H100 = hardware.named("nvidia_h100_80gb_hbm3")
SM90 = Target("triton", "sm_90")
CPU = torch.device("cpu")
G1, G4 = SHAPES["g1"], SHAPES["g4"]


@pytest.fixture
def on_h100(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Calls are planned for an H100; the folder of its tuned configs, empty."""
    monkeypatch.setattr(dispatch, "target_of", lambda *_: SM90)
    monkeypatch.setattr(dispatch, "resolve_backend", lambda *_: "triton")
    monkeypatch.setattr(explain, "resolve_backend", lambda *_: "triton")
    monkeypatch.setattr(hardware, "detect", lambda *_: H100)
    monkeypatch.setattr("hsa_compiler.runtime.explain._known_device", lambda _: CPU)
    set_default_store(ConfigStore([tmp_path]))
    return tmp_path


def backward_of(shape: Shape) -> Executable:
    """The backward executable of a shape's attention."""
    return executables(shape)[2]


def chosen(shape: Shape, deterministic: bool = False) -> Form:
    forms = backward_of(shape).forms
    return choose_form(forms, shape.dims, CPU, "auto", deterministic)


def add(folder: Path, shape: Shape, times: dict[str, float], locality: str = "local") -> None:
    """Tuned configs of kernels with the times that they took, in ms."""
    groups = {g.kind: g for form in backward_of(shape).forms.values() for g in form}
    for kind, median_ms in times.items():
        problem = Problem.of(groups[kind], shape.dims)
        names = problem.group.program.dim_names()
        sizes = {name: shape.dims[name] for name in DYNAMIC_DIMS if name in names}
        combine = "none" if kind == "attend_grad_kv" else "buffer"
        schedule = Schedule(order="chunk", pairs=64, combine=combine)
        made = entry(problem, sizes, schedule, locality=locality, median_ms=median_ms)
        merge_entries(folder, device_record(H100), [made])
    set_default_store(ConfigStore([folder]))


def test_times_of_one_kind_are_compared() -> None:
    split, fused = FormTimes(2e-3, 4e-3, "local"), FormTimes(1e-3, 5e-3, "local")
    assert faster_form({"split": split, "fused": fused})[0] == "split"
    assert faster_form({"split": split, "fused": FormTimes(1e-3)}) == (
        "fused",
        "predicted split 2 ms, fused 1 ms",
    )
    other = FormTimes(1e-3, 5e-3, "random")
    assert faster_form({"split": split, "fused": other})[0] == "fused"


def test_a_gain_within_the_noise_changes_no_form() -> None:
    times = {"split": FormTimes(1.0e-3), "fused": FormTimes(0.99e-3)}
    assert faster_form(times)[0] == "split"
    unknown = {"split": FormTimes(None), "fused": FormTimes(None)}
    assert faster_form(unknown) == ("split", "times mean nothing here")


def test_a_program_of_one_form_has_no_choice() -> None:
    forward = executables(G1)[1]
    form = choose_form(forward.forms, G1.dims, CPU, "tvm", False)
    assert (form.name, form.reason) == ("split", "")


def test_the_cost_model_fuses_where_both_gradients_walk_chunks(on_h100: Path) -> None:
    one, two = chosen(G1), chosen(G4)
    assert [group.kind for group in one.groups] == ["attend_grad"]
    assert [group.kind for group in two.groups] == ["attend_grad_q", "attend_grad_kv"]
    assert "as one kernel: predicted split" in one.note("attend_grad")
    assert "as two kernels: predicted split" in two.note("attend_grad_kv")


def test_sizes_of_one_class_have_one_form(on_h100: Path) -> None:
    forms = {chosen(G1.resized(L=tokens, Lkv=tokens)) for tokens in (30000, 32768, 36000)}
    assert len({(form.name, form.reason) for form in forms}) == 1


def test_measured_times_come_before_predicted_ones(on_h100: Path) -> None:
    add(on_h100, G1, {"attend_grad_q": 1.0, "attend_grad_kv": 0.5})
    assert chosen(G1).name == "fused"  # no measured time of the other form
    add(on_h100, G1, {"attend_grad": 1.9})
    form = chosen(G1)
    assert form.name == "split"
    assert "measured split 1.5 ms, fused 1.9 ms" in form.reason


def test_deterministic_calls_compare_what_they_would_run(on_h100: Path) -> None:
    add(on_h100, G1, {"attend_grad_q": 1.0, "attend_grad_kv": 0.5, "attend_grad": 1.4})
    form = chosen(G1, deterministic=True)
    for group in form.groups:
        choice = dispatch.select_schedule(group, G1.dims, CPU, "auto", True)[2]
        assert not adds_atomically(group.kind, choice.schedule)


def test_a_form_that_does_not_fit_is_passed_over(on_h100: Path) -> None:
    # Parts of a million tokens' gradients are more than a launch may take.
    long = Shape("long", L=1 << 20, Hq=16, H=8, D=128, S=64, K=64)
    form = chosen(long)
    assert form.name == "split"
    assert "fused: attend_grad: " in form.reason


def test_without_atomic_adds_a_form_may_not_fit(
    on_h100: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = Shape("long", L=1 << 19, Hq=16, H=16, D=64, S=64, K=64)
    choose = dispatch.choose

    def atomic(problem: Problem, *rest: object) -> Choice:
        if problem.kind != "attend_grad":
            return choose(problem, *rest)  # type: ignore[arg-type]
        schedule = Schedule(order="chunk", pairs=64, combine="atomic")
        return Choice(schedule, "nearest", None, math.inf, "test")

    monkeypatch.setattr(dispatch, "choose", atomic)
    form = chosen(long, deterministic=True)
    assert form.name == "split"
    assert "no schedule of attend_grad without atomic adds fits" in form.reason


def test_explain_says_which_form_and_why(on_h100: Path) -> None:
    dims = {name: getattr(G1, name) for name in ("L", "Hq", "H", "D", "S", "K")}
    rows = {row.kernel: row for row in explain.explain_shape(dims, device="cuda")}
    assert "attend_grad_q" not in rows
    assert "the gradients of attention as one kernel: predicted" in rows["attend_grad"].reason
    assert "kernel: predicted" not in rows["attend"].reason


def test_every_form_of_a_program_gives_its_outputs() -> None:
    program = backward_of(G1).program
    for groups in group_forms(program).values():
        made = {value.name for group in groups for value in group.program.outputs}
        assert {value.name for value in program.outputs} <= made


def test_a_shape_that_no_planned_schedule_fits_is_left_to_dispatch(
    monkeypatch: pytest.MonkeyPatch, on_h100: Path
) -> None:
    # Where every schedule of a space is too large, the launch tries smaller ones one by one.
    small = hardware.named("nvidia_geforce_rtx_4090")
    monkeypatch.setattr(hardware, "detect", lambda *_: small)
    monkeypatch.setattr(dispatch, "target_of", lambda *_: Target("triton", "sm_89"))
    form = chosen(Shape("large", L=8192, Hq=64, H=1, D=256, S=64, K=32))
    assert [group.kind for group in form.groups] == ["attend_grad_q", "attend_grad_kv"]
